"""What SQLite and the operating system say, as errors of our own with a hint. Nothing here decides what happens next."""

from __future__ import annotations

import errno
from pathlib import Path

import apsw

from runner.errors import StoreBusy, StoreCorrupt, StoreError, StoreForeign, StoreFull, StoreReadOnly

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG})


def full(path: Path) -> StoreFull:
    return StoreFull(
        f"no space left for the state database {path}",
        hint="free some space (or raise the quota), then run the same command again: it goes on where the record ends",
    )


def read_only(path: Path) -> StoreReadOnly:
    return StoreReadOnly(
        f"the state database {path} or its folder cannot be written",
        hint="check the owner and the permissions of the folder, or name another with `state.path` in config.yaml",
    )


def corrupt(path: Path, detail: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the state database {path} is damaged: {detail}",
        hint="restore it from a backup, or move the file away to start with an empty record",
    )


def foreign(path: Path, detail: str) -> StoreForeign:
    return StoreForeign(
        f"{path} is no state database of this program: {detail}",
        hint="name another file with `state.path` in config.yaml; this one was not touched",
    )


def misplaced(path: Path, detail: str) -> StoreError:
    return StoreError(
        f"there can be no state database {path}: {detail}",
        hint="`state.path` (in config.yaml, or RUNNER_STATE__PATH) must name a file, in a folder that exists or can be made",
    )


def busy(path: Path) -> StoreBusy:
    return StoreBusy(
        f"the state database {path} is locked by another process",
        hint="another runner is writing; try again in a moment",
    )


def translate(error: apsw.Error | OSError, path: Path, system_errno: int = 0) -> StoreError:
    """Our error for theirs. `system_errno` is what the system said behind an I/O error of SQLite (0 = not known)."""
    code = error.errno if isinstance(error, OSError) else system_errno
    if isinstance(error, apsw.FullError) or (isinstance(error, (apsw.IOError, OSError)) and code in _FULL):
        return full(path)
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return busy(path)
    if isinstance(error, (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError)) or code in _DENIED:
        return read_only(path)
    if isinstance(error, OSError) and code in _MISPLACED:
        return misplaced(path, (error.strerror or str(error)).lower())
    if isinstance(error, apsw.NotADBError):
        return foreign(path, "it is not in SQLite's format")
    if isinstance(error, (apsw.CorruptError, apsw.FormatError)):
        return corrupt(path, str(error))
    if isinstance(error, apsw.CantOpenError):
        return read_only(path)
    return StoreError(f"the state database {path} failed: {error}", hint="see the system's log for errors of the disk")
