"""What commands write as JSON is what `schemas/v1/` promises."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cli_project import HELLO, Project

SCHEMAS = Path(__file__).parents[2] / "schemas" / "v1"

EVERYTHING = """
ares: v1
name: everything
steps:
  numbers: {set: {n: [1, 2, 3]}}
  each:
    foreach: "{{ steps.numbers.output.n }}"
    run: [sh, -c, "test {{ item }} != 2"]
    effects: none
    join: settled
  never: {run: [ls], when: "steps.numbers.output.n | length == 9", effects: none}
  bad: {run: ["false"], effects: none, faults: {retry: {max: 1, delay: 1ms, errors: [tool_error]}}}
  after: {run: [ls], needs: [bad], effects: none}
  soft: {fail: not important, optional: true}
finally:
  bye: {run: [echo, "{{ run.state }}"], effects: none}
"""
PAUSED = """
ares: v1
name: paused
steps: {try: {run: ["false"], effects: none, faults: {exhausted: suspend}}}
"""
CALLABLE = "ares: v1\nname: callable\ninputs: {x: integer}\nsteps: {a: {set: {y: 1}}}\n"
ENDS = {"everything": "failed", "hello": "succeeded", "paused": "suspended", "callable": "callable"}


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [name for name in os.environ if name.startswith("RUNNER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    for name, text in {"everything": EVERYTHING, "hello": HELLO, "paused": PAUSED, "callable": CALLABLE}.items():
        project.write(f"m/{name}.yaml", text)
    return project


def fits(name: str, document: Any, definition: str | None = None) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    if definition is not None:
        schema = {"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]}
    jsonschema.Draft7Validator(schema).validate(document)


def test_validate_keeps_its_contract(project: Project) -> None:
    project.write("m/bad.yaml", "ares: v1\nname: bad\nsteps: {a: {rum: [ls]}}\nwhat: 1\n")
    project.write("m/other.yaml", "no: manifest\n")
    ended = project.cli("validate", "m", "--format", "json")
    fits("validate", ended.json)
    assert ended.json["files"] == 6
    assert {d["severity"] for d in ended.json["diagnostics"]} >= {"error", "note"}


def test_plan_keeps_its_contract_before_and_after(project: Project) -> None:
    for actions in ({"create", "callable"}, {"resume", "unchanged", "callable"}):
        ended = project.cli("plan", "m", "--format", "json")
        fits("plan", ended.json)
        assert {manifest["action"] for manifest in ended.json["manifests"]} == actions
        project.cli("apply", "m")


def test_apply_keeps_its_contract_and_tells_every_end(project: Project) -> None:
    ended = project.cli("apply", "m", "--json")
    fits("apply", ended.json)
    assert {run["manifest"]: run["state"] for run in ended.json["runs"]} == ENDS
    assert (ended.json["outcome"], ended.json["exit_code"], ended.code) == ("failed", 1, 1)
    steps = next(run for run in ended.json["runs"] if run["manifest"] == "everything")["steps"]
    assert steps["bad"] == {
        "state": "failed", "attempts": 2, "reused": False, "executor": "local", "model": None,
        "error": {"class": "tool_error", "message": "exit code 1"},
    }  # fmt: skip
    assert {key: item["state"] for key, item in steps["each"]["items"].items()} == {
        "0": "succeeded", "1": "failed", "2": "succeeded",
    }  # fmt: skip
    fits("apply", project.cli("apply", "m", "--json").json)
    fits("apply", project.cli("resume", "paused", "--json").json)


def test_events_are_lines_that_keep_their_contract_and_end_with_the_document(project: Project) -> None:
    ended = project.cli("apply", "m", "--events", "-q")
    *lines, last = [json.loads(line) for line in ended.out.splitlines()]
    for line in lines:
        fits("events", line)
    fits("apply", last)
    kinds = {line["kind"] for line in lines}
    assert kinds >= {"run_started", "items_expanded", "attempt_failed", "step_blocked", "run_suspended", "run_finished"}
    for run in {line["run"] for line in lines}:
        assert [line["seq"] for line in lines if line["run"] == run] == list(
            range(1, 1 + sum(x["run"] == run for x in lines))
        )


def test_status_keeps_its_contract(project: Project) -> None:
    fits("status", project.cli("status", "--json").json)
    project.cli("apply", "m")
    document = project.cli("status", "--json").json
    fits("status", document)
    assert {run["manifest"]: run["reason"] for run in document["runs"]}["paused"] == "exhausted"


def test_show_is_a_run_of_apply_with_its_attempts(project: Project) -> None:
    project.cli("apply", "m")
    document = project.cli("show", "everything", "--json").json
    attempts = document.pop("attempts")
    assert document.pop("version") == 1
    assert [document.pop(key) for key in ("answers", "waits", "worktrees")] == [{}, {}, {}]
    fits("apply", document, "RunJson")
    bad = [attempt for attempt in attempts if attempt["step"] == "bad"]
    assert [(attempt["n"], attempt["state"], attempt["class"]) for attempt in bad] == [
        (1, "failed", "tool_error"), (2, "failed", "tool_error"),
    ]  # fmt: skip


@pytest.mark.parametrize(("argv", "code", "outcome"), [
    (("apply", "m/bad.yaml"), 2, "invalid"),
    (("apply", "m", "-i", "none=1"), 2, "invalid"),
    (("resume", "nothing"), 2, "invalid"),
    (("apply", "m/hello.yaml", "--config", "busy.yaml"), 7, "busy"),
])  # fmt: skip
def test_whoever_asks_for_a_document_gets_one_when_nothing_ran(
    project: Project, argv: tuple[str, ...], code: int, outcome: str
) -> None:
    project.write("m/bad.yaml", "ares: v1\nname: bad\nsteps: {a: {rum: [ls]}}\n" if "m/bad.yaml" in argv else "x: 1\n")
    project.write("busy.yaml", "state: {path: busy.yaml}\n")
    for flag in ("--json", "--events"):
        ended = project.cli(*argv, flag)
        fits("apply", ended.json)
        assert ended.json == {"version": 1, "outcome": outcome, "exit_code": code, "runs": []}
        assert ended.code == code
        assert "error: " in ended.err
