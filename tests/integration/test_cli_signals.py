"""Ctrl-C, SIGTERM, a closed terminal, and a second one: real processes that wait for each other through pipes, never by time."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from pipes import a_terminal_that_may_hang_up, alive, begun, ledger, let_go, pipes, reading_of, until

import pytest
from cli_project import HELLO, Project

SLOW = """
ares: v1
name: slow
steps:
  first: {run: 'echo first >> ledger', effects: once}
  wait: {run: 'echo wait >> ledger; echo $$ > began; cat go', needs: [first], effects: idempotent}
  beside: {run: 'echo beside >> ledger', needs: [wait], effects: once}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("slow.yaml", SLOW)
    pipes(tmp_path)
    with a_terminal_that_may_hang_up():
        yield project


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
HANGUP = (signal.SIGHUP, 129)


@pytest.mark.parametrize(("number", "code"), [*SIGNALS, HANGUP])
def test_the_first_signal_lets_running_steps_end_and_apply_goes_on(
    project: Project, number: signal.Signals, code: int
) -> None:
    process = project.begin("apply", "slow.yaml", "--json")
    begun(project)
    process.send_signal(number)
    until(process, f"{number.name}: letting running steps end")
    let_go(project)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code
    document = json.loads(out)
    assert (document["exit_code"], document["outcome"]) == (code, "cancelled")
    assert document["runs"][0]["state"] == "interrupted"
    assert document["runs"][0]["steps"]["wait"]["state"] == "succeeded"
    assert ledger(project) == ["first", "wait"]
    assert project.cli("status", "--json").json["runs"][0]["state"] == "interrupted"
    assert project.cli("apply", "slow.yaml").code == 0
    assert ledger(project) == ["first", "wait", "beside"]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_the_second_signal_stops_at_once_and_leaves_no_process(
    project: Project, number: signal.Signals, code: int
) -> None:
    process = project.begin("apply", "slow.yaml")
    pid = begun(project)
    process.send_signal(number)
    until(process, "letting running steps end")
    process.send_signal(number)
    until(process, f"{number.name}: stopping now")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == code
    assert "goes on where it was" in out
    assert not alive(pid)
    again = project.begin("apply", "slow.yaml")
    begun(project)
    let_go(project)
    again.communicate(timeout=30)
    assert again.returncode == 0
    assert ledger(project) == ["first", "wait", "wait", "beside"]


