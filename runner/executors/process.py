"""One child process, from spawn to the last member of its session, read through the event loop.

Not here: what its end means for a step (local.py). asyncio's own subprocesses are not used: on Python 3.11 they take a thread
each to wait, and reap the leader before its group can be signalled safely; this is also 0.1 ms of CPU cheaper.
"""

import asyncio
import codecs
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, NamedTuple

from runner.ports import LogSink

Why = Literal["exit", "deadline", "idle", "too_much"]
Stream = Literal["stdout", "stderr"]

GRACE_S = 2.0
"""From SIGTERM to SIGKILL."""
DRAIN_S = 1.0
"""How long output is still read when the command has ended but something that it left behind holds its pipes."""
CHUNK = 65_536
TAIL_BYTES = 16_384


class Spec(NamedTuple):
    """What to start. `cap`: bytes of stdout after which the child is killed."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    stdin: str | None
    cap: int


class Process:
    """A running child, leader of its own session. `wait` once, always; then `stdout`, `stderr_tail`, `returncode` hold."""

    def __init__(self, spec: Spec, log: LogSink | None) -> None:
        """Spawn. Raises OSError and ValueError as Popen does."""
        self._loop = asyncio.get_running_loop()
        self._log, self._cap = log, spec.cap
        self.stdout = bytearray()
        self._stderr = bytearray()
        self._verdict: asyncio.Future[Why] = self._loop.create_future()
        self._quiet: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._closed = False
        self._heard = self._loop.time()
        self._timers: dict[Why, asyncio.TimerHandle] = {}
        self._popen = _spawn(spec)
        self.pid = self._popen.pid
        self._open: dict[Stream, IO[bytes]] = {}
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._listen("stdout", self._popen.stdout)
        self._listen("stderr", self._popen.stderr)
        self._pidfd = _pidfd(self.pid)
        if self._pidfd is None:
            threading.Thread(target=self._wait_in_thread, daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._on_end)

    @property
    def returncode(self) -> int:
        """Exit code, or minus the signal that ended it."""
        return self._popen.returncode

    def stderr_tail(self) -> str:
        return self._stderr.decode("utf-8", "replace")

    async def wait(self, deadline_s: float | None, idle_s: float | None) -> Why:
        """Until it has ended or was ended, and why. When this is left, also by cancellation, nothing of its group runs."""
        if deadline_s is not None:
            self._timers["deadline"] = self._loop.call_later(deadline_s, self._decide, "deadline")
        if idle_s is not None:
            self._check_idle(idle_s)
        try:
            why = await self._verdict
            if why == "exit":
                await self._wait_quiet(DRAIN_S)
            else:
                await self._stop()
            return why
        except asyncio.CancelledError:
            await self._stop()
            raise
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._close()

    # ------------------------------------------------------------ ending it

    async def _stop(self) -> None:
        signal_session(self.pid, signal.SIGTERM)
        try:
            await self._wait_quiet(GRACE_S)
        finally:  # a second cancellation cuts the grace short
            signal_session(self.pid, signal.SIGKILL)
        await self._wait_quiet(GRACE_S)

    async def _wait_quiet(self, seconds: float) -> None:
        """Until the leader has ended and its pipes are closed, at most `seconds`."""
        if not self._quiet.done():
            await asyncio.wait([self._quiet], timeout=seconds)

    def _close(self) -> None:
        if not self._verdict.done():
            self._verdict.cancel()
        for name in list(self._open):
            self._hang_up(name)
        _kill_group(self.pid, signal.SIGKILL)  # what a command leaves behind in its group ends with it
        self._closed = True
        if self._ended:
            self._reap()

    def _decide(self, why: Why) -> None:
        if not self._verdict.done():
            self._verdict.set_result(why)

    def _check_idle(self, idle_s: float) -> None:
        left = self._heard + idle_s - self._loop.time()
        if left <= 0:
            self._decide("idle")
        elif not self._verdict.done():
            self._timers["idle"] = self._loop.call_later(left, self._check_idle, idle_s)

    def _on_end(self) -> None:
        """The leader is a zombie now; it keeps the group's number from being given away until it is reaped."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._ended = True
        self._decide("exit")
        self._settle()
        if self._closed:
            self._reap()

    def _reap(self) -> None:
        self._popen.wait()

    def _wait_in_thread(self) -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._on_end)

    def _settle(self) -> None:
        if self._ended and not self._open and not self._quiet.done():
            self._quiet.set_result(None)

    # ------------------------------------------------------------ its output

    def _listen(self, name: Stream, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
        self._open[name] = pipe
        self._loop.add_reader(pipe.fileno(), self._read, name, pipe.fileno())

    def _read(self, name: Stream, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._hang_up(name)
            return
        self._heard = self._loop.time()
        self._write_log(name, data, final=False)
        if name == "stderr":
            self._stderr += data
            del self._stderr[:-TAIL_BYTES]
        elif len(self.stdout) + len(data) > self._cap:
            self._decide("too_much")
            self._hang_up(name)
        else:
            self.stdout += data

    def _hang_up(self, name: Stream) -> None:
        pipe = self._open.pop(name)
        self._loop.remove_reader(pipe.fileno())
        pipe.close()
        self._write_log(name, b"", final=True)
        self._settle()

    def _write_log(self, name: Stream, data: bytes, *, final: bool) -> None:
        text = self._decoders[name].decode(data, final)
        if self._log is not None and text:
            self._log.write(name, text)


def _spawn(spec: Spec) -> subprocess.Popen[bytes]:
    # A session of its own: no terminal to ask for passwords on, Ctrl-C is ours to pass on, and one number names all of it.
    # `text` on stdin comes from an unlinked file: no writer to drive, and a command that does not read it breaks nothing.
    if spec.stdin is None:
        return _popen(spec, subprocess.DEVNULL)
    import tempfile  # loads shutil and its compressions: for the few commands that are given a text

    with tempfile.TemporaryFile() as file:
        file.write(spec.stdin.encode("utf-8", "replace"))
        file.seek(0)
        return _popen(spec, file)


def _popen(spec: Spec, stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        spec.argv,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=spec.env,
        cwd=spec.cwd,
        start_new_session=True,
    )


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or forbidden in this container
        return None


def _kill_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_session(session: int, number: signal.Signals) -> None:
    """Signal the group `session`, and on Linux what moved to a group of its own in that session (coreutils' `timeout` does)."""
    _kill_group(session, number)
    for pid in _members(session):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _members(session: int) -> list[int]:
    """Processes of `session` outside of its first group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        fields = _stat(entry.name)
        if len(fields) > 3 and int(fields[3]) == session != int(fields[2]):
            found.append(int(entry.name))
    return found


def _stat(pid: int | str) -> list[str]:
    """/proc/PID/stat from field 3 (state) on; empty when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def pid_start(pid: int) -> int:
    """Clock ticks since boot at which `pid` started (tells a pid from its reuse); 0 when unknown."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0
