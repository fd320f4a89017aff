"""What is known of a graph once its inputs are."""

from __future__ import annotations

from typing import Any

import pytest
from compiling import graph_of, step_of
from counting import calls

from runner.core import bind
from runner.core.bind import BindError
from runner.core.graph import GraphStep, InputSpec
from runner.core.items import expand_matrix
from runner.core.messages import Item, Policy, RetryPolicy

INPUTS = """
    inputs:
      n: {type: integer, minimum: 1, default: 1}
      path: string
      note?: string
      kind?: {enum: [bug, feature]}
    vars: {twice: ["{{ inputs.path }}", x], k: 1}
    steps: {a: {run: [x]}}
"""


def values(**given: Any) -> dict[str, Any]:
    return {"inputs": {}, "vars": {}, **given}


def step(text: str, head: str = "") -> GraphStep:
    return step_of(f"{{{head}steps: {{a: {{{text}}}}}}}")


# ---------------------------------------------------------------- inputs


def test_defaults_are_filled_in_and_optional_inputs_are_none() -> None:
    assert bind.bind_inputs(graph_of(INPUTS), {"path": "p"}) == (
        {"n": 1, "path": "p", "note": None, "kind": None},
        [],
    )


def test_none_for_an_optional_input_means_not_given() -> None:
    bound, errors = bind.bind_inputs(graph_of(INPUTS), {"path": "p", "n": None, "note": None})
    assert (bound["n"], bound["note"], errors) == (1, None, [])


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "input `path` is required"),
        ({"path": None}, "input `path`: expected string, not null"),
        ({"path": 3}, "input `path`: expected string, not 3"),
        ({"path": "p", "n": 0}, "input `n`: 0 is less than the minimum of 1"),
        ({"path": "p", "n": True}, "input `n`: True is not of type 'integer'"),
        ({"path": "p", "kind": "bgu"}, "input `kind`: 'bgu' is not valid under any of the given schemas"),
        ({"path": "p", "pth": 1}, "m has no input `pth` (did you mean `path`?)"),
    ],
)
def test_inputs_that_do_not_fit_are_said(given: dict[str, Any], error: str) -> None:
    assert bind.bind_inputs(graph_of(INPUTS), given)[1] == [error]


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "string"}, "x", True),
        ({"type": "string"}, 1, False),
        ({"type": "integer"}, 2.0, True),
        ({"type": "integer"}, 2.5, False),
        ({"type": "integer"}, True, False),
        ({"type": "number"}, 2, True),
        ({"type": "number"}, False, False),
        ({"type": "boolean"}, False, True),
        ({"type": "array"}, [], True),
        ({"type": "object"}, {}, True),
        ({"type": "null"}, None, True),
        ({}, object, True),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1], False),
        ({"type": ["string", "null"]}, None, True),
    ],
)
def test_the_short_way_and_json_schema_agree(schema: dict[str, Any], value: Any, fits: bool) -> None:
    assert (bind.mismatch(schema, value) is None) is fits
    assert (bind.mismatch({**schema, "$comment": "the long way"}, value) is None) is fits


def test_a_mismatch_says_where_in_a_deep_value() -> None:
    schema = {"type": "object", "properties": {"xs": {"type": "array", "items": {"type": "string"}}}}
    assert bind.mismatch(schema, {"xs": ["a", 1]}) == "xs[1]: 1 is not of type 'string'"


def test_a_mismatch_does_not_repeat_a_large_value() -> None:
    message = bind.mismatch({"type": "array", "maxItems": 1}, ["x" * 1000] * 50)
    assert message is not None
    assert len(message) <= 200


def test_a_remote_schema_is_never_fetched() -> None:
    assert (
        bind.mismatch({"$ref": "https://example.com/x.json"}, 1)
        == 'its schema refers to "https://example.com/x.json", which is not there'
    )


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "3", "3"),
        ({"type": "integer"}, "3", 3),
        ({"type": "number"}, "3.5", 3.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "array"}, "[1]", [1]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": ["integer", "null"]}, "3", 3),
        ({"type": ["string", "null"]}, "none of it", "none of it"),
        ({"type": ["integer", "string"]}, "3x", "3x"),
        ({"enum": ["a", "b"]}, "a", "a"),
        ({"enum": [1, 2]}, "2", 2),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, "a", "a"),
    ],
)
def test_text_from_the_command_line_becomes_the_declared_type(schema: dict[str, Any], text: str, value: Any) -> None:
    parsed = bind.parse_input(InputSpec(schema, required=True), text)
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text"),
    [("integer", "3.5"), ("number", "nan"), ("boolean", "yes"), ("array", "{}"), ("object", "x"), ("integer", "")],
)
def test_text_that_is_not_of_the_declared_type_is_refused(kind: str, text: str) -> None:
    with pytest.raises(BindError, match=f"expected {kind}"):
        bind.parse_input(InputSpec({"type": kind}, required=True), text)


