"""A step graph as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.cli.graph_text import what_of
from runner.core.graph import Edge, GraphStep, StepGraph
from runner.reporters.words import one_line

ARROWS = {"data": "-->", "order": "-- needs -->", "state": "-. state .->", "tolerant": "-. default .->"}
FILLS = {
    "succeeded": "#c6efce", "reused": "#c9eef5", "skipped": "#eeeeee", "failed": "#f8c9c9", "blocked": "#fde9c4",
    "cancelled": "#fde9c4", "suspended": "#e6d3f5", "waiting": "#d5e3fb", "running": "#d5e3fb", "group": "#d5e3fb",
    "pending": "#ffffff",
}  # fmt: skip


def mermaid(graph: StepGraph, states: Mapping[str, str]) -> str:
    """The flowchart. `states`: what became of each step, as classes."""
    return "\n".join(_lines(graph, states))


def _lines(graph: StepGraph, states: Mapping[str, str]) -> Iterator[str]:
    yield "---"
    yield f"title: {graph.name}"
    yield "---"
    yield "flowchart TD"
    for step in graph.steps:
        if not step.final:
            yield f"    {_node(step)}"
    final = [step for step in graph.steps if step.final]
    if final:
        yield "    subgraph finally"
        yield from (f"        {_node(step)}" for step in final)
        yield "    end"
    for step in graph.steps:
        yield from (f"    {_id(edge.to)} {ARROWS[edge.kind]} {_id(step.id)}" for edge in _edges(step))
    yield from _classes(graph, states)


def _edges(step: GraphStep) -> list[Edge]:
    """One arrow from each step: the strongest kind says all."""
    order = list(ARROWS)
    best: dict[str, Edge] = {}
    for edge in step.edges:
        known = best.get(edge.to)
        if known is None or order.index(edge.kind) < order.index(known.kind):
            best[edge.to] = edge
    return list(best.values())


def _node(step: GraphStep) -> str:
    left, right = ("[[", "]]") if step.fan else ("{{", "}}") if step.when is not None else ("[", "]")
    return f'{_id(step.id)}{left}"{step.id}<br/>{_text(what_of(step))}"{right}'


def _id(id: str) -> str:
    return f"s_{id}"  # `end` and others are words of the language


def _text(text: str) -> str:
    flat = one_line(text, 80)
    for sign, name in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        flat = flat.replace(sign, name)  # `#` comes first: the others bring one
    return flat


def _classes(graph: StepGraph, states: Mapping[str, str]) -> Iterator[str]:
    members: dict[str, list[str]] = {}
    for step in graph.steps:
        if (state := states.get(step.id)) is not None:
            members.setdefault(state, []).append(_id(step.id))
    for state, ids in members.items():
        yield f"    classDef {state} fill:{FILLS.get(state, '#ffffff')},stroke:#555"
        yield f"    class {','.join(ids)} {state}"
