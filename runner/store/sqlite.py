"""The record in SQLite: `SqliteStore`, which puts the pieces of this package behind `ports.Store`.

Writes are queued for the writer's thread (writer.py, record.py, acts.py); reads happen here, each thread on its own connection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import apsw

from runner.clock import Clock
from runner.core.events import Event, Recorded
from runner.errors import StoreError
from runner.ports import (
    AttemptRow,
    InboxRow,
    NewManifest,
    NewRun,
    OwnerId,
    Reusable,
    RunRecord,
    RunRow,
    StepRow,
    Told,
    Unit,
)
from runner.store import acts, faults, forgetting, leases, opening, rows
from runner.store.blobs import Blobs
from runner.store.encode import BadValue, decode, encode
from runner.store.health import SqliteHealth
from runner.store.migrations import MIGRATIONS
from runner.store.money import SqliteLedger
from runner.store.opening import Durability
from runner.store.queries import SQL
from runner.store.record import Record, pack, slot_of
from runner.store.writer import Writer

T = TypeVar("T")


class Readers:
    """One reading connection for each thread that asks; `None` as path = an empty record."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._mine = threading.local()
        self._all: list[apsw.Connection] = []
        self._gate = threading.Lock()
        self._closed = False

    def get(self) -> apsw.Connection:
        db: apsw.Connection | None = getattr(self._mine, "db", None)
        if db is None or self._closed:
            db = self._open()
        return db

    def _open(self) -> apsw.Connection:
        with self._gate:
            if self._closed:
                raise StoreError("the state database is closed")
            db = self._mine.db = opening.open_reader(self._path) if self._path else opening.open_empty()
            self._all.append(db)
        return db

    def close(self) -> None:
        with self._gate:
            self._closed = True
            for db in self._all:
                db.close()
            self._all.clear()


