"""Step graphs in Graphviz's language. Every text is a quoted string in which nothing can end the quotes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.reporters.picture import Arrow, Picture, Shown
from runner.reporters.words import SIGNS, one_line

FILLS = {
    "succeeded": "#c9ecd1", "reused": "#c9e9f0", "skipped": "#ececec", "failed": "#f7c8c8", "blocked": "#fbe3b9", "cancelled": "#fbe3b9",
    "suspended": "#e5d3f6", "waiting": "#d3e2fb", "running": "#d3e2fb", "group": "#d3e2fb",
}  # fmt: skip
STYLES = {"data": "solid", "order": "dashed", "state": "dotted", "tolerant": "dotted"}
LABEL_CHARS = 48


def dot(pictures: Sequence[Picture]) -> str:
    """One `digraph` a picture."""
    return "\n\n".join("\n".join(_lines(one)) for one in pictures)


def quoted(text: str) -> str:
    """A string of the language: backslashes are doubled, so that no escape of Graphviz (`\\N`, `\\l`) can be written in a step."""
    return '"' + one_line(text, 400).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(shown: Picture) -> Iterator[str]:
    title = " · ".join(part for part in (shown.name, shown.description, shown.head) if part)
    yield f"digraph {quoted(shown.name)} {{"
    yield f'  label={quoted(title)}; labelloc=t; fontname="sans-serif"; rankdir=TB;'
    yield '  node [shape=box, style="rounded,filled", fillcolor="#ffffff", color="#8a8f98", fontname="sans-serif", fontsize=11];'
    yield '  edge [color="#6b7280", arrowsize=0.7];'
    yield from (f"  {_node(box)}" for box in shown.boxes if not box.final)
    if any(box.final for box in shown.boxes):
        yield "  subgraph cluster_finally {"
        yield '    label="finally"; style=dashed; color="#8a8f98";'
        yield from (f"    {_node(box)}" for box in shown.boxes if box.final)
        yield "  }"
    yield from (f"  {_edge(arrow)}" for arrow in shown.arrows)
    yield "}"


def _node(box: Shown) -> str:
    head = f"{SIGNS.get(box.state, '')} {box.id} {box.fan}".strip()
    rows = [head, box.what] + ([f"when {box.when}"] if box.when else [])
    label = '"' + "\\n".join(quoted(one_line(row, LABEL_CHARS))[1:-1] for row in rows) + '"'
    tip = '"' + "\\n".join(quoted(line)[1:-1] for line in box.tip.split("\n")) + '"'
    more = f", fillcolor={quoted(FILLS[box.state])}" if box.state in FILLS else ""
    more += ", peripheries=2" if box.fan else ""
    more += ', style="rounded,filled,dashed"' if box.optional else ""
    return f"{quoted(box.id)} [label={label}, tooltip={tip}{more}];"


def _edge(arrow: Arrow) -> str:
    return (
        f"{quoted(arrow.source)} -> {quoted(arrow.target)} [style={STYLES[arrow.kind]}, tooltip={quoted(arrow.kind)}];"
    )
