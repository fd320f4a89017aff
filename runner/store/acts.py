"""What the writer does besides units: beginning a run, leases, heartbeats, messages. Each runs inside its transaction, checks
first and writes then. The rules themselves are in leases.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runner.ports import NewManifest, NewRun, OwnerId
from runner.store import leases
from runner.store.leases import Lease, Rival
from runner.store.queries import SQL
from runner.store.record import Record, live_of

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""A named query and its values to rows: of the writer, or of a reader."""


def begin(
    record: Record, run: NewRun, inputs: str, manifest: NewManifest, owner: OwnerId, supersede: Sequence[str]
) -> int:
    """See `ports.Store.begin`. `inputs` are the run's, encoded."""
    now = record.clock.now()
    leases.check_begin(rivals(record.query, run.task, now), owner, supersede, now)
    for older in supersede:
        lease = lease_on(record.query, older)
        if lease is not None:
            leases.check_free(older, lease, owner, now)
    for older in supersede:
        _end_tree(record, older, run.run, now)
    record.add_manifest(manifest)
    number = record.add_run(run, inputs)
    epoch = _take(record, run.root, owner, now)
    record.keep(live_of(run, number))
    return epoch


def acquire(record: Record, root: str, owner: OwnerId) -> int:
    """See `ports.Store.acquire`."""
    now = record.clock.now()
    lease = lease_on(record.query, root)
    if lease is not None:
        leases.check_free(root, lease, owner, now)
    elif not record.query("run_state", (root,)):
        raise leases.no_run(root)
    return _take(record, root, owner, now)


def release(record: Record, root: str, epoch: int) -> None:
    record.forget(root)
    record.db.execute(SQL["drop_lease"], (root, epoch))


def heartbeat(record: Record, owner: OwnerId) -> None:
    values = (owner.owner, owner.host, owner.pid, owner.pid_start, record.clock.now())
    record.db.execute(SQL["put_owner"], values)


def post(record: Record, root: str, kind: str, body: str, by: str) -> int:
    """Leave a message; raises StoreError when there is no such run."""
    if not record.query("run_state", (root,)):
        raise leases.no_run(root)
    [(message,)] = record.query("post", (root, kind, body, by, record.clock.now()))
    return int(message)


def _take(record: Record, root: str, owner: OwnerId, now: int) -> int:
    record.forget(root)
    heartbeat(record, owner)
    [(epoch,)] = record.query("put_lease", (root, owner.owner))
    return int(epoch)


def lease_on(ask: Ask, root: str) -> Lease | None:
    """Who holds a root; None = nobody ever did."""
    found = ask("lease", (root,))
    return lease_of(*found[0]) if found else None


def lease_of(
    epoch: int, owner: str | None, host: str | None, pid: int | None, pid_start: int | None, heartbeat: int | None
) -> Lease:
    """A row of the query `lease`."""
    if owner is None or host is None:
        return Lease(epoch, None)
    return Lease(epoch, OwnerId(owner, host, pid or 0, pid_start or 0), heartbeat or 0)


def rivals(ask: Ask, task: str, now: int) -> Iterator[Rival]:
    """The runs of the task that a new one must reckon with."""
    for run, state in ask("rivals", (task,)):
        lease = lease_on(ask, run)
        yield Rival(run, state, lease, unknown_in(ask, run, lost=lease is None or not lease.is_held(now)))


def unknown_in(ask: Ask, root: str, *, lost: bool) -> tuple[str, str] | None:
    """The first main step of the tree whose outcome nobody knows. `lost`: nobody drives it, so of what is under way neither."""
    steps = ask("unknown_steps", (root, lost))
    return next(((run, node) for run, node, graph in steps if not leases.is_final(graph, node)), None)


def _end_tree(record: Record, root: str, by: str, now: int) -> None:
    """End the unfinished runs of a tree, children first, and shut out whoever drove it."""
    for (run,) in record.query("unfinished_of_root", (root,)):
        record.append(leases.superseded(run, record.live(run).last + 1, by, now))
    record.supersede(root, by)
    epoch = record.query("put_lease", (root, None))[0][0]
    record.forget(root)
    record.db.execute(SQL["drop_lease"], (root, epoch))
