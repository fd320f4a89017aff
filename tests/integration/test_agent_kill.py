"""Agents and the end of their runner: kill -9, a cancel from another terminal, Ctrl-C. The real command line in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from agent_calls import FakeAgent
from apply_project import Project

PATIENCE = 60.0
ORPHANS_S = 5.0
"""An agent's process may outlive its runner by this much."""


def project(folder: Path, agent: FakeAgent, step: str) -> Project:
    config = {"state": {"durability": "process"}, "mcp_servers": {agent.name: agent.config()}}
    home = Project(folder / "project", json.dumps(config))
    home.manifest(f"steps: {{fix: {{agent: do it, {step}}}}}\noutputs: {{said: '{{{{ steps.fix.text }}}}'}}")
    return home


@contextmanager
def runner(home: Project, *words: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "runner", *words], cwd=home.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "CI": "1"},
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def run(home: Project, *words: str) -> tuple[int, str]:
    with runner(home, *words) as child:
        out, err = child.communicate(timeout=PATIENCE)
        return child.returncode, out + err


def wait_until(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def events(home: Project) -> list[Any]:
    if not (home.folder / ".ares" / "state.db").exists():
        return []
    record = home.record()
    try:
        runs = record.runs()
        return [each.event for each in record.events(runs[0].run)] if runs else []
    finally:
        record.close()


def noted(home: Project) -> bool:
    return any(event.kind == "attempt_noted" for event in events(home))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


HOLDS = [{"session": "s1"}, {"brood": True}, {"hold": True}]


@contextmanager
def struck(home: Project, agent: FakeAgent, how: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    """An apply that is struck in the middle of the agent's task, once the session is on record; nothing of the agent outlives it."""
    with runner(home, "apply", "m.yaml") as child:
        wait_until(lambda: noted(home) and bool(agent.children))
        pids = [*agent.children, *(entry["pid"] for entry in agent.entries if "pid" in entry)]
        child.send_signal(how)
        child.wait(PATIENCE)
        wait_until(lambda: all(map(gone, pids)), ORPHANS_S)
        yield child


def test_after_kill_9_an_idempotent_step_goes_on_in_its_session_and_answers_for_what_it_had_done_before(
    tmp_path: Path,
) -> None:
    agent = FakeAgent(tmp_path, [{"write": {"done.txt": "done"}}, *HOLDS], [{"answer": {"text": "done"}}])
    home = project(tmp_path, agent, "timeout: 60s, checks: [{changed: {only: [done.txt]}}]")
    with struck(home, agent, signal.SIGKILL):
        code, said = run(home, "apply", "m.yaml")
    assert code == 0, said
    first, second = agent.given
    assert "session" not in first and second["session"] == "s1"
    assert "interrupted" in second["prompt"] and second["prompt"].endswith("do it")
    assert agent.keys[0] == agent.keys[1]
    assert [event.data["products"].keys() for event in events(home) if event.kind == "attempt_succeeded"] == [
        {"done.txt"}
    ]


@pytest.mark.slow
def test_after_kill_9_a_once_step_waits_for_a_person(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, HOLDS, [{"answer": {"text": "again"}}])
    home = project(tmp_path, agent, "effects: once")
    with struck(home, agent, signal.SIGKILL):
        code, said = run(home, "apply", "m.yaml")
    assert code == 3 and "resolve" in said, said
    assert len(agent.given) == 1
    record = home.record()
    [row] = record.runs()
    record.close()
    code, said = run(home, "resolve", row.run, "fix", "--done", '"by hand"')
    assert code == 0, said
    assert run(home, "apply", "m.yaml")[0] == 0
    assert len(agent.given) == 1  # nobody asked it again


@pytest.mark.slow
def test_a_cancel_from_another_terminal_reaches_the_agent(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, HOLDS)
    home = project(tmp_path, agent, "timeout: 60s")
    with runner(home, "apply", "m.yaml") as child:
        wait_until(lambda: noted(home) and bool(agent.children))
        record = home.record()
        [row] = record.runs()
        record.close()
        assert run(home, "cancel", row.run)[0] == 0
        child.wait(PATIENCE)
        wait_until(lambda: all(map(gone, agent.children)), ORPHANS_S)
    assert any("cancelled" in entry for entry in agent.entries)
    assert [event.data["state"] for event in events(home) if event.kind == "run_finished"] == ["cancelled"]
    [ended] = [event.data for event in events(home) if event.kind == "attempt_failed"]
    assert ended["cost"] > 0 and ended["cost_source"] == "assumed"  # nobody knows what it has cost, so not nothing


@pytest.mark.slow
def test_after_a_second_ctrl_c_no_process_of_an_agent_is_left(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, HOLDS)
    home = project(tmp_path, agent, "timeout: 600s")
    with runner(home, "apply", "m.yaml") as child:
        wait_until(lambda: noted(home) and bool(agent.children))
        child.send_signal(signal.SIGINT)  # lets what runs end
        assert child.stderr is not None
        assert any("once more to stop now" in line for line in child.stderr)
        child.send_signal(signal.SIGINT)
        child.wait(PATIENCE)
        wait_until(lambda: all(map(gone, agent.children)), ORPHANS_S)
