"""Outputs that nobody knows yet: a value that a step's `returns` allows, or that its readers can read.

Which of several is chosen by a `Pick`: the first one of all, or by a seed. Nothing here is ever presented as a real result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.graph import GraphStep, Json
from runner.simulate.reading import Expected
from runner.simulate.scenario import Pick

DEPTH = 8
MOST = 3
"""Items of an invented list, at most, unless more are asked for."""
NOTHING = Expected()


def invent(step: GraphStep, expected: Expected, place: str, pick: Pick) -> Json:
    """An output of `step`. `place` names this very output, so that the same is invented again after a death of the runner."""
    if step.returns is not None:
        return of_schema(step.returns, expected, place, pick, 0)
    if step.verb != "tool":
        return _text(expected, place, pick)  # what a command or a model says without `returns` is text
    if step.fan is not None and expected.items is not None:
        expected = expected.items  # its readers see a list of what each item gives
    return of_readers(expected, place, pick, 0)


# ---------------------------------------------------------------- by what is read


def of_readers(expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    """A value that every reader can use."""
    if expected.fields and depth < DEPTH:
        return {key: of_readers(part, f"{place}.{key}", pick, depth + 1) for key, part in expected.fields.items()}
    if expected.items is not None and depth < DEPTH:
        count = _count(place, pick, 0, None)
        return [of_readers(expected.items, f"{place}[{index}]", pick, depth + 1) for index in range(count)]
    if expected.truth:
        return (True, False)[pick(place, 2)]
    if expected.number is not None:
        return (expected.number + 1, expected.number, expected.number - 1)[pick(place, 3)]
    return _text(expected, place, pick)


def _text(expected: Expected, place: str, pick: Pick) -> str:
    words = [*expected.words, f"{place} (simulated)"]
    if expected.number is not None and not expected.words:
        words.insert(0, str(expected.number + 1))
    return words[pick(place, len(words))]


def _count(place: str, pick: Pick, least: int, most: int | None) -> int:
    """How many items a list has: two when the first choice is taken."""
    top = max(least, MOST) if most is None else min(most, max(least, MOST))
    counts = sorted(range(least, top + 1), key=lambda count: (count != min(max(2, least), top), count))
    return counts[pick(f"{place}#", len(counts))] if counts else least


# ---------------------------------------------------------------- by a schema


def of_schema(schema: Any, expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    """A value that a JSON Schema allows, as far as its plain words go (`type`, `enum`, `const`, bounds, `properties`, `items`,
    `anyOf`, `oneOf`, `allOf`); patterns and formats are not looked at, but for the usual ones."""
    if not isinstance(schema, Mapping) or depth > DEPTH:
        return of_readers(expected, place, pick, depth)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return _one_of(list(schema["enum"]), expected, place, pick)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = list(schema[key])
            return of_schema(options[pick(f"{place}?", len(options))], expected, place, pick, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= part if isinstance(part, Mapping) else {}
        return of_schema(
            {**merged, **{k: v for k, v in schema.items() if k != "allOf"}}, expected, place, pick, depth + 1
        )
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kinds = [one for one in kind if one != "null"] or ["null"]
        kind = kinds[pick(f"{place}?", len(kinds))]
    make = _KINDS.get(kind) if isinstance(kind, str) else None
    return make(schema, expected, place, pick, depth) if make else of_readers(expected, place, pick, depth)


def _one_of(options: list[Json], expected: Expected, place: str, pick: Pick) -> Json:
    """The words that somebody compares it with come first."""
    liked = [option for option in options if isinstance(option, str) and option in expected.words]
    ordered = liked + [option for option in options if option not in liked]
    return ordered[pick(place, len(ordered))]


def _object(schema: Mapping[str, Any], expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    properties = schema.get("properties", {})
    return {
        key: of_schema(part, expected.fields.get(key, NOTHING), f"{place}.{key}", pick, depth + 1)
        for key, part in properties.items()
    } | {key: f"{place}.{key} (simulated)" for key in schema.get("required", ()) if key not in properties}


def _array(schema: Mapping[str, Any], expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    count = _count(place, pick, int(schema.get("minItems", 0)), schema.get("maxItems"))
    of = schema.get("items", {})
    part = expected.items or NOTHING
    items = [of_schema(of, part, f"{place}[{index}]", pick, depth + 1) for index in range(min(count, 1_000))]
    if schema.get("uniqueItems"):
        items = [item for index, item in enumerate(items) if item not in items[:index]]
    return items


def _string(schema: Mapping[str, Any], expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    text = _FORMATS.get(str(schema.get("format", ""))) or _text(expected, place, pick)
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    text = text.ljust(min(least, 10_000), ".")
    return text if most is None else text[: int(most)]


def _number(schema: Mapping[str, Any], expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    whole = schema.get("type") == "integer"
    low, high = _bound(schema, "inimum", 1), _bound(schema, "aximum", -1)
    wished = [] if expected.number is None else [expected.number + 1, expected.number, expected.number - 1]
    middle = low if low is not None else high if high is not None and high < 1 else 1
    options = [value for value in [*wished, middle, high] if value is not None and _within(value, low, high)] or [
        middle
    ]
    value = options[pick(place, len(options))]
    return int(value) if whole else value


def _bound(schema: Mapping[str, Any], name: str, step: int) -> Any:
    plain, beyond = schema.get(f"m{name}"), schema.get(f"exclusiveM{name}")
    return plain if not isinstance(beyond, int | float) or isinstance(beyond, bool) else beyond + step


def _within(value: Any, low: Any, high: Any) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _boolean(schema: Mapping[str, Any], expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    return (True, False)[pick(place, 2)]


def _null(schema: Mapping[str, Any], expected: Expected, place: str, pick: Pick, depth: int) -> Json:
    return None


_KINDS = {
    "object": _object, "array": _array, "string": _string, "number": _number, "integer": _number, "boolean": _boolean, "null": _null,
}  # fmt: skip
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "time": "00:00:00Z", "email": "somebody@example.com",
    "uri": "https://example.com/simulated", "uuid": "00000000-0000-4000-8000-000000000000",
}  # fmt: skip
