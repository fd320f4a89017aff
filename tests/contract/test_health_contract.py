"""Modes, circuits and money: what the record does in memory and on disk alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from store_lines import MANIFEST, ME, begun, failed, line, new_run, started, succeeded, unit

from runner.clock import FakeClock
from runner.core.circuits import Circuit, Limits, Sign, begin_trial, cool, feed
from runner.core.learning import Sample
from runner.core.modes import ModeState, pin
from runner.ports import Health, Ledger, ModeRow, OverCap, Scope, Spending, Standing, Store
from runner.store import health as health_module
from runner.store.booking import entry_id
from runner.store.circuit_cells import circuit_of
from runner.store.memory import MemoryStore
from runner.store.memory_health import MemoryHealth, MemoryLedger
from runner.store.opening import open_empty
from runner.store.queries import HEALTH_SQL, read_sql
from runner.store.sqlite import SqliteStore

T = TypeVar("T")
NOW = 1_800_000_000_000


@dataclass(frozen=True)
class Kept:
    store: Store
    health: Health
    ledger: Ledger


def on_disk(path: Path, clock: FakeClock) -> Kept:
    store = SqliteStore.open(path, clock=clock)
    return Kept(store, store.health, store.ledger)


@pytest.fixture(params=["memory", "sqlite"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    clock = FakeClock(NOW)
    if request.param == "memory":
        store = MemoryStore(clock)
        opened = Kept(store, MemoryHealth(store), MemoryLedger(store))
    else:
        opened = on_disk(tmp_path / ".ares" / "state.db", clock)
    yield opened
    opened.store.close()


@pytest.fixture
def health(kept: Kept) -> Health:
    return kept.health


@pytest.fixture
def ledger(kept: Kept) -> Ledger:
    return kept.ledger


# ---------------------------------------------------------------- the mode


async def test_without_a_record_the_mode_is_normal(health: Health) -> None:
    assert health.mode() == ModeRow(0, ModeState())
    assert list(health.mode_history()) == []


async def test_a_mode_is_read_back_with_its_pin_and_reason(health: Health) -> None:
    state = pin(ModeState(), "degraded", NOW, None, "žofie 🐍")
    assert await health.set_mode(state, 0) == 1
    assert health.mode() == ModeRow(1, state)


async def test_who_decided_on_an_older_mode_is_refused_and_changes_nothing(health: Health) -> None:
    assert await health.set_mode(ModeState("degraded", NOW, None, "first"), 0) == 1
    for stale in (0, 2, 7):
        assert await health.set_mode(ModeState("brainstem", NOW, None, "second"), stale) is None
    assert health.mode().state.reason == "first"
    assert await health.set_mode(ModeState("normal", NOW + 1, None, "third"), 1) == 2


async def test_the_history_is_newest_first(health: Health) -> None:
    for epoch, mode in enumerate(("degraded", "brainstem", "normal")):
        await health.set_mode(ModeState(mode, NOW + epoch, None, f"reason {epoch}"), epoch)  # type: ignore[arg-type]
    assert [(row.epoch, row.state.mode, row.state.reason) for row in health.mode_history(2)] == [
        (3, "normal", "reason 2"),
        (2, "brainstem", "reason 1"),
    ]


async def test_only_so_much_history_is_kept(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "MODES_KEPT", 3)
    monkeypatch.setattr("runner.store.memory_health.MODES_KEPT", 3)
    for epoch in range(12):
        assert await health.set_mode(ModeState("degraded", NOW, None, f"reason {epoch}"), epoch) == epoch + 1
    kept = health.mode_history(99)
    assert [(row.epoch, row.state.reason) for row in kept] == [(12, "reason 11"), (11, "reason 10"), (10, "reason 9")]


# ---------------------------------------------------------------- circuits


def opened() -> Circuit:
    circuit = Circuit()
    for at in range(3):
        circuit = feed(circuit, Sign("failed", NOW + at, "refused", unreached=True), Limits())
    return circuit


def counted() -> Circuit:
    return feed(Circuit(), Sign("failed", NOW, "refused", unreached=True), Limits())


def trying() -> Circuit:
    asked = feed(opened(), Sign("asked", NOW + 9), Limits())
    return begin_trial(feed(asked, Sign("probe_passed", NOW + 10), Limits()), NOW + 11, 500)


@pytest.mark.parametrize(
    "circuit",
    [Circuit(), counted(), opened(), trying(), cool(opened(), "auth", NOW + 5, "401 – refused", "k1")],
    ids=["new", "counted", "opened", "trying", "disabled"],
)
async def test_a_circuit_is_read_back_as_it_was(health: Health, circuit: Circuit) -> None:
    assert await health.set_circuit("endpoint:proxy", circuit, 0) == 1
    row = health.circuits()["endpoint:proxy"]
    assert (row.epoch, row.circuit) == (1, circuit)


async def test_who_decided_on_an_older_circuit_is_refused_and_changes_nothing(health: Health) -> None:
    assert await health.set_circuit("model:smart", counted(), 0) == 1
    for stale in (0, 2, 7):
        assert await health.set_circuit("model:smart", opened(), stale) is None
    assert health.circuits()["model:smart"].circuit == counted()
    assert await health.set_circuit("model:smart", opened(), 1) == 2
    assert health.circuits()["model:smart"].circuit == opened()


async def test_a_circuit_that_is_not_recorded_has_no_epoch_but_0(health: Health) -> None:
    assert await health.set_circuit("model:smart", counted(), 3) is None
    assert dict(health.circuits()) == {}


async def test_circuits_do_not_touch_each_other(health: Health) -> None:
    await health.set_circuit("endpoint:b", opened(), 0)
    await health.set_circuit("endpoint:a", counted(), 0)
    assert [(name, row.circuit.state) for name, row in health.circuits().items()] == [
        ("endpoint:a", "closed"),
        ("endpoint:b", "open"),
    ]


def test_what_another_release_wrote_into_a_circuit_is_passed_over() -> None:
    assert circuit_of("open", '{"failures":[1],"later":true,"state":"closed"}', 5, 9) == Circuit("open", (1,), 5, 9)


# ---------------------------------------------------------------- reserve, settle, release


DAY = Scope("day", "2026-11-22", 1_000)
RUN = Scope("run", "r1", 600)
STEP = Scope("step", "r1/a")
ALL = (RUN, STEP, DAY)


async def test_a_reservation_is_held_in_every_scope_and_settled_at_what_was_billed(ledger: Ledger) -> None:
    assert await ledger.reserve("r1/a/1", 500, ALL) is None
    assert [ledger.standing(scope) for scope in ALL] == [
        Standing(600, 500, 0),
        Standing(None, 500, 0),
        Standing(1_000, 500, 0),
    ]
    await ledger.settle("r1/a/1", 120, "billed", ALL)
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(0, 120)] * 3


async def test_a_refused_reservation_holds_nothing_anywhere(ledger: Ledger) -> None:
    await ledger.reserve("r0/a/1", 700, [DAY])
    over = await ledger.reserve("r1/a/1", 500, ALL)
    assert over == OverCap(DAY, Standing(1_000, 700, 0), waits=True)
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(0, 0), (0, 0), (700, 0)]


async def test_over_the_cap_whatever_comes_back_does_not_wait(ledger: Ledger) -> None:
    await ledger.reserve("r0/a/1", 100, [DAY])
    await ledger.settle("r0/a/1", 600, "billed", [DAY])
    over = await ledger.reserve("r1/a/1", 500, [DAY])
    assert over == OverCap(DAY, Standing(1_000, 0, 600), waits=False)


async def test_exactly_the_cap_fits_and_nothing_at_all_fits_over_it(ledger: Ledger) -> None:
    assert await ledger.reserve("r1/a/1", 600, ALL) is None
    await ledger.settle("r1/a/1", 5_000, "billed", ALL)
    assert await ledger.reserve("r1/a/2", 1, ALL) is not None
    assert await ledger.reserve("r1/a/2", 0, ALL) is None


async def test_settling_twice_is_settling_once(ledger: Ledger) -> None:
    await ledger.reserve("r1/a/1", 500, ALL)
    for spent in (120, 999):
        await ledger.settle("r1/a/1", spent, "billed", ALL)
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(0, 120)] * 3


async def test_what_was_never_reserved_is_counted_when_it_is_billed(ledger: Ledger) -> None:
    await ledger.reserve("r1/a/1", 10, ALL)
    await ledger.settle("r1/b/1", 70, "billed", ALL)
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(10, 70)] * 3


async def test_reserving_anew_after_a_crash_replaces_what_the_attempt_held(ledger: Ledger) -> None:
    for amount in (500, 500, 300):
        assert await ledger.reserve("r1/a/1", amount, ALL) is None
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(300, 0)] * 3


async def test_released_money_is_there_again_and_settled_money_stays_spent(ledger: Ledger) -> None:
    await ledger.reserve("r1/a/1", 500, ALL)
    await ledger.release("r1/a/1", ALL)
    await ledger.release("r1/a/1", ALL)
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(0, 0)] * 3
    await ledger.settle("r1/a/2", 50, "billed", ALL)
    await ledger.release("r1/a/2", ALL)
    await ledger.reserve("r1/a/2", 90, ALL)
    assert [(now.held, now.spent) for now in map(ledger.standing, ALL)] == [(0, 50)] * 3


async def test_a_cap_that_comes_later_knows_what_was_spent_before(ledger: Ledger) -> None:
    uncapped, capped = Scope("day", "d"), Scope("day", "d", 100)
    await ledger.settle("r1/a/1", 80, "billed", [uncapped])
    await ledger.reserve("r1/a/2", 5, [uncapped])
    assert await ledger.reserve("r1/a/3", 16, [capped]) == OverCap(capped, Standing(100, 5, 80), waits=True)
    assert await ledger.reserve("r1/a/3", 15, [capped]) is None


async def test_a_cap_may_be_raised_lowered_and_taken_away(ledger: Ledger) -> None:
    assert await ledger.reserve("r1/a/1", 50, [Scope("day", "d", 40)]) is not None
    assert await ledger.reserve("r1/a/1", 50, [Scope("day", "d", 50)]) is None
    assert await ledger.reserve("r1/a/2", 1, [Scope("day", "d", 20)]) is not None
    assert await ledger.reserve("r1/a/2", 999, [Scope("day", "d")]) is None
    assert ledger.standing(Scope("day", "d")) == Standing(None, 1_049, 0)


async def test_the_sums_agree_with_the_entries_whatever_happened(ledger: Ledger) -> None:
    held: dict[str, int] = {}
    spent: dict[str, int] = {}
    for at in range(300):
        attempt = f"r1/a/{at % 17}"
        match (at * 7919) % 5:
            case 0 | 1:
                if await ledger.reserve(attempt, at % 90, [DAY]) is None and attempt not in spent:
                    held[attempt] = at % 90
                elif attempt not in spent:
                    held.pop(attempt, None)
            case 2 | 3:
                await ledger.settle(attempt, at % 40, "billed", [DAY])
                spent.setdefault(attempt, at % 40)
                held.pop(attempt, None)
            case _:
                await ledger.release(attempt, [DAY])
                held.pop(attempt, None)
        now = ledger.standing(DAY)
        assert (now.held, now.spent) == (sum(held.values()), sum(spent.values()))


# ---------------------------------------------------------------- what it cost


async def recorded(kept: Kept) -> None:
    run, child = new_run("r1", created=1_000), new_run("r1.c", root="r1", parent="r1", parent_node="c", name="sub")
    epoch = await kept.store.begin(run, MANIFEST, ME)
    events = [
        begun(),
        started("r1", 2, "a", label="smart"),
        succeeded("r1", 3, "a", executor="proxy", model="smart", cost=500),
        started("r1", 4, "b[0]", label="smart"),
        failed("r1", 5, "b[0]", executor="proxy", model="smart", cost=40, cost_source="assumed"),
        started("r1", 6, "b[0]", 2, label="spare"),
        succeeded("r1", 7, "b[0]", 2, executor="backup", model="spare", cost=30),
        line("r1", 8, "run_suspended", reasons=["mode"]),
    ]
    await kept.store.commit(unit(epoch, *events))
    nested = [
        begun("r1.c"),
        started("r1.c", 2, "a", label="claude-code"),
        succeeded("r1.c", 3, "a", executor="claude-code", model="opus", cost=900),
        started("r1.c", 4, "b", label="mine"),
    ]
    await kept.store.commit(unit(epoch, *nested, runs=[child]))
    other = await kept.store.begin(new_run("r2", task="task-2", created=5_000), MANIFEST, ME)
    away = [
        begun("r2"),
        started("r2", 2, "a", label="smart"),
        succeeded("r2", 3, "a", executor="proxy", model="smart", cost=7),
    ]
    await kept.store.commit(unit(other, *away, root="r2"))


async def test_spending_is_told_by_step_executor_and_model_the_dearest_first(kept: Kept) -> None:
    await recorded(kept)
    by_step = [Spending("sub/a", 900, 0, 1), Spending("report/a", 507, 0, 2), Spending("report/b", 70, 40, 2)]
    assert list(kept.ledger.spending("step")) == [*by_step, Spending("sub/b", 0, 0, 1)]
    assert list(kept.ledger.spending("executor")) == [
        Spending("claude-code", 900, 0, 1),
        Spending("proxy", 547, 40, 3),
        Spending("backup", 30, 0, 1),
        Spending("mine", 0, 0, 1),
    ]
    assert list(kept.ledger.spending("model")) == [
        Spending("opus", 900, 0, 1),
        Spending("smart", 547, 40, 3),
        Spending("spare", 30, 0, 1),
    ]


async def test_spending_may_be_asked_of_one_tree_and_of_what_began_since_then(kept: Kept) -> None:
    await recorded(kept)
    assert [row.cost for row in kept.ledger.spending("model", root="r1")] == [900, 540, 30]
    assert [row.cost for row in kept.ledger.spending("model", root="r2")] == [7]
    assert list(kept.ledger.spending("model", since=1_006)) == [Spending("spare", 30, 0, 1)]
    assert list(kept.ledger.spending("model", root="nobody")) == []


async def test_days_tell_what_was_settled_oldest_first(ledger: Ledger) -> None:
    for day, attempt, spent, source in [
        ("2026-11-22", "r1/a/1", 5, "billed"),
        ("2026-11-21", "r1/a/2", 7, "assumed"),
        ("2026-11-22", "r1/a/3", 1, "assumed"),
        ("2026-11-20", "r1/a/4", 9, "billed"),
    ]:
        await ledger.settle(attempt, spent, source, [Scope("day", day), RUN])
    await ledger.reserve("r1/a/5", 99, [Scope("day", "2026-11-22")])
    assert list(ledger.days("2026-11-21")) == [Spending("2026-11-21", 7, 7, 1), Spending("2026-11-22", 6, 1, 2)]
    assert [row.key for row in ledger.days()] == ["2026-11-20", "2026-11-21", "2026-11-22"]


async def test_samples_are_the_ended_attempts_of_the_names_that_were_asked_for(kept: Kept) -> None:
    await recorded(kept)
    found = kept.health.samples(["smart", "claude-code"], since=0)
    assert sorted(found, key=lambda sample: sample.cost) == [
        Sample("proxy", "smart", True, "", 1_003, 1, 7),
        Sample("proxy", "smart", False, "timeout", 1_005, 1, 40),
        Sample("proxy", "smart", True, "", 1_003, 1, 500),
        Sample("claude-code", "opus", True, "", 1_003, 1, 900),
    ]
    assert kept.health.samples(["mine", "local"], since=0) == []


async def test_samples_may_be_bounded_by_number_and_by_the_age_of_their_runs(kept: Kept) -> None:
    await recorded(kept)
    assert len(kept.health.samples(["smart"], since=0, limit=2)) == 2
    assert [sample.cost for sample in kept.health.samples(["smart"], since=2_000)] == [7]
    assert kept.health.samples(["smart"], since=9_000) == []


# ---------------------------------------------------------------- on disk


async def test_two_processes_share_mode_circuits_and_money_and_only_one_of_two_changes_wins(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    path = tmp_path / ".ares" / "state.db"
    one, other = on_disk(path, clock), on_disk(path, clock)
    try:
        assert await one.health.set_circuit("endpoint:proxy", opened(), 0) == 1
        assert other.health.circuits()["endpoint:proxy"].circuit == opened()
        assert await other.health.set_circuit("endpoint:proxy", Circuit(), 0) is None
        assert await other.health.set_mode(ModeState("degraded", NOW, None, "first"), 0) == 1
        assert await one.health.set_mode(ModeState("brainstem", NOW, None, "second"), 0) is None
        assert one.health.mode().state.mode == "degraded"
        assert await one.ledger.reserve("r1/a/1", 700, [DAY]) is None
        refused = await other.ledger.reserve("r2/a/1", 400, [DAY])
        assert refused is not None
        assert refused.waits
    finally:
        one.store.close()
        other.store.close()


async def test_everything_survives_closing(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    path = tmp_path / ".ares" / "state.db"
    first = on_disk(path, clock)
    await first.health.set_mode(ModeState("brainstem", NOW, NOW + 5, "why"), 0)
    await first.health.set_circuit("endpoint:proxy", trying(), 0)
    await first.ledger.reserve("r1/a/1", 500, ALL)
    first.store.close()
    again = on_disk(path, clock)
    try:
        assert again.health.mode() == ModeRow(1, ModeState("brainstem", NOW, NOW + 5, "why"))
        assert again.health.circuits()["endpoint:proxy"].circuit == trying()
        await again.ledger.settle("r1/a/1", 20, "assumed", ALL)
        assert again.ledger.standing(RUN) == Standing(600, 0, 20)
    finally:
        again.store.close()


@pytest.mark.parametrize("name", sorted(HEALTH_SQL))
def test_every_named_query_fits_the_schema(name: str) -> None:
    db = open_empty()
    statement = HEALTH_SQL[name]
    numbered = [int(digit) for digit in "123456" if f"?{digit}" in statement]
    db.execute(f"explain {statement}", [None] * (max(numbered) if numbered else statement.count("?")))
    db.close()


def test_every_named_query_says_what_it_is_for() -> None:
    for block in read_sql("health.sql").split("-- name: ")[1:]:
        name, description = block.splitlines()[:2]
        assert description.startswith("-- "), name


def test_an_entry_of_the_ledger_is_found_without_searching() -> None:
    db = open_empty()
    plan = " ".join(row[3] for row in db.execute(f"explain query plan {HEALTH_SQL['entry']}", (1,)))
    assert "SEARCH" in plan
    db.close()
    ids = {entry_id(scope, attempt) for scope in ALL for attempt in ("r1/a/1", "r1/a/2")}
    assert len(ids) == 6
    assert all(0 <= id < 1 << 63 for id in ids)
