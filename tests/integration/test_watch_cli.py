"""`runner watch` as a program: killed, told to stop, asked for documents. Pipes tell when something has begun, never the time."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from pipes import a_terminal_that_may_hang_up, alive, begun, ledger, let_go, pipes, until

import pytest
from cli_project import Project
from test_cli_contracts import fits

SLOW = """
ares: v1
name: slow
steps:
  first: {run: 'echo first >> ledger', effects: once}
  wait: {run: 'echo wait >> ledger; echo $$ > began; cat go', needs: [first], effects: idempotent}
  last: {run: 'echo last >> ledger', needs: [wait], effects: once}
"""
DONE = """
ares: v1
name: done
steps: {one: {run: 'echo done >> ledger', effects: once}}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    pipes(tmp_path)
    return Project(tmp_path, capsys)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=30)
    return out, err


def test_a_watch_that_was_killed_goes_on_and_runs_nothing_again(project: Project) -> None:
    project.write("m/done.yaml", DONE)
    assert project.cli("watch", "m", "--once").code == 0
    project.write("m/slow.yaml", SLOW)
    process = project.begin("watch", "m")
    begun(project)
    process.kill()
    ended(process)
    assert ledger(project) == ["done", "first", "wait"]
    again = project.begin("watch", "m", "--once", "--json")
    begun(project)
    let_go(project)
    out, err = ended(again)
    assert again.returncode == 0
    assert "slow: run" in err and "goes on: it was interrupted" in err
    document = json.loads(out)
    fits("apply", document)
    assert {run["manifest"]: (run["action"], run["state"]) for run in document["runs"]} == {
        "done": ("unchanged", "succeeded"),
        "slow": ("resume", "succeeded"),
    }
    assert ledger(project) == ["done", "first", "wait", "wait", "last"]
    assert project.cli("watch", "m", "--once").code == 0
    assert ledger(project) == ["done", "first", "wait", "wait", "last"]


def test_the_first_signal_drains_the_second_stops_and_the_state_is_saved(project: Project) -> None:
    project.write("m/slow.yaml", SLOW)
    process = project.begin("watch", "m")
    pid = begun(project)
    process.send_signal(signal.SIGINT)
    until(process, "SIGINT: letting running steps end")
    process.send_signal(signal.SIGINT)
    until(process, "SIGINT: stopping now")
    out, _ = ended(process)
    assert process.returncode == 130
    assert "interrupted" in out and "goes on where it was" in out
    assert not alive(pid)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_an_idle_watch_ends_at_once_when_it_is_told_to(project: Project, number: signal.Signals, code: int) -> None:
    project.write("m/done.yaml", DONE)
    with a_terminal_that_may_hang_up():
        process = project.begin("watch", "m", "--events")
    until(process, "done: run")
    until(process, "✓ succeeded\n")
    process.send_signal(number)
    out, err = ended(process)
    assert process.returncode == code
    assert "Traceback" not in err
    *events, last = map(json.loads, out.splitlines())
    assert {event["kind"] for event in events} >= {"run_started", "run_finished"}
    fits("apply", last)
    assert (last["exit_code"], last["outcome"]) == (code, "cancelled")
    assert (last["runs"][0]["action"], last["runs"][0]["state"]) == ("create", "succeeded")


def test_mistakes_are_shown_with_what_they_mean(project: Project) -> None:
    project.write("m/done.yaml", DONE)
    project.write("m/bad.yaml", DONE.replace("steps", "stebs").replace("done", "bad"))
    found = project.cli("watch", "m", "--once")
    assert found.code == 2
    assert "m/bad.yaml:4:1: error[unknown-key]" in found.err and "did you mean `steps`?" in found.err
    assert "m/bad.yaml has mistakes: nothing of it runs until that is mended" in found.err
    assert "✓ succeeded  done" in found.out
    assert ledger(project) == ["done"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["watch", "nowhere"], "nowhere is no folder"),
        (["watch", "m", "--settle", "soon"], "--settle soon"),
        (["watch", "m", "--settle", "1ms"], "expected 20ms to 10m"),
    ],
)
def test_what_makes_no_sense_is_refused(project: Project, argv: list[str], told: str) -> None:
    found = project.cli(*argv)
    assert (found.code, found.out) == (2, "")
    assert told in found.err


def test_a_folder_that_is_watched_already_is_refused(project: Project) -> None:
    project.write("m/slow.yaml", SLOW)
    process = project.begin("watch", "m")
    begun(project)
    found = project.cli("watch", "m", "--once", "--json")
    assert found.code == 7
    assert f"is being watched by another runner (process {process.pid})" in found.err
    assert found.json["outcome"] == "busy"
    let_go(project)
    process.send_signal(signal.SIGTERM)
    ended(process)
