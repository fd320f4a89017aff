"""`inputs` and `returns`: names of fields with their type or JSON Schema. What they mean is in `fields.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core import core_schema as cs

from runner.manifest.base import mistake, mistakes
from runner.manifest.jsonschema_check import TYPES, Found, check, check_type, misfit
from runner.manifest.types import FIELD_PATTERN, shown

SELF_CONTAINED = "x-json-schema"
"""Marks the place of a user's own JSON Schema, for the generator of ours."""
FIELD_SCHEMA: dict[str, Any] = {"anyOf": [{"enum": list(TYPES)}, {SELF_CONTAINED: True}]}

_FIELD = re.compile(FIELD_PATTERN)


def _name_error(name: Any) -> PydanticCustomError | None:
    if isinstance(name, str) and _FIELD.fullmatch(name):
        return None
    if isinstance(name, str) and _FIELD.fullmatch(fixed := name.replace("-", "_")):
        return mistake("id-hyphen", f"{shown(name)} has a hyphen", fix=f"write `{fixed}`", key=True)
    from runner.manifest.wording import too_long  # the words for mistakes are loaded with the first one

    if isinstance(name, str) and (long := too_long(FIELD_PATTERN, name)):
        return mistake("id-pattern", long, key=True)
    return mistake("id-pattern", f"{shown(name)} is no name: letters, digits and underscores, no digit first", key=True)


def _fields(value: dict[Any, Any]) -> Found:
    for name, field in value.items():
        if error := _name_error(name):
            yield (name,), error
        elif name.endswith("?") and name[:-1] in value:
            yield (
                (name,),
                mistake("duplicate-field", f"`{name[:-1]}` is declared twice: required and optional", key=True),
            )
        elif isinstance(field, str):
            yield from check_type(field, (name,))
        else:
            yield from check(field, (name,))


def _as_map(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise mistake("wrong-type", f"expected a map of names to types, not {shown(value)}")
    return value


def read_inputs(value: Any) -> dict[str, Any]:
    """Inputs as they were written, all checked."""
    found = list(_fields(_as_map(value)))
    refused = {loc[0] for loc, _ in found}
    for name, field in value.items():
        if (
            name not in refused
            and isinstance(field, dict)
            and "default" in field
            and (why := misfit(field, field["default"]))
        ):
            found.append(((name, "default"), mistake("default-invalid", why)))
    if found:
        raise mistakes("inputs", found)
    return dict(value)


def read_returns(value: Any) -> dict[str, Any]:
    """Fields of `returns` as they were written, all checked."""
    fields = _as_map(value)
    if fields.get("type") == "object" and isinstance(fields.get("properties"), dict):
        raise mistake("returns-pasted-schema", "expected fields, not a whole JSON Schema", fix=_field_form(fields))
    if not fields:
        raise mistake("wrong-value", "expected at least one field, such as `ok: boolean`")
    if found := list(_fields(fields)):
        raise mistakes("returns", found)
    return dict(fields)


def _field_form(schema: dict[str, Any]) -> str:
    """`returns: {ok: boolean, note?: string}` for a pasted schema of an object."""
    required = schema.get("required")
    parts = []
    for name, field in list(schema["properties"].items())[:5]:
        mark = "" if isinstance(required, list) and name in required else "?"
        simple = isinstance(field, dict) and set(field) == {"type"} and isinstance(field["type"], str)
        parts.append(f"{name}{mark}: {field['type'] if simple else '{…}'}")
    more = ", …" if len(schema["properties"]) > 5 else ""
    return f"returns: {{{', '.join(parts)}{more}}}"[:200]


@dataclass(slots=True, eq=False)
class Declared:
    """A map of fields, checked by `read`."""

    read: Callable[[Any], dict[str, Any]]
    least: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        fields = {"type": "object", "patternProperties": {FIELD_PATTERN: FIELD_SCHEMA}, "additionalProperties": False}
        return {**fields, "minProperties": self.least} if self.least else fields


Inputs = Annotated[dict[str, Any], Declared(read_inputs, 0)]
Returns = Annotated[dict[str, Any], Declared(read_returns, 1)]
