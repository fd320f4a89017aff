"""Folders of ours among the temporary ones of the system. Each is removed when it is left; one whose process was killed (kill -9), by the
next command that makes such folders here.

A folder names its process as leases do (store/owners.py). What names none, or one of another host (a container that shares the temporary
folder), or is another user's, is not ours to judge, and stays."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.ports import OwnerId
from runner.store.owners import is_alive, this_process

OWNER = "owner.json"


@contextmanager
def throwaway(prefix: str) -> Iterator[Path]:
    """A new folder, only ours to read. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as made:
        folder = Path(made).resolve()
        (folder / OWNER).write_text(json.dumps(this_process()))
        yield folder


def sweep(prefix: str) -> int:
    """Remove what killed processes of this host left of such folders; returns how many there were. Those of living ones stay."""
    with suppress(OSError):
        left = [
            path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(prefix) and _forsaken(path)
        ]
        return sum(map(_remove, left))
    return 0


def _forsaken(folder: Path) -> bool:
    try:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            return False
        name, host, pid, start = json.loads((folder / OWNER).read_text())
        # heard of just now: who is elsewhere lives
        return not is_alive(OwnerId(str(name), str(host), int(pid), int(start)), heartbeat=0, now=0)
    except (OSError, ValueError, TypeError):
        return False  # no note, or half of one: its process may be about to write it


def _remove(folder: Path) -> bool:
    """Also what a step has made read-only."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        for inner, _, _ in os.walk(folder):
            with suppress(OSError):
                Path(inner).chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
