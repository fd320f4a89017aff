"""Wall-clock time as integer milliseconds since the Unix epoch, behind a seam with a fake."""

from __future__ import annotations

import time
from typing import Protocol

Millis = int


class Clock(Protocol):
    """Tells the time. Decisions take the time as an argument; only edges own a clock."""

    def now(self) -> Millis:
        """Milliseconds since the Unix epoch (UTC)."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: Millis = 1_800_000_000_000) -> None:
        self._now = now

    def now(self) -> Millis:
        return self._now

    def advance(self, millis: Millis) -> None:
        self._now += millis
