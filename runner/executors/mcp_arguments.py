"""Arguments that cannot be right, told before a call is made.

Pure. Most calls are seen to fit by a look of our own; `jsonschema` (0.1 s to import) is asked about all others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from runner.executors.mcp_results import shown
from runner.patterns import ONE_ANSWER_S, PATIENCE, TooSlow, bounded
from runner.ports import ToolInfo
from runner.spelling import did_you_mean

Check = Callable[[Mapping[str, Any]], str]
"""Arguments -> what is wrong with them, or ""."""
SHOWN_SCHEMA_CHARS = 200
Fits = Callable[[Any], bool]
"""Does the value fit for sure? False = it is not known."""
_TYPES: Final[Mapping[str, Fits]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "$comment"})
_PLAIN_OBJECT: Final = _ANNOTATIONS | {"$schema", "$defs", "type", "properties", "required", "additionalProperties"}


def unknown_tool(server: str, name: str, tools: Iterable[str]) -> str:
    """Why `server.name` cannot be called, with the nearest name there is."""
    have = sorted(tools)
    hint = did_you_mean(name, have) or (f"it has {', '.join(have)}" if have else "it has none")
    return f"{server} has no tool `{name}`: {hint}"


def compile_check(tool: ToolInfo) -> Check:
    """A check of arguments against the tool's input schema. A schema that is broken, refers outside itself, or takes too long, checks
    nothing: the server has the last word. Messages show the schema's side only: an argument may hold a secret."""
    fits = _plain(tool.input_schema)
    whole = cache(lambda: _whole_check(tool))
    return lambda arguments: "" if fits(arguments) else whole()(arguments)


def _plain(schema: Mapping[str, Any]) -> Fits:
    """True only for arguments that `schema` takes for sure: it says of them no more than names and types."""
    known, required, more = (
        schema.get("properties", {}), schema.get("required", []), schema.get("additionalProperties", True),
    )  # fmt: skip
    plain = schema.get("type") == "object" and schema.keys() <= _PLAIN_OBJECT and isinstance(more, bool)
    if not plain or not isinstance(known, dict) or not _are_names(required):
        return _nothing
    takes = {name: _plain_part(part) for name, part in known.items()}
    others = _anything if more else _nothing
    return lambda arguments: (
        all(name in arguments for name in required)
        and all(takes.get(name, others)(value) for name, value in arguments.items())
    )


def _plain_part(schema: Any) -> Fits:
    """As `_plain`, for one argument: a type, or one of several."""
    ways = schema.get("anyOf") if isinstance(schema, dict) else None
    if not isinstance(ways, list) or schema.keys() - _ANNOTATIONS != {"anyOf"}:
        return _plain_type(schema)
    fits = [_plain_type(way) for way in ways]
    return lambda value: any(fit(value) for fit in fits)


def _plain_type(schema: Any) -> Fits:
    rules = schema.keys() - _ANNOTATIONS if isinstance(schema, dict) else None
    if rules == {"type"} and isinstance(schema["type"], str):
        return _TYPES.get(schema["type"], _nothing)
    return _anything if rules == set() else _nothing


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _anything(value: Any) -> bool:
    return True


def _nothing(value: Any) -> bool:
    return False


def _whole_check(tool: ToolInfo) -> Check:
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = dict(tool.input_schema)
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError:
        return lambda arguments: ""
    validator = bounded(kind)(schema, registry=Registry())  # an empty registry: no `$ref` may open a socket

    def check(arguments: Mapping[str, Any]) -> str:
        try:
            with PATIENCE.within(ONE_ANSWER_S):
                error = best_match(validator.iter_errors(dict(arguments)))
        except (Unresolvable, RecursionError, TooSlow):
            return ""
        if error is None:
            return ""
        return f"{tool.name}: {_explain(error.validator, error.validator_value, error.instance, list(error.absolute_path), schema)}"

    return check


def _explain(
    rule: Any,
    wanted: Any,
    found: Any,
    path: Sequence[str | int],
    schema: Mapping[str, Any],
) -> str:
    where = "arguments" if not path else f"argument `{'.'.join(map(str, path))}`"
    if rule == "type":
        return f"{where} must be {_either(wanted)}, not {_kind(found)}"
    if rule == "required":
        missing = [name for name in wanted if name not in found]
        under = f" in {where}" if path else ""
        return f"missing argument{'s' if len(missing) > 1 else ''} {_names(missing)}{under}"
    if rule == "additionalProperties" and wanted is False and not path:
        return _unknown_arguments(found, schema.get("properties", {}))
    limit = shown(json.dumps(wanted, ensure_ascii=False), SHOWN_SCHEMA_CHARS)
    return f"{where} must be one of {limit}" if rule == "enum" else f"{where} does not satisfy {rule}: {limit}"


def _unknown_arguments(found: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    extra = [name for name in found if name not in known]
    near = did_you_mean(extra[0], known) if extra else None
    hint = near or (f"it takes {_names(known)}" if known else "it takes none")
    return f"unknown argument{'s' if len(extra) > 1 else ''} {_names(extra)}: {hint}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _either(wanted: Any) -> str:
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def _kind(value: Any) -> str:
    kinds = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
    }
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