def test_vars_use_inputs() -> None:
    assert bind.bind_vars(graph_of(INPUTS), {"path": "p"}) == {"twice": ["p", "x"], "k": 1}


# ---------------------------------------------------------------- policies


def test_the_built_in_policy_is_that_of_the_messages() -> None:
    assert bind.policy(step("agent: x"), "normal", values()) == Policy()
    assert bind.policy(step("agent: x"), "brainstem", values()) == Policy(exhausted="suspend")


def test_a_policy_is_built_from_the_graph() -> None:
    text = "agent: x, faults: {retry: {max: 3, delay: 5s, backoff: 1.5, max_delay: 1m, jitter: 0, errors: [quota]}, fallback: false, exhausted: skip}"
    expected = RetryPolicy(3, 5000, 1.5, 60_000, 0, frozenset({"quota"}))
    assert bind.policy(step(text), "normal", values()) == Policy(expected, fallback=False, exhausted="skip")


def test_templates_in_a_policy_are_bound_from_inputs_and_matrix() -> None:
    one = step(
        'run: [x], matrix: {n: [1]}, faults: {retry: {max: "{{ matrix.n }}", delay: "{{ inputs.d }}", errors: "{{ vars.e }}"}, exhausted: "{{ inputs.x }}"}',
        "inputs: {d: string, x: string}, vars: {e: [quota, crash]}, ",
    )
    given = values(inputs={"d": "3s", "x": "skip"}, vars={"e": ["quota", "crash"]})
    bound = bind.policy(one, "normal", given, Item("n=4", {"n": 4}))
    assert (bound.retry.max, bound.retry.delay, bound.retry.errors) == (4, 3000, frozenset({"quota", "crash"}))
    assert bound.exhausted == "skip"
    assert bind.policy(one, "normal", {**given, "matrix": {"n": 5}}).retry.max == 5


@pytest.mark.parametrize(
    ("faults", "value", "message"),
    [
        ("retry: {delay: '{{ inputs.v }}'}", 3, "faults.retry.delay: expected a duration"),
        ("retry: {max: '{{ inputs.v }}'}", -1, "faults.retry.max: expected at least 0"),
        ("retry: {jitter: '{{ inputs.v }}'}", 2, "faults.retry.jitter: expected a number from 0 to 1"),
        ("retry: {backoff: '{{ inputs.v }}'}", True, "faults.retry.backoff: expected a number from 1 to 100"),
        ("retry: {errors: '{{ inputs.v }}'}", ["nope"], "faults.retry.errors: there is no error class nope"),
        ("retry: {errors: '{{ inputs.v }}'}", 7, "faults.retry.errors: expected a list of words"),
        ("exhausted: '{{ inputs.v }}'", "explode", "faults.exhausted: expected one of fail, skip, suspend"),
    ],
)
def test_a_policy_value_that_cannot_be_used_is_refused(faults: str, value: Any, message: str) -> None:
    one = step(f"run: [x], effects: none, faults: {{{faults}}}", "inputs: {v?: {}}, ")
    with pytest.raises(BindError, match=message) as caught:
        bind.policy(one, "normal", values(inputs={"v": value}))
    assert caught.value.error_class == "invalid"


def test_a_policy_without_templates_is_bound_once() -> None:
    one, given = step("agent: x"), values()
    assert bind.policy(one, "normal", given) is bind.policy(one, "normal", {**given}), "it is asked for at every turn"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("labels: [docs]", "docs"),
        ("labels: {docs: false}", None),
        ("labels: {team: docs}", None),
        ("optional: true", "optional"),
        ("labels: [optional]", "optional"),
        ("labels: [other]", None),
    ],
)
def test_a_mode_skips_by_label_and_optional_steps(text: str, word: str | None) -> None:
    one = step(f"wait: 1s, {text}", "defaults: {faults: {degraded: {skip: [docs, optional]}}}, ")
    assert bind.skip_label(one, "degraded", values()) == word
    assert bind.skip_label(one, "normal", values()) is None


# ---------------------------------------------------------------- routes and limits


def test_routes_are_lists_and_words() -> None:
    one = step("agent: x, route: {requires: shell, models: [a, b], tier: any}").bodies[0]
    assert bind.route(one, "normal", values()) == {"requires": ["shell"], "models": ["a", "b"], "tier": "any"}
    assert bind.route(step("agent: x").bodies[0], "normal", values()) == {}


