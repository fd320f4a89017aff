"""Inputs of a run and the JSON Schemas that they, and what steps return, must satisfy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache

from runner.core.graph import InputSpec, Json, StepGraph
from runner.core.rendered import BindError, cut, short
from runner.digest import canonical_json
from runner.patterns import ONE_ANSWER_S, PATIENCE, TooSlow, bounded
from runner.spelling import did_you_mean


def bind_inputs(graph: StepGraph, given: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """All inputs of a run (defaults filled in, None where an optional one has none), and what is wrong with those given."""
    errors = [_unknown_input(graph, name) for name in given if name not in graph.inputs]
    bound: dict[str, Json] = {}
    for name, spec in graph.inputs.items():
        value = given.get(name)
        if value is None and (name not in given or not spec.required):
            bound[name] = spec.default
            if spec.required:
                errors.append(f"input `{name}` is required")
        else:
            bound[name] = value
            wrong = mismatch(spec.schema, value)
            if wrong:
                errors.append(f"input `{name}`: {wrong}")
    return bound, errors


def _unknown_input(graph: StepGraph, name: str) -> str:
    fix = did_you_mean(name, graph.inputs)
    return f"{graph.name} has no input `{name}`" + (f" ({fix})" if fix else "")


def parse_input(spec: InputSpec, text: str) -> Json:
    """The text of `-i name=text` as the declared type. Raises BindError (class `invalid`)."""
    declared = spec.schema.get("type")
    kinds = [declared] if isinstance(declared, str) else list(declared or ())
    if not kinds:
        return text if mismatch(spec.schema, text) is None else _json_or_text(text)
    for kind in sorted(kinds, key=lambda kind: kind == "string"):  # text fits `string` always, so it comes last
        try:
            return _PARSE[kind](text)
        except ValueError:
            continue
    form = " as JSON" if {"array", "object"} & set(kinds) else ""
    raise BindError("invalid", f"expected {' or '.join(kinds)}{form}, not {short(text)}")


def _json_or_text(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _word(words: Mapping[str, Json]) -> Callable[[str], Json]:
    def parse(text: str) -> Json:
        if text.strip().lower() not in words:
            raise ValueError(text)
        return words[text.strip().lower()]

    return parse


def _array(text: str) -> Json:
    return _decoded(text, list)


def _object(text: str) -> Json:
    return _decoded(text, dict)


def _decoded(text: str, kind: type) -> Json:
    value = json.loads(text)
    if type(value) is kind:
        return value
    raise ValueError(text)


_PARSE: Mapping[str, Callable[[str], Json]] = {
    "string": str,
    "integer": int,
    "number": _number,
    "boolean": _word({"true": True, "false": False}),
    "null": _word({"null": None, "none": None, "": None}),
    "array": _array,
    "object": _object,
}


_PLAIN_KEYS = frozenset({"type", "description", "default", "title"})
_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def mismatch(schema: Mapping[str, Json], value: Json) -> str | None:
    """Why `value` does not satisfy `schema` (draft 2020-12); None when it does. Never fetches a remote schema."""
    kind = schema.get("type")
    if isinstance(kind, str) and _PLAIN_KEYS.issuperset(schema):
        return None if _TYPES[kind](value) else f"expected {kind}, not {short(value)}"
    return _judge(canonical_json(schema))(value)


@lru_cache(maxsize=1024)
def _judge(schema: str) -> Callable[[Json], str | None]:
    import jsonschema  # heavy: only for schemas that say more than a type
    import referencing
    import referencing.exceptions

    validator = bounded(jsonschema.Draft202012Validator)(json.loads(schema), registry=referencing.Registry())

    def judge(value: Json) -> str | None:
        try:
            with PATIENCE.within(ONE_ANSWER_S):
                error = next(iter(validator.iter_errors(value)), None)
        except TooSlow as slow:
            return str(slow)
        except referencing.exceptions.Unresolvable as missing:
            return f"its schema refers to {short(missing.ref)}, which is not there"
        if error is None:
            return None
        where = error.json_path.removeprefix("$")
        return (f"{where.lstrip('.')}: " if where else "") + cut(error.message)

    return judge
