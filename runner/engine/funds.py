"""The day's budget: reserved in the record before an attempt is intended, so that no two runners spend the same room.

Caps of runs and steps are the kernel's. What an attempt holds and has cost in the ledger follows from its events (store/projection)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from runner.core.days import Answer, Calendar
from runner.errors import StoreError
from runner.ports import Ledger, Scope

AGAIN_S: Final = 2.0


class DayFunds:
    """`cap`: micro-USD of a day; None = no cap, and nothing is asked. `on_answer` is called when an answer is there, or money came
    back: whoever was told to wait asks again."""

    def __init__(self, ledger: Ledger, cap: int | None, calendar: Calendar, on_answer: Callable[[], None]) -> None:
        self._ledger, self._cap, self._calendar, self._on_answer = ledger, cap, calendar, on_answer
        self._asked: dict[tuple[str, int], asyncio.Task[Answer]] = {}
        self._held: dict[str, Scope] = {}
        """What was reserved for attempts (see `forget`), and for which day."""

    def may_spend(self, attempt: str, amount: int, now: int) -> Answer:
        """Asked again and again for one attempt until the answer is there; each answer is given once."""
        if self._cap is None:
            return "yes"
        asked = self._asked.get((attempt, amount))
        if asked is None:
            asked = self._asked[attempt, amount] = asyncio.ensure_future(self._reserve(attempt, amount, now))
            asked.add_done_callback(lambda _: self._on_answer())
        if not asked.done():
            return "wait"
        del self._asked[attempt, amount]
        return asked.result()

    async def _reserve(self, attempt: str, amount: int, now: int) -> Answer:
        day = Scope("day", self._calendar.today(now), self._cap)
        try:
            over = await self._ledger.reserve(attempt, amount, [day])
        except StoreError:
            return "yes"  # the commit of the intent will meet the same trouble, and tells of it
        if over is None:
            self._held[attempt] = day
            return "yes"
        if over.waits:  # another runner's money comes back without a word
            asyncio.get_running_loop().call_later(AGAIN_S, self._on_answer)
        return "wait" if over.waits else "no"

    def came_back(self) -> None:
        """An attempt has ended: there may be room for who was told to wait."""
        if self._cap is not None:
            self._on_answer()

    async def forget(self, root: str) -> None:
        """Nothing of this tree runs here any more: what was reserved for attempts that were never made comes back. Of those that were
        made the ledger has what they cost, which stays."""
        asked = [self._asked.pop(one) for one in list(self._asked) if _of(root, one[0])]
        await asyncio.gather(*asked, return_exceptions=True)
        held = {attempt: self._held.pop(attempt) for attempt in list(self._held) if _of(root, attempt)}
        with suppress(StoreError):
            for attempt, day in held.items():
                await self._ledger.release(attempt, [day])
        if held:
            self.came_back()

    async def close(self) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)


def _of(root: str, attempt: str) -> bool:
    """Is it an attempt (`RUN/STEP/N`) of this run, or of one that it has called (`RUN.STEP`)?"""
    run = attempt.partition("/")[0]
    return run == root or run.startswith(f"{root}.")
