"""`returns`: reading a structured output out of what an executor answered, and holding it against its JSON Schema.

Plain object schemas are checked here; all else goes to `jsonschema`, which takes 0.1 s to import."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from runner.core.graph import Json
from runner.digest import canonical_json
from runner.engine.results import TOO_DEEP, too_deep
from runner.patterns import ONE_ANSWER_S, PATIENCE, TooSlow, bounded

SHOWN: Final = 5
"""Mistakes that are told at once."""
_FENCE: Final = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)^[ \t]*```[ \t\r]*$", re.MULTILINE | re.DOTALL)
_TYPES: Final[Mapping[str, Callable[[Json], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and (isinstance(value, int) or _whole(value)),
    "number": lambda value: not isinstance(value, bool) and isinstance(value, int | float),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_ANNOTATIONS: Final = frozenset({"description", "title", "default", "examples", "$comment"})
_PLAIN: Final = _ANNOTATIONS | {"type", "enum", "items"}
_PLAIN_OBJECT: Final = _ANNOTATIONS | {"type", "properties", "required", "additionalProperties", "$schema"}


class BadSchema(Exception):
    """`returns` itself cannot be used: the manifest's mistake, which no other answer mends."""


class Mismatch(Exception):
    """The answer is not what `returns` asks for. The text tells the one who answered what to change."""


def structured(output: Json, text: str | None, is_structured: bool, schema: Mapping[str, Any]) -> Json:
    """The output that `schema` asks for: `output` when it is data already, else parsed from the text; optional fields that are
    missing become None. Raises Mismatch, BadSchema."""
    value = output if is_structured else parse(text if text is not None else str(output))
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, Mapping):
        _require(value, schema)
        return value
    optional = [name for name in properties if name not in schema.get("required", ())]
    # Models write null for what they leave out: for an optional field both are "none when missing".
    given = {key: child for key, child in value.items() if child is not None or key not in optional}
    _require(given, schema)
    return given | {name: None for name in optional if name not in given}


def parse(text: str) -> Json:
    """`text` as JSON, or its last fenced block that is JSON. Raises Mismatch."""
    try:
        return _loads(text)
    except ValueError as error:
        problem = error
    for language, block in reversed(_FENCE.findall(text)):
        if language.lower() in ("", "json"):
            try:
                return _loads(block)
            except ValueError:
                continue
    if not text.strip():
        raise Mismatch("the answer is empty; JSON is needed") from problem
    raise Mismatch(f"the answer is not JSON: {problem}") from problem


def _loads(text: str) -> Json:
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    if too_deep(value, text):
        raise ValueError(TOO_DEEP)
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _require(value: Json, schema: Mapping[str, Any]) -> None:
    problems = _plain_problems(value, schema) if _is_plain(schema) else _schema_problems(value, schema)
    if problems:
        more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        raise Mismatch("the answer does not fit `returns`: " + "; ".join(problems[:SHOWN]) + more)


# ---------------------------------------------------------------- plain schemas


def _is_plain(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties")
    return (
        schema.get("type") == "object"
        and schema.keys() <= _PLAIN_OBJECT
        and isinstance(properties, Mapping)
        and isinstance(schema.get("additionalProperties", True), bool)
        and all(_is_plain_field(field) for field in properties.values())
    )


def _is_plain_field(field: Any) -> bool:
    if not isinstance(field, Mapping) or not field.keys() <= _PLAIN:
        return False
    enum = field.get("enum", [])
    return (
        all(isinstance(word, str) and word in _TYPES for word in _types(field))
        and isinstance(enum, list)
        and all(isinstance(word, str) for word in enum)  # 1, 1.0 and true need jsonschema's idea of equality
        and ("items" not in field or _is_plain_field(field["items"]))
    )


def _types(field: Mapping[str, Any]) -> list[Any]:
    """The types that a field may have; none = any. An optional field's are [TYPE, "null"]."""
    types = field.get("type", [])
    return types if isinstance(types, list) else [types]


def _plain_problems(value: Json, schema: Mapping[str, Any]) -> list[str]:
    if not isinstance(value, dict):
        return [f"an object is needed, not {_short(value)}"]
    properties = schema["properties"]
    problems = [f"`{name}` is missing" for name in schema.get("required", ()) if name not in value]
    for name, child in value.items():
        if name in properties:
            problems += _field_problems(name, child, properties[name])
        elif schema.get("additionalProperties", True) is False:
            problems.append(f"`{name}` is not asked for")
    return problems


def _field_problems(name: str, value: Json, field: Mapping[str, Any]) -> list[str]:
    types = _types(field)
    if types and not any(_TYPES[word](value) for word in types):
        return [f"`{name}` must be of type {' or '.join(types)}, not {_short(value)}"]
    if "enum" in field and value not in field["enum"]:
        return [f"`{name}` must be one of {', '.join(field['enum'])}, not {_short(value)}"]
    if "items" in field and isinstance(value, list):
        return [p for i, child in enumerate(value) for p in _field_problems(f"{name}[{i}]", child, field["items"])]
    return []


def _whole(value: Json) -> bool:
    return isinstance(value, float) and value.is_integer()


def _short(value: Json) -> str:
    text = canonical_json(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# ---------------------------------------------------------------- all other schemas


def _schema_problems(value: Json, schema: Mapping[str, Any]) -> list[str]:
    import jsonschema  # heavy: see above
    import referencing.exceptions

    # A registry of our own: the default one fetches a foreign `$ref` from the network.
    validator = bounded(jsonschema.Draft202012Validator)(schema, registry=referencing.Registry())
    try:
        validator.check_schema(schema)
        with PATIENCE.within(ONE_ANSWER_S):
            return [_problem(error) for error in validator.iter_errors(value)]
    except jsonschema.SchemaError as error:
        raise BadSchema(f"`returns` is not a JSON Schema: {error.message}") from error
    except (referencing.exceptions.Unresolvable, RecursionError, TooSlow) as error:
        raise BadSchema(f"`returns` cannot be checked: {error}") from error


def _problem(error: Any) -> str:
    path = error.json_path.removeprefix("$").removeprefix(".")
    message = error.message if len(error.message) <= 200 else f"{error.message[:197]}..."
    return f"`{path}`: {message}" if path else message
