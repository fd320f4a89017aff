"""Lines with a bound, last words that are safe to show, and what is written to a server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.executors.mcp_process import (
    HEAD_BYTES,
    TAIL_BYTES,
    TAIL_LINE_CHARS,
    LineFramer,
    Overlong,
    ProcessId,
    ServerProcess,
    Tail,
    clean,
    end_orphan,
    pid_start,
    start,
)
from runner.executors.mcp_spec import ServerSpec
from runner.redact import Redactor


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_the_bytes_arrive(step: int) -> None:
    data, framer = b"one\n\ntwo\nthree", LineFramer(10)
    lines = [line for at in range(0, len(data), step) for line in framer.feed(data[at : at + step])]
    assert lines == [bytearray(b"one"), bytearray(), bytearray(b"two")]


@pytest.mark.parametrize("step", [1, 3, 999, 100_000])
def test_a_line_over_the_cap_is_told_at_the_cap_and_at_its_end_and_not_kept(step: int) -> None:
    data, framer = b"<" + b"x" * 10_000 + b">\nnext\n", LineFramer(1000)
    lines = [line for at in range(0, len(data), step) for line in framer.feed(data[at : at + step])]
    early, late, after = lines
    assert isinstance(early, Overlong) and isinstance(late, Overlong)
    assert early.tail is None and early.head == late.head
    assert early.head.startswith(b"<xx") and len(early.head) == HEAD_BYTES
    assert late.tail is not None and late.tail.endswith(b"x>")
    assert after == bytearray(b"next")


def test_a_line_of_exactly_the_cap_is_a_line() -> None:
    assert LineFramer(3).feed(b"abc\n") == [bytearray(b"abc")]


def test_the_tail_is_twenty_lines_without_anything_that_a_terminal_obeys() -> None:
    tail = Tail()
    tail.add(b"lost\n" * 100_000)
    for number in range(25):
        tail.add(b"line %d \x1b[31mred\x1b[0m\x07\n\n" % number)
    lines = tail.text().split("\n")
    assert lines == [f"line {number} red" for number in range(5, 25)]


def test_a_long_line_of_the_tail_is_cut_and_marked() -> None:
    tail = Tail()
    tail.add(b"x" * 1000 + b"\xff\n")
    assert tail.text() == "x" * 400 + "…"


def test_no_cut_of_the_tail_goes_through_a_secret() -> None:
    secret = "correct-horse-battery"
    masked = Redactor({"s": secret}).text
    for before in range(TAIL_LINE_CHARS - len(secret), TAIL_LINE_CHARS + 1):
        tail = Tail(masked)
        tail.add(b"." * before + secret.encode() + b"." * TAIL_LINE_CHARS)
        assert "corr" not in tail.text()
    for behind in range(TAIL_BYTES - len(secret), TAIL_BYTES + 1):
        tail = Tail(masked)
        tail.add(secret.encode() + b"." * behind)
        assert "tery" not in tail.text()


def test_cleaning_keeps_text_newlines_and_tabs() -> None:
    assert clean("a\tb\r\nc\rd\x00\x9b\u202e é\n") == "a\tb\nc\nd é\n"


def test_a_process_is_told_from_its_reuse_by_its_start() -> None:
    start = pid_start(os.getpid())
    assert start is not None and start > 0
    assert pid_start(2**22 + 1) is None
    assert not end_orphan(ProcessId(os.getpid(), start + 1))
    assert not end_orphan(ProcessId(os.getpid(), 0))


class Pipe(asyncio.WriteTransport):
    """A server's stdin that keeps what it is given, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))


class Child(asyncio.SubprocessTransport):
    """A process with nothing but a stdin."""

    def __init__(self) -> None:
        super().__init__()
        self.stdin = Pipe()

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        return self.stdin if fd == 0 else None


async def test_what_is_written_in_one_turn_of_the_loop_wakes_the_server_twice_at_most() -> None:
    child, process = Child(), ServerProcess(ServerSpec("s", "c"), lambda text: None)
    process.connection_made(child)
    assert all(process.write(b"%d\n" % number) for number in range(4))
    assert child.stdin.pieces == [b"0\n"], "the first does not wait"
    await asyncio.sleep(0)
    assert child.stdin.pieces == [b"0\n", b"1\n2\n3\n"]
    assert process.write(b"4\n")
    assert child.stdin.pieces[2:] == [b"4\n"]
    await asyncio.sleep(0)
    assert child.stdin.pieces[3:] == []


async def test_ending_a_server_takes_its_exit_code_from_nobody_who_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = await start(ServerSpec("s", sys.executable, ("-c", "input()")), lambda text: None)
    asked: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(subprocess.Popen, "poll", lambda popen: asked.append(popen.pid))
        process.fail("enough")
    await process.close()
    assert asked == [], "of a process that has just ended this would be the only one to learn how"


async def test_what_was_written_before_the_end_reaches_the_server(tmp_path: Path) -> None:
    program = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    heard = tmp_path / "heard"
    process = await start(ServerSpec("s", sys.executable, ("-c", program, str(heard))), lambda text: None)
    assert process.write(b"a call\n")
    assert process.write(b"its cancellation\n")
    await process.close()
    assert heard.read_text() == "a call\nits cancellation\n"


BESIDE_A_FOREIGN_CHILD = """
import os, subprocess
from runner.executors import mcp_guard
foreign = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
os.setresuid(65534, 65534, 65534)
subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
mcp_guard.end_all()
print(foreign.pid, mcp_guard.children() == [foreign.pid])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs children of another user, which only root can have")
def test_the_guard_ends_what_it_may_kill_beside_what_it_may_not() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", BESIDE_A_FOREIGN_CHILD], capture_output=True, text=True, timeout=20, check=True
    )
    pid, _, alone = ended.stdout.strip().partition(" ")
    os.kill(int(pid), signal.SIGKILL)
    assert alone == "True"
