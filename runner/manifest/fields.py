"""What `returns` and `inputs` mean: the JSON Schema of an object, and the declaration of each input."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class InputDecl(NamedTuple):
    """One input. `schema` has neither `default` nor `description`; an optional input also takes null. `default` is None when not given."""

    schema: Mapping[str, Any]
    required: bool
    default: Any = None
    description: str = ""


def object_schema(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of the object that `returns` describes. `name?` is not required and may be null; more properties are allowed."""
    declared = {name.removesuffix("?"): _schema(field) for name, field in fields.items()}
    required = [name for name in fields if not name.endswith("?")]
    properties = {name: schema if name in required else nullable(schema) for name, schema in declared.items()}
    return {"type": "object", "properties": properties, "required": required}


def input_specs(inputs: Mapping[str, Any]) -> dict[str, InputDecl]:
    """The inputs by name, without the `?`. One with a `default` is optional too."""
    return {name.removesuffix("?"): _input(field, name.endswith("?")) for name, field in inputs.items()}


def _input(field: Any, optional: bool) -> InputDecl:
    schema = _schema(field)
    description = schema.pop("description", "")
    required = not optional and "default" not in schema
    default = schema.pop("default", None)
    return InputDecl(nullable(schema) if optional else schema, required, default, description)


def _schema(field: Any) -> dict[str, Any]:
    return {"type": field} if isinstance(field, str) else dict(field)


def nullable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that also takes null."""
    if isinstance(schema.get("type"), str) and not schema.keys() & {
        "enum",
        "const",
        "not",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
    }:
        return {**schema, "type": [schema["type"], "null"]}
    outer = {key: schema[key] for key in ("title", "description") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in outer}
    return {**outer, "anyOf": [inner, {"type": "null"}]}
