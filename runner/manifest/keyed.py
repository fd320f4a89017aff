"""Unions of maps that one key tells apart, as one JSON Schema: all keys known at once, so that editors complete them, and rules by that key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYED = "x-keyed"
"""Marks a union: {key that names the member: the member's schema, a reference}."""

_NAMES = {
    "approve": ("Step", "A step: exactly one verb, and the keys that the verb can use."),
    "expr": ("Check", "A check: one of expr, run, changed, judge."),
}
_FALLBACK = ("FallbackEntry", "Another way to do the step: a verb with its own keys.")


def merge_keyed(schema: Any, definitions: dict[str, Any], ref: str) -> None:
    """Replace every marked union in `schema` by a reference to one merged definition."""
    if isinstance(schema, list):
        for one in schema:
            merge_keyed(one, definitions, ref)
    elif isinstance(schema, dict):
        members = schema.pop(KEYED, None)
        if members is not None:
            name, description = next((_NAMES[key] for key in members if key in _NAMES), _FALLBACK)
            schema["$ref"] = f"{ref}{name}"
            if name not in definitions:
                resolved = {key: definitions[member["$ref"].removeprefix(ref)] for key, member in members.items()}
                definitions[name] = _merged(resolved, description)
        for one in list(schema.values()):
            merge_keyed(one, definitions, ref)


def _merged(members: Mapping[str, dict[str, Any]], description: str) -> dict[str, Any]:
    properties: dict[str, Any] = {key: {} for key in members}
    for member in members.values():
        for key, value in member["properties"].items():
            known = properties.get(key) or value
            properties[key] = known if _same(known, value) else {"description": known["description"]}
    # What every member says stands beside the properties; the rest depends on the verb.
    shared = {
        key: value
        for key, value in next(iter(members.values())).items()
        if key in ("not", "dependencies") and all(member.get(key) == value for member in members.values())
    }
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "oneOf": [{"required": [key]} for key in members],
        **shared,
        "allOf": [rule for key, member in members.items() if (rule := _rule(key, member, properties))],
    }


def _same(one: Any, other: Any) -> bool:
    """Whether two schemas say the same in perhaps other words."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return bool(one == other)
    return {**one, "description": ""} == {**other, "description": ""}


def _rule(key: str, member: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """What holds beside `key`: keys that are not for it, keys that it requires, and its own form of a shared key."""
    own = member["properties"]
    beside = {name: own.get(name, False) for name in properties if not _same(own.get(name), properties[name])}
    then: dict[str, Any] = {"properties": beside} if beside else {}
    required = [name for name in member.get("required", ()) if name != key]
    if required:
        then["required"] = required
    return {"if": {"required": [key]}, "then": then} if then else None
