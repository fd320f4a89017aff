"""`inputs` and `returns`: what they declare, and users' own JSON Schemas."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.manifest.fields import input_specs, object_schema
from runner.manifest.jsonschema_check import KEYWORDS, check, misfit


def test_returns_is_the_schema_of_an_object_whose_optional_fields_may_be_null() -> None:
    schema = object_schema({"ok": "boolean", "kind?": {"enum": ["a"]}, "note?": "string"})
    assert schema["required"] == ["ok"]
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"ok": True})
    assert validator.is_valid({"ok": True, "note": None, "kind": None, "more": 1})
    assert not validator.is_valid({"ok": True, "note": 1})
    assert not validator.is_valid({"ok": True, "kind": "b"})
    assert not validator.is_valid({"note": "x"})


def test_an_input_with_a_default_is_optional() -> None:
    specs = input_specs(
        {
            "a": "string",
            "b?": "integer",
            "c": {"type": "number", "default": 1, "description": "C"},
            "d": {"default": None},
        }
    )
    assert [(name, spec.required, spec.default) for name, spec in specs.items()] == [
        ("a", True, None),
        ("b", False, None),
        ("c", False, 1),
        ("d", False, None),
    ]
    assert specs["b"].schema == {"type": ["integer", "null"]}
    assert (specs["c"].schema, specs["c"].description) == ({"type": "number"}, "C")


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "integer"}, 3, True),
        ({"type": "integer"}, 3.0, True),
        ({"type": "integer"}, True, False),
        ({"type": "number"}, 3, True),
        ({"type": ["string", "null"]}, None, True),
        ({"enum": ["a", 1]}, "b", False),
        ({"const": 1}, 2, False),
        ({"type": "string", "minLength": 2}, "a", False),
        ({"type": "string", "pattern": "^a"}, "ba", False),
        ({"minimum": 1}, 0, False),
        ({"maximum": 1}, 2, False),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1], False),
    ],
)
def test_a_literal_fits_or_not_as_jsonschema_says(schema: dict[str, Any], value: Any, fits: bool) -> None:
    assert (misfit(schema, value) is None) == fits
    assert jsonschema.Draft202012Validator(schema).is_valid(value) == fits


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["string", "a", "", "^a", "object"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(KEYWORDS)), JSON, max_size=4))
def test_what_we_accept_is_a_schema_for_jsonschema_too(schema: dict[str, Any]) -> None:
    if not list(check(schema)):
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("keyword", sorted(KEYWORDS))
def test_every_keyword_refuses_a_value_of_the_wrong_kind(keyword: str) -> None:
    accepted_by_all = {"default", "const"}
    wrong = {"a": object()} if KEYWORDS[keyword] in ("map", "word map") else object()
    assert bool(list(check({keyword: wrong}))) == (keyword not in accepted_by_all)