def test_routes_may_be_templates() -> None:
    one = step(
        'agent: x, route: {models: "{{ inputs.m }}", tier: "{{ inputs.t }}"}', "inputs: {m: {}, t: string}, "
    ).bodies[0]
    assert bind.route(one, "normal", values(inputs={"m": "a", "t": "any"})) == {"models": ["a"], "tier": "any"}
    with pytest.raises(BindError, match=r"route\.tier: expected one of free_first"):
        bind.route(one, "normal", values(inputs={"m": "a", "t": "cheap"}))


def test_timeouts_are_milliseconds_or_templates_of_durations() -> None:
    one = step('run: [x], timeout: {total: "{{ inputs.t }}", idle: 5s}', "inputs: {t: {}}, ").bodies[0]
    assert bind.timeout_ms(one, values(inputs={"t": "1m30s"})) == 90_000
    assert bind.idle_ms(one, values()) == 5_000
    assert bind.timeout_ms(step("approve: x").bodies[0], values()) is None
    with pytest.raises(BindError, match="timeout: expected a duration"):
        bind.timeout_ms(one, values(inputs={"t": 90}))


def test_the_timeout_of_a_run() -> None:
    graph = graph_of('{inputs: {t: string}, timeout: "{{ inputs.t }}", steps: {a: {run: [x]}}}')
    assert bind.run_timeout_ms(graph, values(inputs={"t": "2h"})) == 7_200_000


def test_effects_are_what_the_author_said_or_nothing() -> None:
    assert bind.effects(step("run: [x]").bodies[0], values()) is None
    assert bind.effects(step("run: [x], effects: none").bodies[0], values()) == "none"
    one = step('run: [x], effects: "{{ inputs.e }}"', "inputs: {e: string}, ").bodies[0]
    assert bind.effects(one, values(inputs={"e": "once"})) == "once"
    with pytest.raises(BindError, match="effects: expected one of none, idempotent, once"):
        bind.effects(one, values(inputs={"e": "twice"}))


def test_budgets_are_micro_dollars_also_from_templates() -> None:
    one = step('agent: x, budget: {usd: "{{ inputs.c }}", tokens: 3k}', "inputs: {c: number}, ")
    assert bind.budget(one.budget, values(inputs={"c": 0.25})) == {"usd": 250_000, "tokens": 3000}
    assert bind.budget(step("agent: x, budget: {usd: 0.25}").budget, values()) == {"usd": 250_000}
    assert bind.budget(None, values()) == {}
    for cap in ("free", -1, 1e305):
        with pytest.raises(BindError, match=r"budget\.usd: expected a number"):
            bind.budget(one.budget, values(inputs={"c": cap}))


@pytest.mark.parametrize(
    ("wait", "until"),
    [
        ("10m", 600_000 + 1000),
        ('"{{ inputs.w }}"', 90_000 + 1000),
        ("{until: '1970-01-01T01:00:00Z'}", 3_600_000),
        ("{until: '1970-01-01T01:00:00.250+01:00'}", 250),
        ('{until: "{{ inputs.u }}"}', 7_200_000),
    ],
)
def test_when_a_wait_is_over(wait: str, until: int) -> None:
    body = step(f"wait: {wait}", "inputs: {w: string, u: string}, ").bodies[0]
    assert bind.wait_until(body, values(inputs={"w": "90s", "u": "1970-01-01T02:00:00Z"}), 1000) == until


@pytest.mark.parametrize(
    "moment", ["soon", "2026-12-01", "2026-12-01T06:00:00", 5, "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"]
)
def test_a_moment_without_a_zone_is_no_moment(moment: Any) -> None:
    body = step('wait: {until: "{{ inputs.u }}"}', "inputs: {u: {}}, ").bodies[0]
    with pytest.raises(BindError, match=r"wait\.until: expected a time with a zone"):
        bind.wait_until(body, values(inputs={"u": moment}), 0)


# ---------------------------------------------------------------- fan-out


def matrix(text: str, **given: Any) -> list[tuple[str, Any]]:
    one = step(f"run: ['{{{{ matrix }}}}'], matrix: {text}", "inputs: {v?: {}}, ")
    return [(item.key, item.value) for item in bind.matrix_items(one, values(inputs=given), 10_000)]


