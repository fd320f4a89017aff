"""The published JSON Schemas: fresh, valid, and of one mind with the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from runner.core.states import RUN_STATES, STEP_STATES
from runner.diagnostics.model import Diagnostic
from runner.diagnostics.render import to_json
from runner.diagnostics.rules import RULES
from runner.manifest.answers import Answer, Binary
from runner.manifest.checked import check as check_model
from runner.manifest.contracts import RunState, StepState
from runner.manifest.model import FALLBACK_VERBS, STEP_CLASSES, STEP_KEYS, Manifest
from runner.manifest.schema import SCHEMAS, check, text, write
from runner.manifest.suite import (
    Approval,
    Case,
    Expect,
    ExpectedCost,
    ExpectedFile,
    ExpectedStep,
    Resolution,
    Suite,
)
from runner.manifest.vocabulary import PLAIN_VERBS, VERBS
from runner.source import Span
from runner.syntax import read

ROOT = Path(__file__).parent.parent.parent
CORPUS = ROOT / "tests" / "corpus"
DOCUMENTS = {name: json.loads(text(name)) for name in SCHEMAS}
VALIDATORS = {name: jsonschema.Draft7Validator(schema) for name, schema in DOCUMENTS.items()}

BEYOND_A_SCHEMA = {
    "bad/changed-bounds": "compares two values",
    "bad/changed-glob": "a rule about each part of a path",
    "bad/input-default": "compares a value to a schema in the same document",
    "bad/input-default-bound": "compares a value to a schema in the same document",
    "bad/input-pattern": "`format: regex` is an annotation",
    "bad/input-twice": "compares keys",
    "bad/schedule-range": "a rule about numbers inside text",
    "bad-config/agent-filter": "a rule about parts of text",
    "bad-config/agent-prompt-as-name": "as below",
    "bad-config/agent-unknown-name": "looks for text anywhere inside",
    "bad-config/agent-without-prompt": "looks for text anywhere inside",
    "bad-config/empty-chain": "one list for all chains, and an empty one may stand elsewhere",
    "bad-config/empty-rule-chain": "as above",
    "bad-config/endpoint-without-url": "depends on the entry's name and on another key",
    "bad-config/env-syntax": "a rule about parts of text",
    "bad-config/hard-cap": "counts have two forms",
    "bad-config/header-literal": "depends on the header's name",
    "bad-config/moltworker-without-url": "depends on the preset",
    "bad-config/idle-backup": "a reference",
    "bad-config/distant-tier": "a rule about hosts",
    "bad-config/not-local": "a rule about hosts",
    "bad-config/regex": "`format: regex` is an annotation",
    "bad-config/reserved-endpoint": "depends on the entry's name",
    "bad-config/reserved-server": "depends on the entry's name",
    "bad-config/server-not-local": "a rule about hosts",
    "bad-config/timezone": "the list of zones is the system's",
    "bad-config/tool-server-as-executor": "a reference",
    "bad-config/two-proxy-urls": "compares two values",
    "bad-config/unknown-chain": "a reference",
    "bad-config/unknown-endpoint": "a reference",
    "bad-config/unknown-executor": "a reference",
    "bad-config/unknown-model": "a reference",
    "bad-config/unreachable-rule": "compares rules",
    "bad-config/url-metadata": "a rule about hosts",
    "bad-config/url-password": "a rule about parts of a URL",
}
KINDS = {"": "manifest", "-partial": "partial", "-config": "config", "-suite": "suite"}


def data_of(file: Path) -> Any:
    documents, diagnostics = read(file.read_bytes(), file.name)
    assert not diagnostics
    return documents[0].data


def corpus(verdict: str) -> list[Any]:
    return [
        pytest.param(file, kind, id=f"{verdict}{suffix}/{file.stem}")
        for suffix, kind in KINDS.items()
        for file in sorted((CORPUS / f"{verdict}{suffix}").glob("*.yaml"))
    ]


def test_the_files_are_what_the_models_give() -> None:
    assert check(ROOT / "schemas" / "v1") == [], "run: runner schema --write schemas/v1"


def test_write_then_check_finds_nothing_and_an_edit_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    assert check(tmp_path) == []
    (tmp_path / "plan.schema.json").write_text("{}")
    (tmp_path / "apply.schema.json").unlink()
    assert check(tmp_path) == ["plan", "apply"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_draft_07_self_contained_and_documented(name: str) -> None:
    schema = DOCUMENTS[name]
    jsonschema.Draft7Validator.check_schema(schema)
    assert schema["$id"] == f"{name}.schema.json" and schema["title"]
    assert all(ref.startswith("#/definitions/") for ref in _values(schema, "$ref"))
    for key, value in schema["properties"].items():
        assert "markdownDescription" in documented(name, value), key
    assert "x-keyed" not in text(name) and "x-json-schema" not in text(name)


def documented(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or the one that it refers to when that speaks for it."""
    ref = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one), None)
    return {**(DOCUMENTS[name]["definitions"][ref.removeprefix("#/definitions/")] if ref else {}), **schema}


def _values(schema: Any, key: str) -> list[str]:
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    own = [schema[key]] if isinstance(schema, dict) and isinstance(schema.get(key), str) else []
    return own + [found for one in inner for found in _values(one, key)]


@pytest.mark.parametrize(("file", "kind"), corpus("good"))
def test_schema_accepts_what_the_models_accept(file: Path, kind: str) -> None:
    assert [error.message for error in VALIDATORS[kind].iter_errors(data_of(file))] == []


SUITES = [*sorted((CORPUS / "good-suite").glob("*.yaml")), *sorted((ROOT / "manifests").rglob("tests/*.yaml"))]


