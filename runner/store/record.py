"""The writer's side of the tables: what one transaction adds. Only whoever holds the writer's lock uses it; it opens and ends no transaction."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import apsw

from runner.clock import Clock
from runner.core.events import Recorded, V
from runner.ports import NewManifest, NewRun, Unit
from runner.store import booking, leases
from runner.store.blobs import Blobs
from runner.store.cells import (
    AttemptCells,
    Changes,
    Live,
    RunCells,
    StepCells,
    attempt_values,
    run_values,
    step_values,
)
from runner.store.encode import encode
from runner.store.projection import project
from runner.store.queries import SQL

Line = tuple[int, int, str, str, int, str]
"""An event as it is bound: id, at, kind, node, v, data."""

_TAKE_EPOCH, _LIVE_RUN = SQL["take_epoch"], SQL["live_run"]
_INSERT_EVENT, _PUT_STEP, _PUT_ATTEMPT = SQL["insert_event"], SQL["put_step"], SQL["put_attempt"]
_UPDATE_RUN, _PUT_REUSE, _TAKE_INBOX = SQL["update_run"], SQL["put_reuse"], SQL["take_inbox"]


class Packed(NamedTuple):
    """A unit whose values have been checked and encoded by its caller. `inputs` belong to `unit.runs`, in order."""

    unit: Unit
    texts: list[str]
    """The events' data."""
    inputs: tuple[str, ...]


def pack(unit: Unit) -> Packed:
    """Raises BadValue; nothing of the unit is recorded then."""
    inputs = tuple(encode(run.inputs) for run in unit.runs) if unit.runs else ()
    return Packed(unit, [encode(recorded.event.data) for recorded in unit.events], inputs)


