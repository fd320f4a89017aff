"""One thread, one connection, group commit: all that is queued rides the next transaction and is answered after its COMMIT.

What a piece of work writes is its own affair (see record.py); here is how it becomes durable, or is refused.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import apsw

from runner.errors import RunnerError, StoreError
from runner.store import faults
from runner.store.answers import Promise, settle
from runner.store.record import Record

T = TypeVar("T")
Work = Callable[[Record], Any]

_MOST = 512
"""Pieces of work in one transaction: bounds the wait of the first."""

LOCK_WAIT_MS = 1_500
"""How long the writer waits for another process's transaction: a second runner must be told within 2 s."""

_ODD = (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError, ValueError, TypeError, KeyError, AttributeError)
"""What one malformed piece of work raises. (Encoding has caught bad values before; this is for the rest.)"""


class _Job(NamedTuple):
    work: Work
    promise: Promise


class Writer:
    """Owns the writing connection from `start` to `close`."""

    def __init__(self, record: Record, path: Path) -> None:
        self._record = record
        self._db = record.db
        self._path = path
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._broken: StoreError | None = None
        self._pending: list[_Job] = []
        self._thread = threading.Thread(target=self._drive, name="store-writer", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[Record], T]) -> Awaitable[T]:
        """Queue a piece of work. Its answer is what it returned, or the RunnerError that it or the disk raised."""
        promise = Promise()
        with self._gate:
            if self._closed:
                raise StoreError("the state database is closed")
            self._queue.put(_Job(work, promise))
        answer: Awaitable[T] = promise.future
        return answer

    def close(self) -> None:
        """Finish what is queued, then close the connection. A second call does nothing."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    # ------------------------------------------------------------ the thread

    def _drive(self) -> None:
        try:
            while self._take():
                self._transact(self._pending)
                self._pending = []
        finally:
            self._abandon()

    def _take(self) -> bool:
        """Wait for work, then take all that is queued. False = closed."""
        job = self._queue.get()
        while job is not None:
            self._pending.append(job)
            if len(self._pending) == _MOST:
                return True
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return True
        self._queue.put(None)  # seen again when the rest is done
        return bool(self._pending)

    def _abandon(self) -> None:
        """However the thread ended, nobody waits for it."""
        with self._gate:
            self._closed = True
        jobs = self._pending
        while not self._queue.empty():
            job = self._queue.get()
            if job is not None:
                jobs.append(job)
        settle((job.promise, StoreError("the state database was closed")) for job in jobs)
        with contextlib.suppress(apsw.Error):  # what was answered is in the WAL; the rest of closing may fail
            self._db.close()

    def _transact(self, jobs: list[_Job]) -> None:
        """Do the jobs in one transaction and answer them."""
        if self._broken is not None:
            settle((job.promise, self._refusal()) for job in jobs)
            return
        try:
            answers = self._commit(jobs)
        except _ODD as error:
            self._undo()
            if len(jobs) > 1:
                for job in jobs:  # one of them is odd: alone, it fails alone
                    self._transact([job])
                return
            answers = [_chained(StoreError(f"the state database refused a change: {error}"), error)]
        except (apsw.Error, OSError) as error:
            answers = self._failed(error, len(jobs))
        settle(zip((job.promise for job in jobs), answers, strict=True))

    def _commit(self, jobs: list[_Job]) -> list[Any]:
        record = self._record
        self._db.execute("begin immediate")
        record.begin()
        answers: list[Any] = []
        for job in jobs:
            try:
                answers.append(job.work(record))
            except RunnerError as error:  # refused before it wrote anything
                answers.append(error)
        record.flush()
        self._db.execute("commit")
        return answers

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
