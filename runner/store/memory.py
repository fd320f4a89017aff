"""The record in memory: the twin of `SqliteStore` that passes the same contract tests. For tests and `runner simulate`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runner.clock import Clock
from runner.core.events import Event, Recorded
from runner.errors import RunnerError, StoreError
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
from runner.store import leases, rows
from runner.store.cells import (
    UNKNOWN,
    AttemptCells,
    Changes,
    Live,
    RunCells,
    StepCells,
    attempt_values,
)
from runner.store.done import Done
from runner.store.encode import BadValue, decode, encode
from runner.store.leases import Lease, Rival
from runner.store.memory_health import MemoryHealth, MemoryLedger
from runner.store.owners import is_alive
from runner.store.projection import project

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Run:
    """A run: what it was made from, its rows, its record as (at, kind, node, data as text), and its attempts in order."""

    made: NewRun
    inputs: str
    live: Live
    record: list[tuple[int, str, str, str]] = field(default_factory=list)
    attempts: dict[tuple[str, int], AttemptCells] = field(default_factory=dict)


class MemoryStore:
    """`ports.Store` without a file. Answers are there when a write returns; values are kept as JSON text, as on disk."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._manifests: dict[str, NewManifest] = {}
        self._steps_total: dict[str, int] = {}
        self._leases: dict[str, tuple[int, str | None]] = {}
        self._owners: dict[str, tuple[OwnerId, int]] = {}
        self._reuse: dict[tuple[str, str], tuple[str, StepCells]] = {}
        self._inbox: list[InboxRow] = []
        self._posted = 0
        self._blobs: dict[str, bytes] = {}
        self._version = 1
        self._seen = 0
        self._closed = False
        self.health = MemoryHealth(self)
        self.ledger = MemoryLedger(self)

    def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    # ------------------------------------------------------------ writes

    def begin(
        self, run: NewRun, manifest: NewManifest, owner: OwnerId, *, supersede: Sequence[str] = ()
    ) -> Awaitable[int]:
        inputs = encode(run.inputs)
        return self._write(lambda: self._begin(run, inputs, manifest, owner, supersede))

    def acquire(self, root: str, owner: OwnerId) -> Awaitable[int]:
        return self._write(lambda: self._acquire(root, owner))

    def release(self, root: str, epoch: int) -> Awaitable[None]:
        return self._write(lambda: self._release(root, epoch))

    def heartbeat(self, owner: OwnerId) -> Awaitable[None]:
        return self._write(lambda: self._owners.__setitem__(owner.owner, (owner, self._clock.now())))

    def commit(self, unit: Unit) -> Done[None]:
        """Raises BadValue at once when a value of the unit cannot be recorded."""
        inputs = [encode(run.inputs) for run in unit.runs]
        texts = [encode(recorded.event.data) for recorded in unit.events]
        return self._write(lambda: self._commit(unit, inputs, texts))

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        for unit, told in entries:
            told(self._refusal(unit))

    def _refusal(self, unit: Unit) -> Exception | None:
        """Commit the unit, or say why not."""
        try:
            self.commit(unit).result()
        except (BadValue, RunnerError) as error:
            return error
        return None

    def post(self, root: str, kind: str, body: Mapping[str, Any], by: str) -> Awaitable[int]:
        text = encode(body)
        return self._write(lambda: self._post(root, kind, text, by))

    def forget(self, roots: Sequence[str]) -> Awaitable[Sequence[str]]:
        return self._write(lambda: self._forget(roots))

    def sweep(self) -> Awaitable[int]:
        return self._write(self._sweep)

    def _write(self, work: Callable[[], T]) -> Done[T]:
        self._check_open()
        self._version += 1
        return Done(work)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the state database is closed")

    def _begin(self, run: NewRun, inputs: str, manifest: NewManifest, owner: OwnerId, supersede: Sequence[str]) -> int:
        now = self._clock.now()
        leases.check_begin(self._rivals(run.task, now), owner, supersede, now)
        for older in supersede:
            leases.check_free(older, self._lease(older), owner, now)
        self._check_new(run)
        for older in supersede:
            self._end_tree(older, run.run, now)
        self._add_manifest(manifest)
        self._runs[run.run] = _Run(run, inputs, self._live_of(run))
        return self._take(run.root, owner)

    def _check_new(self, run: NewRun) -> None:
        if run.run in self._runs:
            raise StoreError(f"the state database refused a change: run {run.run} exists")

    def _acquire(self, root: str, owner: OwnerId) -> int:
        self._known(root)
        leases.check_free(root, self._lease(root), owner, self._clock.now())
        return self._take(root, owner)

    def _take(self, root: str, owner: OwnerId) -> int:
        self._owners[owner.owner] = (owner, self._clock.now())
        epoch = self._leases.get(root, (0, None))[0] + 1
        self._leases[root] = (epoch, owner.owner)
        return epoch

    def _release(self, root: str, epoch: int) -> None:
        if self._leases.get(root, (0, None))[0] == epoch:
            self._leases[root] = (epoch, None)

    def _commit(self, unit: Unit, inputs: Sequence[str], texts: Sequence[str]) -> None:
        if unit.root not in self._leases:
            raise leases.no_run(unit.root)
        if self._leases[unit.root][0] != unit.epoch:
            raise leases.fenced(unit.root)
        new = {run.run: _Run(run, text, self._live_of(run)) for run, text in zip(unit.runs, inputs, strict=True)}
        for run in unit.runs:
            self._check_new(run)
        named = {recorded.run for recorded in unit.events}
        leases.check_unit(unit, {run: (new.get(run) or self._known(run)).live for run in named})
        self._blobs.update(unit.blobs)
        for manifest in unit.manifests:
            self._add_manifest(manifest)
        self._runs.update(new)
        for recorded, text in zip(unit.events, texts, strict=True):
            self._append(recorded, text)
        self._inbox = [row for row in self._inbox if row.id not in unit.taken]

    def _append(self, recorded: Recorded, text: str) -> None:
        run = self._runs[recorded.run]
        changes = Changes()
        project(run.live, recorded, changes)
        run.record.append((recorded.at, recorded.event.kind, recorded.event.node, text))
        run.attempts.update({(attempt.node, attempt.n): attempt for attempt in changes.attempts})
        for name, step in changes.reuse:
            self._reuse[name, step.key or ""] = (recorded.run, step)
        for line in changes.money:
            self.ledger.book(line)

    def _post(self, root: str, kind: str, body: str, by: str) -> int:
        self._known(root)
        self._posted += 1
        self._inbox.append(InboxRow(self._posted, root, kind, decode(body), by, self._clock.now()))
        return self._posted

    def _live_of(self, run: NewRun) -> Live:
        return Live(run.run, run.name, run.root, RunCells(len(self._runs) + 1, reason=run.reason))

    def _add_manifest(self, manifest: NewManifest) -> None:
        if manifest.digest not in self._manifests:
            self._manifests[manifest.digest] = manifest
            self._steps_total[manifest.digest] = _count_steps(manifest.graph)

    def _end_tree(self, root: str, by: str, now: int) -> None:
        for run in reversed([run for run in self._tree(root) if run.live.row.state in leases.OPEN]):
            recorded = leases.superseded(run.made.run, run.live.last + 1, by, now)
            self._append(recorded, encode(recorded.event.data))
        self._known(root).live.row.superseded_by = by
        self._leases[root] = (self._leases[root][0] + 1, None)

    def _forget(self, roots: Sequence[str]) -> list[str]:
        now = self._clock.now()
        held = [root for root in self._leases if self._lease(root).is_held(now)]
        in_use = frozenset(name for root in held for name, _ in self._reach(run.made for run in self._tree(root)))
        gone: list[str] = []
        for root in roots:
            if root in self._runs and leases.may_forget(self._past(root), in_use, now):
                gone += [run.made.run for run in self._tree(root)]
                self._leases.pop(root, None)
                self._inbox = [row for row in self._inbox if row.root != root]
        self._runs = {id: run for id, run in self._runs.items() if id not in gone}
        self._reuse = {slot: found for slot, found in self._reuse.items() if found[0] not in gone}
        return gone

    def _past(self, root: str) -> leases.Past:
        top, tree = self._runs[root], self._tree(root)
        same = [run for run in self._runs.values() if run.made.parent is None and run.made.task == top.made.task]
        standing = [run for run in same if run.live.row.state != "superseded"]
        names = frozenset(run.made.name for run in tree)
        return leases.Past(
            top.live.row.state, standing[-1:] == [top], self._lease(root), self._unknown(root, lost=False), names
        )

    def _sweep(self) -> int:
        events = [data for run in self._runs.values() for _, _, _, data in run.record]
        named = {(decode(data).get("result") or {}).get("ref") for data in events}
        unnamed = [digest for digest in self._blobs if digest not in named]
        digests = {digest for _, digest in self._reach(run.made for run in self._runs.values())}
        self._manifests = {digest: manifest for digest, manifest in self._manifests.items() if digest in digests}
        return sum(len(self._blobs.pop(digest)) for digest in unnamed)

    def _reach(self, runs: Iterable[NewRun]) -> set[tuple[str, str]]:
        """(name, digest) of the manifests that these runs have or may call."""
        found: set[tuple[str, str]] = set()
        todo = [(run.name, run.manifest) for run in runs]
        while todo:
            name, digest = todo.pop()
            if (name, digest) not in found:
                found.add((name, digest))
                todo += _callees(self._manifests[digest].graph) if digest in self._manifests else []
        return found

    # ------------------------------------------------------------ leases

    def _lease(self, root: str) -> Lease:
        epoch, owner = self._leases.get(root, (0, None))
        return Lease(epoch, *self._owners[owner]) if owner is not None else Lease(epoch, None)

    def in_doubt(self, task: str) -> tuple[str, str] | None:
        return leases.in_doubt(self._rivals(task, self._clock.now()))

    def _rivals(self, task: str, now: int) -> Iterator[Rival]:
        for run in self._runs.values():
            state = run.live.row.state
            if run.made.parent is None and run.made.task == task and state not in ("succeeded", "superseded"):
                lease = self._lease(run.made.run)
                yield Rival(run.made.run, state, lease, self._unknown(run.made.run, lost=not lease.is_held(now)))

    def _unknown(self, root: str, *, lost: bool) -> tuple[str, str] | None:
        for run in self._tree(root):
            manifest = self._manifests.get(run.made.manifest)
            for step in sorted(run.live.steps.values(), key=lambda step: step.node):
                in_doubt = step.state in ("suspended", "failed") and step.reason == UNKNOWN
                in_doubt |= lost and step.state == "running" and step.effects == "once"
                if in_doubt and not leases.is_final(manifest.graph if manifest else None, step.node):
                    return run.made.run, step.node
        return None

    def _known(self, run: str) -> _Run:
        if run not in self._runs:
            raise leases.no_run(run)
        return self._runs[run]

    def _tree(self, root: str) -> list[_Run]:
        return [run for run in self._runs.values() if run.made.root == root]

    # ------------------------------------------------------------ reads

    def inbox(self, root: str | None = None) -> Sequence[InboxRow]:
        return [row for row in self._inbox if root in (None, row.root)]

    def changed(self) -> bool:
        """True when something was written since the last call (the first call included)."""
        before, self._seen = self._seen, self._version
        return self._seen != before

    def load(self, root: str) -> Sequence[RunRecord]:
        tree = sorted(self._tree(root), key=lambda run: run.made.parent is not None)
        return [
            RunRecord(
                self._row(run),
                self._manifests[run.made.manifest].graph if run.made.manifest in self._manifests else "",
                [Event(kind, node, decode(data)) for _, kind, node, data in run.record],
            )
            for run in tree
        ]

    def runs(self, *, name: str | None = None, task: str | None = None, limit: int = 100) -> Sequence[RunRow]:
        found = [
            run
            for run in reversed(self._all())
            if run.made.parent is None and name in (None, run.made.name) and task in (None, run.made.task)
        ]
        return self._rows(found[:limit])

    def run(self, run: str) -> RunRow | None:
        return next(iter(self._rows(found for found in self._all() if found.made.run == run)), None)

    def knows(self, run: str) -> bool:
        self._check_open()
        return run in self._runs

    def find(self, prefix: str, limit: int = 3) -> Sequence[RunRow]:
        found = [self._runs[run] for run in sorted(self._runs) if run.startswith(prefix)]
        return self._rows(found[:limit])

    def children(self, run: str) -> Sequence[RunRow]:
        return self._rows(found for found in self._all() if found.made.parent == run)

    def steps(self, run: str) -> Sequence[StepRow]:
        """By id, the items of a fan-out by number behind it. Steps that no event has named yet are not among them."""
        found = self._runs.get(run)
        return (
            rows.in_order(rows.step_rows([_step_row(found, step) for step in found.live.steps.values()]))
            if found
            else []
        )

    def attempts(self, run: str, node: str | None = None) -> Sequence[AttemptRow]:
        found = self._runs.get(run)
        cells = found.attempts.values() if found else ()
        some = [rows.attempt_row((run, *attempt_values(cell)[1:])) for cell in cells if node in (None, cell.node)]
        return sorted(some, key=lambda row: (*rows.place(row.node), row.n))

    def events(self, run: str, after: int = 0) -> Sequence[Recorded]:
        record = self._runs[run].record if run in self._runs else []
        return [
            Recorded(run, seq, at, Event(kind, node, decode(data)))
            for seq, (at, kind, node, data) in enumerate(record, start=1)
            if seq > after
        ]

    def newest(self, run: str, kind: str) -> Recorded | None:
        return next((event for event in reversed(self.events(run)) if event.event.kind == kind), None)

    def manifest(self, digest: str) -> NewManifest | None:
        return self._manifests.get(digest)

    def written(self, digest: str) -> Sequence[tuple[str, bool]]:
        kept = self._manifests.get(digest)
        return rows.written(kept.graph) if kept is not None else []

    def reusable(self, name: str, key: str) -> Reusable | None:
        if (name, key) not in self._reuse:
            return None
        run, step = self._reuse[name, key]
        if step.result_seq is None:
            return None
        at, _, _, data = self._runs[run].record[step.result_seq - 1]
        return rows.reusable((run, step.node, step.state, step.attempt, key, step.producer, data, at))

    def has_reusable(self, name: str) -> bool:
        return any(known == name for known, _ in self._reuse)

    def blob(self, digest: str) -> bytes:
        if digest not in self._blobs:
            raise StoreError(f"there is no output {digest} in the state database")
        return self._blobs[digest]

    def _all(self) -> list[_Run]:
        self._check_open()
        return list(self._runs.values())

    def _rows(self, runs: Iterable[_Run]) -> list[RunRow]:
        return [self._row(run) for run in runs]

    def _row(self, run: _Run) -> RunRow:
        made, cells = run.made, run.live.row
        cost, done = (cells.cost, cells.steps_done) if cells.finished is not None else run.live.totals()
        lease = self._lease(made.root)
        alive = lease.holder is not None and is_alive(lease.holder, lease.heartbeat, self._clock.now())
        return RunRow(
            made.run, made.root, made.parent, made.parent_node, made.name, made.manifest, made.task, decode(run.inputs),
            cells.state, cells.verdict, cells.leg, cells.reason, made.fingerprint, made.forked_from, cells.superseded_by,
            made.created, cells.finished, cost, done, self._steps_total.get(made.manifest, 0), alive,
        )  # fmt: skip


def _callees(graph: str) -> list[tuple[str, str]]:
    try:
        callees = decode(graph).get("callees", {})
    except (ValueError, AttributeError):
        return []
    return list(callees.items())


def _count_steps(graph: str) -> int:
    try:
        steps = decode(graph)["steps"]
    except (ValueError, TypeError, KeyError):
        return 0
    return len(steps) if isinstance(steps, list) else 0


def _step_row(run: _Run, step: StepCells) -> tuple[Any, ...]:
    held = run.record[step.result_seq - 1][3] if step.result_seq is not None else None
    return (
        run.made.run, step.node, step.state, step.attempt, step.tries, step.lost, step.key, step.producer, step.reason,
        step.until, step.item_key, step.cost, step.started, step.ended, step.executor, step.model, step.error,
        step.reused, held,
    )  # fmt: skip
