"""Which steps may take over an earlier result, and how rarely the record is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.clock import FakeClock
from runner.core.events import Event, Recorded
from runner.engine.world import FRESH_S, EarlierResults
from runner.ports import NewManifest, NewRun, Unit
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore

MANIFEST = NewManifest("digest-1", "report", '{"steps":[{"id":"a","final":false}]}', "ares: v1\n")


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / "state.db", clock=FakeClock())
    yield opened
    opened.close()


async def record(store: SqliteStore, key: str, products: dict[str, str] | None = None) -> None:
    run = NewRun("r1", "r1", "report", MANIFEST.digest, "task-1", {}, 1_000)
    epoch = await store.begin(run, MANIFEST, this_process())
    intent = {
        "n": 1,
        "label": "local",
        "effects": "none",
        "effect_key": "e",
        "key": key,
        "mode": "normal",
        "reason": "",
    }
    success = {"n": 1, "result": {"value": {"output": "done"}}, "cost": 0, "cost_source": "", "tokens": {}}
    events = [
        Event("run_started", "", {"inputs": {}, "mode": "normal"}),
        Event("attempt_started", "a", intent),
        Event("attempt_succeeded", "a", {**success, "products": products or {}}),
    ]
    await store.commit(Unit("r1", epoch, [Recorded("r1", seq, 1_000, e) for seq, e in enumerate(events, 1)]))


async def test_a_success_that_was_there_before_is_found(store: SqliteStore, tmp_path: Path) -> None:
    await record(store, "key")
    found = EarlierResults(store, tmp_path).find("report", "key")
    assert found is not None and found.producer == "r1/a/1"


async def test_a_success_recorded_after_its_look_up_is_found_at_the_next_one_at_once(
    store: SqliteStore, tmp_path: Path
) -> None:
    earlier = EarlierResults(store, tmp_path, Seconds())
    assert earlier.find("report", "key") is None
    await record(store, "key")
    assert earlier.find("report", "key") is not None


async def test_what_another_process_recorded_is_found_within_a_second(store: SqliteStore, tmp_path: Path) -> None:
    seconds = Seconds()
    earlier = EarlierResults(store, tmp_path, seconds)
    assert earlier.find("report", "some other key") is None
    await record(store, "key")
    seconds.now += FRESH_S
    assert earlier.find("report", "key") is not None


async def test_an_edited_product_is_not_taken_over(store: SqliteStore, tmp_path: Path) -> None:
    await record(store, "key", products={"made.txt": "digest of something else"})
    (tmp_path / "made.txt").write_text("edited")
    assert EarlierResults(store, tmp_path).find("report", "key") is None


async def test_while_a_name_has_no_success_the_record_is_asked_once(store: SqliteStore, tmp_path: Path) -> None:
    earlier = EarlierResults(store, tmp_path, Seconds())
    assert earlier.find("report", "first") is None
    store.close()  # a closed record refuses every question
    assert [earlier.find("report", f"key-{n}") for n in range(100)] == [None] * 100
