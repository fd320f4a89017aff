"""The tables of keys in the reference pages, from the JSON Schemas, which come from the models: their text is the models' docstrings.

A page says where a table goes: `<!-- keys of manifest.schema.json: Retry -->`, up to `<!-- end -->`. Everything around is written by hand.
"""

from __future__ import annotations

import json
import re
from typing import Any

from project import ROOT

from runner.manifest.model import STEP_CLASSES
from runner.manifest.types import duration_text
from runner.manifest.vocabulary import ERROR_CLASSES

PAGES = (ROOT / "docs" / "manifest-reference.md", ROOT / "docs" / "config-reference.md")
PLACE = re.compile(r"(<!-- keys of (\w+)\.schema\.json: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROOTS = {"manifest": "Manifest", "config": "Config"}
VERBS = [step.verb for step in STEP_CLASSES]


def filled(page: str) -> str:
    """`page` with every table as it should be."""
    return PLACE.sub(lambda found: f"{found[1]}\n{table(found[2], found[3])}\n{found[4]}", page)


def schema(document: str) -> dict[str, Any]:
    """schemas/v1/`document`.schema.json."""
    loaded: dict[str, Any] = json.loads((ROOT / "schemas" / "v1" / f"{document}.schema.json").read_text())
    return loaded


def objects(document: str) -> dict[str, dict[str, Any]]:
    """Every kind of map of a document by its name, with its keys. Left out: JSON Schema itself, which is not ours to explain."""
    whole = schema(document)
    found = {ROOTS[document]: whole, **whole["definitions"]}
    return {name: part for name, part in found.items() if "properties" in part and name != "JsonSchema"}


def table(document: str, name: str) -> str:
    """The keys of one kind of map, as Markdown."""
    part = objects(document)[name]
    required = set(part.get("required", ()))
    steps = document == "manifest" and name == "Step"
    head = (
        "| key | value | meaning |" + (" of verbs |" if steps else "") + "\n|---|---|---|" + ("---|" if steps else "")
    )
    rows = [_row(key, value, key in required, steps) for key, value in part["properties"].items()]
    return "\n".join([head, *rows]) + "\n"


def _row(key: str, value: dict[str, Any], required: bool, steps: bool) -> str:
    described = value.get("description", "") + (" **Required.**" if required else "")
    if "default" in value and "default" not in described:
        described += f" Default: {_default(value)}."
    cells = [f"`{key}`", kind(value), described.strip(), *([_verbs(key)] if steps else [])]
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells) + " |"


def _default(value: dict[str, Any]) -> str:
    """Durations are milliseconds in the models, and text for people."""
    default = value["default"]
    text = duration_text(default) if kind(value).startswith("duration") and isinstance(default, int) else default
    return f"`{text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)}`"


def _verbs(key: str) -> str:
    """Which verbs take a key."""
    takers = [
        step.verb for step in STEP_CLASSES if key in {field.alias or name for name, field in step.model_fields.items()}
    ]
    return "all" if takers == VERBS else "–" if takers == [key] else ", ".join(takers)


def kind(value: dict[str, Any]) -> str:
    """What a key holds, in a few words."""
    for union in ("anyOf", "oneOf"):
        if union in value:
            return _joined([kind(member) for member in value[union]])
    if "allOf" in value:
        return kind(value["allOf"][0])
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        return "JSON Schema" if name == "JsonSchema" else f"[{name}](#{name.lower()})"
    if value.get("enum") == list(ERROR_CLASSES):
        return "[error class](#error-classes)"
    if "const" in value or "enum" in value:
        return _joined([f"`{word}`" for word in value.get("enum", [value.get("const")])])
    if isinstance(value.get("type"), list):
        return _joined([kind({**value, "type": one}) for one in value["type"]])
    return _plain(value)


def _plain(value: dict[str, Any]) -> str:
    match value.get("type"):
        case "string":
            return _text(value)
        case "array":
            return f"list of {kind(value['items'])}" if value.get("items") else "list"
        case "object":
            inner = next(iter(value.get("patternProperties", {}).values()), value.get("additionalProperties"))
            return f"map of {kind(inner)}" if isinstance(inner, dict) and inner else "map"
        case "boolean":
            return "true or false"
        case "null":
            return "none"
        case str(word):
            return word
    return "anything"


def _text(value: dict[str, Any]) -> str:
    pattern = value.get("pattern", "")
    if "(ms|s|m|h|d)" in pattern:
        return "duration" + (", template" if r"\{\{" in pattern else "")
    if pattern == r"\{\{":
        return "template"
    if "[kM]" in pattern:
        return "text such as `2k`"
    return "`${NAME}`" if pattern.startswith(r"^\$") else "text"


def _joined(words: list[str]) -> str:
    """Each once; a long choice that may be one or a list is told once, too."""
    once = list(dict.fromkeys(words))
    both = [word for word in once if "," in word and f"list of {word}" in once]
    told = [f"{word}, or one" if word.removeprefix("list of ") in both else word for word in once if word not in both]
    return ", ".join(told)
