"""One connection, group commit: all that is queued rides the next transaction and is answered after its COMMIT.

A thread writes, so that a slow disk stalls nobody. Where nothing waits and the disk has been quick, a loop's transaction is made on
the spot instead: the hand-overs to the thread and back cost more than the transaction (decision 0015). What a piece of work writes is its
own affair (see record.py); here is how it becomes durable, or is refused.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from runner.errors import RunnerError, StoreError
from runner.store import faults
from runner.store.answers import Answering, Call, Promise, settle
from runner.store.record import Record

T = TypeVar("T")
Work = Callable[[Record], Any]

_MOST = 512
"""With so many pieces of work a transaction takes no more: bounds the wait of the first."""
_MOST_HERE = 64
"""Pieces of work that are done on the spot; more of them keep a loop for longer than the hand-over does."""

SLOW_S = 0.002
"""A COMMIT that took longer stalls whoever waits for it. Such times add up …"""
PATIENCE_S = 0.02
"""… and past this sum every transaction is the thread's, until enough is forgiven: …"""
SHARE = 0.1
"""… so much of each second. A loop spends no larger part of its time on slow ones, and on a disk that stays slow none."""
MOST_S = 1.0
"""What is remembered at most, whatever happened: forgiven after ten seconds."""

LOG_PAGES = 4000
"""4 MiB of log between checkpoints, which are the thread's."""

LOCK_WAIT_MS = 1_500
"""How long the writer waits for another process's transaction: a second runner must be told within 2 s."""

_ODD = (
    apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, ValueError, TypeError, KeyError, AttributeError, OverflowError,
)  # fmt: skip
"""What one malformed piece of work raises. (Encoding has caught bad values before; this is for the rest.)"""


class _Job(NamedTuple):
    work: Work
    waiting: Answering


