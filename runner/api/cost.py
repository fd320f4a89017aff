"""`runner cost`: what was spent, on what, how much of it nobody billed, and what the caps leave. Reads; changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any, Literal

from runner.api.results import MICRO
from runner.api.settings import Settings
from runner.api.units import micro, zone
from runner.errors import UsageError
from runner.ports import Ledger, RunRow, Scope, Spending, Standing

By = Literal["step", "executor", "model", "day"]


@dataclass(frozen=True, slots=True)
class Room:
    """A scope's money. `cap` in micro-USD; None = there is none."""

    id: str
    cap: int | None
    held: int
    spent: int

    @property
    def left(self) -> int | None:
        return None if self.cap is None else max(0, self.cap - self.held - self.spent)


@dataclass(frozen=True, slots=True)
class Cost:
    """Sums by `by`, and what the caps leave. Micro-USD."""

    by: By
    rows: tuple[Spending, ...]
    day: Room
    run: str | None = None
    since: int | None = None
    run_room: Room | None = None
    per_run: int | None = None
    per_day: int | None = None

    @property
    def total(self) -> Spending:
        return Spending(
            "",
            sum(row.cost for row in self.rows),
            sum(row.assumed for row in self.rows),
            sum(row.attempts for row in self.rows),
        )


def cost(
    settings: Settings, ledger: Ledger, by: By, now: int, *, run: RunRow | None = None, since: int | None = None
) -> Cost:
    """All that is recorded, or one run with its sub-runs, or what started since a moment. Raises UsageError for days of one run."""
    if by == "day" and run is not None:
        raise UsageError("the money of a run is not kept by day", hint="choose --by step, executor or model")
    where, budget = zone(settings.config), settings.config.budget
    today = day_of(now, where)
    per_run, per_day = micro(budget.per_run_usd), micro(budget.per_day_usd)
    return Cost(
        by,
        tuple(_rows(ledger, by, where, run, since)),
        _room(today, ledger.standing(Scope("day", today)), per_day),
        run=run.run if run else None,
        since=since,
        run_room=_room(run.root, ledger.standing(Scope("run", run.root)), per_run) if run else None,
        per_run=per_run,
        per_day=per_day,
    )


def _rows(ledger: Ledger, by: By, where: tzinfo, run: RunRow | None, since: int | None) -> Sequence[Spending]:
    if by == "day":
        return ledger.days("" if since is None else day_of(since, where))
    return ledger.spending(by, root=run.root if run else None, since=since)


def _room(id: str, standing: Standing, cap: int | None) -> Room:
    """The cap on record is the one that holds for the scope; before anything was reserved there, it is the config's."""
    return Room(id, cap if standing.cap is None else standing.cap, standing.held, standing.spent)


def day_of(millis: int, where: tzinfo) -> str:
    """The day of a moment, as the ledger names it."""
    return datetime.fromtimestamp(millis / 1000, where).date().isoformat()


def read_since(text: str, now: int, where: tzinfo) -> int:
    """`7d` before now, or the beginning of a day such as 2026-11-22. Raises UsageError."""
    from runner.manifest.types import read_duration

    try:
        return now - read_duration(text)
    except ValueError:
        pass
    try:
        start = round(datetime.combine(date.fromisoformat(text), datetime.min.time(), where).timestamp() * 1000)
        day_of(start, where)  # the first days of year 1 have none in zones east of Greenwich
        return start
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {text}: expected a length of time or a day", hint="such as 7d, 12h or 2026-11-22"
        ) from error


# ---------------------------------------------------------------- JSON


def cost_json(found: Cost) -> dict[str, Any]:
    """The document of `cost --json`."""
    return {
        "version": 1,
        "by": found.by,
        "run": found.run,
        "since": found.since,
        "total": _sum_json(found.total),
        "rows": [{"key": row.key, **_sum_json(row)} for row in found.rows],
        "per_run_usd": _usd(found.per_run),
        "per_day_usd": _usd(found.per_day),
        "day": _room_json(found.day),
        "run_budget": _room_json(found.run_room) if found.run_room else None,
    }


def _sum_json(row: Spending) -> dict[str, Any]:
    return {"cost_usd": row.cost / MICRO, "assumed_usd": row.assumed / MICRO, "attempts": row.attempts}


def _room_json(room: Room) -> dict[str, Any]:
    return {
        "id": room.id,
        "cap_usd": _usd(room.cap),
        "held_usd": room.held / MICRO,
        "spent_usd": room.spent / MICRO,
        "left_usd": _usd(room.left),
    }


def _usd(amount: int | None) -> float | None:
    return None if amount is None else amount / MICRO
