"""A step graph as text: one step a line after all that it waits for, with rails on the left that carry its edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.cli.output import Paint, columns
from runner.core.graph import GraphStep, StepGraph
from runner.reporters.words import COLORS, SIGNS, one_line

MOST_RAILS = 24
"""A wider graph gets no rails: nobody could follow them. What a step waits for stands at its end anyway."""

EDGE_WORDS = {"data": "", "order": " (needs)", "state": " (state)", "tolerant": " (default)"}


def graph_text(graph: StepGraph, states: Mapping[str, str], paint: Paint) -> str:
    """The drawing. `states`: what became of each step, for a run."""
    main = in_depth([step for step in graph.steps if not step.final])
    final = in_depth([step for step in graph.steps if step.final])
    lines = [paint(graph.name, "bright_white") + (f"  {one_line(graph.description)}" if graph.description else "")]
    lines += _section(main, states, paint)
    if final:
        lines += [paint("finally", "bright_black"), *_section(final, states, paint)]
    return "\n".join(lines)


def in_depth(steps: Sequence[GraphStep]) -> list[GraphStep]:
    """Steps after all that they wait for, each as soon as the one before it allows: chains stay together."""
    ids = {step.id: step for step in steps}
    waits = {step.id: {edge.to for edge in step.edges if edge.to in ids} for step in steps}
    readers: dict[str, list[str]] = {}
    for step in steps:
        for to in waits[step.id]:
            readers.setdefault(to, []).append(step.id)
    ready = [step.id for step in reversed(steps) if not waits[step.id]]
    order = []
    while ready:
        id = ready.pop()
        order.append(ids[id])
        for reader in reversed(readers.get(id, [])):
            waits[reader].discard(id)
            if not waits[reader]:
                ready.append(reader)
    return order


def _section(steps: Sequence[GraphStep], states: Mapping[str, str], paint: Paint) -> list[str]:
    rails = rails_of(steps)
    rows = []
    for step, (left, right) in zip(steps, rails, strict=True):
        state = states.get(step.id)
        sign = paint(SIGNS.get(state, "·"), COLORS.get(state)) if state else "●"
        rows.append([f"{left}{sign}{right}", step.id, what_of(step), _waits(step)])
    return columns(rows, indent="  ")


def what_of(step: GraphStep) -> str:
    """What a step does, in a few words."""
    call = step.bodies[0].call
    target = {"tool": f"{call.get('server')}.{call.get('tool')}", "call": str(call.get("manifest"))}.get(step.verb)
    words = [one_line(f"{step.verb} {target}" if target else step.verb, 100)]
    if step.fan is not None:
        words.append(f"× {step.fan.kind}")
    words += [f"else {body.verb}" for body in step.bodies[1:]]
    if step.when is not None:
        words.append(f"when {one_line(step.when, 40)}")
    return ", ".join(words) + (", optional" if step.optional else "")


def _waits(step: GraphStep) -> str:
    kinds: dict[str, list[str]] = {}
    for edge in step.edges:
        kinds.setdefault(edge.to, []).append(edge.kind)
    # A strict edge says all that a weaker one beside it would.
    strongest = {to: next(kind for kind in EDGE_WORDS if kind in found) for to, found in kinds.items()}
    return "← " + ", ".join(f"{to}{EDGE_WORDS[kind]}" for to, kind in strongest.items()) if strongest else ""


def rails_of(steps: Sequence[GraphStep]) -> list[tuple[str, str]]:
    """For each step what stands left and right of its sign. A rail begins at a step and ends at its last reader."""
    ids = {step.id for step in steps}
    sources = {step.id: [to for to in dict.fromkeys(edge.to for edge in step.edges) if to in ids] for step in steps}
    last = {source: step.id for step in steps for source in sources[step.id]}
    rails: list[str | None] = []
    drawn = []
    for step in steps:
        mine = {rails.index(source) for source in sources[step.id]}
        ending = {i for i in mine if last[str(rails[i])] == step.id}
        place = min(ending) if ending else next((i for i, rail in enumerate(rails) if rail is None), len(rails))
        drawn.append(_row(rails, place, mine, ending))
        for i in ending:
            rails[i] = None
        _put(rails, place, step.id if step.id in last else None)
        if len(rails) > MOST_RAILS:
            return [("", "")] * len(steps)
    return drawn


def _put(rails: list[str | None], place: int, id: str | None) -> None:
    rails.extend([None] * (place + 1 - len(rails)))
    rails[place] = id
    while rails and rails[-1] is None:
        rails.pop()


def _row(rails: Sequence[str | None], place: int, mine: set[int], ending: set[int]) -> tuple[str, str]:
    first, last = min([*mine, place]), max([*mine, place])
    cells = [_cell(i, rails, place, mine, ending, first, last) for i in range(max(len(rails), place + 1))]
    links = ["─" if first <= i < last else " " for i in range(len(cells))]
    text = "".join(cell + link for cell, link in zip(cells, links, strict=True))
    return text[: 2 * place], text[2 * place + 1 :].rstrip()


def _cell(
    i: int, rails: Sequence[str | None], place: int, mine: set[int], ending: set[int], first: int, last: int
) -> str:
    if i == place:
        return "●"
    if i in mine:
        return _JOINT[(i in ending, i < place, i in (first, last))]
    rail = i < len(rails) and rails[i] is not None
    return ("┼" if rail else "─") if first < i < last else ("│" if rail else " ")


_JOINT = {
    (True, True, True): "└", (True, True, False): "┴", (True, False, True): "┘", (True, False, False): "┴",
    (False, True, True): "├", (False, True, False): "┼", (False, False, True): "┤", (False, False, False): "┼",
}  # fmt: skip
"""(the rail ends here, is left of the step, is at an end of the line) → its sign."""
