"""Edges from references and `needs`, and steps that wait for each other."""

from __future__ import annotations

import pytest
from compiling import compiled, found, only, step_of

from runner.core.graph import Edge

STEP = ("steps", "a")


def edges(a: str, more: str = "") -> set[tuple[str, str]]:
    step = step_of(f"{{steps: {{b: {{run: [x]}}, c: {{run: [x]}}, a: {a}}}{more}}}")
    return {(edge.to, edge.kind) for edge in step.edges}


@pytest.mark.parametrize(
    "step",
    [
        '{run: [x, "{{ steps.b.text }}"]}',
        '{run: [x], env: {B: "{{ steps.b.text }}"}}',
        '{run: [x], cwd: "{{ steps.b.text }}"}',
        "{run: [x], when: steps.b.output.ok}",
        '{run: [x], foreach: "{{ steps.b.output }}"}',
        '{run: [x], foreach: {in: [1], key: "{{ steps.b.text }}{{ item }}"}}',
        '{tool: s.t, with: {deep: [{x: "{{ steps.b.output.n }}"}]}}',
        '{agent: "{{ steps.b.text }}"}',
        '{agent: {prompt: x, cwd: "{{ steps.b.text }}"}}',
        '{model: {prompt: x, system: "{{ steps.b.text }}"}}',
        '{model: {prompt: x, max_tokens: "{{ steps.b.output.n }}"}}',
        '{approve: "{{ steps.b.text }}"}',
        '{approve: x, show: ["{{ steps.b.text }}"]}',
        '{wait: "{{ steps.b.text }}"}',
        '{wait: {until: "{{ steps.b.text }}"}}',
        '{set: {x: ["{{ steps.b.output }}"]}}',
        '{fail: "{{ steps.b.text }}"}',
        '{run: [x], save: {path: "{{ steps.b.text }}"}}',
        '{run: [x], save: {path: p, from: "{{ steps.b.text }}"}}',
        "{run: [x], checks: [{expr: output == steps.b.output}]}",
        '{run: [x], checks: [{run: [x, "{{ steps.b.text }}"]}]}',
        '{run: [x], checks: [{judge: "{{ steps.b.text }}", min: 1}]}',
        '{model: x, fallback: [{run: [x, "{{ steps.b.text }}"]}]}',
        "{model: x, fallback: [{run: [x], when: steps.b.output.ok}]}",
        "{model: x, fallback: [{run: [x], checks: [{expr: steps.b.output.ok}]}]}",
    ],
)
def test_a_reference_anywhere_in_a_step_is_a_data_edge(step: str) -> None:
    assert edges(step) == {("b", "data")}


def test_a_reference_in_a_prompt_file_is_an_edge() -> None:
    step = step_of("{steps: {b: {run: [x]}, a: {model: {file: p.md}}}}", sources={"p.md": "{{ steps.b.text }}"})
    assert step.edges == (Edge("b", "data"),)
    assert step.bodies[0].call == {"prompt": "{{ steps.b.text }}"}


def test_needs_adds_an_order_edge_beside_what_is_read() -> None:
    assert edges('{run: [x, "{{ steps.b.text }}"], needs: [b, c]}') == {("b", "data"), ("b", "order"), ("c", "order")}


@pytest.mark.parametrize("field", ["state", "error.class", "error"])
def test_state_and_error_make_state_edges(field: str) -> None:
    assert edges(f"{{run: [x, '{{{{ steps.b.{field} }}}}']}}") == {("b", "state")}


def test_what_stands_left_of_default_is_read_tolerantly() -> None:
    template = "{{ steps.b.text | default(steps.c.text) | default(none) }}"
    assert edges(f"{{set: {{x: '{template}'}}}}") == {("b", "tolerant"), ("c", "tolerant")}
    assert edges("{set: {x: '{{ steps.b.text | default(steps.c.text) }}'}}") == {("b", "tolerant"), ("c", "data")}


def test_a_strict_reference_elsewhere_wins_over_a_tolerant_one() -> None:
    assert edges(
        "{set: {x: '{{ steps.b.text | default(1) }}', y: '{{ steps.b.text }}', z: '{{ steps.b.state }}'}}"
    ) == {("b", "data")}


def test_finally_reads_main_steps_tolerantly_and_its_own_normally() -> None:
    text = """
        steps: {a: {run: [x]}}
        finally:
          f: {run: [x, "{{ steps.a.text }}", "{{ steps.a.state }}"]}
          g: {run: [x, "{{ steps.f.text }}"], needs: f}
    """
    assert step_of(text, "f").edges == (Edge("a", "tolerant"),)
    assert step_of(text, "g").edges == (Edge("f", "data"), Edge("f", "order"))
    assert step_of(text, "f").final