def test_a_matrix_is_the_product_of_its_axes_in_order() -> None:
    assert matrix("{os: [linux, mac], py: [3.12, 4]}") == [
        ("os=linux,py=3.12", {"os": "linux", "py": 3.12}),
        ("os=linux,py=4", {"os": "linux", "py": 4}),
        ("os=mac,py=3.12", {"os": "mac", "py": 3.12}),
        ("os=mac,py=4", {"os": "mac", "py": 4}),
    ]
    assert matrix("{part: [1]}") == [("part=1", {"part": 1})]


def test_exclude_removes_what_equals_a_row() -> None:
    assert [key for key, _ in matrix("{os: [a, b], py: [1, 2], exclude: [{os: a, py: 2}, {os: b}]}")] == ["os=a,py=1"]


def test_an_include_row_extends_what_it_equals_on_all_shared_axes_else_it_is_added() -> None:
    assert matrix("{os: [a, b], include: [{os: a, fast: true}, {os: c, fast: false}, {extra: 1}]}") == [
        ("os=a", {"os": "a", "fast": True, "extra": 1}),
        ("os=b", {"os": "b", "extra": 1}),
        ("os=c,fast=false", {"os": "c", "fast": False}),
    ]


def test_rows_tell_true_from_one() -> None:
    assert [key for key, _ in matrix("{x: [1, true], exclude: [{x: true}]}")] == ["x=1"]


def test_axes_and_rows_may_be_templates() -> None:
    assert matrix('{os: "{{ inputs.v }}", include: [{os: c}]}', v=["a"]) == [
        ("os=a", {"os": "a"}),
        ("os=c", {"os": "c"}),
    ]
    assert matrix('{os: "{{ inputs.v }}"}', v=[]) == []


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        ('{os: "{{ inputs.v }}"}', "linux", 'matrix.os: expected a list, not "linux"'),
        ('{os: "{{ inputs.v }}"}', ["a", "a"], "two items have the key os=a"),
        ('{os: "{{ inputs.v }}"}', ["x" * 300], "is longer than 200 characters"),
        ('{os: "{{ inputs.v }}"}', list(range(10_001)), "more than 10000 items"),
        ('{os: [1], include: "{{ inputs.v }}"}', ["x"], "matrix.include: expected a list of maps"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_invalid(text: str, value: Any, message: str) -> None:
    with pytest.raises(BindError, match=message) as caught:
        matrix(text, v=value)
    assert caught.value.error_class == "invalid"


def foreach(listed: list[Any], key: Any = lambda index, value: index) -> list[str]:
    one = step('run: [x], foreach: "{{ inputs.v }}"', "inputs: {v: array}, ")
    return [item.key for item in bind.foreach_items(one, listed, key, 10_000)]


def test_items_are_keyed_by_index_or_by_what_is_rendered() -> None:
    assert foreach(["a", "b"]) == ["0", "1"]
    assert foreach([{"id": "x"}, {"id": 7}], lambda index, value: value["id"]) == ["x", "7"]
    assert foreach([]) == []


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (["a", "a"], "two items have the key a"),
        (["x" * 201], "is longer than 200"),
        (["a"] * 10_001, "more than 10000 items"),
    ],
)
def test_items_that_cannot_be_told_apart_are_invalid(listed: list[str], message: str) -> None:
    with pytest.raises(BindError, match=message):
        foreach(listed, lambda index, value: value)


def test_rows_of_a_matrix_are_looked_up_and_not_compared_with_every_combination() -> None:
    axes = {"a": list(range(30)), "b": list(range(30))}

    def work(rows: int) -> int:
        exclude = [{"a": n % 40, "b": 100 + n} for n in range(rows)]
        include = [{"a": n % 30, "b": n // 30, "c": 1} for n in range(rows)]
        return calls(lambda: expand_matrix(axes, include, exclude, 10_000), most=10_000_000)

    assert work(800) < 1.5 * work(400)


def test_rows_of_a_matrix_hold_for_equal_values_and_true_is_not_one() -> None:
    axes = {"a": [1, True, 2.0, [1, {"k": [2]}], "1"]}
    exclude = [{"a": 1.0}, {"a": 2}, {"a": [1, {"k": [2]}]}, {"b": 1}, {"a": 1, "b": 1}]
    assert [item.value for item in expand_matrix(axes, [{"a": "1", "x": 3}], exclude, 10)] == [
        {"a": True},
        {"a": "1", "x": 3},
    ]
    assert expand_matrix(axes, [], [{}], 10) == []


def test_rows_that_extend_every_combination_are_not_endless() -> None:
    with pytest.raises(BindError, match=r"matrix\.include extends combinations more than"):
        expand_matrix({"a": list(range(1_000))}, [{"z": n} for n in range(1_000)], [], 10_000)
