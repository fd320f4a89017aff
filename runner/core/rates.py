"""Requests a minute (`rpm`) of the models that have a limit: when the next one may go."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

MINUTE_MS: Final = 60_000


class Rates:
    """What one process has asked in the last minute. `limits`: model → requests a minute. All moments: Unix milliseconds."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._began: dict[str, deque[int]] = {}

    def free_at(self, name: str, now: int) -> int | None:
        """When a request may be made; None = now."""
        limit, began = self._limits.get(name), self._began.get(name)
        if limit is None or not began:
            return None
        while began and began[0] <= now - MINUTE_MS:
            began.popleft()
        return None if len(began) < limit else began[0] + MINUTE_MS

    def count(self, name: str, now: int) -> None:
        """A request is about to be made."""
        if name in self._limits:
            self._began.setdefault(name, deque()).append(now)
