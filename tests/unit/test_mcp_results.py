"""Answers and arguments, without a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mcp.types import CallToolResult, TextContent

from runner.executors.mcp_arguments import compile_check, unknown_tool
from runner.executors.mcp_results import UNREADABLE, Masked, from_error, from_tool, shown, wanted
from runner.ports import ToolInfo
from runner.redact import Redactor


def check(schema: dict[str, Any], arguments: dict[str, Any]) -> str:
    return compile_check(ToolInfo("t", "", {"type": "object", **schema}, None, False, False))(arguments)


@pytest.mark.parametrize(
    ("schema", "arguments", "message"),
    [
        ({}, {"anything": 1}, ""),
        ({"properties": {"n": {"type": "integer"}}}, {"n": True}, "t: argument `n` must be integer, not boolean"),
        (
            {"properties": {"n": {"type": ["integer", "null"]}}},
            {"n": 1.5},
            "t: argument `n` must be integer or null, not number",
        ),
        ({"properties": {"n": {"type": "string"}}}, {"n": None}, "t: argument `n` must be string, not null"),
        ({"required": ["a", "b"]}, {}, "t: missing arguments `a`, `b`"),
        ({"properties": {"a": {"required": ["b"]}}}, {"a": {}}, "t: missing argument `b` in argument `a`"),
        (
            {"properties": {"a": {"items": {"type": "string"}}}},
            {"a": ["x", 1]},
            "t: argument `a.1` must be string, not integer",
        ),
        ({"additionalProperties": False}, {"a": 1}, "t: unknown argument `a`: it takes none"),
        (
            {"properties": {"xyz": {}}, "additionalProperties": False},
            {"a": 1},
            "t: unknown argument `a`: it takes `xyz`",
        ),
        ({"properties": {"n": {"minimum": 3}}}, {"n": 1}, "t: argument `n` does not satisfy minimum: 3"),
    ],
)
def test_a_wrong_argument_is_named_with_what_it_must_be(
    schema: dict[str, Any], arguments: dict[str, Any], message: str
) -> None:
    assert check(schema, arguments) == message


@pytest.mark.parametrize(
    "rule", [{"type": "integer"}, {"enum": ["a"]}, {"pattern": "^a$"}, {"maxLength": 2}, {"const": "a"}]
)
def test_no_message_shows_the_value_of_an_argument(rule: dict[str, Any]) -> None:
    message = check({"properties": {"token": rule}}, {"token": "hunter2hunter2"})
    assert message and "hunter2" not in message


def test_a_check_never_opens_a_reference_outside_of_the_schema() -> None:
    assert check({"properties": {"x": {"$ref": "http://127.0.0.1:9/x.json"}}}, {"x": 1}) == ""


NAMES = st.sampled_from(["a", "b", "c"])
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"])
RULES = st.one_of(
    st.builds(dict, type=TYPES),
    st.builds(dict, type=TYPES, title=st.just("T"), default=st.none()),
    st.builds(dict, type=st.lists(TYPES, min_size=1, max_size=2, unique=True)),
    st.builds(
        dict, anyOf=st.lists(st.one_of(st.builds(dict, type=TYPES), st.just({"const": 1})), min_size=1, max_size=2)
    ),
    st.builds(dict, type=TYPES, minimum=st.integers(0, 2)),
    st.sampled_from([{}, True, False, {"enum": [1, "x"]}, {"items": {"type": "string"}}]),
)
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object")},
    optional={
        "properties": st.dictionaries(NAMES, RULES),
        "required": st.lists(NAMES, unique=True),
        "additionalProperties": st.one_of(st.booleans(), RULES),
        "maxProperties": st.integers(0, 2),
        "title": st.just("arguments"),
    },
)
VALUES = st.sampled_from([None, True, 0, 1, 1.0, 1.5, "x", [], ["x"], [1], {}, {"a": 1}])


@given(SCHEMAS, st.dictionaries(NAMES, VALUES))
def test_arguments_are_taken_that_the_schema_takes_and_no_others(
    schema: dict[str, Any], arguments: dict[str, Any]
) -> None:
    assert (check(schema, arguments) == "") == Draft202012Validator(schema).is_valid(arguments)


def test_arguments_that_plainly_fit_need_no_jsonschema() -> None:
    program = """
import sys
from runner.executors.mcp_arguments import compile_check
from runner.ports import ToolInfo
schema = {"type": "object", "properties": {"text": {"type": "string", "title": "Text"}}, "required": ["text"]}
assert compile_check(ToolInfo("t", "", schema, None, False, False))({"text": "x"}) == ""
assert "jsonschema" not in sys.modules
assert "missing" in compile_check(ToolInfo("t", "", schema, None, False, False))({})
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_nearest_tool_is_offered_else_all_of_them() -> None:
    assert unknown_tool("s", "serach", ["search", "read"]) == "s has no tool `serach`: did you mean `search`?"
    assert unknown_tool("s", "zzz", ["search", "read"]) == "s has no tool `zzz`: it has read, search"
    assert unknown_tool("s", "zzz", []) == "s has no tool `zzz`: it has none"


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (-32700, "invalid"),
        (-32600, "invalid"),
        (-32601, "invalid"),
        (-32602, "invalid"),
        (-32603, "tool_error"),
        (-32001, "tool_error"),
        (7, "tool_error"),
    ],
)
def test_an_error_of_the_protocol_is_a_known_answer(code: int, error_class: str) -> None:
    result = from_error("s", code, "what\x1b[2J it says")
    assert (result.error_class, result.effect, result.status) == (error_class, "none", code)
    assert result.message == f"s: what it says (MCP error {code})"


def test_an_answer_that_cannot_be_read_is_bad_output() -> None:
    assert from_error("s", UNREADABLE, "why").error_class == "bad_output"


def test_an_error_without_words_says_so() -> None:
    assert from_tool(CallToolResult(content=[], is_error=True), ()).message == "the tool gave no reason"
    assert from_tool(CallToolResult(content=[], structured_content={"a": 1}, is_error=True), ()).message == '{"a": 1}'


def test_a_long_message_is_cut_and_marked_and_its_text_is_whole() -> None:
    long = "x" * 5000
    result = from_tool(CallToolResult(content=[TextContent(text=long)], is_error=True), ())
    assert result.message == "x" * 4000 + "… [cut: 5000 characters]"
    assert result.text == long
    assert shown("ok") == "ok"


@pytest.mark.parametrize(
    ("said", "most"),
    [
        (
            lambda text, m: (
                from_tool(CallToolResult(content=[TextContent(text=text)], is_error=True), (), 9, m).message
            ),
            4000,
        ),
        (lambda text, m: from_error("s", -32_000, text, m).message, 4000),
        (lambda text, m: wanted("elicitation/create", {"message": text}, m), 120),
    ],
)
def test_no_cut_goes_through_a_secret(said: Callable[[str, Masked], str], most: int) -> None:
    secret = "correct-horse-battery"
    masked = Redactor({"s": secret}).text
    for before in range(most - len(secret), most + 1):
        told = said("." * before + secret + "." * most, masked)
        assert "[cut: " in told
        assert "corr" not in told


@pytest.mark.parametrize("value", [{"x": float("inf")}, {"x": [1, {"y": float("nan")}]}])
def test_a_number_that_json_cannot_hold_is_bad_output(value: dict[str, Any]) -> None:
    assert from_tool(CallToolResult(content=[], structured_content=value), ()).error_class == "bad_output"
