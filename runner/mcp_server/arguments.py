"""Do the arguments of a call fit the schema that the catalog shows of its tool? Pure.

Written out for the few keywords that the catalog uses: the `jsonschema` package costs 100 ms of the first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.digest import is_utf8
from runner.errors import UsageError

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


def check(tool: str, takes: Mapping[str, Mapping[str, Any]], needs: tuple[str, ...], given: Mapping[str, Any]) -> None:
    """Raise UsageError with all that is wrong with `given`."""
    found = [f"`{name}` is missing" for name in needs if name not in given]
    for name, value in given.items():
        found += _problems(f"`{name}`", takes[name], value) if name in takes else [f"`{name}` is no argument of it"]
    if found:
        raise UsageError(f"{tool}: {'; '.join(found)}", hint=f"it takes {', '.join(takes) or 'no arguments'}")


def _problems(what: str, schema: Mapping[str, Any], value: Any) -> Iterator[str]:
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        yield f"{what} must be of the type {kind}"
        return
    if value not in schema.get("enum", [value]):
        yield f"{what} must be one of {', '.join(schema['enum'])}"
    if isinstance(value, str) and not is_utf8(value):
        yield f"{what} is no text: half of a character"
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{what} must have an entry"
        for index, item in enumerate(value):
            yield from _problems(f"{what}[{index}]", schema.get("items", {}), item)
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        if not least <= value <= most:
            yield f"{what} must be {f'at least {least}' if value < least else f'at most {most}'}"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    return isinstance(value, _TYPES[kind])
