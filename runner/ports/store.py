"""The record."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from runner.core.events import Recorded
from runner.ports.health import Health
from runner.ports.money import Ledger
from runner.ports.records import (
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


class Store(Protocol):
    """The record. Writes go through one writer with group commit and are answered after COMMIT; reads are synchronous and cheap.

    Every write method may raise (or its awaitable may raise) the StoreError family; a lease that was taken over raises Fenced.
    """

    @property
    def health(self) -> Health: ...

    @property
    def ledger(self) -> Ledger: ...

    def begin(
        self, run: NewRun, manifest: NewManifest, owner: OwnerId, *, supersede: Sequence[str] = ()
    ) -> Awaitable[int]:
        """Create a root run, take its lease, and end the unfinished runs `supersede` of the same task as `superseded`, in one
        transaction. Returns the epoch. Raises StoreBusy when a live owner drives an unfinished run of the same task, NeedsPerson
        when one of those holds a `once` step of which nobody knows what became (see `in_doubt`)."""
        ...

    def in_doubt(self, task: str) -> tuple[str, str] | None:
        """(run, step) for which `begin` of a new run of the task raises NeedsPerson: its outcome is recorded as unknown, or it was under
        way, and must not happen twice, when its runner died."""
        ...

    def acquire(self, root: str, owner: OwnerId) -> Awaitable[int]:
        """Take the lease of `root`: the new epoch. Raises StoreBusy when its owner is alive and not us."""
        ...

    def release(self, root: str, epoch: int) -> Awaitable[None]:
        """Give the lease back (a no-op when it is no longer ours)."""
        ...

    def heartbeat(self, owner: OwnerId) -> Awaitable[None]:
        """Say that we live."""
        ...

    def commit(self, unit: Unit) -> Awaitable[None]:
        """Append the unit's events and update the projections. The coroutine may be awaited late; order of calls = order of commits."""
        ...

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        """`commit` of several units in one transaction, each for itself: one that is refused fails alone. From a running loop, in which
        each is told, after COMMIT and in order: before this returns, where that takes no time, or later. Never raises."""
        ...

    def post(self, root: str, kind: str, body: Mapping[str, Any], by: str) -> Awaitable[int]:
        """Leave a message for the owner of `root`."""
        ...

    def forget(self, roots: Sequence[str]) -> Awaitable[Sequence[str]]:
        """Remove whole trees from the record, what others might reuse of them included. Returns the runs that are gone, sub-runs
        among them. Passed over: a tree that `apply` may still take up or compares with, that somebody drives, or whose results a run that
        is being driven right now may be about to reuse (store/leases.py, `may_forget`)."""
        ...

    def sweep(self) -> Awaitable[int]:
        """Remove large results and manifests that no run names any more. Returns the bytes of the results."""
        ...

    def inbox(self, root: str | None = None) -> Sequence[InboxRow]:
        """What waits for whoever drives `root`; None = in all inboxes. Oldest first."""
        ...

    def changed(self) -> bool:
        """True when another connection committed since the last call (PRAGMA data_version: microseconds)."""
        ...

    def load(self, root: str) -> Sequence[RunRecord]:
        """The runs of a tree, root first, each with its events in order."""
        ...

    def runs(self, *, name: str | None = None, task: str | None = None, limit: int = 100) -> Sequence[RunRow]:
        """Root runs, newest first."""
        ...

    def run(self, run: str) -> RunRow | None: ...

    def knows(self, run: str) -> bool:
        """Is there a run of this id? Cheaper than its row."""
        ...

    def find(self, prefix: str, limit: int = 3) -> Sequence[RunRow]:
        """Runs whose id starts with `prefix`."""
        ...

    def children(self, run: str) -> Sequence[RunRow]: ...

    def steps(self, run: str) -> Sequence[StepRow]: ...

    def attempts(self, run: str, node: str | None = None) -> Sequence[AttemptRow]: ...

    def events(self, run: str, after: int = 0) -> Sequence[Recorded]: ...

    def newest(self, run: str, kind: str) -> Recorded | None:
        """The newest event of this kind; no other one is decoded."""
        ...

    def manifest(self, digest: str) -> NewManifest | None: ...

    def written(self, digest: str) -> Sequence[tuple[str, bool]]:
        """The steps of a manifest, in its order: (id, is it optional?); none when it is not known. The graph itself takes
        longer to read."""
        ...

    def reusable(self, name: str, key: str) -> Reusable | None:
        """The newest recorded success of this key under this manifest name."""
        ...

    def has_reusable(self, name: str) -> bool:
        """False = no look-up of this name can hit: saves one query a step."""
        ...

    def blob(self, digest: str) -> bytes: ...

    def close(self) -> None: ...
