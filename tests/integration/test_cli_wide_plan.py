"""`plan --out`, `apply plan.json` and `--select` over real files and a real database."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import jsonschema
import pytest
from cli_project import Project

from runner.manifest.schema import SCHEMAS

STEPS = """
ares: v1
name: steps
inputs: {who: {type: string, default: you}, api_token: {type: string, default: none}}
steps:
  a: {run: [echo, "a {{ inputs.who }}"], files: [in.txt], effects: none}
  b: {run: [echo, "b {{ steps.a.text }}"], effects: none}
  c: {run: [echo, c], needs: [b], effects: none}
  d: {run: [echo, d], effects: none, save: out/d.txt}
finally: {z: {run: [echo, z], effects: none}}
outputs: {c: "{{ steps.c.text }}", b: "{{ steps.b.text }}"}
"""
OTHER = "ares: v1\nname: other\nsteps: {go: {run: [test, -e, ok], effects: none}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    for name in ("RUNNER_CONFIG", "CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, capsys)
    made.write("m/steps.yaml", STEPS)
    made.write("m/other.yaml", OTHER)
    made.write("in.txt", "one")
    return made


def planned(project: Project, *more: str) -> dict[str, dict[str, str]]:
    document = project.cli("plan", "m", "--format", "json", *more).json
    return {entry["name"]: {step["id"]: step["action"] for step in entry["steps"]} for entry in document["manifests"]}


def applied(project: Project, *argv: str) -> tuple[int, dict[str, str]]:
    ended = project.cli("apply", *argv, "--json")
    return ended.code, {run["manifest"]: run["action"] for run in ended.json["runs"]}


# ---------------------------------------------------------------- plan files


def test_a_plan_is_applied_in_the_mode_that_it_was_made_for_and_in_no_other(project: Project) -> None:
    assert project.cli("plan", "m/steps.yaml", "--mode", "brainstem", "--out", "plan.json").code == 0
    refused = project.cli("apply", "plan.json", "--mode", "normal")
    assert (refused.code, "planned for the mode brainstem" in refused.err) == (2, True)
    assert project.cli("status", "--json").json["runs"] == []
    assert project.cli("apply", "plan.json", "--mode", "brainstem").code == 0
    begun = json.loads(project.cli("events", "steps", "--json").out.splitlines()[0])
    assert (begun["kind"], begun["data"]["mode"]) == ("run_started", "brainstem")
    assert project.cli("plan", "m/steps.yaml", "--out", "plan.json", "-i", "who=me").code == 0
    refused = project.cli("apply", "plan.json", "--mode", "brainstem")
    assert (refused.code, "planned for the mode that holds" in refused.err) == (2, True)


def test_a_plan_is_written_and_applied_as_it_is(project: Project) -> None:
    written = project.cli("plan", "m/steps.yaml", "--out", "plan.json", "-i", "who=me")
    assert written.code == 0
    file = project.root / "plan.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    plan = json.loads(file.read_text())
    jsonschema.validate(plan, SCHEMAS["plan-file"]())
    assert not (project.root / ".ares" / "state.db").exists()
    ended = project.cli("apply", "plan.json", "--json")
    assert (ended.code, ended.json["runs"][0]["outputs"]["b"]) == (0, "b a me")


def test_a_plan_is_done_once(project: Project) -> None:
    project.cli("plan", "m/steps.yaml", "--out", "plan.json")
    assert applied(project, "plan.json") == (0, {"steps": "create"})
    again = project.cli("apply", "plan.json")
    assert (again.code, "stale" in again.err, "latest run was none" in again.err) == (2, True, True)
    assert len(project.cli("status", "--json").json["runs"]) == 1


@pytest.mark.parametrize(
    ("path", "text", "told"),
    [
        ("m/steps.yaml", STEPS.replace("echo, d", "echo, e"), "steps: the manifest has changed"),
        ("m/more.yaml", OTHER.replace("other", "more"), "more: not in the plan"),
        ("in.txt", "two", "steps: the contents of `files` have changed"),
        ("config.yaml", "concurrency: {runs: 2}\n", "config: `concurrency` has changed"),
    ],
)
def test_a_stale_plan_is_refused_with_what_has_changed_and_nothing_runs(
    project: Project, path: str, text: str, told: str
) -> None:
    project.cli("plan", "m", "--out", "plan.json")
    project.write(path, text)
    ended = project.cli("apply", "plan.json")
    assert (ended.code, told in ended.err) == (2, True), ended.err
    assert project.cli("status", "--json").json["runs"] == []


def test_a_manifest_that_is_gone_makes_a_plan_stale(project: Project) -> None:
    project.cli("plan", "m", "--out", "plan.json")
    (project.root / "m" / "other.yaml").unlink()
    assert "other: no longer there" in project.cli("apply", "plan.json").err


def test_a_run_that_went_on_meanwhile_makes_a_plan_stale(project: Project) -> None:
    project.cli("apply", "m")
    project.cli("plan", "m", "--out", "plan.json")
    (project.root / "ok").touch()
    project.cli("resume", "other")
    ended = project.cli("apply", "plan.json")
    assert (ended.code, "other: its latest run was" in ended.err) == (2, True)


def test_a_product_that_was_edited_makes_a_plan_stale(project: Project) -> None:
    project.cli("apply", "m/steps.yaml")
    project.cli("plan", "m/steps.yaml", "--out", "plan.json")
    (project.root / "out" / "d.txt").write_text("edited")
    ended = project.cli("apply", "plan.json")
    assert (ended.code, "now update, planned unchanged" in ended.err) == (2, True)


def test_what_may_be_a_secret_is_not_in_the_file_and_is_given_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_VAULT", "correct-horse-battery")
    project.write("config.yaml", 'secrets: {VAULT: "${MY_VAULT}"}\n')
    given = ("-i", "who=it is correct-horse-battery", "-i", "api_token=sesame-open")
    project.cli("plan", "m/steps.yaml", "--out", "plan.json", *given)
    text = (project.root / "plan.json").read_text()
    plan = json.loads(text)
    assert plan["left_out"] == ["api_token", "who"]
    assert plan["manifests"][0]["task"] is None
    assert "sesame" not in text and "horse" not in text
    missing = project.cli("apply", "plan.json")
    assert (missing.code, "give them again" in missing.err) == (2, True)
    assert applied(project, "plan.json", *given) == (0, {"steps": "create"})


@pytest.mark.parametrize(
    "argv",
    [("plan.json", "m"), ("plan.json", "--force"), ("plan.json", "--select", "a"), ("plan.json", "-i", "who=you")],
)
def test_a_plan_is_not_changed_by_options(project: Project, argv: tuple[str, ...]) -> None:
    project.cli("plan", "m", "--out", "plan.json", "-i", "who=me")
    assert project.cli("apply", *argv).code == 2
    assert project.cli("status", "--json").json["runs"] == []


def test_a_file_that_is_no_plan_of_ours_is_refused_and_a_manifest_in_json_is_none(project: Project) -> None:
    project.write("newer.json", '{"kind": "ares-plan", "version": 2}')
    newer = project.cli("apply", "newer.json")
    assert (newer.code, "no plan of this release" in newer.err) == (2, True)
    project.write("manifest.json", '{"ares": "v1", "name": "j", "steps": {"a": {"set": {"x": 1}}}}')
    assert project.cli("apply", "manifest.json").code == 0
    assert project.cli("plan", "m", "--out", "plan.txt").code == 2
    assert project.cli("plan", "m", "--out", "none/plan.json").code == 2


def test_a_plan_may_be_applied_from_another_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.cli("plan", "m/steps.yaml", "--out", "plan.json")
    monkeypatch.chdir(project.root / "m")
    assert applied(project, "../plan.json")[0] == 0


def test_a_plan_keeps_its_selection(project: Project) -> None:
    project.cli("plan", "m", "--select", "b", "--out", "plan.json")
    ended = project.cli("apply", "plan.json", "--json").json
    [run] = ended["runs"]
    assert {id: step["state"] for id, step in run["steps"].items()} == {
        "a": "succeeded", "b": "succeeded", "c": "skipped", "d": "skipped", "z": "succeeded",
    }  # fmt: skip


# ---------------------------------------------------------------- selections


def test_a_part_runs_and_all_of_it_later_reuses_that(project: Project) -> None:
    assert planned(project, "--select", "b") == {
        "steps": {"a": "run", "b": "run", "c": "skip", "d": "skip", "z": "run"}
    }
    assert applied(project, "m", "--select", "b") == (0, {"steps": "create"})
    assert applied(project, "m", "--select", "b") == (0, {"steps": "unchanged"})
    shown = project.cli("show", "steps", "--json").json
    assert shown["outputs"] == {"c": None, "b": "b a you"}
    assert planned(project)["steps"] == {"a": "reuse", "b": "reuse", "c": "run", "d": "run", "z": "run"}
    assert applied(project, "m/steps.yaml") == (0, {"steps": "update"})
    assert applied(project, "m", "--select", "b") == (0, {"steps": "unchanged"})


def test_manifests_outside_the_selection_are_left_alone(project: Project) -> None:
    project.cli("apply", "m")
    (project.root / "ok").touch()
    project.write("m/steps.yaml", STEPS.replace("echo, d", "echo, e"))
    assert applied(project, "m", "--select", "state:failed") == (0, {"other": "resume"})
    assert applied(project, "m", "--select", "changed") == (0, {"steps": "update"})
    assert applied(project, "m", "--select", "changed") == (0, {})


def test_a_part_stays_a_part_when_it_is_resumed_or_begun_again_from_a_step(project: Project) -> None:
    project.write("m/other.yaml", OTHER.replace("steps: {", "steps: {x: {run: [echo, x], effects: none}, "))
    assert project.cli("apply", "m", "--select", "go").code == 1
    (project.root / "ok").touch()
    assert project.cli("resume", "other").code == 0
    assert project.cli("show", "other", "--json").json["steps"]["x"]["state"] == "skipped"
    assert project.cli("resume", "other", "--from", "go").code == 0
    assert project.cli("show", "other", "--json").json["steps"]["x"]["state"] == "skipped"


def test_a_step_that_was_not_selected_cannot_be_begun_again(project: Project) -> None:
    project.write("m/other.yaml", OTHER.replace("steps: {", "steps: {x: {run: [echo, x], effects: none}, "))
    (project.root / "ok").touch()
    assert project.cli("apply", "m", "--select", "go").code == 0
    refused = project.cli("resume", "other", "--from", "x")
    assert refused.code == 2
    assert "x was not selected" in refused.err
    assert len(project.cli("status", "--json").json["runs"]) == 1


def test_a_part_never_ends_a_run_that_waits_for_a_person(project: Project) -> None:
    project.write(
        "m/asks.yaml", "ares: v1\nname: asks\nsteps: {gate: {approve: Go?}, free: {run: [echo, x], effects: none}}\n"
    )
    assert project.cli("apply", "m/asks.yaml").code == 3
    refused = project.cli("apply", "m", "--select", "free")
    assert (refused.code, "is not finished" in refused.err) == (2, True)
    assert project.cli("approve", "asks", "gate").code == 0
    assert applied(project, "m/asks.yaml")[0] == 0


def test_an_unknown_outcome_holds_back_a_part_too(project: Project) -> None:
    text = "ares: v1\nname: pay\nsteps: {free: {run: [echo, x], effects: none}, send: {run: 'kill -9 $$', effects: once}}\n"
    project.write("m/pay.yaml", text)
    assert project.cli("apply", "m/pay.yaml").code == 3
    assert project.cli("apply", "m", "--select", "pay/free").code == 2
    project.cli("cancel", "pay")
    assert project.cli("apply", "m", "--select", "pay/free").code == 3
