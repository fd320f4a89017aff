"""What the disk says of files: stamps, and contents that were not changed while they were read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BufferedReader

from runner.digest import digest_file
from runner.watch.settle import Stamp

GONE = ""
"""The digest of a file that is not there."""


def stamp_of(path: str) -> Stamp | None:
    """None for what is no regular file, or is not there."""
    try:
        return _stamp(os.stat(path))  # noqa: PTH116  a thousand Path objects a scan would cost more than the scan
    except (OSError, ValueError):
        return None


def stamps_of(paths: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of those that are there."""
    return {path: stamp for path in paths if (stamp := stamp_of(path)) is not None}


def _stamp(status: os.stat_result) -> Stamp | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Moved(Exception):
    """A file was changed while it was read."""


def read_still(path: str, limit: int) -> bytes | None:
    """The content of a regular file, up to `limit` bytes and one more; None when it is gone. Raises Moved, OSError."""
    try:
        opened = _open(path)
    except FileNotFoundError:
        return None
    with opened as file:
        before = _stamp(os.fstat(file.fileno()))
        if before is None:
            return None
        data = file.read(limit + 1)
        if _stamp(os.fstat(file.fileno())) != before or stamp_of(path) != before:
            raise Moved(path)
    return data


def _open(path: str) -> BufferedReader:
    # O_NONBLOCK: opening a pipe must not wait for a writer
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


@dataclass(slots=True)
class Digests:
    """Digests of contents, read again only when the stamp says so."""

    _known: dict[str, tuple[Stamp, str]] = field(default_factory=dict)

    def of(self, path: str) -> str:
        """32 hex digits, or GONE, also for what cannot be read."""
        stamp = stamp_of(path)
        if stamp is None:
            self._known.pop(path, None)
            return GONE
        known = self._known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            with _open(path) as file:
                found = digest_file(file)
        except OSError:
            return GONE
        self._known[path] = (stamp, found)
        return found