class Record:
    """The open transaction: its connection, the rows of live runs, and what is still to be written."""

    def __init__(self, db: apsw.Connection, blobs: Blobs, clock: Clock) -> None:
        self.db = db
        self.clock = clock
        self.blobs = blobs
        self._lives: dict[str, Live] = {}
        self._runs_of: dict[str, list[str]] = {}
        """Of each root: what was put into `_lives`."""
        self._epochs: dict[str, int] = {}
        self._version: int | None = None
        """The database's `data_version` when `_epochs` held."""
        self._lines: list[Line] = []
        self._changes = Changes()
        self._taken: list[tuple[int, int]] = []

    # ------------------------------------------------------------ a unit

    def add(self, packed: Packed) -> None:
        """Take a unit into the transaction. Raises Fenced or StoreError, then nothing of it is in."""
        unit = packed.unit
        if self._epoch(unit.root) != unit.epoch:
            self.forget(unit.root)
            raise leases.fenced(unit.root)
        new = {run.run: live_of(run, 0) for run in unit.runs}
        lives = {run: new.get(run) or self.live(run) for run in {recorded.run for recorded in unit.events}}
        leases.check_unit(unit, lives)
        for digest, data in unit.blobs.items():
            self.blobs.add(self.db, digest, data)
        for manifest in unit.manifests:
            self.add_manifest(manifest)
        for run, inputs in zip(unit.runs, packed.inputs, strict=True):
            new[run.run].row.n = self.add_run(run, inputs)
        for live in new.values():
            self.keep(live)
        if unit.taken:
            now = self.clock.now()
            self._taken += [(now, id) for id in unit.taken]
        self._append(unit.events, packed.texts, lives)

    def append(self, recorded: Recorded) -> None:
        """Add an event that needs no lease: of a run that is being superseded."""
        self._append([recorded], [encode(recorded.event.data)], {recorded.run: self.live(recorded.run)})

    def _append(self, events: Sequence[Recorded], texts: list[str], lives: dict[str, Live]) -> None:
        changes = self._changes
        for recorded, text in zip(events, texts, strict=True):
            run, seq, at, (kind, node, _) = recorded
            live = lives[run]
            self._lines.append((live.id(seq), at, kind, node, V, text))
            project(live, recorded, changes)
            if kind == "run_finished":
                self._lives.pop(run, None)  # another leg reads its rows again

    def _epoch(self, root: str) -> int | None:
        epoch = self._epochs.get(root)
        if epoch is None:
            epoch = self.db.execute(_TAKE_EPOCH, (root,)).get
            if epoch is None:
                raise leases.no_run(root)
            self._epochs[root] = epoch
        return epoch

    # ------------------------------------------------------------ rows

    def add_manifest(self, manifest: NewManifest) -> None:
        self.db.execute(
            SQL["insert_manifest"],
            (manifest.digest, manifest.name, manifest.graph, manifest.source, self.clock.now()),
        )

    def add_run(self, run: NewRun, inputs: str) -> int:
        """Returns its number."""
        number: int = self.db.execute(
            SQL["insert_run"],
            (
                run.run, run.root, run.parent, run.parent_node, run.name, run.manifest, run.task, inputs, run.reason,
                run.fingerprint, run.forked_from, run.created,
            ),
        ).get  # fmt: skip
        return number

    def live(self, run: str) -> Live:
        """The rows of a run, read when they are not at hand. Raises StoreError when there is no such run."""
        live = self._lives.get(run)
        if live is None:
            self.flush()  # its rows may still be on their way
            live = self.keep(self._read(run))
        return live

    def keep(self, live: Live) -> Live:
        """Have the rows of a run at hand: whoever holds its root alone changes them."""
        self._lives[live.run] = live
        self._runs_of.setdefault(live.root, []).append(live.run)
        return live

    def supersede(self, run: str, by: str) -> None:
        """Note the successor; the state follows from the event."""
        row = self.live(run).row
        row.superseded_by = by
        self._changes.runs[row] = None

    def _read(self, run: str) -> Live:
        found = self.db.execute(_LIVE_RUN, (run,)).fetchone()
        if found is None:
            raise leases.no_run(run)
        number, name, root, last, tried, *cells = found
        live = Live(run, name, root, RunCells(number, *cells), last, tried)
        for row in self.db.execute(SQL["live_steps"], (number,)):
            live.steps[row[1]] = StepCells(*row)
        for row in self.db.execute(SQL["live_attempts"], (number,)):
            live.attempts[row[1]] = AttemptCells(*row)
        return live

    # ------------------------------------------------------------ the transaction

    def flush(self) -> None:
        """Write what has gathered: before COMMIT, and before anything reads."""
        db, changes = self.db, self._changes
        if self._lines:
            db.executemany(_INSERT_EVENT, self._lines)
            self._lines.clear()
        if changes.steps:
            db.executemany(_PUT_STEP, map(step_values, changes.steps))
            changes.steps.clear()
        if changes.attempts:
            db.executemany(_PUT_ATTEMPT, map(attempt_values, changes.attempts))
            changes.attempts.clear()
        if changes.runs:
            db.executemany(_UPDATE_RUN, map(run_values, changes.runs))
            changes.runs.clear()
        if changes.reuse:
            db.executemany(_PUT_REUSE, [(slot_of(name, step.key or ""), step.id) for name, step in changes.reuse])
            changes.reuse.clear()
        if changes.money:
            for line in changes.money:
                booking.book(db, line)
            changes.money.clear()
        if self._taken:
            db.executemany(_TAKE_INBOX, self._taken)
            self._taken.clear()

    def begin(self) -> None:
        """A transaction starts: if another process wrote since the last one, nobody knows who holds what."""
        version: int = self.db.execute("pragma data_version").get  # our own commits do not count
        if version != self._version:
            self._version = version
            self._epochs.clear()

    def forget(self, root: str) -> None:
        """The lease of `root` has moved: its rows are no longer ours alone."""
        self.flush()
        self._epochs.pop(root, None)
        for run in self._runs_of.pop(root, ()):
            self._lives.pop(run, None)

    def reset(self) -> None:
        """The transaction was rolled back."""
        self._lives.clear()
        self._runs_of.clear()
        self._epochs.clear()
        self._lines, self._changes, self._taken = [], Changes(), []

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows as the transaction sees them."""
        self.flush()
        return list(self.db.execute(SQL[sql], tuple(values)))


def slot_of(name: str, key: str) -> bytes:
    """Where the newest success of `key` under the manifest `name` is found in `reuse`."""
    return blake2b(f"{name}\0{key}".encode(), digest_size=16).digest()


def live_of(run: NewRun, number: int) -> Live:
    """The rows of a run that has no event yet."""
    return Live(run.run, run.name, run.root, RunCells(number, reason=run.reason))
