"""A server's process: its pipes as lines with a bound, the tail of what it says on stderr, and its end.

Knows bytes and signals, nothing of MCP (`mcp_session`). Every process is started under `mcp_guard`, which ends its descendants."""

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

from runner.executors import mcp_guard
from runner.executors.mcp_spec import ServerSpec

INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What a server gets of our environment: secrets of ours are not its business."""
STDIN_GRACE_S = 1.0
"""How long a server may take to end once its stdin is closed, as the MCP specification asks of it."""
TAIL_LINES, TAIL_LINE_CHARS, TAIL_BYTES = 20, 400, 64 * 1024
QUEUED_BYTES = 4 * 1024 * 1024
"""Complete lines that wait for the reader; beyond it the pipe is not read."""
HEAD_BYTES = 512
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class CannotStart(Exception):
    """The process could not be started; nothing has happened."""


class ProcessId(NamedTuple):
    """A process group of ours. `start` (clock ticks since boot) tells a pid from its reuse."""

    pid: int
    start: int


class Overlong(NamedTuple):
    """A line over the cap. `tail` is None while its end has not been seen; the rest of it is thrown away."""

    head: bytes
    tail: bytes | None = None


class LineFramer:
    """Cuts a byte stream into lines of at most `cap` bytes; a longer one gives an Overlong at the cap and another at its end."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._buffer = bytearray()
        self._skipping: bytes | None = None

    def feed(self, data: bytes) -> list[bytearray | Overlong]:
        """The lines that `data` completes, without their newline."""
        done: list[bytearray | Overlong] = []
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._grow(part, done)
            done.append(self._line())
        self._grow(rest, done)
        return done

    def _grow(self, part: bytes, done: list[bytearray | Overlong]) -> None:
        self._buffer += part
        if self._skipping is not None:
            del self._buffer[:-HEAD_BYTES]
        elif len(self._buffer) > self._cap:
            self._skipping = bytes(self._buffer[:HEAD_BYTES])
            self._buffer = self._buffer[-HEAD_BYTES:]
            done.append(Overlong(self._skipping))

    def _line(self) -> bytearray | Overlong:
        line, self._buffer = self._buffer, bytearray()
        if self._skipping is None:
            return line
        head, self._skipping = self._skipping, None
        return Overlong(head, bytes(line))


