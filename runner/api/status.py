"""`status`: how the runs stand, for who imports the package."""

from __future__ import annotations

from contextlib import closing

from runner.api.settings import Settings
from runner.clock import SystemClock
from runner.ports import RunRow
from runner.store.sqlite import SqliteStore


def status(settings: Settings, *, limit: int = 30) -> tuple[RunRow, ...]:
    """The newest runs, newest first; none where nothing was ever run. Starts and makes nothing. Raises the StoreError family."""
    with closing(SqliteStore.open(settings.state_path, clock=SystemClock(), read_only=True)) as store:
        return tuple(store.runs(limit=limit))
