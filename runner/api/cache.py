"""The cache folder: JSON values by name, kept between processes. What they mean is for `checking.py` to say.

It is the user's own folder, never one of a checkout: what a pull request can write is not trusted. Whatever is odd about the folder or an
entry makes it read as empty: a cache may cost time, never a result.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOST_ENTRIES = 256
MOST_BYTES = 8 * 1024 * 1024
"""Of one entry."""
MOST_BYTES_IN_ALL = 64 * 1024 * 1024

_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC
_FOREIGN = stat.S_IWGRP | stat.S_IWOTH


def open_cache(env: Mapping[str, str]) -> Path | None:
    """`$XDG_CACHE_HOME/runner` (else `~/.cache/runner`), made when it is missing; None when it is not ours alone."""
    given = env.get("XDG_CACHE_HOME", "")
    home = env.get("HOME", "")
    if not Path(given or home).is_absolute():  # the XDG rules: a relative one is to be ignored
        return None
    folder = Path(given) / "runner" if given else Path(home) / ".cache" / "runner"
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return folder if private else None


def get(folder: Path, name: str) -> Any:
    """The value that was kept under `name`, which counts as used now; None when there is none that could be trusted."""
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NONBLOCK | _OPEN)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not _ours(found) or found.st_size > MOST_BYTES:
                return None
            os.utime(descriptor)
            return json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _ours(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _FOREIGN


def put(folder: Path, name: str, value: Any) -> None:
    """Keep `value`; readers see it whole or not at all. What cannot be kept is not: that is no error."""
    data = json.dumps(value, separators=(",", ":")).encode()
    if len(data) > MOST_BYTES:
        return
    temporary = folder / f".{name}.{os.getpid()}"
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600), "wb") as file:
            file.write(data)
        temporary.replace(folder / name)
        _prune(folder)
    except OSError:  # a full disk, or another process was faster
        temporary.unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Remove the entries that were used longest ago, and what a killed process left, until the rest fits."""
    with os.scandir(folder) as entries:
        found = [(entry.stat(follow_symlinks=False), entry.path) for entry in entries]
    total = 0
    for count, (about, path) in enumerate(sorted(found, key=lambda each: -each[0].st_mtime_ns), 1):
        total += about.st_size
        if (count > MOST_ENTRIES or total > MOST_BYTES_IN_ALL) and stat.S_ISREG(about.st_mode):
            Path(path).unlink(missing_ok=True)