def clean(text: str) -> str:
    """`text` without what a terminal would obey: escapes, control and direction characters (newline and tab stay)."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class Tail:
    """The last words of a server, in bounded memory. More is kept than is shown: `masked` must see whole secrets."""

    def __init__(self, masked: Callable[[str], str] = str) -> None:
        self._bytes = bytearray()
        self._masked = masked

    def add(self, data: bytes) -> None:
        self._bytes += data[-2 * TAIL_BYTES :]
        if len(self._bytes) > 4 * TAIL_BYTES:
            del self._bytes[: -2 * TAIL_BYTES]

    def text(self) -> str:
        """At most 20 lines of at most 400 characters, safe to show."""
        lines = self._masked(clean(self._bytes.decode(errors="replace")))[-TAIL_BYTES:].split("\n")
        kept = [line for line in lines if line.strip()][-TAIL_LINES:]
        return "\n".join(line if len(line) <= TAIL_LINE_CHARS else line[:TAIL_LINE_CHARS] + "…" for line in kept)


def pid_start(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (field 22 of /proc/PID/stat); None when there is none, 0 when unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between opening and reading
        return None if Path("/proc/self").exists() else 0
    return int(stat.rpartition(")")[2].split()[19])


def end_orphan(process: ProcessId) -> bool:
    """Kill what a dead runner left behind: the group of `process`, if it is still that process. True when it was."""
    if process.start == 0 or pid_start(process.pid) != process.start:
        return False
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class ServerProcess(asyncio.SubprocessProtocol):
    """One running server. `next_line` for one reader; `write` from anywhere; `close` once at the end."""

    def __init__(self, spec: ServerSpec, on_stderr: Callable[[str], None]) -> None:
        self.tail = Tail(spec.masked)
        self.failure = ""
        """Why we ended it, when we did."""
        self.exit_code: int | None = None
        self._framer = LineFramer(spec.max_line_bytes)
        self._lines: deque[bytearray | Overlong] = deque()
        self._queued = 0
        self._eof = False
        self._reader: asyncio.Future[None] | None = None
        self._unsent: list[bytes] | None = None
        """What was written since something was sent in this turn of the loop; None = nothing was sent in it yet."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._finished = asyncio.Event()
        self._stderr_rest = b""
        self._on_stderr = on_stderr
        self._transport: asyncio.SubprocessTransport | None = None

    # ------------------------------------------------ life

    @property
    def id(self) -> ProcessId:
        """Of the guard, which leads the server's process group."""
        pid = self._running().get_pid()
        return ProcessId(pid, pid_start(pid) or 0)

    @property
    def ended(self) -> bool:
        """True once nothing more can come from the server."""
        return self._eof

    def _running(self) -> asyncio.SubprocessTransport:
        assert self._transport is not None, "the process was not started"
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def process_exited(self) -> None:
        self.exit_code = self._running().get_returncode()

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended and its pipes are read to their end."""
        self._end_of_stream()
        self._finished.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self._end_of_stream()
        elif fd == 0:
            self._writable.set()  # writers that wait must see that there is nobody to write to

    def _end_of_stream(self) -> None:
        self._eof = True
        self._wake()

    def fail(self, reason: str) -> None:
        """End it by force now; whoever reads sees the end of the stream at once."""
        self.failure = self.failure or reason
        self._end_of_stream()
        self._signal(signal.SIGQUIT)

    def _signal(self, number: signal.Signals) -> None:
        """Not by the transport: that asks first whether the process has ended, and then the loop, which waits for it, would never learn
        its exit code."""
        if self.exit_code is None:
            try:
                os.kill(self._running().get_pid(), number)
            except ProcessLookupError:
                return

    async def close(self) -> None:
        """Close stdin, wait, SIGTERM, SIGKILL; returns when the group is gone, within about 3.5 s."""
        transport, polite = self._running(), not self._eof
        self._send()
        self._end_of_stream()
        self._lines.clear()
        if transport.get_pipe_transport(1) is not None:
            self._stdout().resume_reading()  # what is still said is thrown away: a server that cannot write cannot end
        stdin = transport.get_pipe_transport(0)
        if stdin is not None:
            stdin.close()
        if not (polite and await self._gone(STDIN_GRACE_S)):
            self._signal(signal.SIGTERM)
            if not await self._gone(mcp_guard.GRACE_S + 0.5):
                self._kill_group()
                await self._gone(1.0)
        transport.close()

    def _kill_group(self) -> None:
        try:
            os.killpg(self._running().get_pid(), signal.SIGKILL)
        except ProcessLookupError:
            return

    async def _gone(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._finished.wait()
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------ pipes

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._heard(data)
            return
        if self._eof:
            return
        for line in self._framer.feed(data):
            self._lines.append(line)
            self._queued += len(line) if isinstance(line, bytearray) else 0
        if self._queued > QUEUED_BYTES:
            self._stdout().pause_reading()
        self._wake()

    def _heard(self, data: bytes) -> None:
        self.tail.add(data)
        whole, newline, rest = (self._stderr_rest + data).rpartition(b"\n")
        if len(rest) > TAIL_BYTES:
            whole, newline, rest = whole + newline + rest, b"\n", b""
        self._stderr_rest = rest
        if newline:
            self._on_stderr((whole + newline).decode(errors="replace"))

    def _stdout(self) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._running().get_pipe_transport(1))

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def next_line(self) -> bytearray | Overlong | None:
        """The next line of stdout; None when the stream has ended (what came before the end is still given)."""
        while not self._lines:
            if self._eof:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        line = self._lines.popleft()
        if isinstance(line, bytearray):
            paused = self._queued > QUEUED_BYTES
            self._queued -= len(line)
            if paused and self._queued <= QUEUED_BYTES and not self._eof:
                self._stdout().resume_reading()
        return line

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def write(self, data: bytes) -> bool:
        """Hand `data` to the server's stdin; False when there is nobody to read it. What is written in one turn of the loop goes in two
        pieces at most: each one wakes the server, and who starts fifty calls at once need not do it fifty times."""
        stdin = self._stdin()
        if stdin is None:
            return False
        if self._unsent is None:
            self._unsent = []
            asyncio.get_running_loop().call_soon(self._send)
            stdin.write(data)
        else:
            self._unsent.append(data)
        return True

    def _stdin(self) -> asyncio.WriteTransport | None:
        stdin = self._running().get_pipe_transport(0)
        usable = not self._eof and isinstance(stdin, asyncio.WriteTransport) and not stdin.is_closing()
        return cast(asyncio.WriteTransport, stdin) if usable else None

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, None
        stdin = self._stdin()
        if unsent and stdin is not None:
            stdin.write(b"".join(unsent))

    async def writable(self) -> None:
        """Wait until the server has taken enough of what was written."""
        await self._writable.wait()


async def start(spec: ServerSpec, on_stderr: Callable[[str], None]) -> ServerProcess:
    """Start the server. `on_stderr` gets its whole lines. Raises CannotStart."""
    env = {key: os.environ[key] for key in INHERITED if key in os.environ} | dict(spec.env)
    cwd = Path(spec.cwd) if spec.cwd else Path.cwd()
    if not cwd.is_dir():
        raise CannotStart(f"its working directory {cwd} does not exist")
    import shutil  # it loads four compressions

    program = str(cwd / spec.command) if "/" in spec.command else spec.command
    if shutil.which(program, path=env.get("PATH")) is None:
        raise CannotStart(f"command not found: {spec.command}")
    guard = (sys.executable, "-I", "-S", mcp_guard.__file__, str(os.getpid()))
    try:
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: ServerProcess(spec, on_stderr),
            *guard,
            spec.command,
            *spec.args,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
        raise CannotStart(str(error)) from error
    return process
