"""An attempt's log: capped, masked, readable by its owner only. Not here: showing it (a terminal must escape what it prints)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from runner.redact import RedactedStream, Redactor

Stream = Literal["stdout", "stderr", "progress"]
LOG_BYTES: Final = 8 << 20
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_\[\]-]")


def log_path(logs: Path, run: str, node: str, attempt: int) -> Path:
    """Where the log of an attempt is (if it wrote anything)."""
    return run_folder(logs, run) / f"{_safe(node)}.{attempt}.log"


def run_folder(logs: Path, run: str) -> Path:
    """The folder of a run below that of all logs, notes or worktrees (it may not be there)."""
    return logs / _safe(run)


def _safe(name: str) -> str:
    """`name` as one path part: other characters become %hex, so two names never meet."""
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):x}%", name)


def private_folder(path: Path) -> None:
    """Make `path`, and what is missing above it, for our eyes only (`parents=True` would leave those to the umask)."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


class AttemptLog:
    """A `LogSink` of one attempt. The file appears with the first text; a disk that refuses it never fails the step."""

    def __init__(self, path: Callable[[], Path], redactor: Redactor, cap: int = LOG_BYTES) -> None:
        """`path` is asked for when there is something to write: most attempts of MCP tools write nothing."""
        self._path, self._redactor = path, redactor
        self._cap = self._left = cap
        self._dropped = 0
        self._file: Path | None = None
        self._fd: int | None = None
        self._broken = False
        self._masks: dict[Stream, RedactedStream] = {}

    def write(self, stream: Stream, text: str) -> None:
        if stream not in self._masks:
            self._masks[stream] = self._redactor.stream()
        self._put(self._masks[stream].feed(text))

    def close(self) -> str:
        """Write what was held back, mark a cut. The path, or "" when there is no file."""
        for mask in self._masks.values():
            self._put(mask.close())
        if self._dropped:
            self._append(
                f"\n[cut: the limit of {self._cap} bytes a log was reached; {self._dropped} bytes more]\n".encode()
            )
        if self._fd is None:
            return ""
        with suppress(OSError):  # some disks say only now that they are full
            os.close(self._fd)
        self._fd = None
        return str(self._file)

    def _put(self, text: str) -> None:
        if not text:
            return
        data = text.encode("utf-8", "replace")
        kept = data[: self._left]
        self._left -= len(kept)
        self._dropped += len(data) - len(kept)
        if kept:
            self._append(kept)

    def _append(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            if self._fd is None:
                self._fd = self._open()
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._broken = True

    def _open(self) -> int:
        path = self._file = self._path()
        private_folder(path.parent)
        with suppress(FileNotFoundError):
            path.unlink()  # never write through a link or into a file that others may read
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
