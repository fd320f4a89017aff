"""Opens the database file: looks before it touches, makes folder and file private, sets the pragmas, runs migrations.

A file that is damaged, foreign or newer is left as it was.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import apsw

from runner.errors import StoreError, StoreNewer
from runner.store import faults
from runner.store.migrations import APPLICATION_ID, MIGRATIONS, migrate, version_of
from runner.store.writer import LOCK_WAIT_MS

Durability = Literal["full", "process"]

_MAGIC = b"SQLite format 3\0"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""The head of a rollback journal; bytes 16 to 20 of it are the pages that the file had before."""

_HEADER = 100
_PAGE_BYTES = 1024
"""A chain step touches six or seven pages, and each goes to the log whole: a quarter of SQLite's usual size, a quarter of the
writing. Rows of a table keep up to 989 bytes in their leaf."""

_WORTH = 4
"""The file is rewritten when one page in so many is free."""

_CHECK_BYTES = 2 << 20
"""Databases up to this size are checked as a whole when opened (6 ms at most); larger ones by header and schema, the rest
when it is read."""


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """What SQLite or the system raise inside, as errors of ours."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise faults.translate(error, path) from error


def open_writer(path: Path, durability: Durability, migrations: Sequence[str] = MIGRATIONS) -> apsw.Connection:
    """The writing connection. Raises the StoreError family."""
    with named_errors(path):
        _make_private(path)
        inspect(path, len(migrations))
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            _prepare(db, path, durability, migrations)
        except BaseException:
            db.close()
            raise
        return db


def _prepare(db: apsw.Connection, path: Path, durability: Durability, migrations: Sequence[str]) -> None:
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # until we know that it is ours to change
    db.set_busy_timeout(LOCK_WAIT_MS)
    if db.readonly("main"):
        raise faults.read_only(path)
    _check(db, path, len(migrations))
    for pragma in ("trusted_schema = off", f"page_size = {_PAGE_BYTES}"):
        db.execute(f"pragma {pragma}").fetchall()
    migrate(db, path, migrations)  # a new file gets its header before it has a log, so that `inspect` can rely on it
    if db.execute("pragma journal_mode = wal").get != "wal":
        raise StoreError(
            f"the file system of {path} cannot share memory between processes",
            hint="put `state.path` on a local disk",
        )
    db.execute(f"pragma synchronous = {'full' if durability == 'full' else 'normal'}").fetchall()
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)


def vacuum(path: Path) -> int:
    """Rewrite the file without its free pages. Returns how many bytes that gave back."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.set_busy_timeout(0)
        free, pages, size = (db.execute(f"pragma {name}").get for name in ("freelist_count", "page_count", "page_size"))
        if free * _WORTH < pages:
            return 0
        db.execute("vacuum")
        db.execute("pragma wal_checkpoint(truncate)").fetchall()
        left: int = db.execute("pragma page_count").get
        return int((pages - left) * size)
    except (apsw.BusyError, apsw.FullError):
        return 0
    finally:
        db.close()


def open_reader(path: Path) -> apsw.Connection:
    """A connection that only reads, beside a writer or without one (a folder that cannot be written included)."""
    with named_errors(path):
        try:
            db = _connect_reader(str(path), apsw.SQLITE_OPEN_READWRITE)
        except (apsw.ReadOnlyError, apsw.CantOpenError):
            log = path.with_name(f"{path.name}-wal")
            if log.exists() and log.stat().st_size:
                raise  # the file alone would tell an old story
            db = _connect_reader(
                f"{path.absolute().as_uri()}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            )
        return db


def _connect_reader(name: str, flags: int) -> apsw.Connection:
    db = apsw.Connection(name, flags=flags)
    try:
        db.set_busy_timeout(LOCK_WAIT_MS)
        for pragma in ("query_only = on", "trusted_schema = off", "user_version"):  # the last one really opens the file
            db.execute(f"pragma {pragma}").fetchall()
    except BaseException:
        db.close()
        raise
    return db


def is_missing(path: Path) -> bool:
    """Whether there is nothing to read yet. Raises StoreError when what is there is no file, or cannot be looked at."""
    with named_errors(path):
        try:
            found = path.stat()
        except FileNotFoundError:
            return True
        check_file(path)
        return found.st_size == 0 or _half_made(path)


def check_readable(path: Path, version: int = len(MIGRATIONS)) -> None:
    """Raise unless an existing file is ours, whole, and of our version."""
    with named_errors(path):
        inspect(path, version)
        db = open_reader(path)
        try:
            _check(db, path, version)
            if version_of(db) < version:
                raise StoreError(
                    f"the state database {path} was written by an older release",
                    hint="`runner apply` or `runner resume` brings it up to date (a copy is kept)",
                )
        finally:
            db.close()


def inspect(path: Path, newest: int) -> None:
    """Judge the file by its header alone: SQLite might change what it opens. An empty file is fine."""
    check_file(path)
    with path.open("rb") as file:
        header = file.read(_HEADER)
    if not header or _half_made(path):
        return
    if len(header) < _HEADER or not header.startswith(_MAGIC):
        raise faults.foreign(path, "it is not in SQLite's format")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise faults.foreign(path, "it belongs to another program")
    _check_version(int.from_bytes(header[60:64], "big"), path, newest)


def check_name(path: Path) -> None:
    """Raise unless SQLite can take the path, which must be UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise faults.misplaced(path, "its path is no UTF-8 text") from error


def check_file(path: Path) -> None:
    """Raise when what is there is no file: a device would take everything and keep nothing, a pipe would hold us for ever."""
    if path.exists() and not path.is_file():
        raise faults.misplaced(path, "is a directory" if path.is_dir() else "it is no file")


def _half_made(path: Path) -> bool:
    """Whether the machine died while the file was being made: a rollback journal is there that leads back to no page at all, which
    SQLite does on opening. Any part of the file may have reached the disk until then, its header or not."""
    try:
        with path.with_name(f"{path.name}-journal").open("rb") as file:
            head = file.read(20)
    except FileNotFoundError:
        return False
    return len(head) == 20 and head.startswith(_JOURNAL_MAGIC) and not any(head[16:])


def _check(db: apsw.Connection, path: Path, newest: int) -> None:
    _check_version(version_of(db), path, newest)
    if path.stat().st_size <= _CHECK_BYTES:
        verdict = db.execute("pragma quick_check(1)").get
        if verdict != "ok":
            raise faults.corrupt(path, str(verdict))


def _check_version(version: int, path: Path, newest: int) -> None:
    if version > newest:
        raise StoreNewer(
            f"the state database {path} has version {version}; this release knows versions up to {newest}",
            hint="use the newer release, or name another file with `state.path` in config.yaml",
        )


def _make_private(path: Path) -> None:
    """Folder 0700, file 0600, whatever the umask; SQLite gives its -wal and -shm the file's permissions."""
    folder = path.parent
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    elif folder.name == ".ares" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        folder.chmod(0o700)  # ours by name; any other folder may hold more than our file
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def open_empty() -> apsw.Connection:
    """A record without anything in it, in memory: what a missing file reads as."""
    db = apsw.Connection(":memory:")
    for script in MIGRATIONS:
        db.execute(script)
    return db
