"""Server processes that a killed runner may have left: noted in files as they start, ended by the next runner.

The guard of each server (mcp_guard) normally ends it with us; this is for when guard and runner were killed together.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from runner.executors.mcp_process import ProcessId, end_orphan, pid_start


class Orphans:
    """A folder of files named PID-START, one a process group that one of our runners has started. `owner`: our own pid."""

    def __init__(self, folder: Path, owner: ProcessId) -> None:
        self._folder = folder / f"{owner.pid}-{owner.start}"
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


def reap(folder: Path) -> int:
    """End what dead runners left behind; returns how many process groups that were. Runners that live keep theirs."""
    ended = 0
    for left in sorted(folder.glob("*-*")) if folder.is_dir() else ():
        owner = _process(left.name)
        if owner is None or pid_start(owner.pid) == owner.start:
            continue
        ended += sum(map(end_orphan, _noted(left)))
        _remove(left)
    return ended


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
