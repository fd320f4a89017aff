"""Patterns of strangers over texts of strangers: none is waited for, wherever a schema may hold one."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runner.api.load import load
from runner.api.settings import load_config
from runner.bridges.task import Answer, Task, judged
from runner.core.inputs import mismatch
from runner.engine.returns import BadSchema, structured
from runner.executors.mcp_arguments import compile_check
from runner.patience import Patience
from runner.patterns import PATIENCE, TooSlow, bounded, found, is_huge
from runner.ports import ToolInfo

SLOW, TEXT = "(a|aa)+$", "a" * 100 + "!"
PATIENCE_S = 10.0


def test_a_search_ends_in_its_time_and_says_which_pattern_took_too_long() -> None:
    began = time.monotonic()
    with PATIENCE.within(0.2), pytest.raises(TooSlow, match=r"the pattern '\(a\|aa\)\+\$' takes too long"):
        found(SLOW, TEXT)
    assert time.monotonic() - began < PATIENCE_S


def test_all_searches_together_take_no_longer_than_there_is_patience() -> None:
    began = time.monotonic()
    with PATIENCE.within(0.2):
        for _ in range(1_000):
            with PATIENCE.within(60), pytest.raises(TooSlow):
                found(SLOW, TEXT)
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("^[a-z]+$", "abc", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        (r"^\d{3}$", "12", False),
        ("(?=x)y", "xy", False),
    ],
)
def test_a_pattern_means_what_it_means_to_re(pattern: str, text: str, fits: bool) -> None:
    assert found(pattern, text) is fits


def test_a_validator_judges_as_the_one_that_it_is_made_of() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"pattern": "^x"}},
        "patternProperties": {"^n_": {"type": "integer"}},
    }
    for value in ({"a": "x", "n_a": 1}, {"a": "y"}, {"n_b": "1"}, {"b": "1"}, 3):
        ours = [e.message for e in bounded(jsonschema.Draft202012Validator)(schema).iter_errors(value)]
        assert ours == [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(value)]


UNEVALUATED = [
    {"properties": {"a": {}}, "unevaluatedProperties": False},
    {"properties": {"a": {}}, "unevaluatedProperties": {"type": "integer"}},
    {"patternProperties": {"^n_": {}}, "unevaluatedProperties": False},
    {"patternProperties": {"^n_": {}}, "additionalProperties": False},
    {"patternProperties": {"^n_": {}}, "properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
    {"properties": {"a": {}}, "additionalProperties": False},
    {"allOf": [{"properties": {"a": {}}}, {"patternProperties": {"^n": {"type": "integer"}}}], "unevaluatedProperties": False},
    {"anyOf": [{"required": ["a"], "properties": {"a": {}}}, {"patternProperties": {"^n_b": {}}}], "unevaluatedProperties": False},
    {"oneOf": [{"required": ["a"], "properties": {"a": {}}}, {"required": ["b"]}], "unevaluatedProperties": False},
    {"dependentSchemas": {"a": {"properties": {"n_a": {}}}}, "properties": {"a": {}}, "unevaluatedProperties": False},
    {"if": {"required": ["a"]}, "then": {"properties": {"a": {}}}, "else": {"patternProperties": {"b$": {}}}, "unevaluatedProperties": False},
    {"if": {"required": ["a"], "properties": {"a": {}}}, "unevaluatedProperties": False},
    {"$defs": {"n": {"patternProperties": {"^n_": {}}}}, "$ref": "#/$defs/n", "unevaluatedProperties": False},
    {"additionalProperties": {"type": "string"}, "unevaluatedProperties": False},
    {"allOf": [True], "unevaluatedProperties": True},
]  # fmt: skip


@pytest.mark.parametrize("schema", UNEVALUATED, ids=str)
@pytest.mark.parametrize("kind", [jsonschema.Draft202012Validator, jsonschema.Draft201909Validator])
def test_what_other_keywords_leave_over_is_judged_as_by_the_validator_that_ours_is_made_of(
    kind: Any, schema: dict[str, Any]
) -> None:
    if kind is jsonschema.Draft201909Validator and isinstance(schema.get("additionalProperties"), dict):
        pytest.skip("this version of theirs does not know that `additionalProperties` evaluates what it takes")
    values = ({}, {"a": "x"}, {"a": 1, "n_a": 1}, {"n_b": "1"}, {"b": 1}, {"a": 1, "b": "2", "n_b": 3}, 3, [{"z": 1}])
    for value in values:
        assert bounded(kind)(schema).is_valid(value) is kind(schema).is_valid(value), value


def test_patterns_beside_each_other_are_searched_for_one_by_one() -> None:
    schema = {
        "patternProperties": {"(?i)^a": {}, r"^(b)\1": {}},
        "additionalProperties": False,
    }  # joined, they are none
    judge = bounded(jsonschema.Draft202012Validator)(schema)
    assert judge.is_valid({"Aa": 1, "bb": 2})
    [error] = judge.iter_errors({"Aa": 1, "c": 2})
    assert error.message == "Additional properties are not allowed ('c' was unexpected)"


@pytest.mark.parametrize("rest", ["additionalProperties", "unevaluatedProperties"])
@pytest.mark.parametrize(
    "schema", [{}, {"$schema": "https://json-schema.org/draft/2019-09/schema"}], ids=["2020", "2019"]
)
def test_what_a_pattern_leaves_over_is_not_waited_for(rest: str, schema: dict[str, Any]) -> None:
    began = time.monotonic()
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    with PATIENCE.within(0.2), pytest.raises(TooSlow):
        list(bounded(kind)({**schema, "patternProperties": {SLOW: {}}, rest: False}).iter_errors({TEXT: 1}))
    assert time.monotonic() - began < PATIENCE_S


def test_validating_a_manifest_does_not_wait_for_the_patterns_in_it(tmp_path: Path) -> None:
    inputs = "".join(f'  x{n}: {{type: string, pattern: "{SLOW}", default: "{TEXT}"}}\n' for n in range(50))
    (tmp_path / "m.yaml").write_text(f"ares: v1\nname: m\ninputs:\n{inputs}steps: {{a: {{set: {{v: 1}}}}}}\n")
    began = time.monotonic()
    loaded = load([tmp_path], load_config(None, start=tmp_path, env={}))
    assert time.monotonic() - began < PATIENCE_S  # promise 17
    assert "takes too long" in loaded.diagnostics[0].message
    assert loaded.diagnostics[0].path == "inputs.x0.default"


def test_an_input_an_answer_and_an_argument_are_not_waited_for_either() -> None:
    began = time.monotonic()
    with PATIENCE.within(1):
        assert "takes too long" in (mismatch({"type": "string", "pattern": SLOW}, TEXT) or "")
        fields = {"type": "object", "properties": {"x": {"type": "string", "pattern": SLOW}}}
        with pytest.raises(BadSchema, match="takes too long"):
            structured({"x": TEXT}, None, True, fields)
        tool = ToolInfo("t", "", fields, None, read_only=False, idempotent=False)
        assert compile_check(tool)({"x": TEXT}) == ""
        task = replace(Task(prompt="x", cwd=Path()), output_schema=fields)
        told = judged(Answer(structured={"x": TEXT}, turns=1), task, datetime(2026, 1, 1, tzinfo=UTC))
    assert told.problem is not None and "takes too long" in told.problem.message
    assert time.monotonic() - began < PATIENCE_S


def test_a_tool_whose_schema_refers_to_itself_without_end_is_left_to_its_server() -> None:
    tool = ToolInfo("t", "", {"$ref": "#"}, None, read_only=False, idempotent=False)
    assert compile_check(tool)({"x": 1}) == ""


def test_time_that_passes_otherwise_does_not_count() -> None:
    patience = Patience(1)
    with patience.within(0.05):
        time.sleep(0.1)  # the work of somebody else
        with patience.spent() as left:
            assert left > 0.04
            time.sleep(0.06)
        with patience.within(9), patience.spent() as left:
            assert left == 0
    with patience.spent() as left:
        assert left == 1


@pytest.mark.parametrize(
    ("pattern", "huge"),
    [
        ("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", False),
        (r"^\{x{2}[}{]{3}(?:a|b){1,64}$", False),
        ("(([0-9a-f]{1,4}:){7,7}[0-9a-f]{1,4}|([0-9a-f]{1,4}:){1,7}:)" * 20, False),
        ("x" * 2_001, True),
        ("(((a{999}){999}){999})", True),
        ("(?:" * 90 + "a" + "{1,60000})" * 90, True),
        ("a{999999999}", True),
    ],
)
def test_a_pattern_that_would_take_all_memory_is_never_compiled(pattern: str, huge: bool) -> None:
    assert is_huge(pattern) is huge
    if huge:
        with pytest.raises(TooSlow):
            found(pattern, "x")


@pytest.mark.parametrize(
    "text",
    [
        "inputs:\n"
        + "".join(f'  x{n}: {{type: string, pattern: "(?i)[\\u0000-\\U0010fff{n % 10}]{n}"}}\n' for n in range(2_000)),
        "steps:\n" + "".join(f"  step_{n}_of_many: {{run: [x], needs: [stop_{n}_of_mani]}}\n" for n in range(3_000)),
        "steps:\n  a:\n    run: [x]\n" + "".join(f"    runn{n}: 1\n" for n in range(10_000)),
    ],
    ids=["patterns", "names", "keys"],
)
@pytest.mark.slow
def test_what_a_strangers_manifest_costs_is_bounded(text: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        f"ares: v1\nname: m\n{text}" + ("" if "steps" in text else "steps: {a: {fail: x}}\n")
    )
    began = time.process_time()
    load([tmp_path], load_config(None, start=tmp_path, env={}))
    assert time.process_time() - began < 10  # half of that where nobody else is at work: promise 17
