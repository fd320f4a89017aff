"""Rows of the database as the values of `ports`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from runner.clock import Millis
from runner.ports import AttemptRow, OwnerId, Reusable, RunRow, StepRow
from runner.store.cells import producer_of
from runner.store.encode import decode
from runner.store.owners import is_alive

_HELD = -1
"""Where the text of that event is among the columns of a step."""

_TOKENS = 16
"""Where `tokens` is among the columns of an attempt."""


def run_row(row: tuple[Any, ...], now: Millis) -> RunRow:
    """A row of the view `run_rows`."""
    (
        _, run, root, parent, parent_node, name, manifest, task, inputs, state, verdict, leg, reason, fingerprint,
        forked_from, superseded_by, created, finished, cost, done, total, owner, host, pid, pid_start, heartbeat,
    ) = row  # fmt: skip
    alive = owner is not None and is_alive(OwnerId(owner, host, pid, pid_start), heartbeat, now)
    return RunRow(
        run, root, parent, parent_node, name, manifest, task, decode(inputs), state, verdict, leg, reason, fingerprint,
        forked_from, superseded_by, created, finished, cost, done, total, alive,
    )  # fmt: skip


def step_rows(found: Sequence[tuple[Any, ...]]) -> list[StepRow]:
    """Rows of the query `steps`: each a step, and the event that holds its result."""
    held = decode(f"[{','.join(row[_HELD] or '{}' for row in found)}]")  # one call: half the time of one for each
    return [_step_row(row, data) for row, data in zip(found, held, strict=True)]


def _step_row(row: tuple[Any, ...], data: Mapping[str, Any]) -> StepRow:
    (
        run, node, state, attempt, tries, lost, key, producer, reason, until, item_key, cost, started, ended, executor,
        model, error, reused, _,
    ) = row  # fmt: skip
    return StepRow(
        run, node, state, attempt, tries, lost, key, producer_of(run, node, state, attempt, producer), data.get("result"), reason, until, item_key, cost, started,
        ended, data.get("products") or {}, executor, model, decode(error) if error else None, bool(reused),
    )  # fmt: skip


def attempt_row(row: tuple[Any, ...]) -> AttemptRow:
    """A row of `attempts`, in column order."""
    cells = list(row)
    cells[_TOKENS] = decode(cells[_TOKENS])
    return AttemptRow(*cells)


def reusable(row: tuple[Any, ...]) -> Reusable:
    """A row of the query `reusable`."""
    run, node, state, attempt, key, producer, held, at = row
    data = decode(held)
    source = producer_of(run, node, state, attempt, producer) or ""
    return Reusable(key, source, data["result"], data.get("products") or {}, at)


def written(graph: str) -> list[tuple[str, bool]]:
    """(id, is it optional?) of the steps of a graph as text; none of what is no graph. `json_each` takes five times as long."""
    try:
        return [(step["id"], bool(step.get("optional"))) for step in decode(graph).get("steps", ())]
    except ValueError:
        return []


def in_order(rows: Iterable[StepRow]) -> list[StepRow]:
    """Steps by id, the items of a fan-out by number behind it; a fan-out costs what its items cost."""
    placed = sorted(((place(row.node), row) for row in rows), key=itemgetter(0))
    costs: dict[str, int] = {}
    for (step, index), row in placed:
        if index >= 0 and row.cost:
            costs[step] = costs.get(step, 0) + row.cost
    return [row._replace(cost=row.cost + costs[row.node]) if row.node in costs else row for _, row in placed]


def place(node: str) -> tuple[str, int]:
    """Sorts `a[2]` before `a[10]`, and both behind `a`."""
    step, _, index = node.partition("[")
    return step, int(index[:-1]) if index else -1
