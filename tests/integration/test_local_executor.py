"""Local commands with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from runner.core.messages import Note
from runner.executors import process, watchdog
from runner.executors.local import LocalCommands
from runner.executors.process import pid_start
from runner.ports import CallResult, Request


class Log:
    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.wrote = asyncio.Event()

    def write(self, stream: str, text: str) -> None:
        self.texts[stream] = self.texts.get(stream, "") + text
        self.wrote.set()


@pytest.fixture
async def commands() -> AsyncIterator[LocalCommands]:
    made = LocalCommands()
    yield made
    await made.close()


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.1)
    monkeypatch.setattr(process, "DRAIN_S", 0.1)


def request(tmp_path: Path, *argv: str, script: str | None = None, **more: Any) -> Request:
    inputs: dict[str, Any] = {"script": script} if script is not None else {"argv": list(argv)}
    fields: dict[str, Any] = {"deadline_s": 20.0, "env": {}, "idempotency_key": "r/n/1"} | more
    return Request("local", "run", inputs, cwd=str(tmp_path), **fields)


def alive(pid: int) -> bool:
    """Neither gone nor a zombie (nobody may reap orphans in a container)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether `pid` ends in time: a bounded wait on the kernel, by pidfd."""
    import select

    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], within_s)[0])
    finally:
        os.close(fd)


async def test_output_is_stdout_without_its_last_newline(commands: LocalCommands, tmp_path: Path) -> None:
    result = await commands.call(request(tmp_path, "printf", "a\\n\\nb\\n\\n"))
    assert result == CallResult(output="a\n\nb\n", text="a\n\nb\n", executor="local")


async def test_a_script_stops_at_its_first_failure_and_at_unset_variables(
    commands: LocalCommands, tmp_path: Path
) -> None:
    failed = await commands.call(request(tmp_path, script="echo one; false; echo two"))
    unset = await commands.call(request(tmp_path, script='echo "$NOT_SET_ANYWHERE"'))
    assert (failed.error_class, failed.output, failed.status) == ("tool_error", "one", 1)
    assert unset.error_class == "tool_error"


async def test_argv_passes_no_shell(commands: LocalCommands, tmp_path: Path) -> None:
    result = await commands.call(request(tmp_path, "echo", "$HOME; rm -rf *", "`id`"))
    assert result.output == "$HOME; rm -rf * `id`"


async def test_numbers_and_truth_values_in_argv_are_written_as_json(commands: LocalCommands, tmp_path: Path) -> None:
    given = request(tmp_path)
    given.inputs["argv"].extend(["echo", 3, True, ["a"]])  # type: ignore[attr-defined]
    assert (await commands.call(given)).output == '3 true ["a"]'


async def test_an_argument_that_is_none_is_refused(commands: LocalCommands, tmp_path: Path) -> None:
    given = request(tmp_path)
    given.inputs["argv"].extend(["echo", None])  # type: ignore[attr-defined]
    result = await commands.call(given)
    assert (result.error_class, result.effect) == ("invalid", "none")
    assert "argument 1" in result.message


async def test_the_environment_is_minimal(
    commands: LocalCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_should_never_be_inherited")
    result = await commands.call(request(tmp_path, "env", env={"GREETING": "hello", "ARES_RUN_DIR": "/x"}))
    env = dict(line.split("=", 1) for line in result.output.splitlines())
    assert env["GREETING"] == "hello"
    assert env["ARES_RUN_DIR"] == "/x"
    assert env["ARES_IDEMPOTENCY_KEY"] == "r/n/1"
    assert env["PATH"]
    assert "GITHUB_TOKEN" not in env


async def test_stdin_is_the_given_text_or_empty(commands: LocalCommands, tmp_path: Path) -> None:
    text = "häst\n" * 50_000
    assert (await commands.call(request(tmp_path, "cat", stdin=text))).output == text.removesuffix("\n")
    assert (await commands.call(request(tmp_path, "cat"))).output == ""
    assert (await commands.call(request(tmp_path, "true", stdin=text))).error_class == ""


async def test_both_streams_reach_the_log(commands: LocalCommands, tmp_path: Path) -> None:
    log = Log()
    await commands.call(request(tmp_path, script="echo out; echo err >&2", log=log))
    assert log.texts == {"stdout": "out\n", "stderr": "err\n"}


async def test_bytes_that_are_no_utf8_are_replaced(commands: LocalCommands, tmp_path: Path) -> None:
    log = Log()
    result = await commands.call(request(tmp_path, script=r"printf 'a\377b'; printf '\303' >&2", log=log))
    assert result.output == "a\ufffdb"
    assert log.texts == {"stdout": "a\ufffdb", "stderr": "\ufffd"}


async def test_a_non_zero_exit_is_a_known_tool_error_with_the_end_of_stderr(
    commands: LocalCommands, tmp_path: Path
) -> None:
    result = await commands.call(request(tmp_path, script="for i in $(seq 1 50); do echo line $i >&2; done; exit 3"))
    assert (result.error_class, result.effect, result.status) == ("tool_error", "none", 3)
    assert result.message.splitlines()[:2] == ["exit code 3", "line 31"]
    assert result.message.splitlines()[-1] == "line 50"


async def test_a_silent_stderr_gives_way_to_the_end_of_stdout(commands: LocalCommands, tmp_path: Path) -> None:
    result = await commands.call(request(tmp_path, script="echo 1 failed; exit 1"))
    assert result.message == "exit code 1\n1 failed"


async def test_a_command_killed_by_a_signal_is_a_crash_of_unknown_effect(
    commands: LocalCommands, tmp_path: Path
) -> None:
    result = await commands.call(request(tmp_path, script="kill -KILL $$"))
    assert (result.error_class, result.effect, result.status) == ("crash", "maybe", None)
    assert "SIGKILL" in result.message


async def test_a_command_that_is_not_there_did_nothing(commands: LocalCommands, tmp_path: Path) -> None:
    missing = await commands.call(request(tmp_path, "no-such-command-x"))
    (tmp_path / "plain").write_text("x")
    plain = await commands.call(request(tmp_path, "./plain"))
    assert (missing.error_class, missing.effect) == ("unavailable", "none")
    assert missing.message == "cannot run 'no-such-command-x': command not found"
    assert (plain.error_class, plain.effect) == ("unavailable", "none")
    assert plain.message == "cannot run './plain': not executable"


@pytest.mark.parametrize(
    ("argv", "cwd", "says"),
    [
        (["echo", "a\0b"], ".", "null byte"),
        (["echo", "x" * 3_000_000], ".", "too long"),
        (["echo"], "gone", "no folder"),
        ([], ".", "no words"),
    ],
)
async def test_what_can_never_be_spawned_is_invalid(
    commands: LocalCommands, tmp_path: Path, argv: list[str], cwd: str, says: str
) -> None:
    result = await commands.call(request(tmp_path / cwd, *argv))
    assert (result.error_class, result.effect) == ("invalid", "none")
    assert says in result.message


async def test_a_deadline_ends_the_whole_group_and_leaves_the_effect_unknown(
    commands: LocalCommands, tmp_path: Path
) -> None:
    log = Log()
    started = time.monotonic()
    script = "sleep 300 & echo $!; timeout 200 sleep 300 & wait"
    result = await commands.call(request(tmp_path, script=script, deadline_s=0.3, log=log))
    assert (result.error_class, result.effect) == ("timeout", "maybe")
    assert "0.3 s" in result.message
    assert time.monotonic() - started < 2
    assert not alive(int(log.texts["stdout"].split()[0]))


@pytest.mark.skipif(sys.platform != "linux", reason="finds the members of a session through /proc")
async def test_a_deadline_reaches_children_in_groups_of_their_own(commands: LocalCommands, tmp_path: Path) -> None:
    log = Log()
    script = "timeout 200 sh -c 'echo $$; sleep 300' & wait"
    result = await commands.call(request(tmp_path, script=script, deadline_s=0.3, log=log))
    assert result.error_class == "timeout"
    assert gone(int(log.texts["stdout"].split()[0]))


@pytest.mark.usefixtures("short_grace")
async def test_a_command_that_ignores_sigterm_is_killed(commands: LocalCommands, tmp_path: Path) -> None:
    result = await commands.call(
        request(tmp_path, script="trap '' TERM; echo $$; while :; do sleep 30; done", deadline_s=0.2)
    )
    assert result.error_class == "timeout"
    assert gone(int(result.output.split()[0]))


async def test_silence_past_the_idle_time_is_a_timeout(commands: LocalCommands, tmp_path: Path) -> None:
    quiet = await commands.call(request(tmp_path, "sleep", "300", idle_s=0.1))
    busy = await commands.call(request(tmp_path, script="for i in 1 2 3 4; do echo; sleep 0.1; done", idle_s=2.0))
    assert (quiet.error_class, quiet.effect, quiet.message) == ("timeout", "maybe", "no output for 0.1 s")
    assert busy.error_class == ""


async def test_stdout_over_the_cap_is_bad_output_and_ends_the_command(tmp_path: Path) -> None:
    commands = LocalCommands(output_bytes=100_000)
    result = await commands.call(request(tmp_path, "yes"))
    await commands.close()
    assert (result.error_class, result.effect, result.output) == ("bad_output", "maybe", None)
    assert "limit of 100000 bytes" in result.message


async def test_a_flood_on_stderr_is_no_failure(commands: LocalCommands, tmp_path: Path) -> None:
    result = await commands.call(request(tmp_path, script="yes | head -c 5000000 >&2; echo done"))
    assert (result.error_class, result.output) == ("", "done")


@pytest.mark.usefixtures("short_grace")
async def test_what_a_command_leaves_in_its_group_ends_with_it(commands: LocalCommands, tmp_path: Path) -> None:
    holding = await commands.call(request(tmp_path, script="sleep 300 & echo $!"))
    detached = await commands.call(request(tmp_path, script="sleep 300 >/dev/null 2>&1 & echo $!"))
    assert (holding.error_class, detached.error_class) == ("", "")
    assert gone(int(holding.output))
    assert gone(int(detached.output))


async def test_the_process_is_reported_as_soon_as_it_runs(commands: LocalCommands, tmp_path: Path) -> None:
    notes: list[tuple[Note, int]] = []
    note: Callable[[Note], None] = lambda n: notes.append((n, pid_start(n.pid or 0)))  # noqa: E731
    result = await commands.call(request(tmp_path, script="echo $$", note=note))
    [(told, start)] = notes
    assert told.pid == int(result.output)
    assert told.pid_start == start > 0


async def test_cancellation_ends_the_group_and_passes(commands: LocalCommands, tmp_path: Path) -> None:
    log = Log()
    running = asyncio.create_task(commands.call(request(tmp_path, script="sleep 300 & echo $!; wait", log=log)))
    await asyncio.wait_for(log.wrote.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gone(int(log.texts["stdout"]))


async def test_a_second_cancellation_does_not_wait_for_the_grace(commands: LocalCommands, tmp_path: Path) -> None:
    log = Log()
    script = "trap '' TERM; echo $$; while :; do sleep 30; done"
    running = asyncio.create_task(commands.call(request(tmp_path, script=script, log=log)))
    await asyncio.wait_for(log.wrote.wait(), 5)
    started = time.monotonic()
    running.cancel()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - started < process.GRACE_S
    assert gone(int(log.texts["stdout"]))


async def test_many_commands_run_side_by_side(commands: LocalCommands, tmp_path: Path) -> None:
    results = await asyncio.gather(*(commands.call(request(tmp_path, "echo", str(n))) for n in range(40)))
    assert [result.output for result in results] == [str(n) for n in range(40)]


async def test_a_command_is_watched_without_pidfd_too(
    commands: LocalCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    results = await asyncio.gather(*(commands.call(request(tmp_path, "echo", str(n))) for n in range(5)))
    late = await commands.call(request(tmp_path, "sleep", "300", deadline_s=0.1))
    assert [result.output for result in results] == ["0", "1", "2", "3", "4"]
    assert late.error_class == "timeout"


RUNNER = """
import asyncio, sys
from runner.executors.local import LocalCommands
from runner.ports import Request

