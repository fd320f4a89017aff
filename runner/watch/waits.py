"""When a suspended run may be tried again. Pure.

An answer of a person is no matter of time: whoever gives it leaves it in the record, where the watch sees it. All else is tried when its
moment has come, or now and then: looking costs nothing while the reason holds, but what is `exhausted` starts over with every attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from runner.clock import Millis

LOOK: Final = 15_000
"""How often to look whether a mode or a budget lets a run go on."""
FIRST: Final = 60_000
LONGEST: Final = 3_600_000
"""What is exhausted, and a quota that does not say until when: after a minute, then twice as long each time, up to an hour."""

_EVERY: Final[Mapping[str, bool]] = {"mode": False, "budget": False, "quota": True, "exhausted": True}
"""Reasons that go away by themselves; whether another try costs something."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A suspended run. `until`: the earliest moment that one of its steps waits for. `looked`: when it was last looked at. `since`: when
    it was let go, or started over the last time, of `tries`."""

    run: str
    reasons: tuple[str, ...]
    until: Millis | None
    since: Millis
    looked: Millis
    tries: int = 0

    def after_try(self, now: Millis, reasons: tuple[str, ...], until: Millis | None) -> Wait:
        """It was tried at `now`, and waits again."""
        if starts_over(self, now):
            return replace(self, reasons=reasons, until=until, since=now, looked=now, tries=self.tries + 1)
        return replace(self, reasons=reasons, until=until, looked=now)


def next_try(wait: Wait) -> Millis | None:
    """When to try again; None = only a person can let it go on."""
    moments = [moment for moment in (_told(wait), _over_again(wait)) if moment is not None]
    if any(_EVERY.get(reason) is False for reason in wait.reasons):
        moments.append(wait.looked + LOOK)
    return min(moments, default=None)


def starts_over(wait: Wait, now: Millis) -> bool:
    """Does a try now begin with every way untried? Only when that is due: a look at the mode must not use it up."""
    at = _over_again(wait)
    return at is not None and now >= at


def _told(wait: Wait) -> Millis | None:
    """The moment that the record names, unless it was tried and changed nothing."""
    return wait.until if wait.until is not None and wait.until > wait.looked else None


def _over_again(wait: Wait) -> Millis | None:
    if not any(_EVERY.get(reason) for reason in wait.reasons):
        return None
    pause = wait.since + min(FIRST << min(wait.tries, 10), LONGEST)
    told = _told(wait)
    return pause if told is None or "exhausted" in wait.reasons else max(told, wait.since)
