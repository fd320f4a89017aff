"""Trees that we drive no more, while attempts of theirs still end: whoever waits for one is told when nothing of it runs any more and
its lease is given back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from runner.engine.driven import Driven, RunEnd
from runner.errors import StoreError
from runner.ports import Store, Transport

DYING_S = 10.0
"""The longest that such a tree waits for its attempts to end; executors take less."""


class Leaving:
    """From the last turn of a tree to the end of all that was its own."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        spawn: Callable[[Awaitable[Any]], None],
        gone: Callable[[Driven], None],
    ) -> None:
        """`spawn`: do this beside the turns. `gone`: its slots are free."""
        self._store, self._transport, self._spawn, self._gone = store, transport, spawn, gone
        self._trees: dict[str, Driven] = {}
        self._given_up: list[tuple[str, int]] = []
        """Leases of trees whose drive has failed: nobody may take them over while anything of them may still run here."""

    def add(self, driven: Driven, end: RunEnd | BaseException) -> None:
        """Drive it no more. Its attempts are told to end."""
        for timer in driven.timers.values():
            timer.cancel()
        driven.end = end
        self._trees[driven.root] = driven
        if isinstance(end, BaseException):
            self._given_up.append((driven.root, driven.epoch))
        if driven.flying:
            for key in driven.flying:
                self._spawn(self._transport.cancel(key))
            asyncio.get_running_loop().call_later(DYING_S, self._bury, driven)
        self.landed(driven)

    def landed(self, driven: Driven) -> None:
        """An attempt of a tree has ended; it may be one of these."""
        if not driven.flying:
            self._bury(driven)

    async def close(self) -> None:
        """The transport is closed, so nothing runs any more. What we gave up may be taken over."""
        for driven in list(self._trees.values()):
            self._bury(driven)
        with contextlib.suppress(StoreError):
            for root, epoch in self._given_up:
                await self._store.release(root, epoch)

    def _bury(self, driven: Driven) -> None:
        """Nothing of it runs any more, or it had its time."""
        if self._trees.get(driven.root) is not driven:
            return
        del self._trees[driven.root]
        driven.tree.release()
        self._gone(driven)
        if isinstance(driven.end, RunEnd):
            self._spawn(self._release(driven, driven.end))
        elif driven.end is not None and not driven.done.done():
            driven.done.set_exception(driven.end)

    async def _release(self, driven: Driven, end: RunEnd) -> None:
        try:
            await self._store.release(driven.root, driven.epoch)
        finally:
            if not driven.done.done():
                driven.done.set_result(end)
