"""JSON Schemas that users write (draft 2020-12 without references): is one well formed, and does a value fit it?

Written out because the `jsonschema` package costs 100 ms of start-up; it validates outputs while running, never manifests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

from runner import patterns, spelling
from runner.manifest.base import mistake
from runner.manifest.types import shown
from runner.patterns import TooSlow, found

Found = Iterator[tuple[tuple[str | int, ...], PydanticCustomError]]

TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_MEANT = {"str": "string", "text": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array"}
_MEANT |= {"dict": "object", "map": "object", "none": "null"}

_TEXT, _NUMBER, _ABOVE_0, _COUNT, _BOOL, _ANY, _LIST, _WORDS = (
    "text",
    "number",
    "above 0",
    "count",
    "bool",
    "any",
    "list",
    "words",
)
_SCHEMA, _SCHEMAS, _MAP, _WORD_MAP, _ENUM, _REGEX, _TYPE = (
    "schema",
    "schemas",
    "map",
    "word map",
    "enum",
    "regex",
    "type",
)

KEYWORDS: Mapping[str, str] = {
    "type": _TYPE,
    "enum": _ENUM,
    "pattern": _REGEX,
    **dict.fromkeys(("title", "description", "format", "$comment", "contentEncoding", "contentMediaType"), _TEXT),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    "multipleOf": _ABOVE_0,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
    **dict.fromkeys(("minContains", "maxContains"), _COUNT),
    **dict.fromkeys(("uniqueItems", "readOnly", "writeOnly", "deprecated"), _BOOL),
    **dict.fromkeys(("default", "const"), _ANY),
    "examples": _LIST,
    "required": _WORDS,
    **dict.fromkeys(
        ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"), _SCHEMA
    ),
    **dict.fromkeys(("unevaluatedItems", "unevaluatedProperties"), _SCHEMA),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _SCHEMAS),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), _MAP),
    "dependentRequired": _WORD_MAP,
}
"""Every keyword with the kind of its value. `$ref` is not one of them: a schema is one self-contained value."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value) and len(set(value)) == len(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_FORMS: Mapping[str, tuple[Callable[[Any], bool], str, Mapping[str, Any]]] = {
    _TEXT: (lambda value: isinstance(value, str), "text", {"type": "string"}),
    _NUMBER: (_is_number, "a number", {"type": "number"}),
    _ABOVE_0: (
        lambda value: _is_number(value) and value > 0,
        "a number above 0",
        {"type": "number", "exclusiveMinimum": 0},
    ),
    _COUNT: (_is_count, "a whole number from 0 up", {"type": "integer", "minimum": 0}),
    _BOOL: (lambda value: isinstance(value, bool), "true or false", {"type": "boolean"}),
    _ANY: (lambda value: True, "", {}),
    _LIST: (lambda value: isinstance(value, list), "a list", {"type": "array"}),
    _ENUM: (
        lambda value: isinstance(value, list) and len(value) > 0,
        "a list of values",
        {"type": "array", "minItems": 1},
    ),
    _WORDS: (
        _is_words,
        "a list of different names",
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    ),
}
"""Kind → is a value of that kind, its name in messages, its JSON Schema."""


def check(schema: Any, loc: tuple[str | int, ...] = (), *, nested: bool = False) -> Found:
    """Everything that is wrong with a schema, each with its place below it. Only a nested one may be true or false."""
    if isinstance(schema, bool) and nested:
        return
    if not isinstance(schema, dict):
        fix = f"{{type: {_type_meant(schema)}}}" if isinstance(schema, str) and _type_meant(schema) else None
        yield (
            loc,
            mistake("schema-invalid", f"expected a JSON Schema such as {{type: string}}, not {shown(schema)}", fix=fix),
        )
        return
    for key, value in schema.items():
        kind = KEYWORDS.get(key)
        if kind is not None:
            yield from _check_keyword(key, kind, value, (*loc, key))
        elif not str(key).startswith("x-"):
            yield (*loc, key), _unknown(key)


def _unknown(key: Any) -> PydanticCustomError:
    if key == "$ref":
        return mistake(
            "schema-invalid", "`$ref` cannot be used here", fix="write the schema out in its place", key=True
        )
    fix = spelling.did_you_mean(str(key), KEYWORDS)
    return mistake("schema-invalid", f"{shown(key)} is not a keyword of JSON Schema", fix=fix, key=True)


def _check_keyword(key: str, kind: str, value: Any, loc: tuple[str | int, ...]) -> Found:
    if kind in _FORMS:
        test, noun, _ = _FORMS[kind]
        if not test(value):
            yield (
                loc,
                mistake("schema-invalid", f"`{key}` is {noun}, not {shown(value)}", fix=_required_fix(key, value)),
            )
    elif kind == _TYPE:
        yield from check_type(value, loc)
    elif kind == _REGEX:
        yield from _check_regex(value, loc)
    elif kind == _SCHEMA:
        yield from check(value, loc, nested=True)
    else:
        yield from _check_nested(key, kind, value, loc)


def _required_fix(key: str, value: Any) -> str | None:
    if key == "required" and isinstance(value, bool):
        return "leave it out: a field is required unless its name ends in `?` or it has a `default`"
    return None


