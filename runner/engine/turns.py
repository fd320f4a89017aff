"""Who may use the workspace: attempts that share it, and attempts that must have it alone (their step has a `changed` check).

Not here: when an attempt is intended. The kernel does not know of this wait; see `Turns`."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """First come, first served: who shares never overtakes one who waits to be alone, so nobody starves. One workspace, one process.

    The wait lies before the call, so no deadline counts it; whoever holds a turn waits for nothing but its own step."""

    def __init__(self) -> None:
        self._holders = 0
        self._alone = False
        self._queue: deque[tuple[bool, asyncio.Future[None]]] = deque()

    async def enter(self, *, alone: bool) -> None:
        """Wait for a turn and hold it, until `leave`. Cancellation while waiting passes, and leaves no trace."""
        if self._queue or not self._fits(alone):
            await self._wait(alone)
        else:
            self._begin(alone)

    def leave(self) -> None:
        """Whoever waits may go on."""
        self._holders -= 1
        self._alone = False
        self._admit()

    def _fits(self, alone: bool) -> bool:
        return not self._alone and not (alone and self._holders)

    def _begin(self, alone: bool) -> None:
        self._holders += 1
        self._alone = alone

    def _admit(self) -> None:
        while self._queue:
            alone, waiter = self._queue[0]
            if not waiter.done():
                if not self._fits(alone):
                    return
                self._begin(alone)
                waiter.set_result(None)
            self._queue.popleft()

    async def _wait(self, alone: bool) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((alone, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.leave()  # its turn had come in the same instant
            else:
                waiter.cancel()
                self._admit()  # who stood behind it may go now
            raise
