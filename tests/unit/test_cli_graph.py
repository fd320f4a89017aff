"""Drawings of step graphs."""

from __future__ import annotations

from runner.cli.graph_mermaid import mermaid
from runner.cli.graph_text import graph_text, in_depth, rails_of
from runner.core.graph import Body, Edge, Fan, GraphStep, StepGraph


def step(id: str, *edges: tuple[str, str], **more: object) -> GraphStep:
    body = Body("run", {"argv": ["true"]})
    return GraphStep(id, (body,), tuple(Edge(to, kind) for to, kind in edges), **more)  # type: ignore[arg-type]


def graph(*steps: GraphStep) -> StepGraph:
    return StepGraph("demo", "d", "demo.yaml", steps)


def plain(text: str, color: str | None) -> str:
    return text


DIAMOND = graph(
    step("a"),
    step("b", ("a", "data")),
    step("c", ("a", "order"), when="inputs.x == 1"),
    step("d", ("b", "data"), ("c", "state"), fan=Fan("foreach", {"in": []})),
    step("bye", final=True),
)


def test_a_diamond_is_drawn_with_rails_and_the_kinds_of_its_edges() -> None:
    assert graph_text(DIAMOND, {}, plain).splitlines() == [
        "demo",
        "  ●    a  run",
        "  ├─●  b  run                      ← a",
        "  ● │  c  run, when inputs.x == 1  ← a (needs)",
        "  ●─┘  d  run, × foreach           ← b, c (state)",
        "finally",
        "  ●  bye  run",
    ]


def test_a_run_shows_states_in_place_of_dots() -> None:
    lines = graph_text(DIAMOND, {"a": "succeeded", "b": "failed"}, plain).splitlines()
    assert lines[1].startswith("  ✓    a")
    assert lines[2].startswith("  ├─✗  b")


def test_a_rail_that_is_only_passed_is_crossed_not_joined() -> None:
    steps = (
        step("a"),
        step("b"),
        step("c", ("a", "data")),
        step("d", ("b", "data"), ("a", "data")),
        step("e", ("b", "data")),
    )
    drawn = ["".join((left, "●", right)) for left, right in rails_of(steps)]
    assert drawn == ["●", "│ ●", "├─┼─●", "●─┤", "  ●"]


def test_a_wide_graph_gets_no_rails() -> None:
    sources = [step(f"s{n}") for n in range(40)]
    reader = step("reader", *[(s.id, "data") for s in sources])
    assert rails_of([*sources, reader]) == [("", "")] * 41


def test_chains_stay_together() -> None:
    steps = (step("a"), step("x"), step("b", ("a", "data")), step("y", ("x", "data")))
    assert [s.id for s in in_depth(steps)] == ["a", "b", "x", "y"]


def test_ten_thousand_steps_in_a_chain_are_drawn_without_recursion() -> None:
    steps = [step("s0"), *(step(f"s{n}", (f"s{n - 1}", "data")) for n in range(1, 10_000))]
    assert len(graph_text(graph(*steps), {}, plain).splitlines()) == 10_001


def test_mermaid_tells_edge_kinds_and_states_as_classes() -> None:
    text = mermaid(DIAMOND, {"a": "succeeded", "b": "failed", "c": "failed"})
    assert "s_a --> s_b" in text
    assert "s_a -- needs --> s_c" in text
    assert "s_c -. state .-> s_d" in text
    assert "class s_b,s_c failed" in text
    assert "subgraph finally" in text


def test_text_of_a_manifest_cannot_break_out_of_a_mermaid_label() -> None:
    text = mermaid(graph(step("end", when='"] --> x["<script>`#')), {})
    label = text.splitlines()[4]
    assert label.count('"') == 2
    assert "<script>" not in text
    assert "s_end" in label
