"""Wall-clock time as integer milliseconds since the Unix epoch, behind a seam with a fake."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
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


def _monotonic() -> Millis:
    return time.monotonic_ns() // 1_000_000


class SteadyClock:
    """A wall clock that may be set forward but not back: time goes on from where it was, as fast as the monotonic clock. Whoever waits
    for a moment that this clock told never waits longer than he asked for."""

    def __init__(self, wall: Clock, elapsed: Callable[[], Millis] = _monotonic) -> None:
        self._wall, self._elapsed = wall, elapsed
        self._last, self._at = wall.now(), elapsed()

    def now(self) -> Millis:
        at = self._elapsed()
        self._last = max(self._wall.now(), self._last + at - self._at)
        self._at = at
        return self._last


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: Millis = 1_800_000_000_000) -> None:
        self._now = now

    def now(self) -> Millis:
        return self._now

    def advance(self, millis: Millis) -> None:
        self._now += millis


@dataclass(slots=True, eq=False)
class Alarm:
    """Somebody waits for a moment of a `VirtualClock`."""

    at: Millis
    ring: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualClock:
    """A clock that stands still while anybody works, and then jumps to the next moment that somebody waits for: an hour costs nothing."""

    def __init__(self, now: Millis) -> None:
        self._now = now
        self._alarms: list[Alarm] = []

    def now(self) -> Millis:
        return self._now

    def call_at(self, at: Millis, ring: Callable[[], None]) -> Alarm:
        """Rings once the clock has come to `at`, unless it is cancelled before."""
        self._alarms.append(alarm := Alarm(at, ring))
        return alarm

    def idle(self) -> None:
        """Nobody works: on to the next alarm, if there is one."""
        self._alarms = [alarm for alarm in self._alarms if not alarm.cancelled]
        if self._alarms:
            alarm = min(self._alarms, key=lambda alarm: alarm.at)
            self._alarms.remove(alarm)
            self._now = max(self._now, alarm.at)
            alarm.ring()
