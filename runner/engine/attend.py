"""An executor whose calls are told to the health keeper before anybody acts on their result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from runner.clock import Clock
from runner.core.circuits import CallEnd
from runner.core.roster import Entry, Kind, Roster
from runner.engine.health import HealthKeeper
from runner.errors import StoreError
from runner.ports import CallResult, Executor, Request


class Told(Protocol):
    """Who needs to know of calls."""

    @property
    def roster(self) -> Roster: ...

    @property
    def keeper(self) -> HealthKeeper: ...


class Attended:
    """`calls`, an executor of models or agents. What a call says of its endpoint or executor is known, and the mode with it, when its
    result comes out."""

    def __init__(self, calls: Executor, kind: Kind, told: Told, clock: Clock) -> None:
        self._calls, self._kind, self._told, self._clock = calls, kind, told, clock

    async def call(self, request: Request) -> CallResult:
        began = self._clock.now()
        result = await self._calls.call(request)
        entry = self._told.roster.of(self._kind).get(request.label)
        if entry is not None:
            with contextlib.suppress(StoreError):  # the run that this belongs to finds out by itself
                await self._told.keeper.ended(call_end(entry, result, began, request.masked))
        return result

    async def close(self) -> None:
        await self._calls.close()


def call_end(entry: Entry, result: CallResult, began: int, masked: Callable[[str], str] = str) -> CallEnd:
    """What a result means for circuits, which keep the message: an endpoint that refuses a key may quote it."""
    return CallEnd(
        target=entry.name,
        endpoint=entry.endpoint,
        error_class=result.error_class,
        message=masked(result.message),
        began=began,
        retry_after_ms=result.retry_after_ms,
        hollow=result.contact == "hollow",
        unreached=result.contact == "unreached",
        answered=result.contact == "answered",
    )
