"""The engine over both stores: what it commits before it acts, how it lets go, and how it goes on."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from engine_stage import PATIENCE, Faulty, Script, desk, failed, gone, graph_of, kinds, ok, open_stores, outputs, states

from runner.clock import FakeClock, SystemClock
from runner.core.messages import Outcome, StepTask
from runner.engine import inbox, pulse
from runner.engine.results import stored
from runner.errors import Fenced, StoreBusy, StoreFull
from runner.ports import Store, Unit
from runner.store.owners import this_process

Connect = Callable[[], Store]

CHAIN = graph_of(
    """
    steps:
      a: {run: [a], effects: idempotent, reuse: never}
      b: {run: [b, "{{ steps.a.output }}"], effects: idempotent, reuse: never}
      c: {run: [c, "{{ steps.b.output }}"], effects: idempotent, reuse: never}
    finally:
      z: {run: [z, "{{ run.state }}"], effects: idempotent}
    outputs: {c: "{{ steps.c.output }}"}
    """
)
PAIR = graph_of(
    """
    steps:
      a: {run: [a], effects: idempotent}
      b: {run: [b], effects: idempotent, needs: [a]}
    """
)


LOST_AND_DONE = ["attempt_started", "attempt_lost", "step_woken", "attempt_started", "attempt_succeeded"]


def says_its_argv() -> Script:
    return Script(**dict.fromkeys("abcz", lambda task: " ".join(task.inputs["argv"])))


@pytest.fixture(params=["sqlite", "memory"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    yield from open_stores(request.param, tmp_path, SystemClock())


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Connect]:
    yield from open_stores("sqlite", tmp_path, SystemClock())


# ---------------------------------------------------------------- commit first


async def test_an_attempt_is_submitted_only_when_its_intent_is_in_the_record(connect: Connect) -> None:
    async with desk(connect(), says_its_argv()) as d:
        end = await d.done(await d.start(CHAIN))
        assert (end.state, outputs(d.store)) == ("succeeded", {"c": "c b a"})
        assert d.submitted == ["r/a/1", "r/b/1", "r/c/1", "r/z/1"]
        assert d.unrecorded == []


async def test_a_reporter_sees_events_in_order_and_only_after_their_commit(connect: Connect) -> None:
    store = connect()
    seen: list[tuple[int, bool]] = []

    class Asks:
        def event(self, recorded: Any, name: str) -> None:
            seen.append((recorded.seq, recorded in store.events(recorded.run)))

        def close(self) -> None: ...

    async with desk(store, sinks=[Asks()]) as d:
        await d.done(await d.start(CHAIN))
        assert seen == [(seq, True) for seq in range(1, len(store.events("r")) + 1)]


@pytest.mark.parametrize("after", [False, True], ids=["nothing-written", "answer-lost"])
async def test_whichever_commit_fails_nothing_more_is_submitted_and_a_new_engine_ends_the_same(
    connect: Connect, after: bool
) -> None:
    async with desk(connect(), says_its_argv()) as d:
        await d.done(await d.start(CHAIN, "whole"))
        expected = (states(d.store, "whole"), outputs(d.store, "whole"))
    commits = 5  # start and a · b · c · z · the end
    for nth in range(1, commits + 1):
        run, store = f"run{nth}", connect()
        broken = Faulty(store, nth, StoreFull("no space left"), after=after)
        async with desk(broken, says_its_argv(), owner=gone(f"first{nth}")) as d:
            with pytest.raises(StoreFull):
                await d.done(await d.start(CHAIN, run))
            assert d.unrecorded == []
            assert set(d.submitted) <= _intents(store, run)
            if not after:
                assert set(d.submitted) == _intents(store, run)
        async with desk(store, says_its_argv()) as d:
            row = store.run(run)
            assert row is not None
            if row.state == "pending":  # not even its start was recorded
                end = await d.done(await d.resume(run, ("start", {}, None, {})))
            else:
                end = await d.done(await d.resume(run))
            assert (end.state, states(store, run), outputs(store, run)) == ("succeeded", *expected)
            assert d.unrecorded == []


async def test_a_run_that_somebody_else_ended_meanwhile_is_let_go_at_once(connect: Connect) -> None:
    async with desk(connect()) as d:
        await d.done(await d.start(PAIR))
    async with desk(connect()) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert d.submitted == []


def _intents(store: Store, run: str) -> set[str]:
    return {f"{run}/{r.event.node}/{r.event.data['n']}" for r in store.events(run) if r.event.kind == "attempt_started"}


async def test_when_a_commit_fails_what_runs_is_cancelled_and_its_slots_are_free_again(connect: Connect) -> None:
    graph = graph_of("steps: {a: {run: [a]}, b: {run: [b]}}")
    script = Script()
    script.gates = {"a": asyncio.Event(), "b": asyncio.Event()}
    async with desk(Faulty(connect(), 2, StoreFull("no space left")), script) as d:  # type: ignore[arg-type]
        run = await d.start(graph)
        await script.until(2)
        script.gates["a"].set()
        with pytest.raises(StoreFull):
            await d.done(run)
        assert d.slots.used() == 0
        assert script.ended == ["r/a/1"]


async def test_an_owner_whose_lease_was_taken_is_fenced_and_its_successor_ends_the_run(connect: Connect) -> None:
    first, second = connect(), connect()
    script = says_its_argv()
    script.gates["a"] = asyncio.Event()
    async with desk(first, script, owner=gone("first")) as stale:
        run = await stale.start(CHAIN)
        await script.until(1)
        async with desk(second, says_its_argv()) as d:
            taken = await d.resume()  # the first one looks dead
            script.gates["a"].set()
            with pytest.raises(Fenced):
                await stale.done(run)
            end = await d.done(taken)
        assert (end.state, outputs(second)) == ("succeeded", {"c": "c b a"})
        assert stale.submitted == ["r/a/1"]
        assert kinds(second, node="a") == LOST_AND_DONE


async def test_a_run_that_a_live_runner_drives_is_busy_for_another(connect: Connect) -> None:
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d, desk(connect()) as other:
        run = await d.start(PAIR)
        await script.until(1)
        with pytest.raises(StoreBusy):
            await other.resume()
        script.gates["a"].set()
        assert (await d.done(run)).state == "succeeded"


async def test_after_a_long_sleep_the_epoch_is_asked_before_anything_is_submitted(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    store = connect()
    async with desk(store, clock=clock, owner=gone("first")) as d:
        clock.advance(pulse.HALF_LEASE_MS + 1)
        run = await d.start(PAIR)
        await store.acquire("r", this_process())  # taken over while it slept
        with pytest.raises(Fenced):
            await d.done(run)
        assert d.submitted == []


# ---------------------------------------------------------------- defects of ours do not hang


async def test_a_decision_that_cannot_be_recorded_ends_the_drive_instead_of_hanging_it(connect: Connect) -> None:
    script = Script(a=lambda task: ok(session="\ud800"))
    async with desk(connect(), script) as d:
        run = await d.start(PAIR)
        with pytest.raises(ValueError, match="recorded"):
            await d.done(run)
        assert "b" not in states(d.store)


async def test_a_defect_of_the_kernel_ends_the_drive_instead_of_hanging_it(connect: Connect) -> None:
    async with desk(connect()) as d:
        run = await d.start(PAIR)
        d.engine.put("r", ("no such message",))
        with pytest.raises(KeyError):
            await d.done(run)


async def test_a_transport_that_refuses_a_task_ends_the_drive_instead_of_hanging_it(connect: Connect) -> None:
    def refuse(task: Any) -> None:
        raise RuntimeError("no way out")

    async with desk(connect()) as d:
        d._look = refuse  # type: ignore[method-assign]
        d.engine._transport._look = refuse  # type: ignore[attr-defined]
        run = await d.start(PAIR)
        with pytest.raises(RuntimeError, match="no way out"):
            await d.done(run)


async def test_an_engine_that_lives_for_months_keeps_nothing_of_what_has_ended(connect: Connect) -> None:
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(CHAIN)
        await script.until(1)
        await connect().post("r", "cancel", {"reason": "enough"}, "ann")
        await d.done(run)
        del run
        d.engine._inbox._read()
        kept = (d.engine._root_of, d.engine._places, d.engine._inbox._seen, d.engine._driven, d.engine._leaving._trees)
        assert not any(kept), kept
        gc.collect()
        assert not d.host._contexts._vars


async def test_a_large_output_that_comes_after_its_run_was_let_go_is_kept_by_nobody(connect: Connect) -> None:
    began, told = asyncio.Event(), list[str]()

    async def step(task: StepTask, note: Any) -> Outcome:
        began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        kept, blob = stored({"output": "y" * 5_000})
        assert blob is not None
        d.engine._blobs.keep(kept["ref"], blob)
        told.append(task.key)
        return Outcome("succeeded", kept)

    async with desk(connect()) as d:
        d.engine._transport._step = step  # type: ignore[attr-defined]
        run = await d.start(PAIR)
        await began.wait()
        d.engine.stop()
        assert (await d.done(run)).state == "interrupted"
        assert told == ["r/a/1"]
        assert not d.engine._blobs._pending


async def test_a_reporter_that_fails_is_dropped_and_the_run_goes_on(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[str] = []

    class Breaks:
        def event(self, recorded: Any, name: str) -> None:
            calls.append(name)
            raise BrokenPipeError("nobody reads")

        def close(self) -> None: ...

    async with desk(connect(), sinks=[Breaks()]) as d:
        assert (await d.done(await d.start(PAIR))).state == "succeeded"
        assert calls == ["m"]
        assert "Breaks failed and is left out" in caplog.text


# ---------------------------------------------------------------- letting go


async def test_drain_lets_running_attempts_end_and_starts_nothing_new(connect: Connect) -> None:
    script = says_its_argv()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(CHAIN)
        await script.until(1)
        d.engine.drain()
        assert not run.done()
        script.gates["a"].set()
        assert (await d.done(run)).state == "interrupted"
        assert script.keys() == ["r/a/1"]
        assert states(d.store)["a"] == "succeeded"
    async with desk(connect(), says_its_argv()) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert d.submitted == ["r/b/1", "r/c/1", "r/z/1"]
        assert outputs(d.store) == {"c": "c b a"}


async def test_drain_with_nothing_running_lets_go_at_once(connect: Connect) -> None:
    graph = graph_of("steps: {a: {wait: 1h}}")
    async with desk(connect()) as d:
        run = await d.start(graph)
        await d.watch.until("step_waiting", "a")
        d.engine.drain()
        assert (await d.done(run)).state == "interrupted"
    async with desk(connect(), owner=gone("next")) as d:  # the lease was given back, so anybody may go on
        await d.resume()
        assert states(d.store) == {"a": "waiting"}


async def test_stop_lets_go_at_once_and_leaves_the_outcome_open(connect: Connect) -> None:
    script = says_its_argv()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(CHAIN)
        await script.until(1)
        d.engine.stop()
        assert (await d.done(run)).state == "interrupted"
        assert kinds(d.store, node="a") == ["attempt_started"]
    async with desk(connect(), says_its_argv()) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert kinds(d.store, node="a") == LOST_AND_DONE
        assert [task.effect_key for task in d.script.started][:1] == ["r/a/1"]  # the same key after an unknown outcome


async def test_leaving_the_engine_ends_what_runs_and_gives_every_lease_back(connect: Connect) -> None:
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        runs = [await d.start(PAIR, f"r{n}") for n in range(3)]
        await script.until(3)
    assert [(await d.done(run)).state for run in runs] == ["interrupted"] * 3
    assert script.ended == []
    async with desk(connect()) as other:
        for n in range(3):
            assert (await other.done(await other.resume(f"r{n}"))).state == "succeeded"


# ---------------------------------------------------------------- timers


async def test_a_wait_step_ends_by_its_timer(connect: Connect) -> None:
    async with desk(connect()) as d:
        assert (
            await d.done(await d.start(graph_of("steps: {a: {wait: 30ms}, b: {run: [b], needs: [a]}}")))
        ).state == "succeeded"
        waited = [r for r in d.store.events("r") if r.event.node == "a"]
        assert waited[1].at - waited[0].at >= 30


async def test_a_retry_comes_after_its_delay(connect: Connect) -> None:
    graph = graph_of("steps: {a: {run: [a], effects: none, faults: {retry: {max: 1, delay: 30ms, jitter: 0}}}}")
    async with desk(connect(), Script(a=[failed(), "better"])) as d:
        assert (await d.done(await d.start(graph))).state == "succeeded"
        starts = [r.at for r in d.store.events("r") if r.event.kind == "attempt_started"]
        assert len(starts) == 2
        assert starts[1] - starts[0] >= 30


async def test_a_timer_that_is_due_when_the_run_is_resumed_fires_at_once(connect: Connect) -> None:
    clock = FakeClock()
    graph = graph_of("steps: {a: {wait: 1h}}")
    async with desk(connect(), clock=clock) as d:
        run = await d.start(graph)
        await d.watch.until("step_waiting", "a")
        d.engine.stop()
        await d.done(run)
    clock.advance(3_600_000)
    async with desk(connect(), clock=clock) as d:
        assert (await d.done(await d.resume())).state == "succeeded"


async def test_a_timer_that_fires_early_is_armed_again(connect: Connect) -> None:
    clock = FakeClock()
    async with desk(connect(), clock=clock) as d:
        run = await d.start(graph_of("steps: {a: {wait: 20ms}}"))
        await d.watch.until("step_waiting", "a")
        d.engine.put("r", ("timer",))  # the clock stands still, so it is too early
        clock.advance(20)
        assert (await d.done(run)).state == "succeeded"


async def test_the_timeout_of_a_run_cancels_what_runs_and_then_runs_finally(connect: Connect) -> None:
    graph = graph_of(
        "steps: {a: {run: [a], effects: none}}\nfinally: {z: {run: [z, '{{ run.state }}'], effects: none}}"
    )
    script = Script(z=lambda task: task.inputs["argv"][1])
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        end = await d.done(await d.start(graph, extra={"timeout_ms": 30}))
        assert end.state == "failed"
        assert "run_timed_out" in kinds(d.store)
        assert states(d.store)["z"] == "succeeded"
        assert d.store.steps("r")[1].result == {"value": {"output": "failed"}}


# ---------------------------------------------------------------- other terminals


UNKNOWN = graph_of(
    "steps: {a: {run: [a], effects: once}, slow: {run: [s]}, b: {run: [b, '{{ steps.a.output }}']}}\noutputs: {b: '{{ steps.b.output }}'}"
)


def unknown_a(*then: Any) -> Script:
    """`a` once ends in doubt; `slow` waits for its gate, so that the run stays owned."""
    script = Script(a=[failed("timeout", effect="maybe"), *then], b=lambda task: task.inputs["argv"][1])
    script.gates["slow"] = asyncio.Event()
    return script


async def test_a_cancel_of_another_terminal_is_taken_by_the_live_owner(connect: Connect) -> None:
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(CHAIN)
        await script.until(1)
        terminal = connect()
        await terminal.post("r", "cancel", {"reason": "enough"}, "ann")
        assert (await d.done(run)).state == "cancelled"
        assert terminal.inbox("r") == []
        asked = [r.event.data for r in terminal.events("r") if r.event.kind == "cancel_requested"]
        assert asked == [{"by": "ann", "reason": "enough"}]
        assert states(terminal)["z"] == "succeeded"


async def test_a_resolve_of_another_terminal_is_taken_by_the_live_owner(connect: Connect) -> None:
    script = unknown_a()
    async with desk(connect(), script) as d:
        run = await d.start(UNKNOWN)
        await d.watch.until("step_suspended", "a")
        await connect().post("r", "resolve", {"node": "a", "output": {"id": 42}}, "ann")
        await d.watch.until("attempt_succeeded", "b")
        script.gates["slow"].set()
        assert (await d.done(run)).state == "succeeded"
        assert outputs(d.store) == {"b": {"id": 42}}
        assert [task.node for task in script.started].count("a") == 1


async def test_a_redo_of_another_terminal_runs_the_step_again_with_the_same_key(connect: Connect) -> None:
    script = unknown_a("second")
    async with desk(connect(), script) as d:
        run = await d.start(UNKNOWN)
        await d.watch.until("step_suspended", "a")
        await connect().post("r", "redo", {"node": "a"}, "ann")
        await d.watch.until("attempt_succeeded", "a")
        script.gates["slow"].set()
        assert (await d.done(run)).state == "succeeded"
        assert [task.effect_key for task in script.started if task.node == "a"] == ["r/a/1", "r/a/1"]


async def test_a_message_left_without_an_owner_is_taken_by_whoever_resumes(connect: Connect) -> None:
    script = unknown_a()
    script.gates["slow"].set()
    async with desk(connect(), script) as d:
        end = await d.done(await d.start(UNKNOWN))
        assert (end.state, end.reasons) == ("suspended", ("unknown",))
    store = connect()
    await store.post("r", "resolve", {"node": "a", "output": "done by hand"}, "ann")
    async with desk(store, Script(b=lambda task: task.inputs["argv"][1])) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert (outputs(store), store.inbox("r")) == ({"b": "done by hand"}, [])


async def test_a_message_is_taken_in_the_transaction_of_what_follows_from_it(connect: Connect) -> None:
    script = unknown_a()
    script.gates["slow"].set()
    async with desk(connect(), script) as d:
        await d.done(await d.start(UNKNOWN))
    store = connect()
    await store.post("r", "resolve", {"node": "a", "output": 1}, "ann")
    async with desk(Faulty(store, 1, StoreFull("no space left")), owner=gone("unlucky")) as d:  # type: ignore[arg-type]
        with pytest.raises(StoreFull):
            await d.done(await d.resume())
    assert [row.kind for row in store.inbox("r")] == ["resolve"]
    assert "step_resolved" not in kinds(store)
    async with desk(store) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert store.inbox("r") == []
        assert kinds(store).count("step_resolved") == 1


async def test_an_answer_to_a_step_that_waits_for_nothing_is_taken_without_a_trace(connect: Connect) -> None:
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(PAIR)
        await script.until(1)
        before = len(d.store.events("r"))
        store = connect()
        await store.post("r", "resolve", {"node": "a", "output": 1}, "ann")
        await _until(lambda: store.inbox("r") == [])
        assert len(d.store.events("r")) == before
        script.gates["a"].set()
        assert (await d.done(run)).state == "succeeded"


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await asyncio.sleep(0)


# ---------------------------------------------------------------- heartbeats


class Beats:
    """A store that counts heartbeats, and refuses those that the test says."""

    def __init__(self, store: Store, refuse: tuple[int, ...] = ()) -> None:
        self._store, self._refuse = store, refuse
        self.count = 0
        self.more = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def heartbeat(self, owner: Any) -> None:
        self.count += 1
        self.more.set()
        if self.count in self._refuse:
            raise StoreBusy("the database is locked")
        await self._store.heartbeat(owner)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.count < count:
                self.more.clear()
                await self.more.wait()


async def test_heartbeats_go_on_while_a_run_is_driven_and_survive_a_locked_database(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "HEARTBEAT_S", 0.005)
    store = Beats(connect(), refuse=(2, 3))
    async with desk(store):  # type: ignore[arg-type]
        await store.until(6)


async def test_the_inbox_is_looked_at_again_after_the_database_could_not_be_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "INBOX_S", 0.005)

    class Sometimes(Beats):
        asked = 0

        def changed(self) -> bool:
            self.asked += 1
            if self.asked == 1:
                raise StoreBusy("the database is locked")
            return self._store.changed()

    script = Script()
    script.gates["a"] = asyncio.Event()
    store = Sometimes(connect())
    async with desk(store, script) as d:  # type: ignore[arg-type]
        run = await d.start(PAIR)
        await script.until(1)
        await _until(lambda: store.asked > 0)
        await store.post("r", "cancel", {}, "ann")
        assert (await d.done(run)).state == "cancelled"


# ---------------------------------------------------------------- many, and large


async def test_many_runs_share_the_slots_of_the_process_fairly(connect: Connect) -> None:
    graph = graph_of("steps:\n" + "".join(f"  s{n}: {{run: [s], reuse: never}}\n" for n in range(8)))
    async with desk(connect(), slots=2) as d:
        runs = [await d.start(graph, f"r{n}") for n in range(4)]
        assert [(await d.done(run)).state for run in runs] == ["succeeded"] * 4
        order = [task.run for task in d.script.started]
        for run in ("r0", "r1", "r2", "r3"):
            assert order.count(run) == 8
        for place in range(4, 20):  # until the first has nothing left, each has its turn within two rounds
            assert len(set(order[place : place + 8])) == 4, order


async def test_no_more_attempts_run_at_once_than_the_process_has_slots(connect: Connect) -> None:
    graph = graph_of("steps: {a: {foreach: [1, 2, 3, 4, 5, 6, 7, 8, 9], run: [a]}}")
    running: list[int] = []

    script = Script()

    async def step(task: Any, note: Any) -> Any:
        running.append(1)
        assert len(running) <= 3
        for _ in range(5):
            await asyncio.sleep(0)
        running.pop()
        return ok()

    async with desk(connect(), script, slots=3) as d:
        d.engine._transport._step = step  # type: ignore[attr-defined]
        assert (await d.done(await d.start(graph))).state == "succeeded"


@pytest.mark.parametrize("size", [5_000, 3_000_000], ids=["in-the-database", "in-a-file"])
async def test_a_large_output_is_read_back_after_a_restart(connect: Connect, size: int) -> None:
    graph = graph_of(
        """
        steps:
          a: {run: [a], effects: idempotent}
          b: {run: [b], effects: idempotent, needs: [a]}
          c: {run: [c], effects: idempotent, needs: [b], when: "steps.a.output == 'x'"}
          d: {set: {head: "{{ steps.a.output | truncate(5, end='') }}"}, needs: [b]}
        outputs: {d: "{{ steps.d.output.head }}"}
        """
    )
    large = "y" * size
    script = Script(a=large)
    script.gates["b"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(graph)
        await script.until(2)
        d.engine.stop()
        await d.done(run)
    store = connect()
    held = store.steps("r")[0].result
    assert held is not None
    assert set(held) == {"ref", "size"}
    assert len(store.blob(held["ref"])) > size
    async with desk(store) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert outputs(store) == {"d": "yyyyy"}
        assert "a" not in [task.node for task in d.script.started]


async def test_a_large_output_of_set_is_held_by_reference_and_read_back(connect: Connect) -> None:
    graph = graph_of(
        """
        vars: {many: [1, 2, 3]}
        steps:
          a: {run: [a], effects: idempotent}
          s: {set: {all: "{{ steps.a.output }}"}}
          b: {run: [b], effects: idempotent, needs: [s]}
        outputs: {size: "{{ steps.s.output.all | length }}"}
        """
    )
    script = Script(a="y" * 9_000)
    script.gates["b"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(graph)
        await script.until(2)
        d.engine.stop()
        await d.done(run)
    async with desk(connect()) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert outputs(d.store) == {"size": 9_000}


async def test_a_fan_out_of_a_thousand_items_ends_in_a_few_seconds(connect: Connect) -> None:
    graph = graph_of(
        """
        inputs: {many: {type: array}}
        steps:
          a: {foreach: "{{ inputs.many }}", run: [a, "{{ item }}"], effects: none}
        outputs: {n: "{{ steps.a.output | length }}", last: "{{ steps.a.output | last }}"}
        """
    )
    script = Script(a=lambda task: int(task.inputs["argv"][1]))
    async with desk(connect(), script) as d:
        end = await d.done(await d.start(graph, inputs={"many": list(range(1_000))}))
        assert (end.state, outputs(d.store)) == ("succeeded", {"n": 1_000, "last": 999})
        assert len(script.started) == 1_000


# ---------------------------------------------------------------- trees


async def test_a_sub_run_is_resumed_with_its_caller(connect: Connect) -> None:
    inner = graph_of(
        "inputs: {x: integer}\nsteps: {i: {run: [i, '{{ inputs.x }}'], effects: idempotent}, j: {run: [j, '{{ steps.i.output }}'], effects: idempotent}}\noutputs: {j: '{{ steps.j.output }}'}",
        "inner",
    )
    outer = graph_of(
        "steps: {a: {call: inner, with: {x: 7}}, b: {run: [b, '{{ steps.a.output.j }}'], effects: none}}\noutputs: {b: '{{ steps.b.output }}'}",
        "outer",
        {"inner": inner},
    )
    script = Script(i=lambda task: task.inputs["argv"][1])
    script.gates["j"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(outer, callees={"inner": inner})
        await script.until(2)
        d.engine.stop()
        await d.done(run)
    store = connect()
    assert [(row.run, row.state) for row in store.children("r")] == [("r.a", "running")]
    async with desk(
        store, Script(j=lambda task: f"{task.inputs['argv'][1]}!", b=lambda task: task.inputs["argv"][1])
    ) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert d.submitted == ["r.a/j/2", "r/b/1"]
        assert outputs(store) == {"b": "7!"}


async def test_drain_lets_a_sub_run_go_with_its_caller(connect: Connect) -> None:
    inner = graph_of("steps: {i: {run: [i], effects: idempotent}, j: {run: [j], needs: [i]}}", "inner")
    outer = graph_of("steps: {a: {call: inner}, w: {wait: 1h}}", "outer", {"inner": inner})
    script = Script()
    script.gates["i"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(outer, callees={"inner": inner})
        await script.until(1)
        d.engine.drain()
        script.gates["i"].set()
        assert (await d.done(run)).state == "interrupted"
        assert d.submitted == ["r.a/i/1"]
        assert states(d.store, "r.a")["i"] == "succeeded"


async def test_a_callee_that_was_not_yet_called_is_in_the_record_for_a_restart(connect: Connect) -> None:
    inner = graph_of("steps: {i: {run: [i]}}", "inner")
    outer = graph_of("steps: {a: {run: [a], effects: none}, b: {call: inner, needs: [a]}}", "outer", {"inner": inner})
    script = Script()
    script.gates["a"] = asyncio.Event()
    async with desk(connect(), script) as d:
        run = await d.start(outer, callees={"inner": inner})
        await script.until(1)
        d.engine.stop()
        await d.done(run)
    async with desk(connect()) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert d.submitted == ["r/a/2", "r.b/i/1"]


async def test_a_message_may_name_a_sub_run(connect: Connect) -> None:
    inner = graph_of("steps: {i: {run: [i]}}", "inner")
    outer = graph_of("steps: {a: {call: inner}}", "outer", {"inner": inner})
    async with desk(connect(), Script(i=failed("timeout", effect="maybe"))) as d:
        end = await d.done(await d.start(outer, callees={"inner": inner}))
        assert (end.state, states(d.store, "r.a")) == ("suspended", {"i": "suspended"})
    store = connect()
    await store.post("r", "resolve", {"run": "r.a", "node": "i", "output": 1}, "ann")
    async with desk(store) as d:
        assert (await d.done(await d.resume())).state == "succeeded"


async def test_a_unit_without_events_checks_the_lease_only(connect: Connect) -> None:
    store = connect()
    async with desk(store) as d:
        await d.done(await d.start(PAIR))
        epoch = await store.acquire("r", this_process())
        before = len(store.events("r"))
        await store.commit(Unit("r", epoch))
        assert len(store.events("r")) == before
