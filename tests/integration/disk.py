"""Disks that fail, as SQLite sees them: one that kills the process at a write, and one whose power is cut.

Both are VFS layers over the system's own, registered as the default of a process that is thrown away afterwards: see `forked`."""

from __future__ import annotations

import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw


def forked(work: Callable[[Callable[[object], None]], object]) -> tuple[int | None, list[str]]:
    """Do `work` in a copy of this process. It may call what it is given to say something. Returns the signal that ended it (None: it
    came to its end) and what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            work(lambda word: _write(writer, word))
            code = 0
        except Exception:  # noqa: BLE001  nothing of a copy may pass into the tests
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as said:
        words = said.read().split("\n")[:-1]
    status = os.waitpid(child, 0)[1]
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, "the copy failed; its traceback is on stderr"
    return (os.WTERMSIG(status) if os.WIFSIGNALED(status) else None), words


def _write(writer: int, word: object) -> None:
    os.write(writer, f"{word}\n".encode())


_MOUNTED: list[Any] = []
"""A layer is there as long as somebody holds it."""


class _File(apsw.VFSFile):
    """A file that asks its disk before every change."""

    def __init__(self, disk: _Disk, filename: Any, flags: list[int]) -> None:
        super().__init__("unix", filename, flags)
        self._disk = disk
        self._name = Path(
            filename.filename() if isinstance(filename, apsw.URIFilename) else filename or "temporary"
        ).name

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.change("write", self._name, offset, bytes(data))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._disk.change("truncate", self._name, newsize)
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        self._disk.change("sync", self._name)
        super().xSync(flags)


class _Disk(apsw.VFS):
    def __init__(self, change: Callable[..., None]) -> None:
        self.change = change
        super().__init__("failing", "unix", makedefault=True)
        _MOUNTED.append(self)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.change("delete", Path(filename).name)
        super().xDelete(filename, syncdir)


def kill_at(nth: int) -> None:
    """From now on this process dies right before its `nth` change of any database file."""
    left = nth

    def change(kind: str, name: str, *_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    _Disk(change)


# ---------------------------------------------------------------- power


@dataclass(frozen=True)
class Change:
    """`kind`: write, truncate, sync, delete; or `said`: somebody was told that something is safe, `name`."""

    kind: str
    name: str
    offset: int = 0
    data: bytes = b""


def record(log: list[Change]) -> None:
    """From now on every change is noted."""
    _Disk(lambda kind, name, offset=0, data=b"": log.append(Change(kind, name, offset, data)))


@dataclass(frozen=True)
class Left:
    """What is on the disk when the power comes back: files, and what had been said to be safe before."""

    files: dict[str, bytes]
    said: list[str]


def power_cut(log: Sequence[Change], at: int, kept: random.Random | None) -> Left:
    """The power fails before change `at`. What was synced is there. Of what was not, nothing is; or, with `kept`, any part of it in any
    order, the last sectors of a write perhaps without the first."""
    files: dict[str, bytearray] = {}
    loose: dict[str, list[Change]] = {}
    said = []
    for change in log[:at]:
        if change.kind == "said":
            said.append(change.name)
        elif change.kind == "delete":  # nothing of ours relies on a deletion that is not safe: it may as well be
            files.pop(change.name, None)
            loose.pop(change.name, None)
        elif change.kind == "sync":
            for one in loose.pop(change.name, []):
                _do(files, one)
            files.setdefault(change.name, bytearray())
        else:
            loose.setdefault(change.name, []).append(change)
    if kept is not None:
        rest = [part for changes in loose.values() for change in changes for part in _sectors(change)]
        kept.shuffle(rest)
        for part in rest[: kept.randint(0, len(rest))]:
            _do(files, part)
    return Left({name: bytes(data) for name, data in files.items()}, said)


def _sectors(change: Change, size: int = 512) -> list[Change]:
    if change.kind != "write":
        return [change]
    parts = range(0, len(change.data), size)
    return [Change("write", change.name, change.offset + at, change.data[at : at + size]) for at in parts]


def _do(files: dict[str, bytearray], change: Change) -> None:
    content = files.setdefault(change.name, bytearray())
    if change.kind == "truncate":
        del content[change.offset :]
        return
    end = change.offset + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[change.offset : end] = change.data
