"""What came of a test case, read from its record and its workspace: each step by its path, items in their groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from runner.api.expecting import Came, StepFacts
from runner.api.queries import in_written_order, result_of
from runner.api.results import RunResult
from runner.core.context import shown_state
from runner.core.graph import Json
from runner.core.states import GOOD
from runner.paths import PathEscape, TooLarge, read_inside
from runner.ports import StepRow, Store
from runner.replay.asking import Items

FILE_BYTES: Final = 64 << 20
_BAD: Final = ("failed", "suspended", "blocked", "cancelled")


def outcome(store: Store, result: RunResult, inputs: Mapping[str, Json], workspace: Path, items: Items) -> Came:
    """What came of the case whose run this is."""
    rows = rows_of(store, result.run) if result.run is not None else []
    routes = {run: _routes(store, run) for run in dict.fromkeys(run for run, _ in rows)}
    steps = {items.path(run, row.node): _facts(store, row, routes[run][row.node]) for run, row in rows}
    _gather(steps, rows, items)
    return Came(result, steps, inputs, lambda path: _file(workspace, path))


def rows_of(store: Store, run: str) -> list[tuple[str, StepRow]]:
    """The steps of a run in the order of its manifest, then those of its sub-runs, each with its run."""
    row = store.run(run)
    rows = store.steps(run) if row is None else in_written_order(store, row, store.steps(run))
    below = [found for child in store.children(run) for found in rows_of(store, child.run)]
    return [(run, step) for step in rows] + below


def _routes(store: Store, run: str) -> Mapping[str, list[str]]:
    """Node → who was asked, attempt by attempt."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in store.events(run):
        if each.event.kind == "attempt_started":
            found[each.event.node].append(str(each.event.data["label"]))
    return found


def _facts(store: Store, row: StepRow, route: Sequence[str]) -> StepFacts:
    return StepFacts(
        state=shown_state(row.state),
        attempts=row.attempt,
        route=tuple(route),
        executor=row.executor,
        model=row.model,
        reason=row.reason,
        error=row.error if row.state in _BAD else None,
        cost=row.cost,
        result=result_of(store, row) if row.state in GOOD else None,
    )


def _gather(steps: dict[str, StepFacts], rows: Sequence[tuple[str, StepRow]], items: Items) -> None:
    """Give each group its items, as templates read them."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run, row in rows:
        step, bracket, _ = row.node.partition("[")
        if bracket:
            facts = steps[items.path(run, row.node)]
            output = None if facts.result is None else facts.result.get("output")
            error = dict(facts.error) if facts.error else None
            groups[items.path(run, step)].append(
                {"key": row.item_key, "state": facts.state, "output": output, "error": error}
            )
    for path, found in groups.items():
        group = steps[path]
        given = {"output": [item["output"] for item in found]} if group.state == "succeeded" else None
        steps[path] = replace(group, items=tuple(found), result=group.result or given)


def _file(workspace: Path, path: str) -> str | None:
    try:
        return read_inside(workspace, workspace, path, FILE_BYTES).decode("utf-8", "replace")
    except (OSError, PathEscape, TooLarge):
        return None
