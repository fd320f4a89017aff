"""`report RUN --html`: what the page of a run shows, gathered from the record and from the logs of its attempts.

Long texts are cut here, each by itself and all together, so that the page of any run can be opened. Not here: how any of it looks
(`runner.reporters.page`)."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from runner.api.follow import tree_events
from runner.api.queries import (
    answers,
    questions,
    reason_in_full,
    result_of,
    run_outputs,
    run_reason,
    shown_state,
    suspension_reasons,
    waits,
    with_unbegun,
)
from runner.api.remedies import advice, remedy
from runner.core.events import Recorded
from runner.core.graph import GraphStep, StepGraph, load
from runner.core.states import SETTLED_RUN
from runner.digest import canonical_json
from runner.engine.logs import log_path
from runner.engine.worktree import kept_worktrees
from runner.ports import AttemptRow, RunRow, Spending, StepRow, Store
from runner.reporters.page.markup import cut, dollars, pretty, readable
from runner.reporters.page.model import Cut, Money, Page, Part, Step, Try
from runner.reporters.picture import picture, what_of
from runner.reporters.words import seconds

MOST_OUTPUT: Final = 20_000
"""Characters of an output, a question or the manifest."""
MOST_LOG: Final = 6_000
MOST_ASKED: Final = 4_000
MOST_TEXT: Final = 12_000_000
"""Characters of all of them: what comes after that is cut to `LEAST`."""
LEAST: Final = 300
MOST_RESULT: Final = 8 << 20
"""Bytes: a larger result is not even read."""
MOST_DRAWN: Final = 3_000
"""Steps of a graph that is still drawn."""
MOST_ITEMS: Final = 1_000
"""Items of a fan-out, those that went wrong first."""
MOST_EVENTS: Final = 20_000
MOST_DEPTH: Final = 8
"""Sub-runs of sub-runs."""
_THEN = (
    "step_waiting",
    "step_woken",
    "step_suspended",
    "step_failed",
    "step_skipped",
    "step_cancelled",
    "step_resolved",
)
"""Decisions that follow an attempt."""


def report(store: Store, row: RunRow, state: Path, now: int) -> Page:
    """The page of a run. `state`: the folder with logs and worktrees. Raises the StoreError family."""
    room = _Room(MOST_TEXT)
    part = _part(store, row, state, now, room, "r", MOST_DEPTH)
    kept = store.manifest(row.manifest)
    reasons = suspension_reasons(store, row.run) if row.state == "suspended" else ()
    events = tree_events(store, row.run, {})
    return Page(
        part=part,
        money=_money(store, part, load(kept.graph) if kept else None),
        source=room.cut(kept.source if kept else "", MOST_OUTPUT),
        advice=list(advice(row.run, shown_state(row), reasons)),
        made=now,
        version=version("omni-orchestrator"),
        events=events[:MOST_EVENTS],
        more_events=max(0, len(events) - MOST_EVENTS),
    )


@dataclass(slots=True)
class _Room:
    """How much text the page still takes."""

    left: int

    def cut(self, text: str, most: int, *, tail: bool = False) -> Cut:
        found = cut(text, most if self.left > most else LEAST, tail=tail)
        self.left -= len(found.text)
        return found


@dataclass(slots=True)
class _Sources:
    """What the record knows of one run, by node."""

    store: Store
    row: RunRow
    room: _Room
    state: Path
    steps: Mapping[str, GraphStep]
    optional: frozenset[str]
    places: Mapping[str, str]
    attempts: dict[str, list[AttemptRow]] = field(default_factory=dict)
    events: dict[str, list[Recorded]] = field(default_factory=dict)
    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    answered: Mapping[str, str] = field(default_factory=dict)
    waits: Mapping[str, str] = field(default_factory=dict)
    children: Mapping[str, str] = field(default_factory=dict)
    worktrees: Mapping[str, Sequence[str]] = field(default_factory=dict)


# ---------------------------------------------------------------- a run


def _part(store: Store, row: RunRow, state: Path, now: int, room: _Room, place: str, depth: int) -> Part:
    kept = store.manifest(row.manifest)
    graph = load(kept.graph) if kept else None
    rows = with_unbegun(store, row, store.steps(row.run))
    events = store.events(row.run)
    children = store.children(row.run) if depth else ()
    below = {child.run: f"{place}-{number}" for number, child in enumerate(children)}
    sources = _Sources(
        store,
        row,
        room,
        state,
        graph.by_id if graph else {},
        frozenset(step.id for step in graph.steps if step.optional) if graph else frozenset(),
        {step.node: f"{place}s{number}" for number, step in enumerate(rows)},
        asked=questions(store, row.run, rows),
        waits=waits(store, row.run, rows),
        answered=answers(event.event for event in events),
        children={child.parent_node or "": below[child.run] for child in children},
        worktrees=kept_worktrees(state / "worktrees", row.run),
    )
    for attempt in store.attempts(row.run):
        sources.attempts.setdefault(attempt.node, []).append(attempt)
    for each in events:
        sources.events.setdefault(each.event.node, []).append(each)
    drawn = graph is not None and len(graph.steps) <= MOST_DRAWN
    return Part(
        row=row,
        state=shown_state(row),
        reason=run_reason(store, row),
        place=place,
        end=_end(row, events, now),
        picture=picture(graph, rows) if drawn and graph else None,
        steps=_steps(sources, rows),
        events=events,
        outputs=list(_named(run_outputs(store, row.run), room)),
        facts=list(_facts(row, graph, events)),
        inputs=[(name, room.cut(pretty(value), MOST_OUTPUT)) for name, value in row.inputs.items()],
        children=[_part(store, child, state, now, room, below[child.run], depth - 1) for child in children],
    )


def _end(row: RunRow, events: Sequence[Recorded], now: int) -> int:
    if row.finished is not None:
        return row.finished
    last = events[-1].at if events else row.created
    return last if shown_state(row) == "interrupted" or row.state in SETTLED_RUN else max(now, last)


def _named(outputs: Any, room: _Room) -> Iterator[tuple[str, Cut]]:
    named = outputs if isinstance(outputs, Mapping) else {"output": outputs}
    for name, value in named.items():
        if value is not None:
            yield str(name), room.cut(pretty(value), MOST_OUTPUT)


def _facts(row: RunRow, graph: StepGraph | None, events: Sequence[Recorded]) -> Iterator[tuple[str, str]]:
    yield "run", row.run
    if graph is not None:
        yield "manifest", f"{graph.name}, from {graph.file}" if graph.file else graph.name
    modes = Counter(
        each.event.data.get("mode") for each in events if each.event.kind in ("run_started", "attempt_started")
    )
    if words := ", ".join(str(mode) for mode in modes if mode):
        yield "mode", words
    for label, value in (
        ("part of", row.parent),
        ("again from", row.forked_from),
        ("superseded by", row.superseded_by),
    ):
        if value:
            yield label, value
    pauses = [each for each in events if each.event.kind in ("run_suspended", "run_woken")]
    paused = sum(b.at - a.at for a, b in pairwise(pauses) if a.event.kind == "run_suspended")
    if paused:
        yield "suspended for", seconds(paused)
    for each in events:
        if each.event.kind == "cancel_requested":
            yield "cancelled by", str(each.event.data.get("by") or "somebody")
        elif each.event.kind == "budget_raised":
            yield "budget raised", _usd(each.event.data.get("usd"))


def _usd(value: Any) -> str:
    return dollars(value) if isinstance(value, int) else str(value)


# ---------------------------------------------------------------- its steps


def _steps(sources: _Sources, rows: Sequence[StepRow]) -> list[Step]:
    items: dict[str, list[StepRow]] = {}
    for row in rows:
        if "[" in row.node:
            items.setdefault(row.node.partition("[")[0], []).append(row)
    return [_step(sources, row, items.get(row.node, ())) for row in rows if "[" not in row.node]


def _step(sources: _Sources, row: StepRow, items: Sequence[StepRow] = ()) -> Step:
    id = row.node.partition("[")[0]
    known = sources.steps.get(id)
    item = "[" in row.node
    shown = sorted(items, key=lambda one: one.state in ("succeeded", "reused", "skipped"))[:MOST_ITEMS]
    nodes = {one.node for one in shown}
    return Step(
        row=row,
        place=sources.places[row.node],
        what="" if item or known is None else what_of(known),
        tries=_tries(sources, row.node),
        output=_output(sources, row),
        facts=list(_about(sources, row, None if item else known)),
        asks=sources.asked.get(row.node),
        why=reason_in_full(row, sources.waits.get(row.node, "")),
        remedy=remedy(row, sources.waits.get(row.node, "")) if row.state == "suspended" else "",
        child=sources.children.get(row.node, ""),
        optional=id in sources.optional,
        final=known is not None and known.final,
        items=[_step(sources, one) for one in items if one.node in nodes],
        hidden=len(items) - len(shown),
    )


def _about(sources: _Sources, row: StepRow, known: GraphStep | None) -> Iterator[tuple[str, str]]:
    if known is not None and known.when is not None:
        yield "when", known.when
    if known is not None and (waits := ", ".join(dict.fromkeys(edge.to for edge in known.edges))):
        yield "after", waits
    if row.reused and row.producer:
        yield "taken over from", row.producer
    if said := sources.answered.get(row.node):
        yield "answer", said
    if row.products:
        yield "saved", ", ".join(row.products)
    for path in sources.worktrees.get(row.node, ()):
        yield "worktree", path


def _output(sources: _Sources, row: StepRow) -> Cut | None:
    size = (row.result or {}).get("size", 0)
    if size > MOST_RESULT:
        return Cut("", size)
    result = result_of(sources.store, row) or {}
    value = result.get("output")
    return None if value in (None, "") else sources.room.cut(pretty(value), MOST_OUTPUT)


# ---------------------------------------------------------------- its attempts


def _tries(sources: _Sources, node: str) -> list[Try]:
    rows = {row.n: row for row in sources.attempts.get(node, ())}
    found: list[Try] = []
    began: Mapping[str, Any] = {}
    ended: Mapping[str, Any] = {}
    asked = ""
    then: list[str] = []

    def close() -> None:
        nonlocal asked
        if (row := rows.get(began.get("n", 0))) is None:
            return
        inputs = canonical_json(began.get("inputs"))
        found.append(_try(sources, row, began, ended, then, new=inputs != asked))
        asked = inputs

    for recorded in sources.events.get(node, ()):
        event = recorded.event
        if event.kind == "attempt_started":
            close()
            began, ended, then = event.data, {}, []
        elif event.kind in ("attempt_succeeded", "attempt_failed", "attempt_lost"):
            ended = event.data
        elif began and event.kind in _THEN and (words := _decided(recorded)) not in (*then, ""):
            then.append(words)
    close()
    return found


def _try(
    sources: _Sources,
    row: AttemptRow,
    began: Mapping[str, Any],
    ended: Mapping[str, Any],
    then: Sequence[str],
    *,
    new: bool,
) -> Try:
    inputs = began.get("inputs")
    return Try(
        row=row,
        effects=str(began.get("effects") or ""),
        reserved=int(began.get("reserved") or 0),
        level=int(began.get("level") or 0),
        asked=sources.room.cut(_asked(inputs), MOST_ASKED) if new and inputs else None,
        checks=ended.get("checks") or (),
        denials=[str(denial) for denial in ended.get("denials") or ()],
        then=list(then),
        log=_log(sources, row),
    )


def _asked(inputs: Any) -> str:
    """What an attempt was given, for reading: one text as it is, a command as people type it."""
    if isinstance(inputs, Mapping) and len(inputs) == 1:
        ((name, value),) = inputs.items()
        if isinstance(value, str):
            return value
        if name == "argv" and isinstance(value, list):
            return shlex.join(map(str, value))
    if isinstance(inputs, Mapping):
        return "\n\n".join(f"{name}:\n{pretty(value)}" for name, value in inputs.items())
    return pretty(inputs)


def _decided(recorded: Recorded) -> str:
    """What was decided after an attempt; "" for what only follows from what is told already."""
    data = recorded.event.data
    reason = ": ".join(str(word) for word in (data.get("reason"), data.get("detail")) if word)
    if recorded.event.kind == "step_waiting":
        return f"again in {seconds(int(data.get('until') or recorded.at) - recorded.at)}: {reason}"
    return _SAID[recorded.event.kind](data, reason)


def _again(data: Mapping[str, Any], reason: str) -> str:
    return "" if reason == "its time has come" else reason


def _resolved(data: Mapping[str, Any], reason: str) -> str:
    comment = f": {data['comment']}" if data.get("comment") else ""
    return f"{data['state']}, as {data.get('by') or 'somebody'} says{comment}"


_SAID: Mapping[str, Callable[[Mapping[str, Any], str], str]] = {
    "step_woken": _again,
    "step_suspended": lambda data, reason: f"suspended: {reason}",
    "step_failed": lambda data, reason: f"failed: {reason}",
    "step_skipped": lambda data, reason: f"skipped: {reason}",
    "step_cancelled": lambda data, reason: f"cancelled: {reason}",
    "step_resolved": _resolved,
}


def _log(sources: _Sources, row: AttemptRow) -> Cut | None:
    path = log_path(sources.state / "logs", row.run, row.node, row.n)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - 4 * MOST_LOG))
            text = readable(file.read().decode("utf-8", "replace")).rstrip("\n")
    except OSError:
        return None
    if not text:
        return None
    found = sources.room.cut(text, MOST_LOG, tail=True)
    unread = max(0, size - 4 * MOST_LOG)
    return Cut(found.text, found.more + unread, True) if unread else found


# ---------------------------------------------------------------- money


def _money(store: Store, part: Part, graph: StepGraph | None) -> Money:
    """Of all attempts of the run and its sub-runs, also of those that the page does not show."""
    rows = [(name, row) for run, name in _tree(part) for row in store.attempts(run)]
    cap = (graph.budget or {}).get("usd") if graph else None
    tokens: Counter[str] = Counter()
    for _, row in rows:
        tokens.update(row.tokens)
    return Money(
        by=[
            ("step", _spending((f"{name}/{row.node.partition('[')[0]}", row) for name, row in rows)),
            ("executor", _spending((row.executor, row) for _, row in rows)),
            ("model", _spending((row.model, row) for _, row in rows)),
        ],
        spent=sum(row.cost for _, row in rows),
        held=_held(part, {(row.run, row.node, row.n) for _, row in rows if row.state == "running"}),
        assumed=sum(row.cost for _, row in rows if row.cost_source == "assumed"),
        tokens=dict(tokens),
        cap=dollars(cap) if isinstance(cap, int) else "",
    )


def _tree(part: Part) -> Iterator[tuple[str, str]]:
    yield part.row.run, part.row.name
    for child in part.children:
        yield from _tree(child)


def _held(part: Part, running: Container[tuple[str, str, int]]) -> int:
    """What attempts in flight may still cost."""
    own = sum(
        int(each.event.data.get("reserved") or 0)
        for each in part.events
        if each.event.kind == "attempt_started" and (each.run, each.event.node, each.event.data["n"]) in running
    )
    return own + sum(_held(child, running) for child in part.children)


def _spending(attempts: Iterable[tuple[str, AttemptRow]]) -> list[Spending]:
    found: dict[str, Spending] = {}
    for key, row in attempts:
        old = found.get(key, Spending(key, 0, 0, 0))
        assumed = row.cost if row.cost_source == "assumed" else 0
        found[key] = Spending(key, old.cost + row.cost, old.assumed + assumed, old.attempts + 1)
    return sorted(found.values(), key=lambda each: (-each.cost, -each.attempts, each.key))
