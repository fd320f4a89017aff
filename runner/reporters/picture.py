"""What a drawing of a step graph shows, as plain values: boxes, arrows, and for a run what became of each step.

Text here is raw: whoever writes a format (`svg`, `dot`) escapes it. Not here: where anything lies (`runner.core.layout`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from runner.core.graph import EdgeKind, Fan, GraphStep, StepGraph
from runner.ports import StepRow
from runner.reporters.words import one_line, seconds

STRENGTH: tuple[EdgeKind, ...] = ("data", "order", "state", "tolerant")
"""A stronger edge says all that a weaker one between the same steps would."""
EDGE_WORDS: Mapping[EdgeKind, str] = {
    "data": "reads its result",
    "order": "needs: order only",
    "state": "reads how it ended",
    "tolerant": "reads it if it is there",
}
DONE = ("succeeded", "reused", "skipped")


@dataclass(frozen=True, slots=True)
class Shown:
    """One step. `what`: verb and target. `fan`: "×3" for a fan-out that has not expanded, "2/3" for one that has, else "".
    `items`: how many items are in each state. `tip`: everything known, line by line."""

    id: str
    verb: str
    what: str
    when: str = ""
    state: str = ""
    fan: str = ""
    items: Mapping[str, int] | None = None
    tip: str = ""
    optional: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a step to one that waits for it."""

    source: str
    target: str
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph. `head` tells of the run that it shows, "" for a manifest."""

    name: str
    description: str
    head: str
    boxes: tuple[Shown, ...]
    arrows: tuple[Arrow, ...]


def picture(graph: StepGraph, rows: Sequence[StepRow] = (), head: str = "") -> Picture:
    """The drawing of a manifest; with the rows of a run, of what became of it."""
    steps = {row.node: row for row in rows if "[" not in row.node}
    items: dict[str, list[str]] = {}
    for row in rows:
        step, bracket, _ = row.node.partition("[")
        if bracket:
            items.setdefault(step, []).append(row.state)
    boxes = tuple(_shown(step, steps.get(step.id), items.get(step.id)) for step in graph.steps)
    return Picture(graph.name, graph.description, head, boxes, arrows(graph))


def arrows(graph: StepGraph) -> tuple[Arrow, ...]:
    """One arrow between any two steps: the strongest."""
    known = graph.by_id
    found = []
    for step in graph.steps:
        kinds: dict[str, EdgeKind] = {}
        for edge in sorted(step.edges, key=lambda edge: STRENGTH.index(edge.kind), reverse=True):
            kinds[edge.to] = edge.kind
        found += [Arrow(to, step.id, kinds[to]) for to in dict.fromkeys(edge.to for edge in step.edges) if to in known]
    return tuple(found)


def _shown(step: GraphStep, row: StepRow | None, states: Sequence[str] | None) -> Shown:
    what = what_of(step)
    return Shown(
        id=step.id,
        verb=step.verb,
        what=what,
        when="" if step.when is None else one_line(step.when, 200),
        state=row.state if row else "",
        fan=_fan(step.fan, states),
        items=Counter(states) if states else None,
        tip="\n".join(_tip(step, what, row, states)),
        optional=step.optional,
        final=step.final,
    )


def what_of(step: GraphStep) -> str:
    """Verb and target of a step, and of the other ways to do it."""
    call = step.bodies[0].call
    match step.verb:
        case "tool":
            target = f"{call.get('server')}.{call.get('tool')}"
        case "call":
            target = str(call.get("manifest"))
        case "run":
            argv = call.get("argv")
            target = " ".join(map(str, argv[:4])) if isinstance(argv, list | tuple) else str(call.get("script", ""))
        case "agent" | "model":
            target = str(call.get("prompt", ""))
        case "approve" | "fail":
            target = str(call.get("message", ""))
        case _:
            target = ""
    ways = "".join(f", else {body.verb}" for body in step.bodies[1:])
    return one_line(f"{step.verb} {target}".rstrip(), 200) + ways


def _fan(fan: Fan | None, states: Sequence[str] | None) -> str:
    if states:
        return f"{sum(state in DONE for state in states)}/{len(states)}"
    if fan is None:
        return ""
    count = _count(fan)
    return "×n" if count is None else f"×{count}"


def _count(fan: Fan) -> int | None:
    """How many items there will be, where the manifest alone tells."""
    if fan.kind == "foreach":
        listed = fan.spec.get("in")
        return len(listed) if isinstance(listed, list | tuple) else None
    axes = list(fan.spec.get("axes", {}).values())
    if fan.spec.get("include") or fan.spec.get("exclude") or not all(isinstance(axis, list | tuple) for axis in axes):
        return None
    return prod(len(axis) for axis in axes)


def _tip(step: GraphStep, what: str, row: StepRow | None, states: Sequence[str] | None) -> list[str]:
    lines = [f"{step.id}: {what}"]
    if step.when is not None:
        lines.append(f"when {one_line(step.when, 300)}")
    if row is not None:
        why = f": {one_line(row.reason, 300)}" if row.reason else ""
        lines.append(f"{row.state}{why}")
        who = ", ".join(word for word in (row.executor, row.model) if word)
        took = seconds(row.ended - row.started) if row.started and row.ended else ""
        tries = f"{row.attempt} attempts" if row.attempt > 1 else ""
        if done := ", ".join(word for word in (who, tries, took) if word):
            lines.append(done)
        if row.error:
            lines.append(f"{row.error.get('class')}: {one_line(row.error.get('message', ''), 300)}")
    if states:
        lines.append(", ".join(f"{count} {state}" for state, count in sorted(Counter(states).items())))
    return lines
