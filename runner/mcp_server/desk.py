"""What every tool works with: the settings as they were when the server started, the record for reading, what is being driven, and the
form of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.mcp_server.drives import Drives
from runner.redact import Redactor

if TYPE_CHECKING:  # what is imported before the first call is the server's start-up
    from runner.api.settings import Settings
    from runner.store.sqlite import SqliteStore

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool gives: data in the shape of its output schema, and text for the model that asked (default: the data as JSON)."""

    data: Json
    text: str = ""
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """`root` is the project root, and the working directory. `user` is whose process this is."""

    settings: Settings
    root: Path
    user: str
    redactor: Redactor
    drives: Drives

    @property
    def logs(self) -> Path:
        return self.settings.state_path.parent / "logs"

    @contextmanager
    def reading(self) -> Iterator[SqliteStore]:
        """The record, for reading only: a missing one reads as empty, nothing is made. Raises the StoreError family."""
        from runner.clock import SystemClock
        from runner.store.sqlite import SqliteStore

        store = SqliteStore.open(self.settings.state_path, clock=SystemClock(), read_only=True)
        try:
            yield store
        finally:
            store.close()
