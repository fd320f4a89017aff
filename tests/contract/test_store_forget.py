"""Taking runs out of the record, in memory and on disk alike: what goes, what stays, and who is never hurt by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_lines import DEAD, MANIFEST, ME, OTHER, begun, failed, line, new_run, started, succeeded, unit

from runner.clock import FakeClock
from runner.core.events import Recorded
from runner.digest import digest_bytes
from runner.errors import Fenced, StoreError, StoreReadOnly
from runner.ports import NewManifest, OwnerId, Store
from runner.store.blobs import INLINE_BYTES
from runner.store.memory import MemoryStore
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


async def ran(store: Store, run: str, state: str = "succeeded", *events: Recorded, **changes: Any) -> None:
    """A run from its beginning to its end; its owner has gone."""
    epoch = await store.begin(new_run(run, **changes), MANIFEST, ME)
    all_events = [begun(run), *events]
    all_events.append(line(run, len(all_events) + 1, "run_finished", state=state, reason=""))
    await store.commit(unit(epoch, *all_events, root=run))
    await store.release(run, epoch)


def large(store: Store, size: int) -> tuple[str, bytes]:
    data = bytes(range(256)) * (size // 256)
    return digest_bytes(data), data


async def test_a_forgotten_run_leaves_nothing_behind(store: Store) -> None:
    await ran(store, "r1", "succeeded", started("r1", 2, "a"), succeeded("r1", 3, "a"))
    await store.post("r1", "cancel", {}, "me")
    await ran(store, "r2")
    assert await store.forget(["r1"]) == ["r1"]
    assert store.run("r1") is None
    assert (store.events("r1"), store.steps("r1"), store.attempts("r1"), store.inbox("r1")) == ([], [], [], [])
    assert store.reusable("report", "key-a") is None
    assert [row.run for row in store.runs()] == ["r2"]
    assert await store.forget(["r1"]) == []


async def test_the_others_keep_everything(store: Store) -> None:
    await ran(store, "r1", "succeeded", started("r1", 2, "a"), succeeded("r1", 3, "a"))
    await ran(store, "r2", "succeeded", started("r2", 2, "b"), succeeded("r2", 3, "b"))
    await ran(store, "r3", "succeeded", started("r3", 2, "c"), succeeded("r3", 3, "c"))
    before = (store.events("r1"), store.steps("r1"), store.events("r3"), store.attempts("r3"))
    assert await store.forget(["r2"]) == ["r2"]
    assert (store.events("r1"), store.steps("r1"), store.events("r3"), store.attempts("r3")) == before
    assert store.reusable("report", "key-b") is None
    found = store.reusable("report", "key-a")
    assert found is not None and found.producer == "r1/a/1"


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
async def test_the_newest_run_of_a_task_is_never_forgotten(store: Store, state: str) -> None:
    await ran(store, "r1", state)
    await ran(store, "other", task="task-2")
    assert await store.forget(["r1"]) == []
    assert store.run("r1") is not None


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
async def test_an_older_run_of_a_task_is_forgotten_however_it_ended(store: Store, state: str) -> None:
    await ran(store, "r1", state)
    await ran(store, "r2")
    assert await store.forget(["r1", "r2"]) == ["r1"]


async def test_a_superseded_run_does_not_make_an_older_one_old(store: Store) -> None:
    await ran(store, "r1", "failed")
    epoch = await store.begin(new_run("r2"), MANIFEST, ME)
    await store.commit(unit(epoch, begun("r2"), root="r2"))
    await store.release("r2", epoch)
    epoch = await store.begin(new_run("r3", task="task-2"), MANIFEST, ME, supersede=["r2"])
    await store.commit(unit(epoch, line("r3", 1, "run_finished", state="succeeded"), root="r3"))
    await store.release("r3", epoch)
    assert await store.forget(["r1"]) == []
    assert await store.forget(["r2"]) == ["r2"]


@pytest.mark.parametrize("kind", ["pending", "running", "suspended"])
async def test_an_unfinished_run_is_never_forgotten(store: Store, kind: str) -> None:
    events = {
        "pending": [],
        "running": [begun("r1")],
        "suspended": [begun("r1"), line("r1", 2, "run_suspended", reasons=["mode"])],
    }
    epoch = await store.begin(new_run("r1"), MANIFEST, ME)
    if events[kind]:
        await store.commit(unit(epoch, *events[kind]))
    await store.release("r1", epoch)
    epoch = await store.begin(new_run("r2", task="task-2"), MANIFEST, ME)
    await store.commit(unit(epoch, line("r2", 1, "run_finished", state="succeeded"), root="r2"))
    await store.release("r2", epoch)
    assert await store.forget(["r1"]) == []


async def test_an_unknown_outcome_is_never_forgotten(store: Store) -> None:
    doubtful = (
        failed("r1", 3, "a"),
        line("r1", 4, "step_failed", "a", **{"class": "timeout", "message": "", "reason": "unknown"}),
    )
    await ran(store, "r1", "failed", started("r1", 2, "a"), *doubtful)
    await ran(store, "r2", task="task-2")
    assert await store.forget(["r1"]) == []


@pytest.mark.parametrize(("owner", "gone"), [(OTHER, []), (DEAD, ["r1"])], ids=["alive", "dead"])
async def test_a_run_that_somebody_holds_stays(store: Store, owner: OwnerId, gone: list[str]) -> None:
    await ran(store, "r1")
    await ran(store, "r2", name="another", manifest="digest-2")
    await store.acquire("r1", owner)
    await ran(store, "r3")
    assert await store.forget(["r1"]) == gone


async def test_nothing_is_forgotten_that_a_live_run_may_be_about_to_reuse(store: Store) -> None:
    caller = NewManifest("digest-3", "caller", json.dumps({"steps": [], "callees": {"report": MANIFEST.digest}}), "")
    await ran(store, "r1")
    await ran(store, "r2")
    epoch = await store.begin(new_run("r3", name="caller", manifest="digest-3", task="task-3"), caller, OTHER)
    assert await store.forget(["r1"]) == []
    await store.release("r3", epoch)
    assert await store.forget(["r1"]) == ["r1"]


async def test_sub_runs_go_with_their_root_and_never_alone(store: Store) -> None:
    epoch = await store.begin(new_run("r1"), MANIFEST, ME)
    child = new_run("r1.a", root="r1", parent="r1", parent_node="a", task="")
    await store.commit(unit(epoch, begun("r1"), begun("r1.a"), runs=[child]))
    ends = [line(run, 2, "run_finished", state="succeeded") for run in ("r1.a", "r1")]
    await store.commit(unit(epoch, *ends))
    await store.release("r1", epoch)
    await ran(store, "r2")
    assert await store.forget(["r1.a"]) == []
    assert sorted(await store.forget(["r1"])) == ["r1", "r1.a"]
    assert store.children("r1") == []


async def test_whoever_still_believes_to_drive_a_forgotten_run_is_refused(store: Store) -> None:
    epoch = await store.begin(new_run("r1"), MANIFEST, ME)
    await store.commit(unit(epoch, begun(), line("r1", 2, "run_finished", state="failed", reason="")))
    await store.release("r1", epoch)
    await ran(store, "r2")
    await store.forget(["r1"])
    with pytest.raises((Fenced, StoreError)):
        await store.commit(unit(epoch, line("r1", 3, "leg_started", leg=2, reset=[], suspend=[])))
    with pytest.raises(StoreError):
        await store.acquire("r1", ME)


async def test_large_results_go_when_no_event_names_them_any_more(store: Store) -> None:
    shared, one = large(store, INLINE_BYTES + 256), large(store, 70_000)
    results = [{"ref": digest, "size": len(data)} for digest, data in (shared, one)]
    for run, chosen in (("r1", results), ("r2", results[:1])):
        epoch = await store.begin(new_run(run), MANIFEST, ME)
        steps = [
            event
            for n, result in enumerate(chosen)
            for event in (
                started(run, 2 + 2 * n, f"s{n}"),
                replace_result(succeeded(run, 3 + 2 * n, f"s{n}"), result),
            )
        ]
        end = line(run, 2 + len(steps), "run_finished", state="succeeded", reason="")
        await store.commit(unit(epoch, begun(run), *steps, end, root=run, blobs=dict([shared, one][: len(chosen)])))
        await store.release(run, epoch)
    assert await store.sweep() == 0
    await store.forget(["r1"])
    assert await store.sweep() == len(one[1])
    assert store.blob(shared[0]) == shared[1]
    with pytest.raises(StoreError):
        store.blob(one[0])


def replace_result(recorded: Recorded, result: dict[str, Any]) -> Recorded:
    return recorded._replace(event=recorded.event._replace(data={**recorded.event.data, "result": result}))


async def test_manifests_go_with_the_last_run_that_has_or_may_call_them(store: Store) -> None:
    callee = NewManifest("digest-c", "callee", '{"steps":[]}', "")
    caller = NewManifest("digest-2", "report", json.dumps({"steps": [], "callees": {"callee": "digest-c"}}), "")
    await ran(store, "r1")
    epoch = await store.begin(new_run("r2", manifest="digest-2"), caller, ME)
    end = line("r2", 2, "run_finished", state="succeeded", reason="")
    await store.commit(unit(epoch, begun("r2"), end, root="r2", manifests=[callee]))
    await store.release("r2", epoch)
    await store.sweep()
    assert store.manifest(MANIFEST.digest) == MANIFEST
    await store.forget(["r1"])
    await store.sweep()
    assert store.manifest(MANIFEST.digest) is None
    assert (store.manifest("digest-2"), store.manifest("digest-c")) == (caller, callee)


async def test_a_new_run_after_forgetting_starts_from_nothing(store: Store) -> None:
    await ran(store, "r1", "succeeded", started("r1", 2, "a"), succeeded("r1", 3, "a"))
    await ran(store, "r2")
    await store.forget(["r1"])
    await ran(store, "r1", "succeeded", started("r1", 2, "b"), succeeded("r1", 3, "b"))
    assert [row.node for row in store.steps("r1")] == ["b"]
    assert len(store.events("r1")) == 4


# ---------------------------------------------------------------- on disk only


@pytest.fixture
def disk(tmp_path: Path, clock: FakeClock) -> Iterator[SqliteStore]:
    opened = SqliteStore.open(tmp_path / ".ares" / "state.db", clock=clock)
    yield opened
    opened.close()


async def test_files_of_large_results_go_too_and_files_of_others_stay(disk: SqliteStore, tmp_path: Path) -> None:
    folder = tmp_path / ".ares" / "outputs"
    digest, data = large(disk, INLINE_BYTES + 256)
    epoch = await disk.begin(new_run("r1"), MANIFEST, ME)
    step = replace_result(succeeded("r1", 3, "a"), {"ref": digest, "size": len(data)})
    end = line("r1", 4, "run_finished", state="succeeded", reason="")
    await disk.commit(unit(epoch, begun(), started("r1", 2, "a"), step, end, blobs={digest: data}))
    await disk.release("r1", epoch)
    await ran(disk, "r2")
    (folder / "mine.txt").write_text("not of this program")
    (folder / f".{digest}.0a1b2c3d").write_text("a draft of a commit that failed")
    (folder / ("0" * 32)).write_text("a file whose transaction was rolled back")
    assert {path.name for path in folder.iterdir()} == {"mine.txt", digest, f".{digest}.0a1b2c3d", "0" * 32}
    await disk.forget(["r1"])
    assert await disk.sweep() == len(data)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


async def test_what_is_recorded_between_survey_and_sweep_is_kept(disk: SqliteStore) -> None:
    from runner.store import forgetting

    digest, data = large(disk, 70_000)
    await ran(disk, "r1")
    epoch = await disk.begin(new_run("r2", task="task-2"), MANIFEST, ME)
    await disk.commit(unit(epoch, begun("r2"), root="r2", blobs={digest: data}))
    seen = forgetting.survey(disk._readers.get())
    assert seen.unnamed == {digest}
    step = replace_result(succeeded("r2", 3, "a"), {"ref": digest, "size": len(data)})
    await disk.commit(unit(epoch, started("r2", 2, "a"), step, root="r2"))
    assert await disk._write().put(lambda record: forgetting.sweep(record, seen)) == 0
    assert disk.blob(digest) == data


async def test_the_file_shrinks_when_much_of_it_was_removed(disk: SqliteStore, tmp_path: Path) -> None:
    text = "x" * 60_000
    events = [line("r1", seq, "run_timed_out", text=text) for seq in range(2, 40)]
    await ran(disk, "r1", "succeeded", *events)
    await ran(disk, "r2")
    assert disk.compact() == 0
    await disk.forget(["r1"])
    assert disk.compact() > 1_000_000
    assert disk.run("r2") is not None
    assert disk.compact() == 0


async def test_a_store_that_only_reads_forgets_nothing(disk: SqliteStore, tmp_path: Path, clock: FakeClock) -> None:
    await ran(disk, "r1")
    reader = SqliteStore.open(tmp_path / ".ares" / "state.db", clock=clock, read_only=True)
    for act in (lambda: reader.forget(["r1"]), reader.sweep, reader.compact):
        with pytest.raises(StoreReadOnly):
            act()
    reader.close()


async def test_a_process_that_holds_nothing_is_forgotten_after_a_day(disk: SqliteStore, clock: FakeClock) -> None:
    def owners() -> set[str]:
        return {owner for (owner,) in disk._readers.get().execute("select owner from owners")}

    await ran(disk, "r1")
    await disk.acquire("r1", DEAD._replace(owner="held"))
    await disk.heartbeat(DEAD._replace(owner="idle"))
    clock.advance(25 * 3_600_000)
    await disk.heartbeat(DEAD._replace(owner="fresh"))
    await disk.sweep()
    assert owners() == {"held", "fresh"}
