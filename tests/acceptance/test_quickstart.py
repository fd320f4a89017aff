"""`manifests/quickstart/`, as a person without any key meets it: applied, applied again, edited, killed, settled by hand."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from project import (
    GOLDEN,
    QUICKSTART,
    actions,
    applied,
    command,
    copy_of_this_tree,
    document,
    environment,
    events_until,
    nodes,
    runner,
    small_project,
)
from regenerate import NAMES, goldens

REPORT = "manifests/quickstart/repository-report.yaml"
UNKNOWN = "manifests/quickstart/unknown.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return goldens(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize(
    "name", [*(f"{name}.{kind}" for name in NAMES for kind in ("plan.json", "events.txt")), "repository.md"]
)
def test_plans_events_and_the_report_are_as_recorded(made: dict[str, str], name: str) -> None:
    assert made[name] == (GOLDEN / name).read_text(), "meant? then: python tests/acceptance/regenerate.py"


def test_nothing_recorded_is_left_over(made: dict[str, str]) -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(made)


def test_every_manifest_can_be_edited_with_its_schema_and_declares_effects() -> None:
    for path in QUICKSTART.glob("*.yaml"):
        lines = path.read_text().splitlines()
        schema = lines[0].removeprefix("# yaml-language-server: $schema=")
        assert (path.parent / schema).resolve().name == "manifest.schema.json"
        assert (path.parent / schema).is_file()
        verbs = sum(line.startswith(("    run:", "    tool:")) for line in lines)
        assert verbs and verbs == sum(line.startswith("    effects:") for line in lines), path.name


def test_apply_succeeds_without_keys_and_again_changes_nothing(tmp_path: Path) -> None:
    tree = copy_of_this_tree(tmp_path / "clone")
    report = tree / "reports" / "repository.md"

    assert actions(document("apply", "manifests/", "--json", cwd=tree)) == dict.fromkeys(NAMES, "create")
    page = report.read_bytes()
    assert b"| `core` |" in page

    events, result = applied("manifests/", cwd=tree)
    assert actions(result) == dict.fromkeys(NAMES, "unchanged")
    assert events == []

    # The example is a config that works as it is, with nothing listening at its addresses.
    (tree / "config.yaml").write_bytes((tree / "config.yaml.example").read_bytes())
    assert actions(document("apply", "manifests/", "--json", cwd=tree)) == dict.fromkeys(NAMES, "unchanged")
    forced = document("apply", "manifests/", "--force", "--json", cwd=tree)
    assert {run["state"] for run in forced["runs"]} == {"succeeded"}
    assert report.read_bytes() == page


def test_after_an_edit_only_that_step_and_what_reads_its_changed_output_run(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    manifest = project / REPORT
    applied(REPORT, cwd=project)

    # Another program that says the same: its readers keep their results.
    manifest.write_text(manifest.read_text().replace("files = sorted(", "files = list("))
    events, result = applied(REPORT, cwd=project)
    assert actions(result) == {"repository-report": "update"}
    assert set(nodes(events, "attempt_started")) == {"repository-report/measure[0]", "repository-report/measure[1]"}
    assert "repository-report/page" in nodes(events, "step_reused")

    # One that says something else: its readers run.
    manifest.write_text(manifest.read_text().replace('"modules": len(files)', '"modules": len(files) + 1'))
    events, _ = applied(REPORT, cwd=project)
    ran = {"repository-report/measure[0]", "repository-report/measure[1]", "repository-report/page"}
    assert set(nodes(events, "attempt_started")) == ran
    assert set(nodes(events, "step_reused")) == {
        f"repository-report/{step}" for step in ("packages", "leftovers", "tests")
    }


def test_a_report_that_was_changed_by_hand_is_written_again(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    applied(REPORT, cwd=project)
    page = project / "reports" / "repository.md"
    whole = page.read_bytes()
    page.write_text("something else\n")

    events, _ = applied(REPORT, cwd=project)

    assert nodes(events, "attempt_started") == ["repository-report/page"]
    assert page.read_bytes() == whole


def test_a_killed_apply_goes_on_and_repeats_nothing_that_succeeded(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    # Without `unknown`: a kill in the instant of its `once` step rightly ends in a question.
    paths = [f"manifests/quickstart/{name}.yaml" for name in NAMES if name != "unknown"]
    line = command("apply", *paths, "--events")
    with subprocess.Popen(
        line, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        before = list(events_until(process, "attempt_started", "measure[0]"))
        process.send_signal(signal.SIGKILL)
        before += [json.loads(rest) for rest in process.stdout or () if rest.endswith("\n")]
    assert process.returncode == -signal.SIGKILL

    after, result = applied(*paths, cwd=project)

    assert result["exit_code"] == 0
    assert actions(result)["repository-report"] == "resume"
    assert "attempt_lost" in {event["kind"] for event in after}
    assert not set(nodes(before, "attempt_succeeded")) & set(nodes(after, "attempt_started"))
    for run in result["runs"]:
        shown = document("show", run["run"], "--json", cwd=project)
        done = Counter(attempt["step"] for attempt in shown["attempts"] if attempt["state"] == "succeeded")
        assert set(done.values()) == {1}, run["manifest"]
    assert (project / "reports" / "repository.md").read_text() == (GOLDEN / "repository.md").read_text()


def test_a_lost_outcome_waits_for_a_person_who_says_that_it_happened(tmp_path: Path) -> None:
    project = small_project(tmp_path)

    first, result = applied(UNKNOWN, "-i", "die=true", cwd=project, exit_code=3)
    assert result["outcome"] == "suspended"
    assert result["runs"][0]["reasons"] == ["unknown"]
    again, _ = applied(UNKNOWN, "-i", "die=true", cwd=project, exit_code=3)
    assert nodes(first, "attempt_started") == ["unknown/letter", "unknown/send"]
    assert nodes(again, "attempt_started") == []

    assert runner("resolve", "unknown", "send", "--done", '"sent by hand"', cwd=project).returncode == 0
    after, result = applied(UNKNOWN, "-i", "die=true", cwd=project)

    assert nodes(after, "attempt_started") == ["unknown/archive"]
    assert result["runs"][0]["outputs"] == {"kept": "kept a copy of: sent by hand"}


def test_a_lost_outcome_may_be_tried_again_by_a_person(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    applied(UNKNOWN, "-i", "die=true", cwd=project, exit_code=3)

    assert runner("resolve", "unknown", "send", "--redo", cwd=project).returncode == 0
    after, _ = applied(UNKNOWN, "-i", "die=true", cwd=project, exit_code=3)

    assert nodes(after, "attempt_started") == ["unknown/send"]


WAITING = """
ares: v1
name: waiting
steps:
  first: {run: [echo, first], effects: none}
  long: {wait: 10m, needs: [first]}
  never: {run: [echo, never], needs: [long], effects: none}
