"""Every key of a document with its place, its documentation and what it may hold: a walk over the JSON Schemas, which come from the
models and their docstrings. Not here: how an explanation is put together (`topics`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from runner.manifest.schema import REF, SCHEMAS
from runner.manifest.steps import STEP_CLASSES
from runner.manifest.types import duration_text
from runner.manifest.vocabulary import ERROR_CLASSES, VERBS

ANY = "*"
"""In a place: a name that the author chooses."""
_OPAQUE = f"{REF}JsonSchema"
"""JSON Schema itself: not ours to explain."""
_Schema = Mapping[str, Any]
STEPS = {str(verb): step for verb, step in zip(VERBS, STEP_CLASSES, strict=True)}
"""Verb → the class of its steps."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key. `place`: keys from the document's root, `*` for a chosen name; lists are not seen. `holds`: what its value may be.
    `keys`: (key, documentation) of the map that it holds. `verbs`: which steps take it, empty for keys of no step."""

    document: str
    place: tuple[str, ...]
    text: str
    holds: str
    default: str
    required: bool
    keys: tuple[tuple[str, str], ...]
    verbs: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return ".".join(self.place)

    @property
    def meaning(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What two places of the same key have in common."""
        return self.text, self.holds, self.keys


@cache
def keys(document: str) -> tuple[Key, ...]:
    """The keys of `manifest` or `config`, outer ones first."""
    root = SCHEMAS[document]()
    return tuple(_Walk(document, root["definitions"]).keys_of(root, (), ()))


