"""Server processes that a killed runner may have left: noted in files as they start, ended by the next runner of the same host.

The guard of each server (mcp_guard) normally ends it with us; this is for when guard and runner were killed together.

A process id means something in its PID namespace alone, which is a host of its own here as it is for leases (docs/decisions/0024). What
runners of other hosts have noted is theirs to end: the same id and start time are some other process here. But a container that is
killed may never come back under its name, so notes of others are thrown away, unread, when nothing was noted there for `KEPT_MS`.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runner.clock import Millis
from runner.digest import digest_bytes
from runner.executors.mcp_process import ProcessId, end_orphan, pid_start

KEPT_MS = 7 * 24 * 3_600_000
"""A runner elsewhere that has started no server for so long may live still: then a kill of it together with its guards leaves servers."""


class Orphans:
    """A folder PID-START-HOST of files PID-START, one a process group that one of our runners has started. `owner`: our own pid; `host`:
    where it means something (OwnerId.host)."""

    def __init__(self, folder: Path, owner: ProcessId, host: str) -> None:
        self._folder = folder / f"{owner.pid}-{owner.start}-{_mark(host)}"
        self._noted: list[Path] = []

    def note(self, server: str, process: ProcessId) -> None:
        """Remember a process that was started. What cannot be noted is only not reaped."""
        with contextlib.suppress(OSError):
            self._folder.parent.mkdir(mode=0o700, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            note = self._folder / f"{process.pid}-{process.start}"
            note.touch()
            self._noted.append(note)

    def forget(self) -> None:
        """We end in order: nothing of ours is left. (Another application in this process keeps its notes.)"""
        with contextlib.suppress(OSError):
            for note in self._noted:
                note.unlink(missing_ok=True)
            self._folder.rmdir()


class _Left(NamedTuple):
    """The notes of one runner. `mark`: of its host; "" in those of versions that did not say."""

    folder: Path
    owner: ProcessId
    mark: str


def reap(folder: Path, host: str, now: Millis) -> int:
    """End what dead runners of `host`, which is ours, left behind; returns how many process groups that were. Runners that live keep
    theirs, and so do other hosts, until their notes are old."""
    ended = 0
    for left in _all(folder):
        if left.mark != _mark(host):
            if _is_old(left.folder, now):
                _remove(left.folder)
        elif pid_start(left.owner.pid) != left.owner.start:
            ended += sum(map(end_orphan, _noted(left.folder)))
            _remove(left.folder)
    return ended


def _mark(host: str) -> str:
    """What stands for a host in the name of a file: a host's name may hold anything."""
    return digest_bytes(host.encode(errors="surrogateescape"))[:12]


def _all(folder: Path) -> Iterator[_Left]:
    for path in sorted(folder.glob("*-*")) if folder.is_dir() else ():
        pid, start, mark = [*path.name.split("-", 2), ""][:3]
        if (owner := _process(f"{pid}-{start}")) is not None:
            yield _Left(path, owner, mark)


def _is_old(folder: Path, now: Millis) -> bool:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime * 1000 < now - KEPT_MS
    return False


def _noted(folder: Path) -> list[ProcessId]:
    """The processes of one runner. None when another runner, which has just started too, was faster to remove it."""
    with contextlib.suppress(OSError):
        return [process for file in folder.iterdir() if (process := _process(file.name))]
    return []


def _process(name: str) -> ProcessId | None:
    pid, _, start = name.partition("-")
    return ProcessId(int(pid), int(start)) if pid.isdecimal() and start.isdecimal() else None


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
