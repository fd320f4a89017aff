"""A signal in every phase of a command: while it imports, validates, opens the state, runs, tidies up in `finally`, commits, has ended.
It ends with the code of the signal, without a traceback, and the same command goes on. (Draining a running step: test_cli_signals.py.)"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from pipes import begun, let_go, reading_of, until

import apsw
import pytest
from cli_project import Project, environment
from test_cli_signals import SIGNALS

from runner.clock import SystemClock
from runner.store.sqlite import SqliteStore

CODES = dict(SIGNALS)
PHASES = """
ares: v1
name: phases
steps:
  first: {run: 'echo first >> ledger', effects: once}
  second: {run: 'echo second >> ledger', needs: [first], effects: once}
finally:
  bye: {run: 'echo bye >> ledger; if [ -p began ]; then echo $$ > began; cat go; fi', effects: idempotent}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("phases.yaml", PHASES)
    return project


def ledger(project: Project) -> list[str]:
    path = project.root / "ledger"
    return path.read_text().split() if path.exists() else []


# ---------------------------------------------------------------- importing


@pytest.mark.parametrize(
    "module",
    ["runner.cli.main", "click", "click.core", "runner.cli.commands.apply", "pydantic", "runner.api.apply", "asyncio.base_events", "apsw",
     "runner.syntax.reading", "runner.engine.driver"],
)  # fmt: skip
def test_an_interrupt_while_a_library_is_imported_is_quiet(project: Project, module: str) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("interrupted_import.py")), module, "apply", "phases.yaml"],
        cwd=project.root, env=environment(), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert ledger(project) == []
    assert project.cli("apply", "phases.yaml").code == 0


# ---------------------------------------------------------------- before anything runs


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("verb", ["validate", "plan", "apply"])
def test_a_signal_while_a_manifest_is_read_starts_nothing(project: Project, verb: str, number: signal.Signals) -> None:
    os.mkfifo(project.root / "go")
    process = project.begin(verb, "go")  # a pipe that nobody writes to yet
    with reading_of(project.root / "go", process):
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode if process.returncode > 0 else 128 - process.returncode) == CODES[number]
    assert out == "" and "Traceback" not in err
    assert not (project.root / ".ares" / "state.db").exists()


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_a_signal_while_the_state_is_opened_starts_nothing(project: Project, number: signal.Signals, call: str) -> None:
    """At the first write of the main thread: the database is being made."""
    done = stopped_at(project, call, 1, number)
    assert done.returncode in (CODES[number], -number), done.stderr
    assert "Traceback" not in done.stderr
    assert ledger(project) == []
    assert project.cli("apply", "phases.yaml").code == 0
    assert ledger(project) == ["first", "second", "bye"]


def stopped_at(project: Project, call: str, nth: int, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    """The program, which gets a signal at the nth of these system calls of a thread."""
    probe = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True) if has_strace() else None
    if probe is None or probe.returncode:
        pytest.skip("strace is not here or not permitted")
    return subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal={number.name}:when={nth}",
         sys.executable, "-m", "runner", "apply", "phases.yaml", "--json"],
        cwd=project.root, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def has_strace() -> bool:
    return any((Path(folder) / "strace").exists() for folder in os.get_exec_path())


# ---------------------------------------------------------------- while it runs


SLOW = pytest.mark.slow


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("nth", [3, *(pytest.param(nth, marks=SLOW) for nth in (1, 2, 5, 7))])
def test_a_signal_in_the_middle_of_a_commit_drains(project: Project, number: signal.Signals, nth: int) -> None:
    """Whoever commits gets it between writing and syncing the log."""
    SqliteStore.open(project.root / ".ares" / "state.db", clock=SystemClock()).close()
    done = stopped_at(project, "fdatasync", nth, number)
    assert done.returncode in (CODES[number], -number), done.stderr
    assert "Traceback" not in done.stderr
    if done.stdout:
        assert json.loads(done.stdout)["exit_code"] == CODES[number]
    with closing(apsw.Connection(str(project.root / ".ares" / "state.db"))) as db:
        assert db.execute("pragma integrity_check").get == "ok"
    assert project.cli("apply", "phases.yaml").code == 0
    assert [ledger(project).count(word) for word in ("first", "second")] == [1, 1]


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_in_finally_lets_it_end(project: Project, number: signal.Signals) -> None:
    for name in ("began", "go"):
        os.mkfifo(project.root / name)
    process = project.begin("apply", "phases.yaml", "--json")
    begun(project)
    process.send_signal(number)
    until(process, "letting running steps end")
    let_go(project)
    out, err = process.communicate(timeout=30)
    assert process.returncode == CODES[number], err
    document = json.loads(out)
    assert document["runs"][0]["steps"]["bye"]["state"] == "succeeded"
    for name in ("began", "go"):
        (project.root / name).unlink()
    assert project.cli("apply", "phases.yaml").code == 0
    assert ledger(project) == ["first", "second", "bye"]


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_two_signals_in_finally_stop_it_and_it_is_run_again(project: Project, number: signal.Signals) -> None:
    for name in ("began", "go"):
        os.mkfifo(project.root / name)
    process = project.begin("apply", "phases.yaml")
    begun(project)
    process.send_signal(number)
    until(process, "letting running steps end")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == CODES[number]
    for name in ("began", "go"):
        (project.root / name).unlink()
    assert project.cli("apply", "phases.yaml").code == 0
    assert ledger(project) == ["first", "second", "bye", "bye"]


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_a_signal_while_another_process_holds_the_database_ends_the_wait_for_it(
    project: Project, number: signal.Signals
) -> None:
    state = project.root / ".ares" / "state.db"
    SqliteStore.open(state, clock=SystemClock()).close()
    with closing(apsw.Connection(str(state))) as other:
        other.execute("begin immediate")
        before = time.monotonic()
        done = stopped_at(project, "clock_nanosleep", 1, number)  # how SQLite waits for its turn
        assert time.monotonic() - before < 10
    assert done.returncode in (CODES[number], 7), done.stderr  # the lock may be named first
    assert "Traceback" not in done.stderr
    assert ledger(project) == []
    assert project.cli("apply", "phases.yaml").code == 0
