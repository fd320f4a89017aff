"""The heartbeat by which other processes know that we live and that what we drive is ours."""

from __future__ import annotations

import asyncio
import contextlib

from runner.clock import Clock
from runner.errors import StoreError
from runner.ports import OwnerId, Store

HEARTBEAT_S = 5.0
HALF_LEASE_MS = 15_000
"""So long without a heartbeat, and somebody may soon take over what we drive."""


class Pulse:
    """Our heartbeat, and when it was last on record."""

    def __init__(self, store: Store, owner: OwnerId, clock: Clock) -> None:
        self._store, self._owner, self._clock = store, owner, clock
        self._last = clock.now()

    async def beat(self) -> None:
        """Raises StoreError."""
        await self._store.heartbeat(self._owner)
        self._last = self._clock.now()

    async def keep(self) -> None:
        """Beat until cancelled. One that fails is not heard, and `is_weak` tells when that lasts."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            with contextlib.suppress(StoreError):
                await self.beat()

    @property
    def is_weak(self) -> bool:
        """We slept, or the disk did: is what we drive still ours?"""
        return self._clock.now() - self._last > HALF_LEASE_MS