def test_main_steps_cannot_refer_to_finally_steps() -> None:
    text = "{steps: {a: {run: [x, '{{ steps.f.text }}'], needs: [f]}}, finally: {f: {run: [x]}}}"
    assert found(text) == [("final-reference", (*STEP, "run", 1)), ("final-reference", (*STEP, "needs", 0))]


def test_finally_steps_need_each_other_only() -> None:
    assert found("{steps: {a: {run: [x]}}, finally: {f: {run: [x], needs: [a]}}}") == [
        ("unknown-step", ("finally", "f", "needs", 0))
    ]


def test_outputs_read_every_step() -> None:
    graph, problems = compiled("{steps: {a: {run: [x]}}, finally: {f: {run: [x]}}, outputs: '{{ steps.f.text }}'}")
    assert problems == []
    assert graph is not None
    assert graph.outputs == "{{ steps.f.text }}"


@pytest.mark.parametrize(
    ("needs", "rule", "loc"),
    [
        ("[biuld]", "unknown-step", ("needs", 0)),
        ("biuld", "unknown-step", ("needs",)),
        ("[a]", "self-reference", ("needs", 0)),
        ("[b, b]", "duplicate-need", ("needs", 1)),
    ],
)
def test_needs_name_other_steps_once(needs: str, rule: str, loc: tuple[str | int, ...]) -> None:
    assert found(f"{{steps: {{b: {{run: [x]}}, a: {{run: [x], needs: {needs}}}}}}}") == [(rule, (*STEP, *loc))]


def test_a_step_cannot_read_itself_but_its_checks_can_read_output() -> None:
    problem = only("{steps: {a: {run: [x], checks: [{expr: steps.a.output.ok}]}}}")
    assert (problem.rule, problem.loc) == ("self-reference", (*STEP, "checks", 0, "expr"))
    assert problem.fix == "here the step's own result is `output` and `text`"


@pytest.mark.parametrize(
    "reference", ["needs: [c]", "env: {X: '{{ steps.c.state }}'}", "env: {X: '{{ steps.c.text | default(1) }}'}"]
)
def test_a_circle_is_spelled_out_once(reference: str) -> None:
    text = f"""
        steps:
          before: {{run: [x]}}
          a: {{run: [x], {reference}}}
          b: {{run: [x, "{{{{ steps.a.text }}}}"], needs: [before]}}
          c: {{run: [x], needs: [b]}}
          behind: {{run: [x], needs: [c]}}
    """
    problem = only(text)
    assert problem.rule == "cycle"
    assert problem.message == "these steps wait for each other: a → c → b → a"
    assert problem.loc[:2] == STEP


def test_each_circle_is_found() -> None:
    text = """
        steps:
          a: {run: [x], needs: [b]}
          b: {run: [x], needs: [a]}
          c: {run: [x], needs: [d]}
          d: {run: [x], needs: [c, a]}
        finally:
          f: {run: [x], needs: [g]}
          g: {run: [x], needs: [f]}
    """
    assert [(problem.rule, problem.message[-9:]) for problem in compiled(text)[1]] == [
        ("cycle", "a → b → a"),
        ("cycle", "c → d → c"),
        ("cycle", "f → g → f"),
    ]


def test_a_long_circle_is_shortened() -> None:
    steps = ", ".join(f"s{n}: {{run: [x], needs: [s{(n + 1) % 5000}]}}" for n in range(5000))
    problem = only(f"{{steps: {{{steps}}}}}")
    assert problem.message.endswith("s9 → s10 → … → s4999 → s0")


def test_one_id_cannot_be_a_main_and_a_finally_step() -> None:
    assert found("{steps: {a: {run: [x]}}, finally: {a: {run: [x]}}}") == [("duplicate-key", ("finally", "a"))]


@pytest.mark.parametrize(
    ("step", "loc"),
    [
        ("{approve: x}", ("approve",)),
        ("{wait: 1s}", ("wait",)),
        ("{call: n}", ("call",)),
        ("{run: [x], fallback: [{call: n, errors: [tool_error]}]}", ("fallback", 0, "call")),
    ],
)
def test_finally_refuses_verbs_that_may_suspend(step: str, loc: tuple[str | int, ...]) -> None:
    assert ("final-verb", ("finally", "f", *loc)) in found(f"{{steps: {{a: {{run: [x]}}}}, finally: {{f: {step}}}}}")


def test_more_steps_than_the_limit_are_refused() -> None:
    from compiling import Facts

    assert found("{steps: {a: {run: [x]}, b: {run: [x]}}, finally: {c: {run: [x]}}}", facts=Facts(max_steps=2)) == [
        ("limit", ("steps",))
    ]
