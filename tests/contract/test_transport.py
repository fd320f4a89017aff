"""What every Transport keeps. A transport past one machine joins `TRANSPORTS`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from runner.core.messages import Note, Outcome, StepTask
from runner.ports import Transport
from runner.transports.local import LocalTransport

TRANSPORTS = {"local": LocalTransport}


class Steps:
    """A step function that tests drive: it waits for `gates[node]` when there is one, then does what `node` says."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def __call__(self, task: StepTask, note: Callable[[Note], None]) -> Outcome:
        self.started.append(task.key)
        note(Note(pid=1, pid_start=2))
        if task.node in self.gates:
            await self.gates[task.node].wait()
        if task.node == "broken":
            raise ValueError("hunter2-hunter2")
        return Outcome(state="succeeded", result={"value": {"output": task.node}})


@pytest.fixture
def steps() -> Steps:
    return Steps()


Heard = asyncio.Queue[tuple[str, Note | Outcome]]


@pytest.fixture
def heard() -> Heard:
    return asyncio.Queue()


@pytest.fixture(params=sorted(TRANSPORTS))
async def transport(request: pytest.FixtureRequest, steps: Steps, heard: Heard) -> AsyncIterator[Transport]:
    made = TRANSPORTS[request.param](steps)
    made.listen(lambda key, happened: heard.put_nowait((key, happened)))
    yield made
    await made.close()


def task(node: str, attempt: int = 1) -> StepTask:
    key = f"r1/{node}/{attempt}"
    return StepTask("r1", node, attempt, key, key, "local", "run", {})


async def take(heard: Heard, count: int) -> list[tuple[str, Note | Outcome]]:
    return [await asyncio.wait_for(heard.get(), 5) for _ in range(count)]


async def test_an_attempt_gives_its_notes_and_then_one_outcome(transport: Transport, heard: Heard) -> None:
    transport.submit(task("a"))
    (key, note), (same, outcome) = await take(heard, 2)
    assert (key, note) == ("r1/a/1", Note(pid=1, pid_start=2))
    assert same == key
    assert outcome == Outcome(state="succeeded", result={"value": {"output": "a"}})


async def test_submit_starts_every_attempt_at_once(transport: Transport, heard: Heard, steps: Steps) -> None:
    for number in range(200):
        steps.gates[f"s{number}"] = asyncio.Event()
        transport.submit(task(f"s{number}"))
    await take(heard, 200)
    assert len(steps.started) == 200


async def test_a_key_is_run_once_however_often_it_is_submitted(
    transport: Transport, heard: Heard, steps: Steps
) -> None:
    transport.submit(task("a"))
    transport.submit(task("a"))
    await take(heard, 2)
    transport.submit(task("a"))
    transport.submit(task("b"))
    assert [key for key, _ in await take(heard, 2)] == ["r1/b/1", "r1/b/1"]
    assert steps.started == ["r1/a/1", "r1/b/1"]


async def test_a_key_is_run_once_also_when_submitted_before_its_outcome(
    transport: Transport, heard: Heard, steps: Steps
) -> None:
    transport.submit(task("a"))
    await take(heard, 1)
    transport.submit(task("a"))
    await take(heard, 1)
    await transport.close()
    assert heard.empty()
    assert steps.started == ["r1/a/1"]


async def test_what_an_attempt_that_ended_without_its_own_word_has_cost_is_unknown(
    transport: Transport, heard: Heard, steps: Steps
) -> None:
    steps.gates["a"] = asyncio.Event()
    transport.submit(task("a"))
    await take(heard, 1)
    await transport.cancel("r1/a/1")
    transport.submit(task("broken"))
    ended = [event for _, event in await take(heard, 3) if isinstance(event, Outcome)]
    assert [(outcome.state, outcome.cost) for outcome in ended] == [("cancelled", None), ("failed", None)]


async def test_nothing_is_heard_of_an_attempt_from_within_submit(transport: Transport, heard: Heard) -> None:
    transport.submit(task("a"))
    assert heard.empty()
    await take(heard, 2)


async def test_an_exception_of_the_step_function_is_a_crash_that_quotes_nothing(
    transport: Transport, heard: Heard
) -> None:
    transport.submit(task("broken"))
    outcome = (await take(heard, 2))[1][1]
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "crash", "maybe")
    assert "ValueError" in outcome.message
    assert "hunter2" not in outcome.message


async def test_a_cancelled_attempt_has_an_unknown_effect(transport: Transport, heard: Heard, steps: Steps) -> None:
    steps.gates["a"] = asyncio.Event()
    transport.submit(task("a"))
    await take(heard, 1)
    await transport.cancel("r1/a/1")
    outcome = (await take(heard, 1))[0][1]
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.error_class, outcome.effect) == ("cancelled", "cancelled", "maybe")


async def test_an_attempt_cancelled_before_its_first_step_still_has_an_outcome(
    transport: Transport, heard: Heard
) -> None:
    transport.submit(task("a"))
    await transport.cancel("r1/a/1")
    while isinstance(event := (await take(heard, 1))[0][1], Note):
        pass
    assert event.state == "cancelled"


async def test_cancelling_an_unknown_key_does_nothing(transport: Transport, heard: Heard) -> None:
    await transport.cancel("r1/nobody/1")
    transport.submit(task("a"))
    assert len(await take(heard, 2)) == 2


async def test_recover_tells_attempts_whose_outcome_is_still_to_come(
    transport: Transport, heard: Heard, steps: Steps
) -> None:
    steps.gates["a"] = asyncio.Event()
    transport.submit(task("a"))
    await take(heard, 1)
    assert dict(await transport.recover(["r1/a/1", "r1/gone/1"])) == {"r1/a/1": "attached", "r1/gone/1": "lost"}
    steps.gates["a"].set()
    await take(heard, 1)
    assert dict(await transport.recover(["r1/a/1"])) == {"r1/a/1": "lost"}


async def test_close_ends_what_runs_and_delivers_its_outcomes_before_it_returns(
    transport: Transport, heard: Heard, steps: Steps
) -> None:
    steps.gates["a"] = asyncio.Event()
    transport.submit(task("a"))
    await take(heard, 1)
    await transport.close()
    left = [heard.get_nowait() for _ in range(heard.qsize())]
    assert [(key, getattr(outcome, "state", None)) for key, outcome in left] == [("r1/a/1", "cancelled")]


async def test_nothing_starts_after_close(transport: Transport, steps: Steps) -> None:
    await transport.close()
    transport.submit(task("a"))
    await asyncio.sleep(0)
    assert steps.started == []