class _Walk:
    """The walk over one document; `definitions` are what its references name."""

    def __init__(self, document: str, definitions: Mapping[str, _Schema]) -> None:
        self._document, self._definitions = document, definitions

    def keys_of(self, schema: _Schema, place: tuple[str, ...], inside: tuple[str, ...]) -> Iterator[Key]:
        """All keys below. `inside`: the definitions that we are in: a map that holds its own kind is not entered again."""
        found: dict[str, Key] = {}
        deeper: list[tuple[_Schema, tuple[str, ...], tuple[str, ...]]] = []
        for each, names in self._maps(schema, inside):
            for name, value in each.get("properties", {}).items():
                said = self._said(each, name, value)
                found.setdefault(name, self._key(each, name, said, place, names))
                deeper.append((said, (*place, name), names))
            for value in self._chosen(each):
                deeper.append((value, (*place, ANY), names))
        yield from found.values()
        for value, where, names in deeper:
            yield from self.keys_of(value, where, names)

    def _key(self, owner: _Schema, name: str, value: _Schema, place: tuple[str, ...], inside: tuple[str, ...]) -> Key:
        below = [
            (key, str(said.get("description", "")))
            for each, _ in self._maps(value, inside)
            for key, said in each.get("properties", {}).items()
        ]
        return Key(
            document=self._document,
            place=(*place, name),
            text=str(value.get("description", "")),
            holds=self._holds(value),
            default=self._default(value),
            required=name in owner.get("required", ()),
            keys=tuple(dict(below).items()),
            verbs=_takers(name) if inside[-1:] == ("Step",) else (),
        )

    def _said(self, owner: _Schema, name: str, value: _Schema) -> _Schema:
        """What a key of a merged union holds stands in the rules of its members, where they differ."""
        if set(value) - {"description", "markdownDescription"}:
            return value
        for rule in owner.get("allOf", ()):
            own = rule.get("then", {}).get("properties", {}).get(name)
            if isinstance(own, dict):
                return {**own, "description": value.get("description", own.get("description", ""))}
        return value

    def _maps(self, schema: _Schema, inside: tuple[str, ...]) -> Iterator[tuple[_Schema, tuple[str, ...]]]:
        """The maps that a value may be: itself, behind a reference, among alternatives, in a list."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(REF)
            if schema["$ref"] != _OPAQUE and name not in inside:
                yield from self._maps(self._definitions[name], (*inside, name))
            return
        if (
            "properties" in schema
            or "patternProperties" in schema
            or isinstance(schema.get("additionalProperties"), dict)
        ):
            yield schema, inside
            return
        for inner in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
            yield from self._maps(inner, inside)
        if isinstance(schema.get("items"), dict):
            yield from self._maps(schema["items"], inside)

    def _chosen(self, schema: _Schema) -> Iterator[_Schema]:
        yield from schema.get("patternProperties", {}).values()
        if isinstance(schema.get("additionalProperties"), dict):
            yield schema["additionalProperties"]

    # ------------------------------------------------ values in words

    def _holds(self, schema: _Schema) -> str:
        words = list(dict.fromkeys(self._kinds(schema)))
        return ", or ".join(words) if len(words) < 3 else ", ".join(words[:-1]) + f", or {words[-1]}"

    def _kinds(self, schema: _Schema) -> Iterator[str]:
        for inner in (*schema.get("anyOf", ()), *schema.get("allOf", ())[:1]):
            yield from self._kinds(inner)
        if "anyOf" in schema or "allOf" in schema:
            return
        if "$ref" in schema:
            yield "JSON Schema" if schema["$ref"] == _OPAQUE else "map"
        elif schema.get("enum") == list(ERROR_CLASSES):
            yield "error class"
        elif "enum" in schema or "const" in schema:
            yield from (str(word) for word in schema.get("enum", [schema.get("const")]))
        elif isinstance(schema.get("type"), list):
            for one in schema["type"]:
                yield from self._kinds({**schema, "type": one})
        else:
            yield self._plain(schema)

    def _plain(self, schema: _Schema) -> str:
        match schema.get("type"):
            case "string":
                return _text(str(schema.get("pattern", "")))
            case "array":
                items = schema.get("items")
                return f"list of {self._holds(items)}" if isinstance(items, dict) and items else "list"
            case "object":
                return "map"
            case "boolean":
                return "true or false"
            case "null":
                return "none"
            case str(word):
                return word
        return "anything"

    def _default(self, schema: _Schema) -> str:
        if "default" not in schema:
            return ""
        value = schema["default"]
        if isinstance(value, int) and not isinstance(value, bool) and self._holds(schema).startswith("duration"):
            return duration_text(value)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(pattern: str) -> str:
    if "(ms|s|m|h|d)" in pattern:
        return "duration such as 90s" + (", or template" if r"\{\{" in pattern else "")
    if pattern == r"\{\{":
        return "template"
    if "[kM]" in pattern:
        return "text such as 2k"
    return "${NAME}" if pattern.startswith(r"^\$") else "text"


def _takers(key: str) -> tuple[str, ...]:
    takers = tuple(
        verb
        for verb, step in STEPS.items()
        if key in {field.alias or name for name, field in step.model_fields.items()}
    )
    return () if len(takers) == len(STEPS) else takers


def parts(word: str) -> list[str]:
    """A path as people write it, or as a diagnostic names it, as keys: `steps.a.checks[0].expr` → steps, a, checks, expr."""
    plain, rest = "", word
    while rest:
        before, bracket, rest = rest.partition("[")
        plain += before
        if bracket:
            rest = rest.partition("]")[2]
    return [part for part in plain.replace("..", ".").split(".") if part]


def matching(words: Sequence[str], found: Sequence[Key]) -> list[Key]:
    """The keys whose place is, or ends with, these words; `*` of a place is any word. Whole places first, then
    those of steps, then shorter ones."""
    hits = [
        key for key in found if len(words) <= len(key.place) and _fits(words, key.place[len(key.place) - len(words) :])
    ]
    return sorted(hits, key=lambda key: (len(key.place) != len(words), key.place[0] != "steps", len(key.place)))


def _fits(words: Sequence[str], place: Sequence[str]) -> bool:
    if words[-1] != place[-1]:
        return False
    return all(word in (part, ANY) or part == ANY for word, part in zip(words, place, strict=True))
