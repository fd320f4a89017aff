"""How long strangers may keep us busy: seconds for one kind of work, whoever causes it and however often."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Patience:
    """With one kind of work. `usual`: seconds for a piece of it where nobody said `within`."""

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._left: ContextVar[list[float] | None] = ContextVar("patience", default=None)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All of this work that is done within takes no longer together. Time that passes otherwise does not count."""
        before = self._left.get()
        given = seconds if before is None else min(seconds, before[0])
        left = [given]
        token = self._left.set(left)
        try:
            yield
        finally:
            self._left.reset(token)
            if before is not None:
                before[0] -= given - left[0]

    @contextmanager
    def spent(self) -> Iterator[float]:
        """A piece of it. Gives the seconds that are left; 0 = do without it."""
        left = self._left.get() or [self._usual]
        began = time.monotonic()
        try:
            yield max(0.0, left[0])
        finally:
            left[0] -= time.monotonic() - began
