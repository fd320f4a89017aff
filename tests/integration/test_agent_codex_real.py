"""Manifests with the real `codex` (`codex exec`), against a loopback API that plays a script. `.ci/install-codex` installs it; else these
tests skip with the reason."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from apply_project import Project
from servers.fake_anthropic import Turn
from servers.fake_responses import FakeResponses
from test_agent_kill import ORPHANS_S, PATIENCE, noted, run, runner, wait_until
from test_agent_real import Json, applied, project, rows, steps

pytestmark = pytest.mark.slow

WRITE = Turn(tool="exec_command", given={"cmd": "echo hello > note.txt"})
NAP = f"600.{os.getpid()}"
"""So long sleeps nobody else: its sandbox counts processes from 1, so what they write of themselves is of no use."""
HANG = Turn(tool="exec_command", given={"cmd": f"setsid sleep {NAP} & sleep {NAP}; wait"})


def coder(codex: str, api: FakeResponses, root: Path, *args: str) -> Json:
    """The entry of a `codex` with a home of its own, in front of `api`."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    there = {"name": "fake", "base_url": f"{api.url}/v1", "env_key": "CODEX_API_KEY", "wire_api": "responses"}
    told = ", ".join(f"{key}={json.dumps(value)}" for key, value in there.items())
    quick = "request_max_retries=0, stream_max_retries=0"
    config = ("--config=model_provider=fake", f"--config=model_providers.fake={{{told}, {quick}}}")
    env = {"HOME": str(home), "CODEX_API_KEY": "sk-test-of-codex"}
    return {"preset": "codex", "args": [f"--command={codex}", "--model=m", *config, *args], "env": env}


def home_of(codex: str, api: FakeResponses, root: Path, more: str = "", *args: str) -> Project:
    return project(root, steps("do it", more), coder=coder(codex, api, root, *args))


def sleepers() -> int:
    """How many processes of `HANG` there are."""
    found = 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += process.read_bytes() == f"sleep\0{NAP}\0".encode()
    return found


def test_codex_changes_a_file_in_its_sandbox_and_its_price_is_unknown_not_nothing(codex: str, tmp_path: Path) -> None:
    with FakeResponses([WRITE, Turn(text="it is written")]) as api:
        checks = ", checks: [{changed: {only: [note.txt]}}, {run: [grep, -q, hello, note.txt]}]"
        home = home_of(codex, api, tmp_path, checks)
        code, told = applied(home)
    assert (code, told["outputs"]) == (0, {"said": "it is written"}), told
    assert home.read("note.txt") == "hello\n"
    [row] = rows(home)
    assert (row.executor, row.cost_source, row.cost > 0, bool(row.session)) == ("coder", "assumed", True, True)


def test_a_sandbox_that_the_operator_closed_lets_nothing_be_written(codex: str, tmp_path: Path) -> None:
    with FakeResponses([WRITE, Turn(text="it is written")]) as api:
        home = home_of(codex, api, tmp_path, ", checks: [{changed: {only: [note.txt]}}]", "--sandbox=read-only")
        code, told = applied(home)
    assert (code, told["steps"]["fix"]["error"]["class"]) == (1, "check_failed"), told
    assert not (home.folder / "note.txt").exists()


@pytest.mark.parametrize(("status", "error_class"), [(401, "auth"), (429, "rate_limit"), (503, "unavailable")])
def test_a_refusal_of_the_api_has_its_class(status: int, error_class: str, codex: str, tmp_path: Path) -> None:
    with FakeResponses([Turn(status=status)]) as api:
        home = home_of(codex, api, tmp_path)
        applied(home)
    row = rows(home)[0]
    assert (row.error_class, row.effect, row.cost) == (error_class, "none", 0), row.message


def test_a_check_that_fails_is_mended_in_the_same_thread(codex: str, tmp_path: Path) -> None:
    with FakeResponses([Turn(text="one"), Turn(text="two")]) as api:
        home = home_of(codex, api, tmp_path, ", checks: [{expr: text == 'two'}], repair: {max: 1}")
        code, told = applied(home)
        asked = json.dumps(api.asked[-1]["input"])
    assert (code, told["outputs"]) == (0, {"said": "two"}), told
    assert '"one"' in asked and "text == 'two' is false" in asked
    first, second = rows(home)
    assert first.session == second.session


def test_a_cancel_ends_codex_and_all_that_it_started(codex: str, tmp_path: Path) -> None:
    with FakeResponses([HANG, Turn(text="x")]) as api:
        home = home_of(codex, api, tmp_path)
        with runner(home, "apply", "m.yaml") as child:
            wait_until(lambda: sleepers() == 2)
            record = home.record()
            [row] = record.runs()
            record.close()
            assert run(home, "cancel", row.run)[0] == 0
            child.wait(PATIENCE)
            wait_until(lambda: sleepers() == 0, ORPHANS_S)
    [row] = rows(home)
    assert (row.state, row.cost_source) == ("cancelled", "assumed")


def test_after_kill_9_codex_goes_on_in_its_thread_and_nothing_outlived_the_runner(codex: str, tmp_path: Path) -> None:
    with FakeResponses([WRITE, HANG]) as api:
        home = home_of(codex, api, tmp_path, ", checks: [{changed: {only: [note.txt]}}]")
        with runner(home, "apply", "m.yaml") as child:
            wait_until(lambda: sleepers() == 2)
            assert noted(home)
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE)
            wait_until(lambda: sleepers() == 0, ORPHANS_S)
        api.script = (Turn(text="it was written before"),)
        code, told = applied(home)
        asked = json.dumps(api.asked[-1]["input"])
    assert (code, told["outputs"]) == (0, {"said": "it was written before"}), told
    assert "echo hello" in asked and "You were interrupted" in asked
    first, second = rows(home)
    assert first.session == second.session and first.effect_key == second.effect_key