@pytest.mark.parametrize(("number", "code"), [*SIGNALS, HANGUP])
def test_a_test_that_is_told_to_end_leaves_no_process_and_no_copy_of_the_workspace(
    project: Project, number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = project.root / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    began = project.root / "began"
    project.write(
        "held.yaml", f"ares: v1\nname: held\nsteps:\n  hold: {{run: 'echo $$ > {began}; sleep 600', effects: none}}\n"
    )
    project.write("suite.yaml", "ares-test: v1\nmanifest: held.yaml\ncases: {one: {run: real}}\n")
    process = project.begin("test", "suite.yaml")
    pid = begun(project)
    assert list(scratch.iterdir())
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert not alive(pid)
    assert not list(scratch.iterdir())


def test_a_terminal_that_hangs_up_twice_still_lets_running_steps_end(project: Project) -> None:
    """The shell tells its jobs, and the kernel tells them again when the shell has ended: nobody asked twice."""
    process = project.begin("apply", "slow.yaml")
    begun(project)
    for _ in range(2):
        process.send_signal(signal.SIGHUP)
        until(process, "SIGHUP: letting running steps end; SIGTERM to stop now")
    let_go(project)
    process.communicate(timeout=30)
    assert process.returncode == 129
    assert ledger(project) == ["first", "wait"]


def test_sigterm_after_a_hang_up_stops_at_once(project: Project) -> None:
    process = project.begin("apply", "slow.yaml")
    pid = begun(project)
    process.send_signal(signal.SIGHUP)
    until(process, "letting running steps end")
    process.send_signal(signal.SIGTERM)
    until(process, "SIGTERM: stopping now")
    process.communicate(timeout=30)
    assert process.returncode == 129
    assert not alive(pid)


def test_what_nohup_started_outlives_its_terminal(project: Project) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does before it becomes the command
    process = project.begin("apply", "slow.yaml")
    begun(project)
    process.send_signal(signal.SIGHUP)
    let_go(project)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "SIGHUP" not in err
    assert ledger(project) == ["first", "wait", "beside"]


def test_a_signal_during_validation_ends_quietly(project: Project) -> None:
    process = project.begin("validate", "go")  # a pipe that nobody writes to yet
    with reading_of(project.root / "go", process):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


MAIL = """
ares: v1
name: mail
steps:
  send: {run: 'echo send >> ledger; echo $$ > began; cat go', effects: once}
  note: {run: 'echo first >> ledger', needs: [send], effects: none}
"""


def killed_at_work(project: Project) -> None:
    """A runner that is killed (kill -9) while a step is under way that must not happen twice."""
    project.write("mail.yaml", MAIL)
    process = project.begin("apply", "mail.yaml")
    begun(project)
    process.kill()
    process.communicate(timeout=30)


def test_a_changed_manifest_does_not_repeat_what_was_under_way_once_when_its_runner_was_killed(
    project: Project,
) -> None:
    killed_at_work(project)
    project.write("mail.yaml", MAIL.replace("echo first", "echo second"))
    assert "refused until the unknown outcome in the earlier run is resolved" in project.cli("plan", "mail.yaml").out
    refused = project.cli("apply", "mail.yaml")
    assert refused.code == 3
    assert "nobody knows how step 'send' ended, and it must not happen twice" in refused.out
    assert project.cli("apply", "mail.yaml", "--force").code == 3
    assert ledger(project) == ["send"]
    assert project.cli("resolve", "mail", "send", "--done", "{}").code == 0
    assert project.cli("apply", "mail.yaml").code == 0
    assert ledger(project) == ["send", "second"]


def test_what_was_under_way_once_when_its_runner_was_killed_can_be_resolved_at_once(project: Project) -> None:
    killed_at_work(project)
    assert "send will run again" in project.cli("resolve", "mail", "send", "--redo").out
    project.write("mail.yaml", MAIL.replace("echo $$ > began; cat go", "true"))
    assert project.cli("apply", "mail.yaml").code == 0
    assert ledger(project) == ["send", "send", "first"]


def test_a_second_runner_is_told_busy_and_its_other_manifests_run(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    process = project.begin("apply", "slow.yaml")
    begun(project)
    second = project.cli("apply", "slow.yaml", "hello.yaml", "--json")
    assert second.code == 7
    states = {run["manifest"]: run["state"] for run in second.json["runs"]}
    assert states == {"slow": "busy", "hello": "succeeded"}
    shown = project.cli("apply", "slow.yaml")
    assert shown.code == 7 and "busy" in shown.out
    let_go(project)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert ledger(project) == ["first", "wait", "beside"]


def test_a_second_terminal_sees_the_run_and_may_cancel_it(project: Project) -> None:
    process = project.begin("apply", "slow.yaml")
    begun(project)
    (row,) = project.cli("status", "--json").json["runs"]
    assert (row["state"], row["steps_done"], row["steps_total"]) == ("running", 1, 3)
    assert "● running" in project.cli("show", "slow").out
    assert project.cli("cancel", "slow").code == 0
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cancelled" in out
    assert ledger(project) == ["first", "wait"]


def test_the_next_test_removes_what_a_killed_one_left_and_nothing_else(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, began = project.root / "scratch", project.root / "began"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers
    hold = f"mkdir deep; touch deep/x; chmod 500 deep; echo $$ > {began}; sleep 600"
    project.write("held.yaml", f"ares: v1\nname: held\nsteps:\n  hold: {{run: '{hold}', effects: none}}\n")
    project.write("quick.yaml", "ares: v1\nname: quick\nsteps: {one: {set: {a: 1}}}\n")
    project.write("held-suite.yaml", "ares-test: v1\nmanifest: held.yaml\ncases: {one: {run: real}}\n")
    project.write("quick-suite.yaml", "ares-test: v1\nmanifest: quick.yaml\ncases: {one: {}}\n")
    killed = project.begin("test", "held-suite.yaml")
    begun(project)
    killed.kill()
    killed.communicate(timeout=30)
    [left] = scratch.iterdir()
    foreign = _note_elsewhere(shutil.copytree(left, scratch / "ares-test-elsewhere"))
    unsaid = scratch / "ares-test-unsaid"
    unsaid.mkdir()
    living = project.begin("test", "held-suite.yaml")
    pid = begun(project)
    assert not left.exists()
    [kept] = set(scratch.iterdir()) - {foreign, unsaid}
    assert project.cli("test", "quick-suite.yaml").code == 0
    assert set(scratch.iterdir()) == {foreign, unsaid, kept}
    living.terminate()
    living.communicate(timeout=30)
    assert not alive(pid)
    assert set(scratch.iterdir()) == {foreign, unsaid}


def _note_elsewhere(folder: Path) -> Path:
    """As if a container that shares the temporary folder had made it."""
    note = folder / "owner.json"
    name, host, pid, start = json.loads(note.read_text())
    note.write_text(json.dumps([name, f"{host} (pid:[4026532178])", pid, start]))
    return folder