@pytest.mark.parametrize("file", [file for file in SUITES if ".recording" not in file.name], ids=lambda file: file.stem)
def test_models_and_schema_accept_good_suites(file: Path) -> None:
    assert check_model(Suite, data_of(file))[1] == []
    assert [error.message for error in VALIDATORS["suite"].iter_errors(data_of(file))] == []


@pytest.mark.parametrize("file", sorted((CORPUS / "bad-suite").glob("*.yaml")), ids=lambda file: file.stem)
def test_models_refuse_bad_suites_in_words_of_ours(file: Path) -> None:
    [problem] = check_model(Suite, data_of(file))[1]
    assert problem.rule in RULES and "pydantic" not in problem.message.lower()


def test_the_good_suites_use_every_key() -> None:
    models = (Suite, Case, Expect, ExpectedStep, ExpectedFile, ExpectedCost, Approval, Resolution, Answer, Binary)
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    assert keys - set(_keys(data_of(CORPUS / "good-suite" / "full.yaml"))) - {"text"} == set()


def _keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*value, *(key for one in value.values() for key in _keys(one))]
    return [key for one in value for key in _keys(one)] if isinstance(value, list) else []


@pytest.mark.parametrize("file", sorted((CORPUS / "good").glob("*.yaml")), ids=lambda file: file.stem)
def test_models_accept_the_good_corpus(file: Path) -> None:
    assert check_model(Manifest, data_of(file))[1] == []


@pytest.mark.parametrize(("file", "kind"), corpus("bad"))
def test_schema_refuses_what_the_models_refuse_as_far_as_a_schema_can(file: Path, kind: str) -> None:
    beyond = f"{file.parent.name}/{file.stem}" in BEYOND_A_SCHEMA
    assert VALIDATORS[kind].is_valid(data_of(file)) == beyond


def test_the_good_corpus_uses_every_key_of_every_verb() -> None:
    used: set[str] = set()
    for file in sorted((CORPUS / "good").glob("*.yaml")):
        used |= {key for step in data_of(file)["steps"].values() for key in step}
    assert used == STEP_KEYS


def test_editors_see_all_keys_of_a_step_at_once() -> None:
    step = DOCUMENTS["manifest"]["definitions"]["Step"]
    assert set(step["properties"]) == STEP_KEYS
    assert step["oneOf"] == [{"required": [verb]} for verb in VERBS]
    for key in STEP_KEYS:
        assert "description" in documented("manifest", step["properties"][key]), key


@pytest.mark.parametrize("step", STEP_CLASSES, ids=lambda step: step.verb)
def test_schema_and_class_agree_on_every_key_of_every_verb(step: Any) -> None:
    own = {field.alias or name for name, field in step.model_fields.items()}
    bodies = {"run": ["make"], "wait": "1m", "set": {"a": 1}, "tool": "a.b", "call": "a"}
    values = {
        "needs": ["b"], "when": "true", "foreach": [1], "matrix": {"a": [1]}, "labels": {}, "optional": True, "with": {}, "show": [],
        "otherwise": "fail", "timeout": "1m", "route": {}, "fallback": [], "faults": {}, "checks": [], "repair": {"max": 1},
        "returns": {"a": "string"}, "effects": "once", "reuse": "auto", "files": [], "save": "a", "env": {}, "cwd": "a", "budget": {},
        "workspace": {"git": "worktree"},
    }  # fmt: skip
    for key, value in values.items():
        data = {"ares": "v1", "name": "a", "steps": {"a": {step.verb: bodies.get(step.verb, "Hi"), key: value}}}
        assert VALIDATORS["manifest"].is_valid(data) == (key in own), key
        assert (check_model(Manifest, data)[0] is not None) == (key in own), key


def test_plain_verbs_take_the_keys_that_the_language_says() -> None:
    plain = {"needs", "when", "foreach", "matrix", "max_parallel", "join", "labels", "optional"}
    for step in STEP_CLASSES:
        keys = {field.alias or name for name, field in step.model_fields.items()} - {step.verb}
        if step.verb in PLAIN_VERBS:
            assert keys == plain | ({"timeout", "show", "otherwise"} if step.verb == "approve" else set())
    assert set(FALLBACK_VERBS) == set(VERBS) - PLAIN_VERBS


def test_contracts_name_every_state() -> None:
    assert set(get_args(StepState)) == set(STEP_STATES)
    assert set(get_args(RunState)) == {*RUN_STATES, "interrupted"}


def test_the_document_of_validate_keeps_its_contract() -> None:
    diagnostics = [
        Diagnostic("a.yaml", Span(1, 2, 1, 5), "error", "unknown-key", "steps.a", "no", None),
        Diagnostic("b.yaml", None, "note", "empty", "", "nothing", "write something"),
    ]
    VALIDATORS["validate"].validate(to_json(diagnostics, 2))


def test_the_document_of_apply_takes_items_and_errors() -> None:
    item = {"state": "failed", "attempts": 2, "reused": False, "executor": None, "model": None}
    error = {"class": "timeout", "message": "too slow"}
    run = {
        "manifest": "a", "run": "r1", "action": "create", "state": "failed", "reasons": [], "outputs": None, "cost_usd": 0.0,
        "steps": {"a": {**item, "error": None, "items": {"0": {**item, "error": error}}}},
    }  # fmt: skip
    document = {"version": 1, "outcome": "failed", "exit_code": 1, "runs": [run]}
    VALIDATORS["apply"].validate(document)
    assert not VALIDATORS["apply"].is_valid({**document, "outcome": "fine"})
