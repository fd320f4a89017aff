"""`schemas/v1/*.schema.json`, generated from the models: draft-07, self-contained, made for editors as much as for validators."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema as cs

from runner.manifest.base import Frozen
from runner.manifest.config import Config
from runner.manifest.contracts import ApplyDocument, EventLine, PlanDocument, StatusDocument, ValidateDocument
from runner.manifest.contracts_models import CostDocument, ModeDocument, ModeHistoryDocument, RouteDocument
from runner.manifest.contracts_simulate import SimulateDocument
from runner.manifest.contracts_test import TestDocument
from runner.manifest.contracts_wide import DiffDocument, GcDocument, PlanFile
from runner.manifest.declarations import SELF_CONTAINED
from runner.manifest.documentation import field_docs
from runner.manifest.jsonschema_check import own_schema
from runner.manifest.keyed import KEYED, merge_keyed
from runner.manifest.model import Manifest, Partial
from runner.manifest.suite import Suite

REF = "#/definitions/"
_MAPS = ("properties", "patternProperties", "definitions", "dependencies")
_LISTS = ("anyOf", "oneOf", "allOf")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "propertyNames")


class Draft07(GenerateJsonSchema):
    """Pydantic's generator, for draft-07 and without noise: no titles of fields, no empty defaults."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # the order of the models is the order in which people think of the keys

    def model_schema(self, schema: cs.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        for key, text in field_docs(schema["cls"]).items():
            if key in made.get("properties", ()):
                made["properties"][key]["description"] = text
        return made

    def function_plain_schema(self, schema: cs.PlainValidatorFunctionSchema) -> JsonSchemaValue:
        model = getattr(schema["function"]["function"], "__self__", None)
        if isinstance(model, type) and issubclass(model, Frozen):
            return self.generate_inner(model.__pydantic_core_schema__)
        return super().function_plain_schema(schema)

    def default_schema(self, schema: cs.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default", 0) in (None, [], "") or isinstance(made.get("default"), dict):
            made.pop("default", None)
        return made

    def dict_schema(self, schema: cs.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made["additionalProperties"] = False
        elif "propertyNames" not in made and "additionalProperties" not in made:
            made["additionalProperties"] = True
        return made

    def tagged_union_schema(self, schema: cs.TaggedUnionSchema) -> JsonSchemaValue:
        keys = [str(tag).strip("<>") for tag in schema["choices"]]
        members = [self.generate_inner(choice) for choice in schema["choices"].values()]
        return {KEYED: dict(zip(keys, members, strict=True))}


def build(model: type[BaseModel], name: str, title: str) -> dict[str, Any]:
    """The schema of a document, named `name`.schema.json."""
    generated = model.model_json_schema(schema_generator=Draft07, ref_template=f"{REF}{{model}}", mode="validation")
    made = deepcopy(generated)  # parts of it are the models' own constants
    definitions: dict[str, Any] = made.pop("$defs", {})
    made["definitions"] = definitions
    merge_keyed(made, definitions, REF)
    definitions["JsonSchema"] = own_schema(f"{REF}JsonSchema")
    for word, definition in definitions.items():
        definition["title"] = _title(definition.get("title") or word)
    _polish(made)
    used = _reachable(made, definitions)
    made["definitions"] = {word: definitions[word] for word in sorted(definitions) if word in used}
    head = {"$schema": Draft07.schema_dialect, "$id": f"{name}.schema.json", "title": title}
    body = {key: value for key, value in made.items() if key not in ("title", "definitions")}
    return {**head, **body, **({"definitions": made["definitions"]} if made["definitions"] else {})}


def _title(word: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word)
    return spaced if "JSON" in spaced else spaced.capitalize()


def _children(schema: Any) -> Iterator[Any]:
    """The schemas right inside a schema."""
    for key in _MAPS:
        yield from (one for one in schema.get(key, {}).values() if isinstance(one, dict))
    for key in _LISTS:
        yield from schema.get(key, ())
    for key in _SINGLE:
        if isinstance(schema.get(key), dict):
            yield schema[key]


def _references(schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"]
    for child in _children(schema):
        yield from _references(child)


def _reachable(schema: dict[str, Any], definitions: Mapping[str, Any]) -> set[str]:
    waiting = [ref.removeprefix(REF) for ref in _references({**schema, "definitions": {}})]
    found: set[str] = set()
    while waiting:
        word = waiting.pop()
        if word not in found:
            found.add(word)
            waiting += [ref.removeprefix(REF) for ref in _references(definitions[word])]
    return found


def _polish(schema: dict[str, Any]) -> None:
    """Draft-07 ignores what stands beside `$ref`, and editors show `markdownDescription`."""
    for child in _children(schema):
        _polish(child)
    if schema.pop(SELF_CONTAINED, False):
        schema["$ref"] = f"{REF}JsonSchema"
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}]
    if isinstance(schema.get("description"), str):
        schema["description"] = " ".join(schema["description"].split())
        schema["markdownDescription"] = schema["description"]


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "manifest": lambda: build(Manifest, "manifest", "ARES manifest"),
    "partial": lambda: build(Partial, "partial", "ARES partial manifest"),
    "config": lambda: build(Config, "config", "ARES config"),
    "suite": lambda: build(Suite, "suite", "ARES suite of tests"),
    "validate": lambda: build(ValidateDocument, "validate", "Result of runner validate"),
    "plan": lambda: build(PlanDocument, "plan", "Result of runner plan"),
    "apply": lambda: build(ApplyDocument, "apply", "Result of runner apply"),
    "status": lambda: build(StatusDocument, "status", "Result of runner status"),
    "events": lambda: build(EventLine, "events", "A line of events"),
    "plan-file": lambda: build(PlanFile, "plan-file", "File of runner plan --out"),
    "diff": lambda: build(DiffDocument, "diff", "Result of runner diff"),
    "gc": lambda: build(GcDocument, "gc", "Result of runner gc"),
    "route": lambda: build(RouteDocument, "route", "Result of runner route"),
    "mode": lambda: build(ModeDocument, "mode", "Result of runner mode"),
    "mode-history": lambda: build(ModeHistoryDocument, "mode-history", "Result of runner mode history"),
    "cost": lambda: build(CostDocument, "cost", "Result of runner cost"),
    "test": lambda: build(TestDocument, "test", "Result of runner test"),
    "simulate": lambda: build(SimulateDocument, "simulate", "Result of runner simulate"),
}
"""Name → how its schema is made."""


def text(name: str) -> str:
    """A schema as the text of its file."""
    return json.dumps(SCHEMAS[name](), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> list[Path]:
    """Write every schema to `folder`; the files, in the order of SCHEMAS."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.schema.json" for name in SCHEMAS]
    for name, file in zip(SCHEMAS, files, strict=True):
        file.write_text(text(name), encoding="utf-8")
    return files


def check(folder: Path) -> list[str]:
    """The schemas whose file in `folder` is missing or not what `write` would write."""
    files = {name: folder / f"{name}.schema.json" for name in SCHEMAS}
    return [
        name for name, file in files.items() if not file.is_file() or file.read_text(encoding="utf-8") != text(name)
    ]
