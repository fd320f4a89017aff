"""How a watched workspace was when an attempt began, kept on disk as long as the attempt is under way: after a kill, the attempt that goes
on in its place answers for both, and is not blamed for what others did in between.

Not here: how files are compared (changes.py), and which attempts are watched (sites.py)."""

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from runner.engine.changes import Area, Entry, Sig, Snapshot, touched
from runner.paths import write_atomic

BEAT_S: Final = 5.0
"""How often an attempt under way says that it still is."""
ORPHANS_S: Final = 5.0
"""What an attempt started outlives its runner by at most this."""


class Lost(NamedTuple):
    """What an attempt left that did not end. `until`: from when on nothing was its work any more (Unix nanoseconds)."""

    before: Snapshot
    until: int


class Beat:
    """The time of `path` says when this process lived last. Needs a running event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._again)

    def _again(self) -> None:
        with suppress(OSError):
            os.utime(self._path)
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._again)

    def stop(self) -> None:
        self._timer.cancel()


def write(path: Path, area: Area, before: Mapping[str, Entry]) -> None:
    """Raises OSError, PathEscape."""
    files = {name: [*entry.sig, entry.digest, entry.racy] for name, entry in before.items()}
    write_atomic(path.parent, path, json.dumps({"area": _area(area), "files": files}).encode(), 0o600)


def read(path: Path, area: Area) -> Lost | None:
    """What a lost attempt at `path` left; None when there is nothing, or nothing of this `area` that can be read."""
    try:
        beat, data = path.stat().st_mtime_ns, json.loads(path.read_bytes())
        if data["area"] != _area(area):
            return None
        before = {name: Entry(Sig(*old[:4]), old[4], old[5]) for name, old in data["files"].items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return Lost(before, beat + round((BEAT_S + ORPHANS_S) * 1e9))


def resumed(area: Area, now: Snapshot, lost: Lost) -> Snapshot:
    """The files as they were before the lost attempt, but those that somebody changed after its end as they are `now`. A file that is gone
    counts as the attempt's: nothing says when it went. Raises TooMany."""
    before = dict(lost.before)
    for path in touched(area, lost.before):
        if path in now and _changed(area.root / path) > lost.until:
            before[path] = now[path]
    return before


def _changed(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_ctime_ns
    return 0


def _area(area: Area) -> list[list[str]]:
    return [sorted(area.ignored), sorted(area.skipped)]
