"""Answers and arguments, without a server."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.types import CallToolResult, TextContent

from runner.executors.mcp_results import UNREADABLE, compile_check, from_error, from_tool, shown, unknown_tool
from runner.ports import ToolInfo


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


@pytest.mark.parametrize("value", [{"x": float("inf")}, {"x": [1, {"y": float("nan")}]}])
def test_a_number_that_json_cannot_hold_is_bad_output(value: dict[str, Any]) -> None:
    assert from_tool(CallToolResult(content=[], structured_content=value), ()).error_class == "bad_output"
