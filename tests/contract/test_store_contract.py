"""What every store does, in memory and on disk alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_lines import (
    DEAD,
    ELSEWHERE,
    GRAPH,
    MANIFEST,
    ME,
    OTHER,
    begun,
    failed,
    line,
    new_run,
    started,
    succeeded,
    unit,
)

from runner.clock import FakeClock
from runner.core.events import KINDS
from runner.errors import Fenced, NeedsPerson, StoreBusy, StoreError
from runner.ports import NewManifest, Store
from runner.store.encode import BadValue
from runner.store.memory import MemoryStore
from runner.store.owners import LEASE_TTL_MS
from runner.store.projection import TABLE, UNPROJECTED
from runner.store.sqlite import SqliteStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    opened: Store
    if request.param == "memory":
        opened = MemoryStore(clock)
    else:
        opened = SqliteStore.open(tmp_path / ".ares" / "state.db", clock=clock)
    yield opened
    opened.close()


async def begin(store: Store, run: str = "r1", **changes: Any) -> int:
    return await store.begin(new_run(run, **changes), MANIFEST, ME)


async def step(store: Store, node: str, run: str = "r1") -> Any:
    return next(row for row in store.steps(run) if row.node == node)


# ---------------------------------------------------------------- what is recorded


async def test_a_new_run_is_pending_with_its_lease_and_no_event(store: Store) -> None:
    epoch = await begin(store, reason="no earlier run", fingerprint="f", forked_from="r0")
    row = store.run("r1")
    assert row is not None
    assert epoch == 1
    assert (row.state, row.leg, row.verdict, row.finished) == ("pending", 1, None, None)
    assert (row.inputs, row.reason, row.fingerprint, row.forked_from) == ({"who": "world"}, "no earlier run", "f", "r0")
    assert (row.steps_done, row.steps_total, row.cost, row.owner_alive) == (0, 4, 0, True)
    assert store.events("r1") == []


async def test_events_come_back_as_they_were_given(store: Store) -> None:
    epoch = await begin(store)
    events = [
        begun(),
        started("r1", 2, "a", inputs={"text": "žluť 🐍 \u2028 \x00", "deep": [[{"n": 1.5, "big": 2**70, "no": None}]]}),
        succeeded("r1", 3, "a", output={"NaN": "Infinity", "tiny": 1e-300}),
    ]
    await store.commit(unit(epoch, *events))
    assert store.events("r1") == events
    assert store.events("r1", after=2) == events[2:]
    assert store.newest("r1", "attempt_started") == events[1]
    assert store.newest("r1", "run_finished") is None
    assert store.newest("r0", "attempt_started") is None
    [record] = store.load("r1")
    assert record.events == [recorded.event for recorded in events]
    assert record.graph == GRAPH


async def test_deeply_nested_data_is_recorded(store: Store) -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    epoch = await begin(store)
    await store.commit(unit(epoch, line("r1", 1, "run_started", inputs={"deep": deep})))
    assert store.events("r1")[0].event.data["inputs"]["deep"] == deep


@pytest.mark.parametrize(
    "bad", [float("nan"), float("inf"), "\ud800", object()], ids=["nan", "inf", "surrogate", "object"]
)
async def test_a_value_that_cannot_be_recorded_is_refused_at_once(store: Store, bad: Any) -> None:
    epoch = await begin(store)
    with pytest.raises(BadValue):
        store.commit(unit(epoch, line("r1", 1, "run_started", inputs={"x": bad})))
    with pytest.raises(BadValue):
        store.begin(new_run("r2", inputs={"x": bad}), MANIFEST, ME)
    with pytest.raises(BadValue):
        store.post("r1", "cancel", {"x": bad}, "me")
    await store.commit(unit(epoch, begun()))


async def test_units_queued_together_are_committed_in_order(store: Store) -> None:
    epoch = await begin(store)
    answers = [store.commit(unit(epoch, line("r1", seq, "budget_raised", usd=seq))) for seq in range(1, 101)]
    for answer in reversed(answers):
        await answer
    assert [recorded.seq for recorded in store.events("r1")] == list(range(1, 101))


async def test_an_answer_that_nobody_waits_for_is_committed_all_the_same(store: Store) -> None:
    epoch = await begin(store)
    store.commit(unit(epoch, begun()))
    await store.commit(unit(epoch, started("r1", 2, "a")))
    assert len(store.events("r1")) == 2


async def test_units_recorded_together_are_each_told_in_order_once_they_are_on_record(store: Store) -> None:
    epochs = {run: await begin(store, run, task=f"task-{run}") for run in ("r1", "r2")}
    told: list[tuple[str, Exception | None, int]] = []
    all_told = asyncio.Event()

    def hear(run: str) -> Any:
        def heard(error: Exception | None) -> None:
            told.append((run, error, len(store.events(run))))
            if len(told) == 3:
                all_told.set()

        return heard

    store.record(
        [
            (unit(epochs["r1"], begun("r1")), hear("r1")),
            (unit(epochs["r2"], begun("r2"), root="r2"), hear("r2")),
            (unit(epochs["r1"], line("r1", 2, "run_timed_out")), hear("r1")),
        ]
    )
    async with asyncio.timeout(5):
        await all_told.wait()
    assert [(run, error) for run, error, _ in told] == [("r1", None), ("r2", None), ("r1", None)]
    assert all(count > 0 for _, _, count in told)
    assert len(store.events("r1")) == 2


async def test_a_unit_that_is_refused_among_others_fails_alone(store: Store) -> None:
    epochs = {run: await begin(store, run, task=f"task-{run}") for run in ("r1", "r2", "r3")}
    told: asyncio.Queue[tuple[str, Exception | None]] = asyncio.Queue()
    bad = line("r2", 1, "run_started", inputs={"x": float("nan")})
    entries = [
        (unit(epochs["r1"] + 1, begun("r1")), "fenced"),
        (unit(epochs["r2"], bad, root="r2"), "bad"),
        (unit(epochs["r3"], begun("r3"), root="r3"), "good"),
    ]
    store.record([(one, lambda error, name=name: told.put_nowait((name, error))) for one, name in entries])
    async with asyncio.timeout(5):
        answers = dict([await told.get() for _ in entries])
    assert isinstance(answers["fenced"], Fenced)
    assert isinstance(answers["bad"], BadValue)
    assert answers["good"] is None
    assert [len(store.events(run)) for run in ("r1", "r2", "r3")] == [0, 0, 1]


async def test_what_is_recorded_never_overtakes_what_was_committed_before(store: Store) -> None:
    epoch = await begin(store)
    told: list[int] = []
    for seq in range(1, 40, 2):
        committed = store.commit(unit(epoch, line("r1", seq, "budget_raised", usd=seq)))
        store.record(
            [(unit(epoch, line("r1", seq + 1, "budget_raised", usd=seq)), lambda error: told.append(not error))]
        )
        if seq % 3 == 0:
            await committed
    await store.commit(unit(epoch, line("r1", 41, "run_timed_out")))
    assert told == [True] * 20
    assert len(store.events("r1")) == 41


@pytest.mark.parametrize("seq", [1, 3, 5], ids=["duplicate", "repeated", "gap"])
async def test_a_unit_that_does_not_continue_the_record_fails_alone(store: Store, seq: int) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a"), succeeded("r1", 3, "a")))
    odd = store.commit(unit(epoch, line("r1", seq, "run_timed_out")))
    good = store.commit(unit(epoch, started("r1", 4, "b")))
    with pytest.raises(StoreError, match="does not follow"):
        await odd
    await good
    assert [recorded.seq for recorded in store.events("r1")] == [1, 2, 3, 4]


async def test_a_unit_cannot_write_to_another_tree(store: Store) -> None:
    epoch = await begin(store)
    await store.begin(new_run("r2", task="task-2"), MANIFEST, ME)
    with pytest.raises(StoreError, match="no part of the tree"):
        await store.commit(unit(epoch, begun("r2")))
    with pytest.raises(StoreError, match="no run"):
        await store.commit(unit(epoch, begun("r3")))
    with pytest.raises(StoreError, match="no run"):
        await store.commit(unit(1, root="r3"))


async def test_a_run_is_known_once_it_was_begun(store: Store) -> None:
    assert not store.knows("r1")
    await begin(store)
    assert store.knows("r1")
    assert not store.knows("r")


async def test_a_run_id_is_used_once(store: Store) -> None:
    await begin(store)
    with pytest.raises(StoreError):
        await store.begin(new_run("r1", task="another"), MANIFEST, OTHER)
    row = store.run("r1")
    assert row is not None
    assert row.task == "task-1"


async def test_large_results_are_held_by_digest(store: Store) -> None:
    epoch = await begin(store)
    small, large = b"s" * 5_000, b"l" * 3_000_000
    await store.commit(unit(epoch, begun(), blobs={"d-small": small, "d-large": large}))
    await store.commit(unit(epoch, blobs={"d-large": large}))
    assert store.blob("d-small") == small
    assert store.blob("d-large") == large
    with pytest.raises(StoreError, match="no output"):
        store.blob("d-none")


async def test_sub_runs_ride_in_the_unit_of_their_root(store: Store) -> None:
    epoch = await begin(store)
    child = new_run("r1.1", root="r1", parent="r1", parent_node="b", task="sub", manifest="digest-2")
    callee = NewManifest("digest-2", "callee", '{"steps":[{"id":"x"}]}', "")
    await store.commit(unit(epoch, begun(), begun("r1.1"), started("r1.1", 2, "x"), runs=[child], manifests=[callee]))
    assert [row.run for row in store.children("r1")] == ["r1.1"]
    assert [record.row.run for record in store.load("r1")] == ["r1", "r1.1"]
    assert store.load("r1")[1].graph == callee.graph
    assert store.manifest("digest-2") == callee
    assert store.manifest("digest-3") is None
    assert [row.run for row in store.runs()] == ["r1"]
    found = store.run("r1.1")
    assert found is not None
    assert (found.steps_total, found.parent_node, found.owner_alive) == (1, "b", True)


# ---------------------------------------------------------------- what is shown


async def test_an_attempt_moves_its_step_and_is_shown(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a")))
    running = await step(store, "a")
    assert (running.state, running.attempt, running.started, running.ended, running.executor) == (
        "running",
        1,
        1_002,
        None,
        "local",
    )
    await store.commit(unit(epoch, line("r1", 3, "attempt_noted", "a", n=1, session="s-1", pid=7, pid_start=8)))
    await store.commit(
        unit(epoch, succeeded("r1", 4, "a", executor="git", model="m", products={"out.md": "d"}, log="a.log"))
    )
    done = await step(store, "a")
    assert (done.state, done.ended, done.cost, done.executor, done.model) == ("succeeded", 1_004, 5, "git", "m")
    assert (done.key, done.producer, done.result, done.products) == (
        "key-a", "r1/a/1", {"value": {"output": "done"}}, {"out.md": "d"},
    )  # fmt: skip
    [attempt] = store.attempts("r1", "a")
    assert (attempt.n, attempt.state, attempt.session, attempt.tokens, attempt.log) == (
        1,
        "succeeded",
        "s-1",
        {"in": 3},
        "a.log",
    )
    assert (attempt.started, attempt.ended, attempt.cost, attempt.cost_source) == (1_002, 1_004, 5, "billed")
    row = store.run("r1")
    assert row is not None
    assert (row.state, row.steps_done, row.cost) == ("running", 1, 5)


async def test_failed_and_lost_attempts_are_counted_and_paid_for(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a")))
    await store.commit(
        unit(
            epoch,
            failed("r1", 3, "a", status=504),
            line("r1", 4, "step_waiting", "a", until=9_000, reason="retry 1 of 2"),
        )
    )
    waiting = await step(store, "a")
    assert (waiting.state, waiting.until, waiting.tries, waiting.cost) == ("waiting", 9_000, 1, 2)
    assert waiting.error == {"class": "timeout", "message": "too slow", "status": 504, "executor": "local"}
    await store.commit(unit(epoch, line("r1", 5, "step_woken", "a"), started("r1", 6, "a", n=2)))
    await store.commit(
        unit(epoch, line("r1", 7, "attempt_lost", "a", n=2, assumed_cost=10), line("r1", 8, "step_woken", "a"))
    )
    lost = await step(store, "a")
    assert (lost.state, lost.lost, lost.attempt, lost.cost) == ("pending", 1, 2, 12)
    assert [(row.n, row.state, row.error_class, row.effect, row.cost) for row in store.attempts("r1")] == [
        (1, "failed", "timeout", "maybe", 2),
        (2, "lost", "", "maybe", 10),
    ]


async def test_a_failed_step_keeps_what_its_attempt_said(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a"), failed("r1", 3, "a", status=504)))
    fail = {"class": "timeout", "message": "too slow", "reason": "no retry left"}
    await store.commit(unit(epoch, line("r1", 4, "step_failed", "a", **fail)))
    row = await step(store, "a")
    assert (row.state, row.reason, row.ended) == ("failed", "no retry left", 1_004)
    assert row.error == {"class": "timeout", "message": "too slow", "status": 504, "executor": "local"}


async def test_a_fan_out_shows_its_items_in_order_and_what_they_cost(store: Store) -> None:
    epoch = await begin(store)
    items = [{"key": f"k{index}", "value": index} for index in range(11)]
    await store.commit(unit(epoch, begun(), line("r1", 2, "items_expanded", "a", items=items, max_parallel=None)))
    assert [(row.node, row.state, row.item_key) for row in store.steps("r1")] == [
        ("a", "group", None), *((f"a[{index}]", "pending", f"k{index}") for index in range(11)),
    ]  # fmt: skip
    seq = 3
    for index in range(11):
        await store.commit(unit(epoch, started("r1", seq, f"a[{index}]"), succeeded("r1", seq + 1, f"a[{index}]")))
        seq += 2
    await store.commit(unit(epoch, line("r1", seq, "group_joined", "a", state="succeeded", reason="")))
    group, *rows = store.steps("r1")
    assert (group.state, group.cost) == ("succeeded", 55)
    assert {row.state for row in rows} == {"succeeded"}
    row = store.run("r1")
    assert row is not None
    assert (row.steps_done, row.steps_total, row.cost) == (1, 4, 55)


async def test_other_ends_of_steps_are_shown_with_their_reason(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(
        unit(
            epoch,
            begun(),
            line("r1", 2, "step_skipped", "a", reason="when is false"),
            line("r1", 3, "step_blocked", "b", reason="a failed"),
            line("r1", 4, "step_cancelled", "c", reason="cancelled"),
            line("r1", 5, "step_suspended", "z", reason="approval", detail="go?", until=7_000, ask={}),
        )
    )
    assert [(row.node, row.state, row.reason, row.until) for row in store.steps("r1")] == [
        ("a", "skipped", "when is false", None),
        ("b", "blocked", "a failed", None),
        ("c", "cancelled", "cancelled", None),
        ("z", "suspended", "approval", 7_000),
    ]
    await store.commit(
        unit(epoch, line("r1", 6, "step_resolved", "z", state="succeeded", result={"value": {"output": 1}}, by="me"))
    )
    resolved = await step(store, "z")
    assert (resolved.state, resolved.result, resolved.until) == ("succeeded", {"value": {"output": 1}}, None)


async def test_a_finished_run_keeps_its_totals_and_a_new_leg_counts_again(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a"), succeeded("r1", 3, "a"), started("r1", 4, "b")))
    await store.commit(
        unit(
            epoch,
            failed("r1", 5, "b"),
            line("r1", 6, "step_failed", "b", **{"class": "timeout", "message": "too slow", "reason": ""}),
            line("r1", 7, "main_finished", verdict="failed", reason="b failed"),
            line("r1", 8, "step_skipped", "z", reason=""),
            line("r1", 9, "run_finished", state="failed", reason="b failed"),
        )
    )
    row = store.run("r1")
    assert row is not None
    assert (row.state, row.verdict, row.reason, row.finished) == ("failed", "failed", "b failed", 1_009)
    assert (row.steps_done, row.cost) == (3, 7)
    await store.commit(unit(epoch, line("r1", 10, "leg_started", leg=2, reset=["b", "z"], suspend=[])))
    row = store.run("r1")
    assert row is not None
    assert (row.state, row.verdict, row.finished, row.leg, row.steps_done, row.cost) == ("running", None, None, 2, 1, 7)
    again = await step(store, "b")
    assert (again.state, again.error, again.tries, again.attempt) == ("pending", None, 0, 1)


async def test_an_unknown_step_is_suspended_in_a_new_leg(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(
        unit(
            epoch,
            begun(),
            line("r1", 2, "step_failed", "a", **{"class": "timeout", "message": "", "reason": "unknown"}),
        )
    )
    await store.commit(unit(epoch, line("r1", 3, "run_finished", state="cancelled", reason="")))
    await store.commit(unit(epoch, line("r1", 4, "leg_started", leg=2, reset=[], suspend=["a"])))
    row = await step(store, "a")
    assert (row.state, row.reason, row.ended) == ("suspended", "unknown", None)


async def test_a_suspended_run_says_why_until_it_is_woken(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), line("r1", 2, "run_suspended", reasons=["mode", "approval"])))
    row = store.run("r1")
    assert row is not None
    assert (row.state, row.reason) == ("suspended", "mode, approval")
    await store.commit(unit(epoch, line("r1", 3, "run_woken")))
    row = store.run("r1")
    assert row is not None
    assert (row.state, row.reason) == ("running", "")


async def test_the_items_of_a_final_fan_out_are_replaced_in_a_new_leg(store: Store) -> None:
    epoch = await begin(store)
    three = [{"key": key, "value": key} for key in "xyz"]
    await store.commit(unit(epoch, begun(), line("r1", 2, "items_expanded", "z", items=three)))
    await store.commit(unit(epoch, started("r1", 3, "z[2]"), succeeded("r1", 4, "z[2]")))
    await store.commit(unit(epoch, line("r1", 5, "run_finished", state="failed", reason="")))
    await store.commit(unit(epoch, line("r1", 6, "leg_started", leg=2, reset=["z"], suspend=[])))
    assert (await step(store, "z")).state == "pending"
    await store.commit(unit(epoch, line("r1", 7, "items_expanded", "z", items=three[:1])))
    assert [(row.node, row.state, row.cost) for row in store.steps("r1")] == [
        ("z", "group", 5), ("z[0]", "pending", 0), ("z[1]", "skipped", 0), ("z[2]", "skipped", 5),
    ]  # fmt: skip


def test_every_kind_of_event_has_a_projection_or_needs_none() -> None:
    assert set(TABLE) | UNPROJECTED == KINDS
    assert not set(TABLE) & UNPROJECTED


# ---------------------------------------------------------------- reuse


async def test_a_success_can_be_reused_under_its_manifests_name(store: Store) -> None:
    epoch = await begin(store)
    assert not store.has_reusable("report")
    await store.commit(unit(epoch, begun(), started("r1", 2, "a"), succeeded("r1", 3, "a", products={"p": "d"})))
    assert store.has_reusable("report")
    assert not store.has_reusable("another")
    found = store.reusable("report", "key-a")
    assert found is not None
    assert (found.key, found.producer, found.result, found.products, found.at) == (
        "key-a", "r1/a/1", {"value": {"output": "done"}}, {"p": "d"}, 1_003,
    )  # fmt: skip
    assert store.reusable("another", "key-a") is None
    assert store.reusable("report", "key-b") is None


async def test_the_newest_success_is_reused_and_a_reused_one_names_who_executed(store: Store) -> None:
    first = await begin(store)
    await store.commit(unit(first, begun(), started("r1", 2, "a"), succeeded("r1", 3, "a", output="old")))
    await store.commit(unit(first, line("r1", 4, "run_finished", state="succeeded", reason="")))
    second = await begin(store, "r2")
    reuse = {
        "key": "key-a",
        "producer": "r1/a/1",
        "result": {"value": {"output": "old"}},
        "products": {},
        "reason": "unchanged",
    }
    await store.commit(unit(second, begun("r2"), line("r2", 2, "step_reused", "a", **reuse), root="r2"))
    row = await step(store, "a", "r2")
    assert (row.state, row.reused, row.producer, row.result) == ("reused", True, "r1/a/1", {"value": {"output": "old"}})
    found = store.reusable("report", "key-a")
    assert found is not None
    assert (found.producer, found.at) == ("r1/a/1", 1_002)


async def test_a_step_without_a_key_is_not_reusable(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a", key=None), succeeded("r1", 3, "a")))
    assert not store.has_reusable("report")


# ---------------------------------------------------------------- looking runs up


async def test_runs_are_listed_newest_first_and_found_by_name_task_and_prefix(store: Store) -> None:
    for run, name, task in [("aa1", "x", "t1"), ("aa2", "y", "t2"), ("ab1", "x", "t3"), ("b%1", "x", "t1")]:
        epoch = await store.begin(new_run(run, name=name, task=task), MANIFEST, ME)
        await store.release(run, epoch)
    assert [row.run for row in store.runs()] == ["b%1", "ab1", "aa2", "aa1"]
    assert [row.run for row in store.runs(limit=1)] == ["b%1"]
    assert [row.run for row in store.runs(name="x")] == ["b%1", "ab1", "aa1"]
    assert [row.run for row in store.runs(task="t1")] == ["b%1", "aa1"]
    assert [row.run for row in store.runs(name="y", task="t1")] == []
    assert [row.run for row in store.runs(name="x", task="t3")] == ["ab1"]
    assert [row.run for row in store.find("aa")] == ["aa1", "aa2"]
    assert [row.run for row in store.find("a", limit=2)] == ["aa1", "aa2"]
    assert [row.run for row in store.find("b%")] == ["b%1"]
    assert store.find("%") == []
    assert store.run("none") is None
    assert store.load("none") == []
    assert store.steps("none") == []
    assert store.attempts("none") == []


# ---------------------------------------------------------------- leases


async def test_only_one_of_two_runners_begins_a_task(store: Store) -> None:
    await begin(store)
    with pytest.raises(StoreBusy, match="driven by another runner"):
        await store.begin(new_run("r2"), MANIFEST, OTHER)
    assert [row.run for row in store.runs()] == ["r1"]
    await store.begin(new_run("r3", task="another task"), MANIFEST, OTHER)


async def test_a_task_may_begin_again_when_the_run_before_has_ended(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), line("r1", 2, "run_finished", state="succeeded", reason="")))
    assert await store.begin(new_run("r2"), MANIFEST, OTHER) == 1


async def test_the_lease_of_a_live_owner_is_not_taken(store: Store) -> None:
    await begin(store)
    with pytest.raises(StoreBusy):
        await store.acquire("r1", OTHER)
    assert await store.acquire("r1", ME) == 2


async def test_the_lease_of_a_dead_owner_is_taken_over_and_its_writes_are_refused(store: Store) -> None:
    old = await store.begin(new_run(), MANIFEST, DEAD)
    row = store.run("r1")
    assert row is not None
    assert not row.owner_alive
    new = await store.acquire("r1", ME)
    assert new == old + 1
    with pytest.raises(Fenced):
        await store.commit(unit(old, begun()))
    await store.commit(unit(new, begun()))
    row = store.run("r1")
    assert row is not None
    assert row.owner_alive


async def test_an_owner_on_another_host_lives_as_long_as_its_heartbeat(store: Store, clock: FakeClock) -> None:
    await store.begin(new_run(), MANIFEST, ELSEWHERE)
    clock.advance(LEASE_TTL_MS - 1)
    await store.heartbeat(ELSEWHERE)
    clock.advance(LEASE_TTL_MS - 1)
    with pytest.raises(StoreBusy):
        await store.acquire("r1", ME)
    clock.advance(1)
    assert await store.acquire("r1", ME) == 2


async def test_a_fenced_unit_does_not_fail_those_beside_it(store: Store) -> None:
    stale = await store.begin(new_run(), MANIFEST, DEAD)
    fine = await store.begin(new_run("r2", task="task-2"), MANIFEST, ME)
    await store.acquire("r1", ME)
    refused = store.commit(unit(stale, begun()))
    taken = store.commit(unit(fine, begun("r2"), root="r2"))
    with pytest.raises(Fenced, match="taken over"):
        await refused
    await taken
    assert store.events("r1") == []
    assert len(store.events("r2")) == 1


async def test_a_released_lease_can_be_taken_at_once(store: Store) -> None:
    epoch = await begin(store)
    await store.release("r1", epoch)
    row = store.run("r1")
    assert row is not None
    assert not row.owner_alive
    taken = await store.acquire("r1", OTHER)
    await store.release("r1", epoch)
    with pytest.raises(StoreBusy):
        await store.acquire("r1", ME)
    assert taken == epoch + 1


async def test_a_run_that_was_taken_over_goes_on_where_the_other_left_it(store: Store) -> None:
    epoch = await store.begin(new_run(), MANIFEST, DEAD)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a")))
    mine = await store.acquire("r1", ME)
    await store.commit(unit(mine, succeeded("r1", 3, "a"), started("r1", 4, "b")))
    assert [(row.node, row.state, row.executor) for row in store.steps("r1")] == [
        ("a", "succeeded", "local"),
        ("b", "running", "local"),
    ]
    assert [(row.node, row.state) for row in store.attempts("r1")] == [("a", "succeeded"), ("b", "running")]


async def test_a_run_that_does_not_exist_cannot_be_taken(store: Store) -> None:
    with pytest.raises(StoreError, match="no run r9"):
        await store.acquire("r9", ME)


# ---------------------------------------------------------------- superseding


async def test_a_new_run_ends_the_older_ones_that_it_supersedes(store: Store) -> None:
    old = await store.begin(new_run(), MANIFEST, DEAD)
    child = new_run("r1.1", root="r1", parent="r1", parent_node="a", task="sub")
    await store.commit(unit(old, begun(), started("r1", 2, "a"), begun("r1.1"), runs=[child]))
    await store.begin(new_run("r2", manifest="digest-2"), MANIFEST, ME, supersede=["r1"])
    older = store.run("r1")
    assert older is not None
    assert (older.state, older.superseded_by, older.owner_alive) == ("superseded", "r2", False)
    assert store.events("r1")[-1].event.kind == "run_finished"
    assert store.events("r1")[-1].event.data == {"state": "superseded", "reason": "superseded by run r2"}
    [sub] = store.children("r1")
    assert sub.state == "superseded"
    with pytest.raises(Fenced):
        await store.commit(unit(old, succeeded("r1", 3, "a")))


async def test_a_run_that_somebody_drives_is_not_superseded(store: Store) -> None:
    await store.begin(new_run(), MANIFEST, OTHER)
    with pytest.raises(StoreBusy):
        await store.begin(new_run("r2"), MANIFEST, ME, supersede=["r1"])
    row = store.run("r1")
    assert row is not None
    assert row.state == "pending"
    assert store.run("r2") is None


async def test_an_owner_may_supersede_its_own_run_but_not_drive_a_task_twice(store: Store) -> None:
    await begin(store)
    with pytest.raises(StoreBusy):
        await begin(store, "r2")
    assert await store.begin(new_run("r3"), MANIFEST, ME, supersede=["r1"]) == 1


SUSPENDED = line("r1", 3, "step_suspended", "a", reason="unknown", detail="")
FAILED = line("r1", 3, "step_failed", "a", **{"class": "timeout", "message": "", "reason": "unknown"})


@pytest.mark.parametrize("end", ["suspended", "failed", "cancelled"])
async def test_a_task_with_an_unknown_outcome_waits_for_a_person(store: Store, end: str) -> None:
    epoch = await store.begin(new_run(), MANIFEST, DEAD)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a"), SUSPENDED if end == "suspended" else FAILED))
    if end != "suspended":
        await store.commit(unit(epoch, line("r1", 4, "run_finished", state=end, reason="")))
    with pytest.raises(NeedsPerson, match="run r1: nobody knows how step 'a' ended"):
        await store.begin(new_run("r2"), MANIFEST, ME, supersede=["r1"])
    assert store.run("r2") is None
    older = store.run("r1")
    assert older is not None
    assert older.superseded_by is None


async def test_an_unknown_outcome_in_a_sub_run_waits_for_a_person_too(store: Store) -> None:
    epoch = await store.begin(new_run(), MANIFEST, DEAD)
    child = new_run("r1.1", root="r1", parent="r1", parent_node="b", task="sub")
    await store.commit(
        unit(epoch, begun(), begun("r1.1"), line("r1.1", 2, "step_suspended", "a", reason="unknown"), runs=[child])
    )
    with pytest.raises(NeedsPerson, match=r"run r1\.1"):
        await store.begin(new_run("r2"), MANIFEST, ME)


async def test_an_unknown_outcome_of_a_final_step_stops_nobody(store: Store) -> None:
    epoch = await store.begin(new_run(), MANIFEST, DEAD)
    unknown = {"class": "timeout", "message": "", "reason": "unknown"}
    await store.commit(unit(epoch, begun(), line("r1", 2, "step_failed", "z", **unknown)))
    await store.commit(unit(epoch, line("r1", 3, "run_finished", state="failed", reason="")))
    assert await store.begin(new_run("r2"), MANIFEST, ME) == 1


@pytest.mark.parametrize(("effects", "waits"), [("once", True), ("idempotent", False)])
async def test_what_was_under_way_once_when_its_runner_died_waits_for_a_person(
    store: Store, effects: str, waits: bool
) -> None:
    epoch = await store.begin(new_run(), MANIFEST, DEAD)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a", effects=effects)))
    assert store.in_doubt("task-1") == (("r1", "a") if waits else None)
    if waits:
        with pytest.raises(NeedsPerson, match="run r1: nobody knows how step 'a' ended"):
            await store.begin(new_run("r2"), MANIFEST, ME, supersede=["r1"])
        assert store.run("r2") is None
    else:
        assert await store.begin(new_run("r2"), MANIFEST, ME, supersede=["r1"]) == 1


async def test_what_is_under_way_once_while_its_runner_lives_is_no_doubt(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "a", effects="once")))
    assert store.in_doubt("task-1") is None
    with pytest.raises(StoreBusy):
        await store.begin(new_run("r2"), MANIFEST, ME)


async def test_a_resolved_outcome_stops_nobody(store: Store) -> None:
    epoch = await store.begin(new_run(), MANIFEST, DEAD)
    await store.commit(unit(epoch, begun(), line("r1", 2, "step_suspended", "a", reason="unknown")))
    await store.commit(
        unit(epoch, line("r1", 3, "step_resolved", "a", state="succeeded", result={"value": {}}, by="me"))
    )
    assert await store.begin(new_run("r2"), MANIFEST, ME, supersede=["r1"]) == 1


# ---------------------------------------------------------------- messages


async def test_a_message_waits_until_the_owner_takes_it_with_what_came_of_it(store: Store, clock: FakeClock) -> None:
    epoch = await begin(store)
    first = await store.post("r1", "cancel", {"reason": "enough"}, "alice")
    second = await store.post("r1", "raise", {"usd": 1_000_000}, "bob")
    [row, other] = store.inbox("r1")
    assert (row.id, row.root, row.kind, row.body, row.by, row.at) == (
        first, "r1", "cancel", {"reason": "enough"}, "alice", clock.now(),
    )  # fmt: skip
    assert other.id == second
    await store.commit(
        unit(epoch, begun(), line("r1", 2, "cancel_requested", by="alice", reason="enough"), taken=[first])
    )
    assert [row.id for row in store.inbox("r1")] == [second]
    assert store.inbox("r2") == []
    await begin(store, "r2", task="another")
    third = await store.post("r2", "cancel", {}, "me")
    assert [(row.id, row.root) for row in store.inbox()] == [(second, "r1"), (third, "r2")]


async def test_a_refused_unit_takes_no_message(store: Store) -> None:
    epoch = await begin(store)
    message = await store.post("r1", "cancel", {}, "alice")
    with pytest.raises(StoreError):
        await store.commit(unit(epoch, line("r1", 9, "run_timed_out"), taken=[message]))
    assert [row.id for row in store.inbox("r1")] == [message]


async def test_a_message_to_nobody_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="no run r9"):
        await store.post("r9", "cancel", {}, "alice")


async def test_a_change_is_noticed_once(store: Store) -> None:
    await begin(store)
    store.changed()
    assert not store.changed()
    await store.post("r1", "cancel", {}, "alice")
    assert store.changed()
    assert not store.changed()


async def test_a_closed_store_refuses_everything(store: Store) -> None:
    epoch = await begin(store)
    store.close()
    told: list[Exception | None] = []
    store.record([(unit(1, begun()), told.append)])
    assert [str(error) for error in told] == ["the state database is closed"]
    with pytest.raises(StoreError, match="closed"):
        store.commit(unit(epoch, begun()))
    with pytest.raises(StoreError, match="closed"):
        store.runs()
    store.close()


async def test_the_steps_of_a_manifest_are_told_as_they_were_written(store: Store) -> None:
    graph = '{"steps":[{"id":"z","optional":false},{"id":"a","optional":true},{"id":"m"}]}'
    await store.begin(new_run(manifest="digest-9"), NewManifest("digest-9", "report", graph, ""), ME)
    assert list(store.written("digest-9")) == [("z", False), ("a", True), ("m", False)]
    assert list(store.written("no such digest")) == []


async def test_a_hint_can_be_typed_as_it_is(store: Store) -> None:
    epoch = await begin(store)
    await store.commit(unit(epoch, begun(), started("r1", 2, "many[1]", effects="once")))
    lost = line("r1", 3, "step_suspended", "many[1]", reason="unknown")
    await store.commit(unit(epoch, lost))
    await store.release("r1", epoch)
    with pytest.raises(NeedsPerson) as caught:
        await store.begin(new_run("r2"), MANIFEST, ME, supersede=["r1"])
    assert "runner resolve r1 'many[1]' --done JSON" in (caught.value.hint or "")
