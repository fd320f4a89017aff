"""kill -9 before every single write of the state database, and a power cut at every moment of one small run."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from disk import Change, forked, kill_at, power_cut, record
from store_child import MANIFEST, line, new_run, step, wait

from runner.clock import SystemClock
from runner.ports import Unit
from runner.store.opening import Durability
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore

Figure = Callable[[str, object], None]
"""Notes a figure for the table of faults (tests/faults.py)."""
STEPS = 12


def small_run(path: Path, durability: Durability, said: Callable[[object], None], padding: int = 300) -> None:
    """From nothing to a finished run; says the seq of what was acknowledged."""
    with closing(SqliteStore.open(path, clock=SystemClock(), durability=durability)) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        said(0)
        wait(store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")])))
        said(1)
        for index in range(STEPS):
            seq = 2 + 2 * index
            wait(store.commit(Unit("r1", epoch, step("r1", seq, index, "x" * padding))))
            said(seq + 1)
        wait(store.post("r1", "cancel", {}, "me"))
        wait(store.commit(Unit("r1", epoch, [line("r1", 2 + 2 * STEPS, "run_finished", state="succeeded")], taken=[1])))
        said(2 + 2 * STEPS)
        wait(store.release("r1", epoch))


def recorded(path: Path) -> int | None:
    """The seq of the newest event, everything being whole; None = there is no such run. Then somebody goes on with it."""
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        row = store.run("r1")
        if row is None:
            return None
        seqs = [one.seq for one in store.events("r1")]
        assert seqs == list(range(1, len(seqs) + 1))
        steps = store.steps("r1")
        assert len(steps) == max(0, min(STEPS, (len(seqs) - 1) // 2))
        assert {one.state for one in steps} <= {"succeeded"}
        assert (row.state == "succeeded") == (len(seqs) == 2 + 2 * STEPS)
        epoch = wait(store.acquire("r1", this_process()))
        wait(store.commit(Unit("r1", epoch, [line("r1", len(seqs) + 1, "budget_raised", usd=1)])))
        assert len(store.events("r1")) == len(seqs) + 1
    with closing(apsw.Connection(str(path))) as db:
        assert db.execute("pragma integrity_check").get == "ok"
    return len(seqs)


EVERY = [
    pytest.param("full", 1, marks=pytest.mark.slow),
    pytest.param("process", 1, marks=pytest.mark.slow),
    pytest.param("process", 8, id="process-each eighth"),
]


@pytest.mark.parametrize(("durability", "step"), EVERY)
def test_whichever_write_is_the_last_of_a_killed_process_what_it_acknowledged_is_there(
    tmp_path: Path, durability: Durability, step: int, record_property: Figure
) -> None:
    for nth in range(1, 2_000, step):
        path = tmp_path / str(nth) / "state.db"
        ended, said = forked(lambda say, path=path, nth=nth: (kill_at(nth), small_run(path, durability, say)))
        found = recorded(path)
        assert (-1 if found is None else found) >= int(said[-1] if said else -1), f"killed before change {nth}"
        if ended is None:
            break
        assert ended == signal.SIGKILL
    assert ended is None
    assert nth > 150, "a run writes that often"
    record_property("kills", nth // step)


def log_of(path: Path, durability: Durability, padding: int = 300) -> list[Change]:
    """Every change of the disk in a small run, with what was said in between."""
    reported = path.parent.with_suffix(".log")

    def work(_: object) -> None:
        log: list[Change] = []
        record(log)
        small_run(path, durability, lambda seq: log.append(Change("said", str(seq))), padding)
        reported.write_text(repr(log))

    assert forked(work)[0] is None
    found: list[Change] = eval(reported.read_text(), {"Change": Change})
    return found


def survivors(
    log: list[Change], folder: Path, seed: int | None, moments: Iterable[int] | None = None
) -> list[tuple[int, int]]:
    """(seq said to be safe, seq found) after a power cut before each change, or before those of `moments`."""
    found = []
    for at in range(len(log) + 1) if moments is None else moments:
        left = power_cut(log, at, None if seed is None else random.Random(f"{seed}/{at}"))
        place = folder / str(at)
        place.mkdir(parents=True)
        for name, data in left.files.items():
            (place / name).write_bytes(data)
        there = recorded(place / "state.db")
        found.append((int(left.said[-1]) if left.said else -1, -1 if there is None else there))
    return found


SEEDS = [
    pytest.param(None, id="all is lost"),
    pytest.param(1, id="some is kept"),
    pytest.param(2, id="some other", marks=pytest.mark.slow),
    pytest.param(3, id="yet another", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("seed", SEEDS)
def test_whenever_the_power_fails_what_was_acknowledged_is_there(
    tmp_path: Path, seed: int | None, record_property: Figure
) -> None:
    log = log_of(tmp_path / "run" / "state.db", "full")
    found = survivors(log, tmp_path / "left", seed)
    assert [(at, said, there) for at, (said, there) in enumerate(found) if there < said] == []
    assert found[-1][1] == 2 + 2 * STEPS
    record_property("power cuts", len(found))
    if seed is None:
        assert all(there <= said + 2 for said, there in found), "the disk of this test really loses what is not synced"


@pytest.mark.parametrize("seed", [None, 1])
def test_a_power_cut_while_the_log_is_brought_into_the_file_loses_nothing(
    tmp_path: Path, seed: int | None, record_property: Figure
) -> None:
    log = log_of(tmp_path / "run" / "state.db", "full", padding=450_000)
    made = next(at for at, change in enumerate(log) if change.kind == "said")
    closing_ = next(at for at, change in enumerate(log) if change.name == str(2 + 2 * STEPS))
    inside = [at for at in range(made, closing_) if log[at].name == "state.db"]
    assert len(inside) > 1_000, "there is a checkpoint in the middle of the run"
    moments = [*inside[:: len(inside) // 12], inside[-1], inside[-1] + 1, inside[-1] + 2]
    found = survivors(log, tmp_path / "left", seed, moments)
    assert [(said, there) for said, there in found if there < said] == []
    record_property("power cuts", len(found))


def test_a_file_whose_making_was_cut_short_reads_as_an_empty_record(tmp_path: Path, record_property: Figure) -> None:
    log = log_of(tmp_path / "run" / "state.db", "full")
    made = next(at for at, change in enumerate(log) if change.name == "state.db-journal" and change.kind == "delete")
    for at in range(made):
        place = tmp_path / str(at)
        place.mkdir()
        for name, data in power_cut(log, at, random.Random(at)).files.items():
            (place / name).write_bytes(data)
        before = {path.name: path.read_bytes() for path in place.iterdir()}
        with closing(SqliteStore.open(place / "state.db", clock=SystemClock(), read_only=True)) as store:
            assert store.runs() == []
        assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    record_property("power cuts", made)


@pytest.mark.parametrize("seed", [None, 1])
def test_with_durability_process_a_power_cut_loses_the_end_and_nothing_else(
    tmp_path: Path, seed: int | None, record_property: Figure
) -> None:
    log = log_of(tmp_path / "run" / "state.db", "process")
    found = survivors(log, tmp_path / "left", seed)  # each of them is a whole record up to some event
    record_property("power cuts", len(found))
    if seed is None:
        assert any(there < said for said, there in found), "or it would not be worth a choice"
