"""What the day holds for attempts, and when it comes back."""

from __future__ import annotations

import asyncio

from runner.clock import FakeClock
from runner.core.days import Calendar
from runner.engine.funds import DayFunds
from runner.ports import Scope
from runner.store.memory import MemoryStore

DAY = Scope("day", "1970-01-01")


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_was_never_asked_for_again_comes_back_with_the_end_of_the_leg_and_nothing_else() -> None:
    ledger, told = MemoryStore(FakeClock()).ledger, []
    funds = DayFunds(ledger, 1_000, Calendar(), lambda: told.append(True))
    attempts = ("r1/a/1", "r1.call/b[2]/1", "r10/a/1", "r1/done/1")
    for attempt in attempts:
        assert funds.may_spend(attempt, 100, 0) == "wait"
    await settled()
    assert funds.may_spend("r1/a/1", 100, 0) == "yes", "and then its step was cancelled"
    assert funds.may_spend("r1/done/1", 100, 0) == "yes"
    await ledger.settle("r1/done/1", 7, "billed", [DAY])
    assert ledger.standing(DAY) == (1_000, 300, 7)
    told.clear()

    await funds.forget("r1")

    assert ledger.standing(DAY) == (1_000, 100, 7), "that of another run stays"
    assert told, "who was told to wait asks again"
    await funds.close()


async def test_an_answer_that_is_still_on_its_way_is_waited_for_and_given_back() -> None:
    ledger = MemoryStore(FakeClock()).ledger
    funds = DayFunds(ledger, 1_000, Calendar(), lambda: None)
    assert funds.may_spend("r1/a/1", 100, 0) == "wait"
    await funds.forget("r1")
    assert ledger.standing(DAY)[1:] == (0, 0)
