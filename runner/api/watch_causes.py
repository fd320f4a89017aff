"""Why a manifest of a watched folder is run, or is not. Reads the record, changes nothing.

A content runs once: what failed is not tried again by itself, and a restart finds in the record what was run already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Literal

from runner.api.planning import PlannedManifest
from runner.api.watch_triggers import Change
from runner.core.graph import StepGraph
from runner.core.plan import UNFINISHED
from runner.core.reuse import task_digest
from runner.ports import RunRow, Store
from runner.watch.cron import MOST_COUNTED, Due

RECENT = 20
"""Runs of a task that are looked at: superseded ones and those of a part do not count."""
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Want:
    """Why a manifest is to be run. Several causes make one run. `standing` is none: only what its latest run waits for is seen to."""

    content: bool = False
    change: Change | None = None
    scheduled: Due | None = None
    standing: bool = False

    def __or__(self, other: Want) -> Want:
        return Want(
            self.content or other.content,
            other.change or self.change,
            other.scheduled or self.scheduled,
            self.standing or other.standing,
        )

    def __bool__(self) -> bool:
        return self.content or self.standing or self.change is not None or self.scheduled is not None


NOTHING = Want()


@dataclass(frozen=True, slots=True)
class Decision:
    """`wait`: the run `run` is suspended, or somebody else drives it. `text`: what to say about a manifest that is left as it is."""

    act: Literal["begin", "resume", "wait", "leave"]
    reason: str = ""
    run: str = ""
    text: str = ""
    planned: PlannedManifest | None = None
    afresh: bool = False
    """Nothing is reused."""


def stands(graph: StepGraph, want: Want, store: Store) -> Decision | None:
    """What most manifests are at a start: they have succeeded as they are. Planning them all would take its time."""
    if want.change is not None or want.scheduled is not None:
        return None
    row = next(iter(store.runs(task=task_digest(graph.name, {}), limit=1)), None)
    if row is None or (row.state, row.manifest) != ("succeeded", graph.digest) or "+" in row.fingerprint:
        return None
    return Decision("leave", run=row.run)


def decide(planned: PlannedManifest, want: Want, store: Store, where: tzinfo) -> Decision:
    """What is to be done about a manifest that something asks for."""
    if planned.plan.action == "callable":
        return Decision("leave", text=f"{planned.plan.reason}: only called by others")
    rows = [row for row in store.runs(task=planned.task, limit=RECENT) if row.state != "superseded"]
    latest = rows[0] if rows else None
    if want.change is not None or want.scheduled is not None:
        reason = "; ".join(_reasons(want, latest, planned, where))
        return _begin(planned, reason, latest, afresh=want.scheduled is not None)
    if not want.content:
        found = _same(planned, latest, latest) if latest is not None else None
        return found if found is not None and found.act in ("resume", "wait") else Decision("leave")
    if latest is None:
        return _begin(planned, planned.plan.reason, latest)
    if latest.manifest != planned.graph.digest:
        return _begin(planned, "the manifest changed", latest)
    return _same(planned, _whole(rows, planned.graph.digest), latest)


def _same(planned: PlannedManifest, row: RunRow | None, latest: RunRow) -> Decision:
    """This very content was run before; all of it in `row`."""
    if row is None:
        return _begin(planned, "only a part of it was run", latest)
    if row.state == "succeeded":
        return Decision("leave", run=row.run)
    if row.state in ("failed", "cancelled"):
        text = f"run {row.run} of it {_ended(row)}: change it, or `runner resume {row.run}`"
        return Decision("leave", run=row.run, text=text)
    if row.owner_alive:
        return Decision("wait", run=row.run, text=f"another runner drives run {row.run} of it")
    if row.state == "pending":
        return _begin(planned, f"run {row.run} never began", row)
    if row.state == "suspended":
        return Decision("wait", run=row.run)
    return Decision("resume", "it was interrupted", run=row.run)


def _ended(row: RunRow) -> str:
    return "was cancelled" if row.state == "cancelled" else row.state


def _whole(rows: Sequence[RunRow], digest: str) -> RunRow | None:
    """The latest run of this content that was about all of it (`--select` makes others), unless another content came after it."""
    for row in rows:
        if row.manifest != digest:
            return None
        if "+" not in row.fingerprint:
            return row
    return None


def _begin(planned: PlannedManifest, reason: str, latest: RunRow | None, *, afresh: bool = False) -> Decision:
    stale = (latest.run,) if latest is not None and latest.state in UNFINISHED else ()
    chosen = planned.plan._replace(action="update" if latest else "create", reason=reason, supersedes=stale, run=None)
    return Decision("begin", reason, planned=planned._replace(plan=chosen), afresh=afresh)


def _reasons(want: Want, latest: RunRow | None, planned: PlannedManifest, where: tzinfo) -> list[str]:
    found = []
    if want.scheduled is not None:
        found.append(_scheduled(str(planned.graph.triggers.get("schedule")), want.scheduled, where))
    if want.change is not None:
        found.append(f"{named(want.change.paths)} changed")
    if want.content and latest is not None and latest.manifest != planned.graph.digest:
        found.append("the manifest changed")
    return found


def _scheduled(schedule: str, due: Due, where: tzinfo) -> str:
    at = datetime.fromtimestamp(due.at / 1000, where).strftime("%Y-%m-%d %H:%M")
    count = f"more than {MOST_COUNTED}" if due.missed == MOST_COUNTED else str(due.missed)
    missed = f", {count} earlier missed" if due.missed else ""
    return f"schedule {schedule}, due {at}{missed}"


def named(paths: Sequence[str]) -> str:
    """Some of these paths, and how many more there are."""
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    return f"{', '.join(paths[:MOST_NAMED])}{more}"
