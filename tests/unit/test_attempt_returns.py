"""`returns`: reading and checking structured output."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from runner.engine.returns import BadSchema, Mismatch, structured
from runner.manifest.fields import object_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"enum": ["bug", "feature"]},
        "files": {"type": "array", "items": {"type": "string"}},
        "count": {"type": "integer"},
        "hint": {"type": "string"},
    },
    "required": ["type"],
}
ANSWER = '{"type": "bug", "files": ["a.py"]}'
EXPECTED = {"type": "bug", "files": ["a.py"], "count": None, "hint": None}


def read(text: str, schema: dict[str, Any] | None = None) -> Any:
    return structured(text, text, False, SCHEMA if schema is None else schema)


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"\n {ANSWER}\n",
        f"Here it is:\n```json\n{ANSWER}\n```\nAnything else?",
        f"```\n{ANSWER}\n```",
        f"```JSON\r\n{ANSWER}\r\n```\r\n",
        f"```python\nprint(1)\n```\nand\n  ```json\n{ANSWER}\n  ```",
        f'First guess:\n```json\n{{"type": "feature"}}\n```\nBetter:\n```json\n{ANSWER}\n```\n',
        f'```json\n{ANSWER}\n```\n```json\n{{"type": \n```',
    ],
)
def test_json_is_found_bare_and_in_the_last_fenced_block_that_holds_some(text: str) -> None:
    assert read(text) == EXPECTED


def test_optional_fields_are_none_when_missing_or_null() -> None:
    assert read('{"type": "bug", "hint": null}') == {"type": "bug", "files": None, "count": None, "hint": None}


def test_a_required_field_may_not_be_null() -> None:
    with pytest.raises(Mismatch, match="`type` must be one of bug, feature, not null"):
        read('{"type": null}')


def test_fields_that_were_not_asked_for_pass_unless_forbidden() -> None:
    assert read('{"type": "bug", "more": 1}')["more"] == 1
    with pytest.raises(Mismatch, match="`more` is not asked for"):
        read('{"type": "bug", "more": 1}', SCHEMA | {"additionalProperties": False})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("Sorry, I cannot.", "not JSON"),
        ('{"type": "chore"}', '`type` must be one of bug, feature, not "chore"'),
        ("{}", "`type` is missing"),
        ("[]", r"an object is needed, not \[\]"),
        ('{"type": "bug", "files": ["a", 1]}', r"`files\[1\]` must be of type string, not 1"),
        ('{"type": "bug", "count": true}', "`count` must be of type integer, not true"),
        ('{"type": "bug", "count": 1.5}', "`count` must be of type integer"),
        ('{"type": "bug", "count": NaN}', "NaN is not JSON"),
        ('{"type": "bug", "count": 1e999}', "too large a number"),
        ('{"type": "bug", "count": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_answers_that_do_not_fit_say_what_to_change(text: str, says: str) -> None:
    with pytest.raises(Mismatch, match=says):
        read(text)


def test_structured_output_is_taken_as_it_is_and_its_text_is_not_parsed() -> None:
    assert structured({"type": "bug"}, "not json", True, SCHEMA)["type"] == "bug"


def test_only_a_few_of_many_mistakes_are_told() -> None:
    with pytest.raises(Mismatch, match=r"\(and 15 more\)"):
        read('{"type": "bug", "files": [' + ",".join("1" for _ in range(20)) + "]}")


RICH: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}


def test_other_schemas_go_to_jsonschema() -> None:
    assert read('{"n": 9}', RICH) == {"n": 9}
    with pytest.raises(Mismatch, match="`n`: 10 is greater than the maximum of 9"):
        read('{"n": 10}', RICH)


@pytest.mark.parametrize(
    "field", [{"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "array"}, {"enum": ["a"]}]
)
@pytest.mark.parametrize("value", [1, 1.0, 1.5, True, None, "a", "b", [], {}])
def test_the_quick_check_and_jsonschema_agree(field: dict[str, Any], value: Any) -> None:
    quick = {"type": "object", "properties": {"x": field}, "required": ["x"]}
    full = quick | {"minProperties": 0}  # a word that only jsonschema knows
    answers = []
    for schema in (quick, full):
        try:
            structured({"x": value}, None, True, schema)
            answers.append("fits")
        except Mismatch:
            answers.append("does not fit")
    assert answers[0] == answers[1]


def test_a_plain_schema_does_not_import_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert read(ANSWER) == EXPECTED


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"$ref": "http://127.0.0.1:9/schema.json"}, {"$ref": "#/nowhere"}]
)
def test_a_schema_that_cannot_be_used_is_not_the_answers_fault(schema: dict[str, Any]) -> None:
    with pytest.raises(BadSchema, match="`returns`"):
        read("{}", schema)


def test_a_field_of_several_types_as_optional_fields_compile_to() -> None:
    schema = object_schema({"a": "integer", "b?": "string"})
    assert structured({"a": 1}, "", True, schema) == {"a": 1, "b": None}
    assert structured({"a": 1, "b": "x"}, "", True, schema) == {"a": 1, "b": "x"}
    with pytest.raises(Mismatch, match="`b` must be of type string or null, not 2"):
        structured({"a": 1, "b": 2}, "", True, schema)
