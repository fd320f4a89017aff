"""Taking runs out of the record again, and what nobody names any more. Which trees may go is decided in leases.py.

Outputs are looked for in two parts, because no index says which events name them: a survey by a reader, which may take its time, and
then, in the writer's transaction, only what was recorded since.
"""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import apsw

from runner.store import acts, leases
from runner.store.leases import Past
from runner.store.queries import SQL
from runner.store.record import Record

FORGOTTEN_OWNER_MS = 24 * 3_600_000
"""A process that was not heard of for this long, and holds nothing, is dropped; it would come back with its next heartbeat."""

_LAST_ID = (1 << 63) - 1
_OF_RUN = ("forget_events", "forget_steps", "forget_attempts")
_OF_ROOT = ("forget_inbox", "forget_lease", "forget_runs")


def forget(record: Record, roots: Sequence[str]) -> list[str]:
    """See `ports.Store.forget`."""
    now = record.clock.now()
    in_use = frozenset(_in_use(record, now))
    gone: list[str] = []
    numbers: list[int] = []
    for root in roots:
        runs = record.query("runs_of_tree", (root,))
        past = _past(record, root, frozenset(name for _, _, name in runs))
        if past is not None and leases.may_forget(past, in_use, now):
            _remove(record, root, runs)
            numbers += [number for number, _, _ in runs]
            gone += [run for _, run, _ in runs]
    if numbers:
        record.db.execute(SQL["forget_reuse"], (json.dumps(numbers),))
    return gone


def _in_use(record: Record, now: int) -> Iterator[str]:
    """Names of the manifests that live processes run, or may call."""
    for root, *lease in record.query("held"):
        if acts.lease_of(*lease).is_held(now):
            yield from (name for (name,) in record.query("names_within_reach", (root,)))


def _past(record: Record, root: str, names: frozenset[str]) -> Past | None:
    found = record.query("past", (root,))
    if not found:
        return None
    [(state, newest)] = found
    return Past(
        state, bool(newest), acts.lease_on(record.query, root), acts.unknown_in(record.query, root, lost=False), names
    )


def _remove(record: Record, root: str, runs: Sequence[tuple[int, str, str]]) -> None:
    record.forget(root)
    for number, run, _ in runs:
        for name in _OF_RUN:
            record.db.execute(SQL[name], (number,))
        record.db.execute(SQL["forget_money"], (run,))
        record.db.execute(SQL["forget_caps"], (run,))
    for name in _OF_ROOT:
        record.db.execute(SQL[name], (root,))


# ---------------------------------------------------------------- what nobody names


class Survey(NamedTuple):
    """Results that no event named when a reader looked, and how far the record of each run went then."""

    unnamed: frozenset[str]
    ends: dict[str, int]


def survey(db: apsw.Connection) -> Survey:
    """Look at the whole record, in one snapshot. Without large results there is nothing to look at."""
    with db:
        outputs = frozenset(digest for (digest,) in db.execute(SQL["outputs"]))
        if not outputs:
            return Survey(outputs, {})
        ends = {run: end for run, _, end in db.execute(SQL["ends_of_runs"])}
        named = frozenset(digest for (digest,) in db.execute(SQL["named_results"], (0, _LAST_ID)))
    return Survey(outputs - named, ends)


def sweep(record: Record, seen: Survey) -> int:
    """See `ports.Store.sweep`."""
    unnamed = seen.unnamed - _named_since(record, seen) if seen.unnamed else seen.unnamed
    freed = sum(record.blobs.remove(record.db, digest) for digest in sorted(unnamed))
    record.query("delete_manifests")
    record.query("delete_owners", (record.clock.now() - FORGOTTEN_OWNER_MS,))
    record.blobs.clear({digest for (digest,) in record.query("outputs")})
    return freed


def _named_since(record: Record, seen: Survey) -> frozenset[str]:
    found: set[str] = set()
    for run, number, end in record.query("ends_of_runs"):
        before = seen.ends.get(run, number << 32)
        if end > before:
            found.update(digest for (digest,) in record.query("named_results", (before, end)))
    return frozenset(found)
