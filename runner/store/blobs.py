"""Results too large for their event: in the table `outputs` up to 1 MiB, else in a file beside the database."""

from __future__ import annotations

import os
import re
from collections.abc import Container
from pathlib import Path

import apsw

from runner.errors import StoreCorrupt, StoreError
from runner.store.queries import SQL

INLINE_BYTES = 1 << 20

_OURS = re.compile(r"[0-9a-f]{32}|\.[0-9a-f]{32}\.[0-9a-f]{8}")
"""Names that we give: a digest, and a draft of one. The folder may be somebody else's, too."""


class Blobs:
    """`folder` is made when the first file is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, db: apsw.Connection, digest: str, data: bytes) -> None:
        """Within a transaction; a file is safe on the disk when this returns, so before its COMMIT. Raises OSError."""
        large = len(data) > INLINE_BYTES
        if large:
            self._write(digest, data)
        values = (digest, len(data), "file" if large else "inline", None if large else data)
        db.execute(SQL["insert_output"], values)

    def get(self, db: apsw.Connection, digest: str) -> bytes:
        """Raises StoreError when nothing is known of it, StoreCorrupt when its file is gone."""
        found = db.execute(SQL["output"], (digest,)).fetchone()
        if found is None:
            raise StoreError(f"there is no output {digest} in the state database")
        kind, inline = found
        if kind == "inline":
            return bytes(inline)
        try:
            return (self._folder / digest).read_bytes()
        except FileNotFoundError as error:
            raise StoreCorrupt(
                f"the output {self._folder / digest} is gone", hint="restore it, or run the step again with --force"
            ) from error

    def remove(self, db: apsw.Connection, digest: str) -> int:
        """Within a transaction. The file goes before its COMMIT: whoever adds the same content writes it anew, once he has the lock.
        Returns the size."""
        (self._folder / digest).unlink(missing_ok=True)
        size: int | None = db.execute(SQL["delete_output"], (digest,)).get
        return size or 0

    def clear(self, known: Container[str]) -> None:
        """Within a transaction: remove files of ours that it does not know: those of a commit that failed."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in known:
                path.unlink(missing_ok=True)

    def _write(self, digest: str, data: bytes) -> None:
        target = self._folder / digest
        if target.exists():
            return  # content has one name: it is the same
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._folder / f".{digest}.{os.urandom(4).hex()}"
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