class SqliteStore:
    """`ports.Store` on a file. Made by `open`; `close` it."""

    def __init__(self, path: Path, readers: Readers, writer: Writer | None, clock: Clock) -> None:
        self._path = path
        self._readers = readers
        self._writer = writer
        self._clock = clock
        self._blobs = Blobs(path.parent / "outputs")
        self._seen: int | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        durability: Durability = "full",
        clock: Clock,
        read_only: bool = False,
        migrations: Sequence[str] = MIGRATIONS,
    ) -> SqliteStore:
        """Open the database, making or migrating it when needed.

        `durability`: "full" survives power loss, "process" survives kill -9. `read_only`: nothing is made or changed, every
        write raises StoreReadOnly, and a missing file reads as an empty record. Raises the StoreError family; a file that is
        damaged, foreign or newer stays as it is."""
        path = Path(path)
        opening.check_name(path)
        if read_only:
            missing = opening.is_missing(path)
            if not missing:
                opening.check_readable(path, len(migrations))
            return cls(path, Readers(None if missing else path), None, clock)
        db = opening.open_writer(path, durability, migrations)
        writer = Writer(Record(db, Blobs(path.parent / "outputs"), clock), path)
        return cls(path, Readers(path), writer, clock)

    def close(self) -> None:
        """Finish what is queued and close all connections. A second call does nothing."""
        self._readers.close()
        if self._writer is not None:
            self._writer.close()

    # ------------------------------------------------------------ writes

    def begin(
        self, run: NewRun, manifest: NewManifest, owner: OwnerId, *, supersede: Sequence[str] = ()
    ) -> Awaitable[int]:
        inputs, older = encode(run.inputs), tuple(supersede)
        return self._write().put(lambda record: acts.begin(record, run, inputs, manifest, owner, older))

    def acquire(self, root: str, owner: OwnerId) -> Awaitable[int]:
        return self._write().put(lambda record: acts.acquire(record, root, owner))

    def release(self, root: str, epoch: int) -> Awaitable[None]:
        return self._write().put(lambda record: acts.release(record, root, epoch))

    def heartbeat(self, owner: OwnerId) -> Awaitable[None]:
        return self._write().put(lambda record: acts.heartbeat(record, owner))

    def commit(self, unit: Unit) -> Awaitable[None]:
        """Raises BadValue at once when a value of the unit cannot be recorded."""
        packed = pack(unit)
        return self._write().put(lambda record: record.add(packed))

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        good: list[tuple[Callable[[Record], None], Told]] = []
        for unit, told in entries:
            try:
                packed = pack(unit)
            except BadValue as error:
                told(error)
            else:
                good.append((partial(Record.add, packed=packed), told))
        if not good:
            return
        try:
            self._write().record(good)
        except StoreError as error:
            for _, told in good:
                told(error)

    def post(self, root: str, kind: str, body: Mapping[str, Any], by: str) -> Awaitable[int]:
        text = encode(body)
        return self._write().put(lambda record: acts.post(record, root, kind, text, by))

    def forget(self, roots: Sequence[str]) -> Awaitable[Sequence[str]]:
        return self._write().put(lambda record: forgetting.forget(record, tuple(roots)))

    def sweep(self) -> Awaitable[int]:
        writer = self._write()
        with opening.named_errors(self._path):
            seen = forgetting.survey(self._readers.get())
        return writer.put(lambda record: forgetting.sweep(record, seen))

    def compact(self) -> int:
        """Give the space of what was removed back to the disk, when that is a quarter of the file or more. Returns the bytes;
        0 when it is not worth it, when somebody else writes right now, or when there is no room for a second copy."""
        self._write()
        with opening.named_errors(self._path):
            return opening.vacuum(self._path)

    @cached_property
    def health(self) -> SqliteHealth:
        """Mode and circuits of this database."""
        return SqliteHealth(self._put, self._query)

    @cached_property
    def ledger(self) -> SqliteLedger:
        """The money of this database."""
        return SqliteLedger(self._put, self._query)

    def _put(self, work: Callable[[Record], T], /) -> Awaitable[T]:
        return self._write().put(work)

    def _write(self) -> Writer:
        if self._writer is None:
            raise faults.read_only(self._path)
        return self._writer

    # ------------------------------------------------------------ reads

    def inbox(self, root: str | None = None) -> Sequence[InboxRow]:
        found = self._read("inboxes", ()) if root is None else self._read("inbox", (root,))
        if not found:
            return []
        with self._reading():
            return [InboxRow(id, root, kind, decode(body), by, at) for id, root, kind, body, by, at in found]

    def changed(self) -> bool:
        """True when the database was changed since the last call (the first call included), our own commits among it."""
        with self._reading():
            version: int = self._readers.get().execute("pragma data_version").get
        before, self._seen = self._seen, version
        return version != before

    def load(self, root: str) -> Sequence[RunRecord]:
        records: list[RunRecord] = []
        with self._reading(), self._readers.get() as db:  # one snapshot for rows and events
            tree = db.execute(SQL["tree"], (root,)).fetchall()
            records += [self._record(db, row) for row in self._run_rows(tree)]
        return records

    def _record(self, db: apsw.Connection, row: RunRow) -> RunRecord:
        graph = db.execute(SQL["graph"], (row.manifest,)).get
        places: list[tuple[Any, ...]] = db.execute(SQL["event_bodies"], (row.run,)).fetchall()
        data = json.loads(f"[{','.join(data for _, _, data in places)}]")  # one call: half the time of one for each
        events = [Event(kind, node, body) for (kind, node, _), body in zip(places, data, strict=True)]
        return RunRecord(row, graph or "", events)

    def runs(self, *, name: str | None = None, task: str | None = None, limit: int = 100) -> Sequence[RunRow]:
        given = [value for value in (name, task) if value is not None]
        query = {(False, False): "runs", (True, False): "runs_of_name", (False, True): "runs_of_task"}.get(
            (name is not None, task is not None), "runs_of_name_and_task"
        )
        return self._run_rows(self._read(query, (*given, limit)))

    def run(self, run: str) -> RunRow | None:
        return next(iter(self._run_rows(self._read("run", (run,)))), None)

    def knows(self, run: str) -> bool:
        return bool(self._read("run_state", (run,)))

    def find(self, prefix: str, limit: int = 3) -> Sequence[RunRow]:
        return self._run_rows(self._read("find", (prefix, limit)))

    def children(self, run: str) -> Sequence[RunRow]:
        return self._run_rows(self._read("children", (run,)))

    def steps(self, run: str) -> Sequence[StepRow]:
        """By id, the items of a fan-out by number behind it. Steps that no event has named yet are not among them."""
        with self._reading():
            return rows.in_order(rows.step_rows(self._read("steps", (run,))))

    def attempts(self, run: str, node: str | None = None) -> Sequence[AttemptRow]:
        query, values = ("attempts", (run,)) if node is None else ("attempts_of_node", (run, node))
        with self._reading():
            found = self._read(query, values)
            return sorted(map(rows.attempt_row, found), key=lambda row: (*rows.place(row.node), row.n))

    def events(self, run: str, after: int = 0) -> Sequence[Recorded]:
        with self._reading():
            found = self._read("events", (run, after))
            return [Recorded(run, seq, at, Event(kind, node, decode(data))) for run, seq, at, kind, node, data in found]

    def newest(self, run: str, kind: str) -> Recorded | None:
        with self._reading():
            found = self._read("newest_event", (run, kind))
            return next(
                (Recorded(run, seq, at, Event(kind, node, decode(data))) for seq, at, node, data in found), None
            )

    def manifest(self, digest: str) -> NewManifest | None:
        found = self._read("manifest", (digest,))
        return NewManifest(*found[0]) if found else None

    def written(self, digest: str) -> Sequence[tuple[str, bool]]:
        found = self._read("graph", (digest,))
        return rows.written(found[0][0]) if found else []

    def reusable(self, name: str, key: str) -> Reusable | None:
        step = self._read("reuse_slot", (slot_of(name, key),))
        found = self._read("reusable", step[0]) if step else ()
        if not found:
            return None
        with self._reading():
            return rows.reusable(found[0])

    def has_reusable(self, name: str) -> bool:
        return bool(self._read("has_reusable", (name,))[0][0])

    def in_doubt(self, task: str) -> tuple[str, str] | None:
        return leases.in_doubt(acts.rivals(self._read, task, self._clock.now()))

    def blob(self, digest: str) -> bytes:
        with self._reading():
            return self._blobs.get(self._readers.get(), digest)

    def _read(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._query(SQL[query], values)

    def _query(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        try:
            return self._readers.get().execute(statement, tuple(values)).fetchall()
        except (apsw.Error, OSError, UnicodeDecodeError):
            with self._reading():
                raise  # named there: asked for every step, and a context manager costs as much as the query

    def _run_rows(self, found: Sequence[tuple[Any, ...]]) -> list[RunRow]:
        if not found:
            return []
        with self._reading():
            return list(map(partial(rows.run_row, now=self._clock.now()), found))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """What SQLite raises inside as errors of ours; so is a row that we cannot have written."""
        try:
            with opening.named_errors(self._path):
                yield
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, AttributeError) as error:
            raise faults.corrupt(self._path, f"a row of it cannot be read ({error})") from error
