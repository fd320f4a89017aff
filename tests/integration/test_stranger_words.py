"""What a stranger is told: each line is true, and says what can be done."""

from __future__ import annotations

from pathlib import Path

import pytest
from apply_project import Gate
from cli_project import Project


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def test_a_run_that_goes_on_is_not_advised_to_be_resumed(project: Project) -> None:
    gate = Gate(project.root)
    project.write(
        "m.yaml",
        f"ares: v1\nname: m\nsteps: {{a: {{run: '{gate.script}', effects: none}}, b: {{set: {{x: 1}}, needs: [a]}}}}\n",
    )
    running = project.begin("apply", "m.yaml")
    (project.root / "gate.begun").read_text()
    shown, listed = project.cli("show", "m"), project.cli("status")
    early = project.cli("resolve", "m", "b", "--redo")
    gate.let_through()
    running.communicate(timeout=60)
    assert "its runner is at work" in shown.out
    assert "goes on where it was" not in shown.out
    assert "no earlier run" not in shown.out + listed.out
    assert "step b" in early.err
    assert "has not begun" in early.err or "is pending" in early.err


def test_an_interrupted_run_says_why_it_stands_still(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {run: 'kill -9 $PPID', effects: none}}\n")
    project.program("apply", "m.yaml")
    assert "its runner ended before the run did" in project.cli("status").out
    shown = project.cli("show", "m").out
    assert "its runner ended before the run did" in shown
    assert "goes on where it was" in shown


def test_a_file_that_is_no_manifest_is_told_what_one_has(project: Project) -> None:
    project.write("m.yaml", "ares: v1\ndefaults: {timeout: 5s}\n")
    assert "a manifest has the keys `ares`, `name` and `steps`" in project.cli("validate", "m.yaml").err


def test_the_size_of_a_file_that_was_not_read_to_its_end_is_not_claimed(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\ndescription: " + "y" * 1_100_000 + "\nsteps: {a: {set: {x: 1}}}\n")
    found = project.cli("validate", "m.yaml")
    assert "more bytes than the limit `file_bytes`: 1,048,576" in found.err + found.out


def test_who_rejects_the_last_step_is_not_sent_to_ask_again(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {gate: {approve: Go?}, a: {set: {x: 1}, needs: [gate]}}\n")
    assert project.cli("apply", "m.yaml").code == 3
    rejected = project.cli("reject", "m", "gate", "--as", "me")
    assert rejected.out.endswith("gate rejected by me; the run has failed\n")
    assert project.cli("status", "--json").json["runs"][0]["state"] == "failed"


def test_who_answers_before_other_steps_is_told_how_the_run_goes_on(project: Project) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps: {gate: {approve: Go?}, a: {run: [echo, x], needs: [gate], effects: none}}\n",
    )
    assert project.cli("apply", "m.yaml").code == 3
    assert "go on with `runner resume" in project.cli("approve", "m", "gate").out


@pytest.mark.parametrize("verb", ["validate", "apply"])
def test_that_more_mistakes_are_there_than_shown_is_said_without_being_asked(project: Project, verb: str) -> None:
    steps = "".join(f"  s{n}: {{nothing: 1}}\n" for n in range(60))
    project.write("m.yaml", f"ares: v1\nname: m\nsteps:\n{steps}")
    found = project.cli(verb, "m.yaml")
    assert "10 more mistakes in this file are not shown" in found.out + found.err


def test_a_fan_out_over_no_list_is_told_that_it_needs_one(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {foreach: 5, set: {x: 1}}}\n")
    assert "expected a list, or a template that gives one, not 5" in project.cli("validate", "m.yaml").out


def test_a_mistake_in_the_environment_is_not_said_to_be_in_config_yaml(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("config.yaml", "concurrency: {steps: 2}\n")
    monkeypatch.setenv("RUNNER_CONCURRENCY__STEPS", "abc")
    refused = project.cli("status")
    assert refused.code == 2
    assert "environment RUNNER_CONCURRENCY__STEPS: error[count]" in refused.err
    assert "config.yaml" not in refused.err


def test_a_fan_out_that_does_nothing_is_not_planned_as_reused(project: Project) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps:\n  none: {foreach: [], set: {x: 1}}\n  odd: {foreach: [1, 3], when: item > 5, set: {x: 1}}\n",
    )
    plan = project.cli("plan", "m.yaml").out
    assert "there are no items" in plan
    assert "every item is skipped" in plan
    assert "reuse" not in plan
    assert project.cli("apply", "m.yaml").code == 0


def test_an_unknown_outcome_of_a_cancelled_run_can_be_resolved_by_what_is_said(project: Project) -> None:
    steps = (
        "steps: {a: {run: 'test -e k || { touch k; kill -9 $$; }', effects: once}, b: {run: [echo, B1], needs: [a]}}\n"
    )
    project.write("m.yaml", f"ares: v1\nname: m\n{steps}")
    assert project.cli("apply", "m.yaml").code == 3
    assert project.cli("cancel", "m").code == 0
    run = project.cli("status", "--json").json["runs"][0]["run"]
    project.write("m.yaml", f"ares: v1\nname: m\n{steps.replace('B1', 'B2')}")
    refused = project.cli("apply", "m.yaml")
    assert refused.code == 3
    assert f"look at what it did; runner resolve {run} a --done JSON, or --redo" in refused.out
    resolved = project.cli("resolve", run, "a", "--redo")
    assert (resolved.code, resolved.out) == (
        0,
        f"m {run}: a will run again; the run had ended and is open again: go on with `runner resume {run}`\n",
    )
    assert project.cli("apply", "m.yaml").code == 0


def test_a_plan_says_that_apply_will_refuse_while_an_outcome_is_unknown(project: Project) -> None:
    steps = "steps: {a: {run: 'kill -9 $$', effects: once}, b: {run: [echo, B1], needs: [a]}}\n"
    project.write("m.yaml", f"ares: v1\nname: m\n{steps}")
    assert project.cli("apply", "m.yaml").code == 3
    project.write("m.yaml", f"ares: v1\nname: m\n{steps.replace('B1', 'B2')}")
    assert "refused until the unknown outcome in the earlier run is resolved" in project.cli("plan", "m.yaml").out
    assert project.cli("apply", "m.yaml").code == 3


def test_a_value_is_shown_as_yaml_writes_it(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {run: [true]}}\n")
    assert "expected text, not true" in project.cli("validate", "m.yaml").out