class Log:
    def write(self, stream, text):
        print(text, end="", flush=True)

async def main():
    script = sys.argv[1]
    await LocalCommands().call(Request("local", "run", {"script": script}, {}, "/", "k", None, log=Log()))

asyncio.run(main())
"""


def runner_with(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_command_outlives_the_runner(number: signal.Signals) -> None:
    script = "sleep 300 & echo $!; setsid sh -c 'echo $$; exec sleep 300' & wait"
    with runner_with(script) as runner:
        assert runner.stdout is not None
        pids = [int(runner.stdout.readline()) for _ in range(2)]
        assert all(alive(pid) for pid in pids)
        runner.send_signal(number)
        runner.wait(5)
        assert all(gone(pid) for pid in pids)


def test_what_hides_in_another_session_ends_with_the_runner() -> None:
    with runner_with("setsid sh -c 'echo $$; exec sleep 300 >/dev/null 2>&1' & sleep 0.2") as runner:
        assert runner.stdout is not None
        hidden = int(runner.stdout.readline())
        assert runner.wait(10) == 0
    assert gone(hidden)


def test_a_child_may_opt_out_of_the_sweep() -> None:
    script = "ARES_RUNNER= setsid sh -c 'echo $$; exec sleep 300 >/dev/null 2>&1' & sleep 0.2; setsid sh -c 'echo $$; sleep 9' &"
    with runner_with(script) as runner:
        assert runner.stdout is not None
        free, swept = (int(runner.stdout.readline()) for _ in range(2))
        runner.kill()
        runner.wait(5)
    try:
        assert gone(swept)
        assert alive(free)
    finally:
        os.kill(free, signal.SIGKILL)


async def test_a_killed_watchdog_is_replaced_with_all_that_runs(tmp_path: Path) -> None:
    dog = watchdog.Watchdog()
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    dog.add(child.pid)
    shell = dog._shell
    assert shell is not None
    shell.kill()
    assert gone(shell.pid)
    dog.remove(1)
    dog.add(2**22 + 1)
    assert dog._shell is not shell
    dog.close()
    assert child.wait(5) == -signal.SIGKILL


async def test_a_group_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    dog = watchdog.Watchdog()
    kept = subprocess.Popen(["sleep", "300"], start_new_session=True)
    ended = subprocess.Popen(["sleep", "300"], start_new_session=True)
    dog.add(kept.pid)
    dog.add(ended.pid)
    dog.remove(kept.pid)
    shell = dog._shell
    assert shell is not None
    dog.close()
    assert gone(shell.pid)
    assert ended.wait(5) == -signal.SIGKILL
    assert kept.poll() is None
    kept.kill()
    kept.wait()
