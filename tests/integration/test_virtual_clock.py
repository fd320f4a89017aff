"""Under a virtual clock the engine waits for nobody: retries, durable waits and deadlines of runs come when nothing is left to do."""

from __future__ import annotations

import asyncio

from engine_stage import Script, desk, failed, graph_of, kinds, ok

from runner.clock import VirtualClock
from runner.store.memory import MemoryStore

HOUR = 3_600_000


async def test_a_retry_and_a_wait_of_hours_are_over_at_once_and_the_clock_says_that_they_were_waited_for() -> None:
    graph = graph_of(
        """
        steps:
          a: {run: [a], effects: idempotent, faults: {retry: {max: 1, delay: 3h, max_delay: 3h, jitter: 0, errors: [unavailable]}}}
          b: {wait: 1h, needs: [a]}
          c: {run: [c], needs: [b], effects: idempotent}
        """
    )
    clock = VirtualClock(1_000)
    async with desk(MemoryStore(clock), Script(a=[failed(), ok()]), clock=clock) as d:
        assert (await d.done(await d.start(graph))).state == "succeeded"
    assert clock.now() == 1_000 + 4 * HOUR


async def test_the_clock_stands_still_while_an_attempt_works() -> None:
    graph = graph_of(
        """
        timeout: 2h
        steps:
          a: {run: [a], effects: idempotent}
          b: {wait: 1h}
        """
    )
    clock = VirtualClock(0)
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(MemoryStore(clock), script, clock=clock) as d:
        run = await d.start(graph)
        await script.until(1)
        for _ in range(50):  # as many turns of the loop as anybody could need to come to a wrong decision
            await asyncio.sleep(0)
        assert clock.now() == 0 and "step_resolved" not in kinds(d.store, node="b")
        script.gates["a"].set()
        assert (await d.done(run)).state == "succeeded"
    assert clock.now() == HOUR


def test_alarms_ring_in_their_order_and_a_cancelled_one_does_not() -> None:
    clock, rung = VirtualClock(0), []
    for at in (30, 10, 20):
        alarm = clock.call_at(at, lambda at=at: rung.append((at, clock.now())))
        if at == 10:
            alarm.cancel()
    for _ in range(3):
        clock.idle()
    assert rung == [(20, 20), (30, 30)]
