"""Several processes on one state database: kill -9, a full disk, races, a stale owner."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from store_child import MANIFEST, line, new_run, step, wait

from runner.clock import FakeClock, SystemClock
from runner.errors import StoreError
from runner.ports import Unit
from runner.store.owners import LEASE_TTL_MS, this_process
from runner.store.sqlite import SqliteStore

CHILD = Path(__file__).with_name("store_child.py")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".ares" / "state.db"


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for child in started:
        child.kill()
        child.communicate()


def start(children: list[subprocess.Popen[str]], path: Path, *args: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(path), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    children.append(child)
    return child


def told(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def ask(child: subprocess.Popen[str]) -> str:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return told(child)


def whole(path: Path) -> bool:
    with closing(apsw.Connection(str(path))) as db:
        return db.execute("pragma integrity_check").get == "ok"


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_loses_nothing_that_was_acknowledged(
    path: Path, children: list[subprocess.Popen[str]], seed: int
) -> None:
    child = start(children, path, "r1", "commit" if seed % 3 else "commit-process", "300")
    assert told(child) == "open"
    for _ in range(random.Random(seed).randrange(1, 400)):
        last = told(child)
    child.send_signal(signal.SIGKILL)
    acknowledged = [last, *child.communicate()[0].split("\n")[:-1]]  # a line cut by the kill is no answer
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        seqs = [recorded.seq for recorded in store.events("r1")]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= int(acknowledged[-1])
        steps = store.steps("r1")
        assert len(steps) == (len(seqs) - 1) // 2
        assert {row.state for row in steps} == {"succeeded"}
        row = store.run("r1")
        assert row is not None
        assert not row.owner_alive
        epoch = wait(store.acquire("r1", this_process()))
        wait(store.commit(Unit("r1", epoch, [line("r1", len(seqs) + 1, "run_timed_out")])))
    assert whole(path)


@pytest.mark.parametrize("limit", [150_000, 700_001, 5_000_000])
def test_a_full_disk_stops_all_writing_and_loses_nothing_acknowledged(
    path: Path, children: list[subprocess.Popen[str]], limit: int
) -> None:
    output = start(children, path, "r1", "fill", str(limit)).communicate(timeout=60)[0].split()
    assert output[-3:] == ["StoreFull", "StoreFull", "StoreFull"]
    acknowledged = int(output[-4])
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        seqs = [recorded.seq for recorded in store.events("r1")]
        assert seqs == list(range(1, len(seqs) + 1))
        assert len(seqs) >= acknowledged
        epoch = wait(store.acquire("r1", this_process()))
        wait(store.commit(Unit("r1", epoch, step("r1", len(seqs) + 1, 0))))
    assert whole(path)


def test_of_several_processes_that_begin_one_task_exactly_one_wins(
    path: Path, children: list[subprocess.Popen[str]]
) -> None:
    racers = [start(children, path, f"r{index}", "begin") for index in range(4)]  # all of them make the file, too
    assert [told(child) for child in racers] == ["open"] * 4
    for child in racers:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    assert sorted(told(child) for child in racers) == ["StoreBusy", "StoreBusy", "StoreBusy", "begun"]
    with closing(SqliteStore.open(path, clock=SystemClock(), read_only=True)) as store:
        assert len(store.runs()) == 1
        assert store.runs()[0].owner_alive


def test_the_lease_of_a_killed_process_is_taken_over_at_once(path: Path, children: list[subprocess.Popen[str]]) -> None:
    child = start(children, path, "r1", "begin")
    assert told(child) == "open"
    assert ask(child) == "begun"
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        with pytest.raises(StoreError, match=f"process {child.pid} on"):
            wait(store.acquire("r1", this_process()))
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but still a zombie
        assert wait(store.acquire("r1", this_process())) == 2


def test_the_writes_of_a_stopped_owner_are_refused_after_it_was_taken_over(
    path: Path, children: list[subprocess.Popen[str]]
) -> None:
    child = start(children, path, "r1", "write")
    assert [told(child), told(child)] == ["open", "begun"]
    assert ask(child) == "committed"
    child.send_signal(signal.SIGSTOP)
    later = FakeClock(SystemClock().now() + LEASE_TTL_MS)
    with closing(SqliteStore.open(path, clock=later)) as store:
        epoch = wait(store.acquire("r1", this_process()))
        wait(store.commit(Unit("r1", epoch, [line("r1", 2, "run_timed_out")])))
        child.send_signal(signal.SIGCONT)
        assert ask(child) == "Fenced"
        assert [recorded.event.kind for recorded in store.events("r1")] == ["budget_raised", "run_timed_out"]


def test_a_message_of_another_process_is_noticed(path: Path) -> None:
    with (
        closing(SqliteStore.open(path, clock=SystemClock())) as owner,
        closing(SqliteStore.open(path, clock=SystemClock())) as other,
    ):
        wait(owner.begin(new_run("r1"), MANIFEST, this_process()))
        owner.changed()
        assert not owner.changed()
        wait(other.post("r1", "cancel", {}, "another terminal"))
        assert owner.changed()
        assert [row.by for row in owner.inbox("r1")] == ["another terminal"]


# ---------------------------------------------------------------- the writer's thread


def test_a_malformed_unit_fails_alone(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        other = wait(store.begin(new_run("r2", task="task-2"), MANIFEST, this_process()))
        answers = [store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")]))]
        odd = [
            store.commit(Unit("r2", other, [line("r2", 1, "attempt_started", "a", n="x")])),
            store.commit(Unit("r2", other, [line("r2", 1, "attempt_succeeded", "a")])),
            store.commit(Unit("r2", other, [line("r2", 1, "run_finished", state="no such state")])),
            store.commit(Unit("r2", other, [line("r2", 1, "step_skipped", "\ud800")])),
        ]
        answers.append(store.commit(Unit("r1", epoch, step("r1", 2, 0))))
        for answer in answers:
            wait(answer)
        for answer in odd:
            with pytest.raises(StoreError, match="refused a change"):
                wait(answer)
        assert len(store.events("r1")) == 3
        assert store.events("r2") == []
        wait(store.commit(Unit("r2", other, [line("r2", 1, "run_started")])))


async def test_a_thousand_queued_units_share_a_few_transactions(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        epoch = await store.begin(new_run("r1"), MANIFEST, this_process())
        before = _transactions(path)
        await asyncio.gather(
            *(store.commit(Unit("r1", epoch, [line("r1", seq, "run_timed_out")])) for seq in range(1, 1_001))
        )
        assert len(store.events("r1")) == 1_000
        assert _transactions(path) - before <= 20


def _transactions(path: Path) -> int:
    """Commit frames in the log: their second word is not 0."""
    log = path.with_name("state.db-wal").read_bytes()
    size = 24 + int.from_bytes(log[8:12], "big")
    return sum(any(log[at + 4 : at + 8]) for at in range(32, len(log), size))


async def test_a_caller_that_is_cancelled_does_not_stop_the_writer(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        epoch = await store.begin(new_run("r1"), MANIFEST, this_process())
        waiting = asyncio.ensure_future(store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")])))
        waiting.cancel()
        await store.commit(Unit("r1", epoch, step("r1", 2, 0)))
        assert len(store.events("r1")) == 3


def test_a_ticket_can_be_awaited_by_a_loop_that_starts_later(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        ticket = store.begin(new_run("r1"), MANIFEST, this_process())

        async def later() -> int:
            return await ticket

        assert asyncio.run(later()) == 1


def test_what_is_queued_is_finished_when_the_store_is_closed(path: Path) -> None:
    store = SqliteStore.open(path, clock=SystemClock())
    epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
    answers = [store.commit(Unit("r1", epoch, [line("r1", seq, "run_timed_out")])) for seq in range(1, 2_001)]
    store.close()
    for answer in answers:
        wait(answer)
    with closing(SqliteStore.open(path, clock=SystemClock(), read_only=True)) as reader:
        assert len(reader.events("r1")) == 2_000


def test_threads_read_while_the_writer_writes(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store, ThreadPoolExecutor(4) as pool:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        writes = [store.commit(Unit("r1", epoch, [line("r1", seq, "run_timed_out")])) for seq in range(1, 301)]
        seen = list(pool.map(lambda _: [recorded.seq for recorded in store.events("r1")], range(40)))
        for answer in writes:
            wait(answer)
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in seen)


def test_a_store_that_could_not_write_refuses_until_it_is_opened_again(path: Path) -> None:
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        epoch = wait(store.begin(new_run("r1"), MANIFEST, this_process()))
        (path.parent / "outputs").symlink_to("/dev/full")  # a large output cannot be written there
        with pytest.raises(StoreError):
            wait(store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")], blobs={"d": b"x" * 2_000_000})))
        with pytest.raises(StoreError):
            wait(store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")])))
    (path.parent / "outputs").unlink()
    with closing(SqliteStore.open(path, clock=SystemClock())) as store:
        assert store.events("r1") == []
        wait(store.commit(Unit("r1", epoch, [line("r1", 1, "run_started")])))
