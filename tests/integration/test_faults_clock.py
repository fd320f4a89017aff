"""The wall clock is set forward and back by an hour in the middle of a run: nothing hangs, nothing is told out of order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apply_project import PATIENCE, Project
from engine_stage import Script, desk, failed, graph_of, open_stores

from runner.api.apply import apply
from runner.clock import FakeClock, SteadyClock
from runner.ports import Store

HOUR = 3_600_000


class Wall:
    """The machine's wall clock with somebody at its hands: each look finds it an hour further on, or back."""

    def __init__(self) -> None:
        self.looks = 0

    def now(self) -> int:
        self.looks += 1
        return time.time_ns() // 1_000_000 + (0, HOUR, 0, -HOUR, 5 * HOUR, -5 * HOUR)[self.looks % 6]


@pytest.fixture(params=["memory", "sqlite"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    yield from open_stores(request.param, tmp_path, FakeClock())


def test_a_steady_clock_follows_the_wall_forward_and_goes_on_when_it_is_set_back() -> None:
    wall, elapsed = FakeClock(1_000), FakeClock(0)
    clock = SteadyClock(wall, elapsed.now)
    assert clock.now() == 1_000
    wall.advance(HOUR)
    assert clock.now() == 1_000 + HOUR
    wall.advance(-2 * HOUR)
    assert clock.now() == 1_000 + HOUR
    elapsed.advance(30)
    assert clock.now() == 1_030 + HOUR
    wall.advance(3 * HOUR)
    assert clock.now() == 1_000 + 2 * HOUR


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(connect: Callable[[], Store], jump: int) -> None:
    graph = graph_of("steps: {a: {run: [a], effects: none, faults: {retry: {max: 1, delay: 30ms, jitter: 0}}}}")
    wall = FakeClock()
    async with desk(connect(), Script(a=[failed(), "better"]), clock=SteadyClock(wall)) as d:
        run = await d.start(graph)
        await d.watch.until("step_waiting", "a")
        wall.advance(jump)
        assert (await d.done(run)).state == "succeeded"


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_a_wait_step_does_not_wait_for_a_clock_that_was_set_back(connect: Callable[[], Store], jump: int) -> None:
    wall = FakeClock()
    async with desk(connect(), clock=SteadyClock(wall)) as d:
        run = await d.start(graph_of("steps: {a: {wait: 30ms}, b: {run: [b], needs: [a]}}"))
        await d.watch.until("step_waiting", "a")
        wall.advance(jump)
        assert (await d.done(run)).state == "succeeded"


MANIFEST = """
steps:
  flaky:
    run: 'echo x >> tries; test $(wc -l < tries) -ge 4 && echo done'
    effects: none
    faults: {retry: {max: 5, delay: 5ms, errors: [tool_error]}}
  pause: {wait: 20ms, needs: [flaky]}
  after: {run: 'echo after >> ledger', needs: [pause], effects: once}
finally:
  bye: {run: 'echo bye >> ledger', effects: idempotent}
"""


def test_a_clock_that_jumps_all_the_time_neither_hangs_a_run_nor_tells_it_out_of_order(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.manifest(MANIFEST)
    wall = Wall()

    async def applied() -> None:
        async with asyncio.timeout(PATIENCE):
            result = await apply(project.loaded(), project.settings, clock=SteadyClock(wall))
        [run] = result.runs
        assert (run.state, run.exit_code) == ("succeeded", 0)
        store = project.record()
        moments = [recorded.at for recorded in store.events(run.run or "")]
        store.close()
        assert moments == sorted(moments)

    asyncio.run(applied())
    assert wall.looks > 20
    assert project.ledger() == ["after", "bye"]


def test_a_run_that_was_interrupted_in_the_future_goes_on_today(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.manifest(
        "steps: {a: {run: 'test -e go', effects: none}, b: {run: 'echo b >> ledger', needs: [a], effects: none}}"
    )

    async def at(clock: FakeClock) -> str:
        async with asyncio.timeout(PATIENCE):
            return (await apply(project.loaded(), project.settings, clock=clock)).runs[0].state

    today = FakeClock()
    tomorrow = FakeClock(today.now() + 24 * HOUR)
    assert asyncio.run(at(tomorrow)) == "failed"
    project.write("go", "")
    assert asyncio.run(at(today)) == "succeeded"
    assert project.ledger() == ["b"]
