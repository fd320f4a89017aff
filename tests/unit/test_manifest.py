"""The manifest's models: shapes after validation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from counting import calls

from runner.manifest.checked import check
from runner.manifest.model import (
    AgentStep,
    ApproveStep,
    ChangedCheckEntry,
    Frozen,
    JudgeCheck,
    Manifest,
    ModelFallback,
    Partial,
    RunCheck,
    RunStep,
    SetStep,
    ToolStep,
    WaitStep,
)
from runner.manifest.types import duration_text, read_duration
from runner.syntax import read

CORPUS = Path(__file__).parent.parent / "corpus"


def load(name: str) -> Manifest:
    documents, diagnostics = read((CORPUS / "good" / f"{name}.yaml").read_bytes(), name)
    assert not diagnostics
    manifest, problems = check(Manifest, documents[0].data)
    assert manifest is not None, problems
    return manifest


def step(**keys: Any) -> Any:
    manifest, problems = check(Manifest, {"ares": "v1", "name": "a", "steps": {"a": keys}})
    assert manifest is not None, problems
    return manifest.steps["a"]


def test_the_design_example_becomes_the_classes_of_its_verbs() -> None:
    manifest = load("fix-issue")
    assert {id: step.verb for id, step in manifest.steps.items()} == {
        "fetch": "tool",
        "triage": "model",
        "fix": "agent",
        "test": "run",
        "review": "call",
        "gate": "approve",
        "pr": "tool",
    }
    fetch, fix, gate = manifest.steps["fetch"], manifest.steps["fix"], manifest.steps["gate"]
    assert isinstance(fetch, ToolStep) and fetch.with_ == {"number": "{{ inputs.issue }}"}
    assert isinstance(fix, AgentStep) and fix.agent.file == "prompts/fix.md"
    assert fix.timeout and (fix.timeout.total, fix.timeout.idle) == (1_800_000, 300_000)
    assert [type(one) for one in fix.checks] == [RunCheck, ChangedCheckEntry, JudgeCheck]
    assert isinstance(fix.fallback[0], ModelFallback) and fix.fallback[0].errors == ("quota", "unavailable")
    assert isinstance(gate, ApproveStep) and gate.timeout and gate.timeout.total == 86_400_000
    assert isinstance(manifest.finally_["report"], RunStep)
    assert manifest.budget and manifest.budget.tokens == 2_000_000


def test_short_forms_become_the_long_ones() -> None:
    assert step(run=["make"]).run.argv == ("make",)
    assert step(run="make all").run.script == "make all"
    assert step(agent="Fix it").agent.prompt == "Fix it"
    assert step(run=["x"], timeout="10m").timeout.total == 600_000
    assert step(run=["x"], save="out.md").save.path == "out.md"
    assert step(run=["x"], needs="b").needs == ("b",)
    assert step(run=["x"], labels=["core"]).labels == {"core": True}
    assert step(run=["x"], foreach=[1, 2]).foreach.in_ == (1, 2)
    assert step(run=["x"], foreach="{{ vars.xs }}").foreach.in_ == "{{ vars.xs }}"
    assert step(run=["x"], checks=[{"judge": "Good", "min": 1}]).checks[0].judge.prompt == "Good"
    assert step(run=["x"], faults={"degraded": {"skip": "optional"}}).faults.degraded.skip == ("optional",)
    assert step(wait="1h30m").wait.duration == 5_400_000
    assert step(run=["x"], when=True).when == "true"


def test_axes_stand_beside_include_and_exclude() -> None:
    matrix = step(run=["x"], matrix={"os": ["linux"], "axes": "{{ vars.xs }}", "include": [{"os": "mac"}]}).matrix
    assert matrix.axes == {"os": ("linux",), "axes": "{{ vars.xs }}"}
    assert (matrix.include, matrix.exclude) == (({"os": "mac"},), ())


def test_templates_stay_text_where_the_language_allows_them() -> None:
    one = step(run=["x"], timeout="{{ inputs.t }}", effects="{{ inputs.e }}", budget={"usd": "{{ inputs.usd }}"})
    assert (one.timeout.total, one.effects, one.budget.usd) == ("{{ inputs.t }}", "{{ inputs.e }}", "{{ inputs.usd }}")
    routed = step(model="x", route={"models": "{{ inputs.models }}", "executors": ["{{ inputs.e }}"]})
    assert (routed.route.models, routed.route.executors) == ("{{ inputs.models }}", ("{{ inputs.e }}",))


def test_defaults_are_those_of_the_language() -> None:
    one = step(run=["x"])
    assert (one.join, one.optional, one.effects, one.reuse, one.repair, one.timeout) == (
        "all",
        False,
        None,
        None,
        None,
        None,
    )
    assert step(approve="Go on?").otherwise == "reject"
    changed = step(run=["x"], checks=[{"changed": {}}]).checks[0].changed
    assert (changed.only, changed.min_files, changed.max_files) == (("**",), 1, None)
    assert step(run=["x"], workspace={"git": "worktree"}).workspace.keep == "on_failure"
    assert step(run=["x"], repair={"max": 1}).repair.session == "keep"


@pytest.mark.parametrize(
    ("text", "ms"), [("250ms", 250), ("90s", 90_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("1m1ms", 60_001)]
)
def test_durations_are_milliseconds(text: str, ms: int) -> None:
    assert read_duration(text) == ms
    assert read_duration(duration_text(ms)) == ms


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load("smallest").name = "other"


def test_a_partial_holds_defaults_budget_and_env() -> None:
    documents, _ = read((CORPUS / "good-partial" / "careful.yaml").read_bytes(), "careful.yaml")
    partial, problems = check(Partial, documents[0].data)
    assert partial is not None, problems
    assert partial.defaults and partial.defaults.labels == {"careful": True}
    assert partial.env == {"CI": True, "LEVEL": 3}


def test_values_of_set_and_with_may_be_anything() -> None:
    one = step(set={"a": None, "b": [1, {"c": "{{ x }}"}]})
    assert isinstance(one, SetStep) and one.set == {"a": None, "b": [1, {"c": "{{ x }}"}]}
    assert isinstance(step(wait={"until": "2026-12-01T06:00:00+02:00"}), WaitStep)


def test_validating_a_manifest_of_sixty_lines_is_little_work() -> None:
    """Calls of ours, that is; Pydantic's own are in Rust. It was a third of a millisecond when this was written."""
    documents, _ = read((CORPUS / "good" / "fix-issue.yaml").read_bytes(), "fix-issue.yaml")
    data = documents[0].data
    Manifest.model_validate(data)
    assert 100 < calls(lambda: Manifest.model_validate(data), 1_000_000) < 2_500


def test_annotations_of_models_are_no_texts_that_would_be_compiled_for_each_class() -> None:
    classes = list(Frozen.__subclasses__())
    for kind in classes:
        classes += kind.__subclasses__()

    assert {kind.__module__ for kind in classes if hasattr(sys.modules[kind.__module__], "annotations")} == set()


def test_a_manifest_builds_the_validators_of_what_it_holds_only() -> None:
    code = (
        "from runner.manifest import model\n"
        "data = {'ares': 'v1', 'name': 'one', 'steps': {'a': {'run': ['true'], 'timeout': '5m'}}}\n"
        "model.Manifest.model_validate(data)\n"
        "print(*(kind.__pydantic_complete__ for kind in (model.RunStep, model.Timeout, model.AgentStep, model.Faults)))"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert told.stdout == "True True False False\n", told.stderr
