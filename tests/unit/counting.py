"""How much work something is, counted in calls: the same on a busy machine, so that a test of it never fails for want of quiet."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType


class TooMuchWork(Exception):
    pass


def calls(work: Callable[[], object], most: int) -> int:
    """How many functions `work` calls, those of the interpreter among them: the same on every machine. Stops it above `most`."""
    count = 0

    def seen(frame: FrameType, what: str, argument: object) -> None:
        nonlocal count
        count += 1
        if count > most:
            sys.setprofile(None)
            raise TooMuchWork

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
