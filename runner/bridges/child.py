"""The process of an agent: its lines as they come, and an end that leaves nothing behind.

It runs under the guard that MCP servers run under (`executors/mcp_guard.py`, a program of its own that is started by its path, not
imported): when the agent has ended, is stopped, or we are killed, every descendant ends, also one that left the process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from runner.bridges.quoting import first

GUARD = Path(__file__).parents[1] / "executors" / "mcp_guard.py"
CANNOT_RUN = 127
"""Exit status of the guard when there is no such program."""
STOP_S = 3.0
"""After this long even the guard is killed. It gives the agent 1 s itself."""
LINE_BYTES = 32 * 1024 * 1024
TAIL_LINES, TAIL_LINE_CHARS = 20, 400


class Child:
    """A running agent with `stdin` as its whole input. One thread reads `lines` to their end, then asks for `code`; any may `stop`.

    `late` = it was stopped because `deadline_s` were over."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: str, deadline_s: float | None
    ) -> None:
        """Start it. Raises OSError and ValueError as Popen does."""
        with tempfile.TemporaryFile() as file:  # an unlinked file: no thread to feed it, and nobody has to read it
            file.write(stdin.encode("utf-8", "replace"))
            file.seek(0)
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *argv],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stderr = threading.Thread(target=self._listen, daemon=True)
        self._stderr.start()
        self.late = False
        self._force: threading.Timer | None = None
        self._deadline = threading.Timer(min(deadline_s or 0, threading.TIMEOUT_MAX), self._end_late)
        self._deadline.daemon = True
        if deadline_s is not None:
            self._deadline.start()

    def lines(self) -> Iterator[bytes]:
        """Its stdout, to the end. A line over the cap is cut there."""
        assert self._popen.stdout is not None
        while line := self._popen.stdout.readline(LINE_BYTES):
            yield line

    def code(self) -> int:
        """Exit status, 128 + the signal that ended it; waits."""
        code = self._popen.wait()
        self._deadline.cancel()
        if self._force is not None:
            self._force.cancel()
        self._stderr.join()
        for pipe in (self._popen.stdout, self._popen.stderr):
            assert pipe is not None
            pipe.close()
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """End it and all that it started: politely, then by force. Returns at once."""
        if self._force is None:
            self._force = threading.Timer(STOP_S, self._kill)
            self._force.daemon = True
            self._force.start()
        self._popen.send_signal(signal.SIGTERM)

    def tail(self) -> str:
        """The last lines of its stderr."""
        return "\n".join(self._tail)

    def _end_late(self) -> None:
        self.late = True
        self.stop()

    def _kill(self) -> None:
        if self._popen.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(self._popen.pid, signal.SIGKILL)

    def _listen(self) -> None:
        assert self._popen.stderr is not None
        while line := self._popen.stderr.readline(LINE_BYTES):
            text = line.decode(errors="replace").rstrip()
            if text:
                self._tail.append(first(text, TAIL_LINE_CHARS))
