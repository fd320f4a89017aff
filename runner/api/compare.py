"""`diff`: what is different between two recorded runs. Reads the record only; says nothing about which one is right.

Not compared: times, ids, keys and session names, which are never the same twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.api.queries import find_run, result_of, run_outputs, shown_state
from runner.api.results import MICRO
from runner.errors import StoreError, UsageError
from runner.ports import RunRow, StepRow, Store
from runner.replay.matching import unified

CONTEXT_LINES = 2
MOST_DIFF_LINES = 60
MOST_COMPARED = 100_000
"""Lines of a text that are compared line by line, of thousands of steps."""

Pair = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class StepChange:
    """A step (or item, by its key) that is different. `facts`: what → (in A, in B). `output`: lines of a unified diff."""

    step: str
    facts: Mapping[str, Pair]
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunChange:
    """All that is different between the runs `a` and `b`."""

    a: RunRow
    b: RunRow
    facts: Mapping[str, Pair]
    inputs: Mapping[str, Pair]
    manifest: tuple[str, ...]
    steps: tuple[StepChange, ...]
    outputs: tuple[str, ...]
    unchanged: int

    @property
    def same(self) -> bool:
        return not (self.facts or self.inputs or self.manifest or self.steps or self.outputs)

    def to_json(self) -> dict[str, Any]:
        """The document of `diff --json`; a pair is {"a", "b"}."""
        return {
            "version": 1,
            "a": {"run": self.a.run, "manifest": self.a.name, "state": shown_state(self.a)},
            "b": {"run": self.b.run, "manifest": self.b.name, "state": shown_state(self.b)},
            "same": self.same,
            "run": _pairs(self.facts),
            "inputs": _pairs(self.inputs),
            "manifest": list(self.manifest),
            "steps": [
                {"step": each.step, "changes": _pairs(each.facts), "output": list(each.output)} for each in self.steps
            ],
            "outputs": list(self.outputs),
            "unchanged_steps": self.unchanged,
        }


def _pairs(pairs: Mapping[str, Pair]) -> dict[str, Any]:
    return {name: {"a": a, "b": b} for name, (a, b) in pairs.items()}


def chosen(store: Store, first: str, second: str | None) -> tuple[RunRow, RunRow]:
    """The runs that are meant. With one reference: that run, and the one of the same manifest before it. Raises UsageError."""
    row = find_run(store, first)
    if second is not None:
        return row, find_run(store, second)
    rows = store.runs(name=row.name, limit=1 << 31)
    place = next((number for number, each in enumerate(rows) if each.run == row.run), len(rows))
    if place + 1 >= len(rows):
        raise UsageError(f"{row.name} has no run before {row.run}", hint="name two runs; `runner status` lists them")
    return rows[place + 1], row


def compare(store: Store, a: RunRow, b: RunRow) -> RunChange:
    """What is different, steps in the order of A and then those that only B has."""
    steps, unchanged = _steps(store, a, b)
    return RunChange(
        a=a,
        b=b,
        facts=_different(_run_facts(a), _run_facts(b)),
        inputs=_different(a.inputs, b.inputs),
        manifest=tuple(_manifests(store, a, b)),
        steps=tuple(steps),
        outputs=tuple(text_diff(_text(run_outputs(store, a.run)), _text(run_outputs(store, b.run)))),
        unchanged=unchanged,
    )


def _run_facts(row: RunRow) -> dict[str, Any]:
    return {"manifest": row.name, "state": shown_state(row), "legs": row.leg, "cost_usd": row.cost / MICRO}


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    names = list(dict.fromkeys([*a, *b]))
    return {name: (a.get(name), b.get(name)) for name in names if a.get(name) != b.get(name)}


def _manifests(store: Store, a: RunRow, b: RunRow) -> Iterator[str]:
    if a.manifest == b.manifest:
        return
    kept = [store.manifest(row.manifest) for row in (a, b)]
    sources = [manifest.source if manifest is not None else "" for manifest in kept]
    lines = list(text_diff(*sources)) if all(sources) else []  # a sub-run's manifest is kept without its source
    yield from lines or ["the same text; a file that it names, a partial, or a manifest that it calls has changed"]


# ---------------------------------------------------------------- steps


def _steps(store: Store, a: RunRow, b: RunRow) -> tuple[list[StepChange], int]:
    rows_a, rows_b = (_by_name(store.steps(row.run)) for row in (a, b))
    changes = []
    names = list(dict.fromkeys([*rows_a, *rows_b]))
    for name in names:
        change = _step(store, name, rows_a.get(name), rows_b.get(name))
        if change.facts or change.output:
            changes.append(change)
    return changes, len(names) - len(changes)


def _by_name(rows: Sequence[StepRow]) -> dict[str, StepRow]:
    """Steps by id, items by step and key: their numbers may differ."""
    return {f"{row.node.partition('[')[0]}[{row.item_key}]" if "[" in row.node else row.node: row for row in rows}


def _step(store: Store, name: str, a: StepRow | None, b: StepRow | None) -> StepChange:
    facts = _different(_step_facts(a), _step_facts(b))
    if a is None or b is None:
        return StepChange(name, {"state": facts.get("state", (None, None))})
    if a.result == b.result:
        return StepChange(name, facts)
    return StepChange(name, facts, tuple(text_diff(_result_text(store, a), _result_text(store, b))))


def _step_facts(row: StepRow | None) -> dict[str, Any]:
    if row is None:
        return {}
    error = row.error if row.state in ("failed", "suspended") else None
    return {
        "state": "succeeded" if row.state == "reused" else row.state,
        "reason": row.reason if row.state not in ("succeeded", "reused") else "",
        "error": f"{error.get('class')}: {error.get('message')}" if error else None,
        "attempts": row.attempt,
        "reused": row.reused,
        "executor": row.executor or None,
        "model": row.model or None,
        "cost_usd": row.cost / MICRO,
    }


def _result_text(store: Store, row: StepRow) -> str:
    try:
        result = result_of(store, row) or {}
    except StoreError:
        return "(this output is gone)"
    return _text(result.get("output"))


def _text(value: Any) -> str:
    """A value as lines: text as it is, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def text_diff(a: str, b: str) -> Iterator[str]:
    """Lines of a short unified diff, without its file names; nothing when the texts are the same."""
    if a == b:
        return
    lines_a, lines_b = a.splitlines(), b.splitlines()
    if max(len(lines_a), len(lines_b)) > MOST_COMPARED:
        yield f"(too long to compare: {len(a)} characters, now {len(b)})"
        return
    lines = unified(lines_a, lines_b, "", "", CONTEXT_LINES)[2:]
    yield from lines[:MOST_DIFF_LINES]
    if len(lines) > MOST_DIFF_LINES:
        yield f"… {len(lines) - MOST_DIFF_LINES} lines more"
    elif not lines:
        yield "(they differ only in how lines end)"
