"""Brings a database to the present schema: all steps in one transaction, a copy of the file beside it first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import apsw

from runner.store.queries import read_sql

MIGRATIONS: tuple[str, ...] = (read_sql("schema_v1.sql"),)
"""The n-th script leads from version n to n + 1."""

APPLICATION_ID = 0x41524553
"""`ARES`, in the header of the file."""


def version_of(db: apsw.Connection) -> int:
    version: int = db.execute("pragma user_version").get
    return version


def migrate(db: apsw.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> Path | None:
    """Run what is missing. Returns the copy that was made of an older database (None: it was new, or up to date).

    Whoever comes second waits for the first one's lock, and finds nothing left to do."""
    if version_of(db) >= len(migrations):
        return None
    db.execute("begin immediate")
    try:
        version = version_of(db)
        copy = _back_up(path, version) if 0 < version < len(migrations) else None
        for script in migrations[version:]:
            db.execute(script)
        if version < len(migrations):
            db.execute(f"pragma application_id = {APPLICATION_ID}")
            db.execute(f"pragma user_version = {len(migrations)}")
        db.execute("commit")
    finally:
        if db.in_transaction:
            db.execute("rollback")
    return copy


def _back_up(path: Path, version: int) -> Path:
    """A copy of what is committed, complete before it gets its name."""
    target = path.with_name(f"{path.name}.v{version}.backup")
    draft = path.with_name(f"{target.name}.draft")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    source = apsw.Connection(
        str(path), flags=apsw.SQLITE_OPEN_READWRITE
    )  # sees what was committed before our transaction
    copy = apsw.Connection(str(draft))
    try:
        with copy.backup("main", source, "main") as backup:
            while not backup.done:
                backup.step(-1)
    finally:
        copy.close()
        source.close()
    draft.replace(target)
    return target