def _type_meant(word: str) -> str | None:
    return word if word in TYPES else _MEANT.get(word.lower()) or spelling.near(word, TYPES)


def check_type(value: Any, loc: tuple[str | int, ...]) -> Found:
    """What is wrong with a type name, or a list of them."""
    names = value if isinstance(value, list) and value else [value]
    seen: set[str] = set()
    for at, name in enumerate(names):
        if isinstance(name, str) and name in seen:
            yield (*loc, at), mistake("schema-invalid", f"{shown(name)} stands there twice")
        seen |= {name} if isinstance(name, str) else set()
        if not isinstance(name, str) or name not in TYPES:
            meant = _type_meant(name) if isinstance(name, str) else None
            fix = f"did you mean `{meant}`?" if meant else None
            place = (*loc, at) if isinstance(value, list) and value else loc
            yield place, mistake("schema-invalid", f"expected a type ({', '.join(TYPES)}), not {shown(name)}", fix=fix)


def _check_regex(value: Any, loc: tuple[str | int, ...]) -> Found:
    try:
        patterns.check(value)
    except TooSlow as error:
        yield loc, mistake("regex", str(error))
    except (re.error, TypeError, RecursionError, OverflowError):
        yield loc, mistake("regex", f"{shown(value)} is not a regular expression")


def _check_nested(key: str, kind: str, value: Any, loc: tuple[str | int, ...]) -> Found:
    if kind == _SCHEMAS:
        if not isinstance(value, list) or not value:
            yield loc, mistake("schema-invalid", f"`{key}` is a list of JSON Schemas, not {shown(value)}")
            return
        for at, schema in enumerate(value):
            yield from check(schema, (*loc, at), nested=True)
        return
    if not isinstance(value, dict):
        yield loc, mistake("schema-invalid", f"`{key}` is a map, not {shown(value)}")
        return
    for name, inner in value.items():
        if key == "patternProperties":
            yield from _check_regex(name, (*loc, name))
        if kind == _MAP:
            yield from check(inner, (*loc, name), nested=True)
        elif not _is_words(inner):
            yield (*loc, name), mistake("schema-invalid", f"expected a list of different names, not {shown(inner)}")


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((str, "string"), (int, "integer"), (list, "array"), (dict, "object")):
        if isinstance(value, kind):
            return name
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return "null"


def misfit(schema: Mapping[str, Any], value: Any) -> str | None:
    """Why a literal does not fit a well-formed schema: by type, enum, const, bounds and items; None when nothing speaks against it."""
    types = schema.get("type")
    names = types if isinstance(types, list) else [types] if types else list(TYPES)
    found = _type_of(value)
    if found not in names and not (found == "integer" and "number" in names):
        return f"{shown(value)} is not of type {' or '.join(names)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{shown(value)} is not one of {', '.join(map(str, schema['enum']))[:200]}"
    if "const" in schema and value != schema["const"]:
        return f"{shown(value)} is not {shown(schema['const'])}"
    return _out_of_bounds(schema, value) or _item_misfit(schema, value)


def _out_of_bounds(schema: Mapping[str, Any], value: Any) -> str | None:
    if _is_number(value):
        if value < schema.get("minimum", value):
            return f"{shown(value)} is less than the minimum {schema['minimum']}"
        if value > schema.get("maximum", value):
            return f"{shown(value)} is more than the maximum {schema['maximum']}"
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return f"{shown(value)} is too short or too long"
        return _unmatched(schema["pattern"], value) if "pattern" in schema else None
    return None


def _unmatched(pattern: str, value: str) -> str | None:
    try:
        return None if found(pattern, value) else f"{shown(value)} does not match {shown(pattern)}"
    except TooSlow as error:
        return f"{error} with {shown(value)}"


def _item_misfit(schema: Mapping[str, Any], value: Any) -> str | None:
    items = schema.get("items")
    if not isinstance(value, list) or not isinstance(items, dict):
        return None
    return next((why for item in value if (why := misfit(items, item))), None)


def own_schema(ref: str) -> dict[str, Any]:
    """The JSON Schema of such schemas; `ref` is how it refers to itself."""
    again = {"$ref": ref}
    special: dict[str, Any] = {
        _TYPE: {
            "anyOf": [
                {"enum": list(TYPES)},
                {"type": "array", "items": {"enum": list(TYPES)}, "minItems": 1, "uniqueItems": True},
            ]
        },
        _REGEX: {"type": "string", "format": "regex"},
        _SCHEMA: {"anyOf": [again, {"type": "boolean"}]},
        _SCHEMAS: {"type": "array", "items": {"anyOf": [again, {"type": "boolean"}]}, "minItems": 1},
        _MAP: {"type": "object", "additionalProperties": {"anyOf": [again, {"type": "boolean"}]}},
        _WORD_MAP: {"type": "object", "additionalProperties": dict(_FORMS[_WORDS][2])},
    }
    forms = {**{kind: dict(form[2]) for kind, form in _FORMS.items()}, **special}
    return {
        "title": "JSON Schema",
        "description": "A JSON Schema (draft 2020-12), self-contained: without `$ref`.",
        "type": "object",
        "properties": {key: forms[kind] for key, kind in KEYWORDS.items()},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }
