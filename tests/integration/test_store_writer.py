"""Where a transaction is made: on the spot when that takes no time and overtakes nobody, else by the writer's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from runner.clock import SystemClock
from runner.errors import StoreError
from runner.store import writer
from runner.store.blobs import Blobs
from runner.store.opening import open_writer
from runner.store.record import Record
from runner.store.writer import PATIENCE_S, SHARE, SLOW_S, Writer

HERE = threading.get_ident
ODD: Any = None
"""No name of a step: the table refuses it."""
INSERT = """insert into steps (node, state, attempt, choice, tries, lost, tried, effects, reason, cost, executor, model, reused)
values (?, 'pending', 0, 0, 0, 0, '[]', '', '', 0, '', '', 0)"""


class Seconds:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    """A writer, and a note of which thread did each piece of work."""

    def __init__(self, path: Path) -> None:
        self.path, self.seconds = path, Seconds()
        self.db = open_writer(path, "process")
        self.writer = Writer(Record(self.db, Blobs(path.parent / "outputs"), SystemClock()), path, self.seconds)
        self.threads: list[int] = []

    def insert(self, key: str, then: Callable[[], None] = lambda: None) -> Callable[[Record], str]:
        def work(record: Record) -> str:
            self.threads.append(HERE())
            record.db.execute(INSERT, (key,))
            then()
            return key

        return work

    async def record(self, *works: Callable[[Record], Any]) -> list[Any]:
        """Their answers, however they come."""
        told: asyncio.Queue[Any] = asyncio.Queue()
        self.writer.record([(work, told.put_nowait) for work in works])
        async with asyncio.timeout(5):
            return [await told.get() for _ in works]

    def keys(self) -> list[str]:
        """In the order in which they were inserted."""
        db = apsw.Connection(str(self.path))
        found = [key for (key,) in db.execute("select node from steps order by id")]
        db.close()
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state.db")
    yield made
    made.writer.close()


async def test_with_nothing_queued_a_transaction_is_made_on_the_spot_and_told_before_record_returns(
    bench: Bench,
) -> None:
    told: list[Any] = []
    bench.writer.record([(bench.insert("a"), told.append), (bench.insert("b"), told.append)])
    assert told == ["a", "b"]
    assert bench.threads == [HERE(), HERE()]
    assert bench.keys() == ["a", "b"]


async def test_what_was_queued_before_is_done_before(bench: Bench) -> None:
    queued = bench.writer.put(bench.insert("z"))
    told: list[str] = []
    bench.writer.record([(bench.insert("a"), told.append)])
    assert told == []
    assert await queued == "z"
    await bench.record(bench.insert("b"))
    assert told == ["a"]
    assert bench.keys() == ["z", "a", "b"]
    assert bench.threads[0] == bench.threads[1] != HERE()


async def test_a_lock_of_another_process_is_waited_for_by_the_thread_and_not_by_the_loop(bench: Bench) -> None:
    other = apsw.Connection(str(bench.path))
    other.execute("begin immediate")
    told: asyncio.Queue[Any] = asyncio.Queue()
    bench.writer.record([(bench.insert("a"), told.put_nowait)])
    assert told.empty()
    other.execute("rollback")
    other.close()
    assert await asyncio.wait_for(told.get(), 5) == "a"
    assert HERE() not in bench.threads


async def test_after_a_slow_commit_the_thread_has_them_until_that_is_forgiven(bench: Bench) -> None:
    slow = PATIENCE_S * 2
    bench.db.set_commit_hook(lambda: bench.seconds.pass_(slow) or False)
    await bench.record(bench.insert("a"))
    bench.db.set_commit_hook(None)
    await bench.record(bench.insert("b"))
    bench.seconds.pass_(PATIENCE_S / SHARE * 0.9)
    await bench.record(bench.insert("c"))
    bench.seconds.pass_(PATIENCE_S / SHARE * 0.2)
    await bench.record(bench.insert("d"))
    assert [thread == HERE() for thread in bench.threads] == [True, False, False, True]


async def test_a_commit_that_was_late_once_changes_nothing(bench: Bench) -> None:
    for number in range(20):
        bench.db.set_commit_hook(lambda: bench.seconds.pass_(SLOW_S * 2) or False)
        await bench.record(bench.insert(f"slow {number}"))
        bench.db.set_commit_hook(None)
        await bench.record(bench.insert(f"quick {number}"))
        bench.seconds.pass_(SLOW_S * 2 / SHARE)
    assert set(bench.threads) == {HERE()}


@pytest.mark.parametrize("takes", [SLOW_S * 1.5, 0.5])
async def test_a_loop_spends_little_of_its_time_on_a_slow_disk(bench: Bench, takes: float) -> None:
    began = bench.seconds.now
    here = 0.0
    bench.db.set_commit_hook(lambda: bench.seconds.pass_(takes) or False)
    for number in range(60):
        await bench.record(bench.insert(f"k{number}"))
        here += takes if bench.threads[-1] == HERE() else 0.0
        bench.seconds.pass_(0.001)
    assert here <= PATIENCE_S + takes + (bench.seconds.now - began) * SHARE
    assert bench.threads[-1] != HERE(), "it stays with the thread while the disk stays slow"


async def test_many_pieces_of_work_are_the_threads(bench: Bench) -> None:
    works = [bench.insert(f"k{number}") for number in range(writer._MOST_HERE + 1)]
    assert len(await bench.record(*works)) == len(works)
    assert HERE() not in bench.threads


async def test_odd_work_on_the_spot_fails_alone(bench: Bench) -> None:
    a, odd, b = await bench.record(bench.insert("a"), bench.insert(ODD), bench.insert("b"))
    assert (a, b) == ("a", "b")
    assert isinstance(odd, StoreError)
    assert bench.keys() == ["a", "b"]


async def test_a_number_that_sqlite_cannot_hold_fails_its_own_work_and_ends_nobody(bench: Bench) -> None:
    def large(record: Record) -> None:
        record.db.execute("insert into meta (key, value) values ('large', ?)", (10**30,))

    good, odd = bench.insert("a"), bench.writer.put(large)
    with pytest.raises(StoreError, match="refused a change"):
        await odd
    assert await bench.writer.put(good) == "a"


async def test_what_was_gathered_when_the_thread_ended_is_answered_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda ended: None)
    let_go = threading.Event()

    def defect(record: Record) -> None:
        let_go.wait(10)
        raise ArithmeticError("a defect")

    first = bench.writer.put(defect)
    await asyncio.sleep(0)  # handed over
    second = bench.writer.put(bench.insert("b"))  # gathered in a turn of its own
    let_go.set()
    bench.writer._thread.join(10)
    for waiting in (first, second):
        with pytest.raises(StoreError, match="closed"):
            await asyncio.wait_for(waiting, 10)


async def test_of_a_transaction_that_is_interrupted_on_the_spot_nothing_is_left(bench: Bench) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.writer.record([(bench.insert("a", interrupt), lambda answer: None)])
    assert await bench.record(bench.insert("b")) == ["b"]
    assert bench.keys() == ["b"]


async def test_the_log_is_brought_into_the_file_by_the_thread(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOG_PAGES", 20)
    log = bench.path.with_name("state.db-wal")
    for number in range(300):
        await bench.record(bench.insert(f"k{number:03}" + "x" * 500))
    assert log.stat().st_size < 300 * 1024
    assert len(bench.keys()) == 300


async def test_a_closed_writer_refuses(bench: Bench) -> None:
    bench.writer.close()
    with pytest.raises(StoreError, match="closed"):
        bench.writer.record([(bench.insert("a"), lambda answer: None)])