class Writer:
    """Owns the writing connection from `start` to `close`. Whoever holds `_db_lock` uses it."""

    def __init__(self, record: Record, path: Path, seconds: Callable[[], float] = time.perf_counter) -> None:
        self._record = record
        self._db = record.db
        self._db.set_busy_timeout(0)
        self._db.wal_autocheckpoint(0)
        self._db.set_wal_hook(self._logged)
        self._path = path
        self._seconds = seconds
        self._queue: queue.SimpleQueue[Sequence[_Job] | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._db_lock = threading.Lock()
        self._closed = False
        self._broken: StoreError | None = None
        self._pending: list[_Job] = []
        self._gathered: list[_Job] = []
        """What was put in this turn of a loop: one hand-over takes it all to the thread, at the end of the turn."""
        self._open = 0
        """Pieces of work that were left to the thread and whose callers have no answer yet. Nobody overtakes them."""
        self._slow_s, self._minded_at = 0.0, seconds()
        """What slow COMMITs took, less what was forgiven until then."""
        self._pages = 0
        """Of the log, after the last COMMIT."""
        self._thread = threading.Thread(target=self._drive, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[Record], T]) -> Awaitable[T]:
        """Queue a piece of work. Its answer is what it returned, or the RunnerError that it or the disk raised."""
        promise = Promise()
        if promise.loop is None:
            self._leave([_Job(work, promise)])
        else:
            self._gather(_Job(work, promise), promise.loop)
        answer: Awaitable[T] = promise.future
        return answer

    def record(self, entries: Sequence[tuple[Work, Callable[[Any], None]]]) -> None:
        """Do these in one transaction: on the spot, if that takes no time and overtakes nobody. Each caller is told (in its loop, which
        is the running one) what his work returned, or the RunnerError: before this returns, or later."""
        jobs = [_Job(work, Call(told)) for work, told in entries]
        if not self._may_do_here(len(jobs)) or not self._db_lock.acquire(blocking=False):
            self._leave(jobs)
            return
        try:
            answers = self._do_here(jobs)
        finally:
            self._db_lock.release()
        if answers is None:
            self._leave(jobs)
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.waiting.tell(answer)
        if self._pages >= LOG_PAGES:
            self._queue.put([])

    def close(self) -> None:
        """Finish what is queued, then close the connection. A second call does nothing."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._send([])
            self._queue.put(None)
        self._thread.join()

    def _gather(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        with self._gate:
            self._check_open()
            self._open += 1
            self._gathered.append(job)
            if len(self._gathered) == 1:
                loop.call_soon(self._leave, ())

    def _leave(self, jobs: Sequence[_Job]) -> None:
        """For the thread, behind what was gathered."""
        with self._gate:
            if jobs:
                self._check_open()
            self._open += len(jobs)
            self._send(jobs)

    def _send(self, jobs: Sequence[_Job]) -> None:
        if gathered := [*self._gathered, *jobs]:
            self._gathered = []
            self._queue.put(gathered)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the state database is closed")

    def _answered(self, count: int) -> None:
        with self._gate:
            self._open -= count

    # ------------------------------------------------------------ on the spot

    def _may_do_here(self, count: int) -> bool:
        with self._gate:
            free = not self._closed and not self._open
        quick = self._pages < LOG_PAGES and self._slow_until(self._seconds()) <= PATIENCE_S
        return free and quick and count <= _MOST_HERE and self._broken is None

    def _do_here(self, jobs: Sequence[_Job]) -> list[Any] | None:
        """Their answers; None = nothing was done, and the thread is to do it: it waits for locks, and names what else is wrong."""
        if not self._begins_here():
            return None
        try:
            return self._transact(jobs, begun=True)
        except Exception:  # noqa: BLE001  a defect: met again by the thread, which ends of it and tells everybody
            self._undo()
            return None
        except BaseException:
            self._undo()
            raise

    def _begins_here(self) -> bool:
        """Begin a transaction, unless another process has one."""
        try:
            self._db.execute("begin immediate")
        except apsw.Error:
            return False
        return True

    # ------------------------------------------------------------ the thread

    def _drive(self) -> None:
        try:
            while self._take():
                with self._db_lock:
                    answers = self._transact(self._pending) if self._pending else []
                settle(zip((job.waiting for job in self._pending), answers, strict=True), self._answered)
                self._pending = []
                self._checkpoint()
        finally:
            self._abandon()

    def _take(self) -> bool:
        """Wait for work, then take all that is queued. False = closed."""
        jobs = self._queue.get()
        while jobs is not None:
            self._pending += jobs
            if len(self._pending) >= _MOST:
                return True
            try:
                jobs = self._queue.get_nowait()
            except queue.Empty:
                return True
        self._queue.put(None)  # seen again when the rest is done
        return bool(self._pending)

    def _checkpoint(self) -> None:
        """Bring what is in the log into the file, as far as no reader needs it where it is. The log holds it until that has worked."""
        if self._pages >= LOG_PAGES:
            with self._db_lock, contextlib.suppress(apsw.Error):
                self._pages = 0
                self._db.wal_checkpoint()

    def _logged(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def _abandon(self) -> None:
        """However the thread ended, nobody waits for it."""
        with self._gate:
            self._closed = True
            jobs, self._gathered = [*self._pending, *self._gathered], []
        while not self._queue.empty():
            jobs += self._queue.get() or ()
        settle(((job.waiting, StoreError("the state database was closed")) for job in jobs), self._answered)
        with (
            self._db_lock,
            contextlib.suppress(apsw.Error),
        ):  # what was answered is in the WAL; the rest of closing may fail
            self._db.close()

    # ------------------------------------------------------------ a transaction; `_db_lock` is held

    def _transact(self, jobs: Sequence[_Job], *, begun: bool = False) -> list[Any]:
        """Do the jobs in one transaction, and be it one that has begun. Their answers, once it is over."""
        if self._broken is not None:
            return [self._refusal() for _ in jobs]
        try:
            return self._commit(jobs, begun)
        except _ODD as error:
            self._undo()
            if len(jobs) > 1:  # one of them is odd: alone, it fails alone
                return [answer for job in jobs for answer in self._transact([job])]
            return [_chained(StoreError(f"the state database refused a change: {error}"), error)]
        except (apsw.Error, OSError) as error:
            return list(self._failed(error, len(jobs)))

    def _commit(self, jobs: Sequence[_Job], begun: bool) -> list[Any]:
        record = self._record
        if not begun:
            self._begin()
        record.begin()
        answers: list[Any] = []
        for job in jobs:
            try:
                answers.append(job.work(record))
            except RunnerError as error:  # refused before it wrote anything
                answers.append(error)
        record.flush()
        asked = self._seconds()
        self._db.execute("commit")
        self._mind(asked, self._seconds())
        return answers

    def _begin(self) -> None:
        """Wait for another process's transaction, then begin one."""
        self._db.set_busy_timeout(LOCK_WAIT_MS)
        try:
            self._db.execute("begin immediate")
        finally:
            self._db.set_busy_timeout(0)

    def _mind(self, asked: float, ended: float) -> None:
        """How quick is the disk? All that waited for this COMMIT to end counts, a busy processor included."""
        took = ended - asked
        self._slow_s = min(self._slow_until(ended) + (took if took > SLOW_S else 0.0), MOST_S)
        self._minded_at = ended

    def _slow_until(self, now: float) -> float:
        return max(0.0, self._slow_s - (now - self._minded_at) * SHARE)

    def _failed(self, error: apsw.Error | OSError, count: int) -> list[StoreError]:
        """Nothing of the transaction is recorded. After anything but a lock, kernels are ahead of a record that we cannot trust
        to take more: refuse until the database is opened again."""
        mapped = _chained(faults.translate(error, self._path, self._db.system_errno), error)
        self._undo()
        if not isinstance(error, apsw.BusyError):
            self._broken = mapped
        return [mapped] * count

    def _refusal(self) -> StoreError:
        assert self._broken is not None
        return _chained(type(self._broken)(self._broken.message, hint=self._broken.hint), self._broken)

    def _undo(self) -> None:
        if self._db.in_transaction:  # SQLite has rolled back by itself after FULL and some I/O errors
            with contextlib.suppress(apsw.Error):
                self._db.execute("rollback")
        self._record.reset()


def _chained(error: StoreError, cause: BaseException) -> StoreError:
    error.__cause__ = cause
    return error
