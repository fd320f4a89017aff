"""When a model with a limit of requests a minute may be asked again: an alarm of its lane, with the loop's clock in our hands."""

from __future__ import annotations

import asyncio

from runner.clock import SystemClock, VirtualClock
from runner.engine.dispatch import Rates


class HeldLoop(asyncio.SelectorEventLoop):
    """Its time goes on when `until` says so."""

    now = 0.0

    def time(self) -> float:
        return self.now

    async def until(self, now: float) -> None:
        self.now = now
        for _ in range(3):
            await asyncio.sleep(0)


async def story() -> None:
    loop, rung = asyncio.get_running_loop(), []
    assert isinstance(loop, HeldLoop)
    rates = Rates({"slow": 1, "fast": 1}, lambda lane: rung.append((lane, loop.now)), SystemClock())
    rates.count("fast", 0)
    rates.count("slow", 50_000)
    loop.now = 50.0
    assert rates.room("slow", "model:proxy", 50_000) == "full"  # free at 110 s
    assert rates.room("fast", "model:proxy", 50_000) == "full"  # free at 60 s
    await loop.until(60.0)
    assert rung == [("model:proxy", 60.0)]
    assert rates.room("fast", "model:proxy", 60_000) == "ready"
    assert rates.room("slow", "model:proxy", 60_000) == "full"
    await loop.until(110.0)
    assert rung == [("model:proxy", 60.0), ("model:proxy", 110.0)]
    rates.close()


def test_the_alarm_of_a_lane_rings_for_whichever_of_its_models_is_free_first() -> None:
    with asyncio.Runner(loop_factory=HeldLoop) as runner:
        runner.run(story())


def test_under_a_virtual_clock_a_minute_is_waited_for_like_any_other_time() -> None:
    clock, rung = VirtualClock(0), []
    rates = Rates({"fast": 1}, rung.append, clock)
    rates.count("fast", 0)
    assert rates.room("fast", "model:proxy", 0) == "full"
    clock.idle()
    assert (rung, clock.now()) == (["model:proxy"], 60_000)
    assert rates.room("fast", "model:proxy", clock.now()) == "ready"