"""


def waiting_apply(project: Path) -> subprocess.Popen[str]:
    """A runner that is in the middle of `waiting`."""
    (project / "waiting.yaml").write_text(WAITING)
    process = subprocess.Popen(
        command("apply", "waiting.yaml", "--events"),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert list(events_until(process, "step_waiting", "long"))
    return process


def test_a_second_runner_is_told_busy_and_its_other_manifests_run(tmp_path: Path) -> None:
    project = small_project(tmp_path)
    with waiting_apply(project) as first:
        try:
            second = document("apply", "waiting.yaml", UNKNOWN, "--json", cwd=project, exit_code=7)
            states = {run["manifest"]: run["state"] for run in second["runs"]}
            assert states == {"waiting": "busy", "unknown": "succeeded"}
            assert first.poll() is None
        finally:
            first.kill()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_is_saved_and_the_same_command_goes_on(tmp_path: Path, number: signal.Signals, exit_code: int) -> None:
    project = small_project(tmp_path)
    with waiting_apply(project) as process:
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == exit_code

    shown = document("show", "waiting", "--json", cwd=project)
    assert [(attempt["step"], attempt["state"]) for attempt in shown["attempts"]] == [("first", "succeeded")]
    [planned] = document("plan", "waiting.yaml", "--format", "json", cwd=project)["manifests"]
    assert planned["action"] == "resume"
