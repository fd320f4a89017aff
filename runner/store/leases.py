"""Rules of leases and of beginning a run: pure, shared by both stores. Reading and writing the rows is theirs."""

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runner.clock import Millis
from runner.core.events import Event, Recorded
from runner.errors import Fenced, NeedsPerson, NoRun, StoreBusy, StoreError
from runner.ports import OwnerId, Unit
from runner.store.cells import Live
from runner.store.owners import is_alive


class Lease(NamedTuple):
    """Who holds a root; `holder` None = nobody."""

    epoch: int
    holder: OwnerId | None
    heartbeat: Millis = 0

    def is_held(self, now: Millis) -> bool:
        """Does somebody hold it who is alive?"""
        return self.holder is not None and is_alive(self.holder, self.heartbeat, now)

    def held_by_other(self, owner: OwnerId, now: Millis) -> bool:
        """Does somebody else hold it who is alive?"""
        return self.holder is not None and self.holder.owner != owner.owner and self.is_held(now)


class Rival(NamedTuple):
    """An earlier run of the same task. `unknown`: (run, node) of a step in its tree whose outcome nobody knows; a `once` step that was
    under way when its runner died is one, though nobody has said so in the record yet."""

    run: str
    state: str
    lease: Lease | None
    unknown: tuple[str, str] | None


OPEN = frozenset({"pending", "running", "suspended"})
"""A run that has not ended."""


def check_begin(rivals: Iterable[Rival], owner: OwnerId, supersede: Sequence[str], now: Millis) -> None:
    """Raise StoreBusy or NeedsPerson when a new run of the task must not begin."""
    for rival in rivals:
        if rival.state in OPEN and rival.lease is not None:
            check_free(rival.run, rival.lease, owner, now)
            holder = rival.lease.holder
            if holder is not None and holder.owner == owner.owner and rival.run not in supersede:
                raise busy(rival.run, holder)
        if rival.unknown is not None:
            run, node = rival.unknown
            say = f"runner resolve {shlex.quote(run)} {shlex.quote(node)} --done JSON, or --redo"
            raise NeedsPerson(
                f"run {run}: nobody knows how step {node!r} ended, and it must not happen twice",
                hint=f"look at what it did; {say}",
            )


def in_doubt(rivals: Iterable[Rival]) -> tuple[str, str] | None:
    """The step that holds back a new run of the task, until somebody resolves it."""
    return next((rival.unknown for rival in rivals if rival.unknown is not None), None)


def check_free(root: str, lease: Lease, owner: OwnerId, now: Millis) -> None:
    """Raise StoreBusy when somebody else holds the root and lives."""
    if lease.held_by_other(owner, now) and lease.holder is not None:
        raise busy(root, lease.holder)


def busy(root: str, holder: OwnerId) -> StoreBusy:
    return StoreBusy(
        f"run {root} is driven by another runner (process {holder.pid} on {holder.host})",
        hint="wait until it has ended, or stop it; `runner status` shows what it does",
    )


class Past(NamedTuple):
    """A tree that may be forgotten, perhaps: its root's state, whether that is the newest run of its task (superseded ones do not
    count), its lease, a step whose outcome nobody knows, and the names of the manifests in it."""

    state: str
    newest: bool
    lease: Lease | None
    unknown: tuple[str, str] | None
    names: frozenset[str]


def may_forget(past: Past, in_use: frozenset[str], now: Millis) -> bool:
    """Whether nobody needs the tree any more. The newest run of a task is what `apply` resumes, or compares with and leaves alone; an
    unknown outcome holds back new runs until somebody resolves it. `in_use`: names of manifests that somebody runs right now: he may
    have looked up a result here which he has not recorded as reused yet."""
    needed = past.state in OPEN or past.newest or past.unknown is not None
    held = past.lease is not None and past.lease.is_held(now)
    return not needed and not held and not past.names & in_use


def no_run(run: str) -> NoRun:
    return NoRun(f"there is no run {run} in the state database", hint="`runner status` lists the runs")


def fenced(root: str) -> Fenced:
    return Fenced(
        f"run {root} was taken over by another runner", hint="this one has stopped; `runner status` shows who goes on"
    )


def check_unit(unit: Unit, lives: dict[str, Live]) -> None:
    """Raise StoreError unless the unit's events belong to its tree and continue the record. `lives`: the runs they name."""
    last: dict[str, int] = {}
    for run, seq, _, _ in unit.events:
        live = lives[run]
        if live.root != unit.root:
            raise StoreError(f"run {run} is no part of the tree {unit.root}")
        expected = last.get(run, live.last) + 1
        if seq != expected:
            raise StoreError(
                f"event {seq} of run {run} does not follow event {expected - 1}",
                hint="the record has moved on: load the run anew",
            )
        last[run] = seq


def superseded(run: str, seq: int, by: str, at: Millis) -> Recorded:
    """The event that ends an older run in favour of a new one."""
    reason = f"superseded by run {by}"
    return Recorded(run, seq, at, Event("run_finished", "", {"state": "superseded", "reason": reason}))


def is_final(graph: str | None, node: str) -> bool:
    """Is `node` a `finally` step of this graph? Those start over in each leg, whatever became of them."""
    if not graph:
        return False
    try:
        steps = json.loads(graph).get("steps", ())
    except (ValueError, AttributeError):
        return False
    step_id = node.partition("[")[0]
    return any(step.get("id") == step_id and step.get("final", False) for step in steps)
