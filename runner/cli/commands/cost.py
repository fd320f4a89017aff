"""`runner cost`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import reading, settings_of
from runner.cli.output import Paint, columns, err, options, out, out_json, painter
from runner.cli.shared import verb
from runner.reporters.words import one_line

if TYPE_CHECKING:
    from runner.api.cost import Cost, Room
    from runner.ports import Spending

EPILOG = """\b
Examples:
  runner cost                            what each step has cost, the dearest first
  runner cost --by model --since 7d
  runner cost --by day --since 2026-11-01
  runner cost fix-issue                  the latest run of a manifest, with its sub-runs
  runner cost --json | jq .day.left_usd

`assumed` is the part that nobody billed: a price that is unknown, or an attempt that was lost. It counts like all other money. Days
are those of the config's `timezone`, and keep what runs cost that were removed since.

\b
Exit codes: 0 ok, 2 the config has mistakes, or no such run, 7 state database.
"""


@verb(EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--by",
    type=click.Choice(["step", "executor", "model", "day"]),
    default="step",
    show_default=True,
    help="What the sums are of.",
)
@click.option("--since", metavar="WHEN", help="Only what started since then: 7d ago, or a day such as 2026-11-22.")
@click.option("--all", "all_", is_flag=True, help="Also what cost nothing.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(run: str | None, by: Any, since: str | None, all_: bool, json_: bool) -> int:
    """Say what was spent, by step, executor, model or day, and what the caps leave."""
    from runner.api import cost as api
    from runner.api.queries import find_run
    from runner.api.units import zone

    settings, now = settings_of(), time.time_ns() // 1_000_000
    start = None if since is None else api.read_since(since, now, zone(settings.config))
    with reading(settings) as store:
        row = None if run is None else find_run(store, run)
        found = api.cost(settings, store.ledger, by, now, run=row, since=start)
    if json_:
        out_json(api.cost_json(found))
        return 0
    if not found.rows and not options().get("quiet"):
        err("nothing was spent yet" if since is None and run is None else "nothing was spent there")
    out("\n".join(text(found, painter(), all_=all_)))
    return 0


def text(found: Cost, paint: Paint, *, all_: bool) -> Iterator[str]:
    """The sums, their total, and the caps."""
    shown = [row for row in found.rows if all_ or row.cost]
    if shown:
        head = [paint(word, "bright_black") for word in (found.by, "cost", "assumed", "attempts")]
        yield from columns([head, *(_row(row) for row in shown)])
    hidden = len(found.rows) - len(shown)
    if hidden:
        yield f"{hidden} more cost nothing (--all shows {'it' if hidden == 1 else 'them'})"
    if found.rows:
        yield _total(found.total, paint)
    if found.run_room is not None:
        yield _room(f"run {found.run_room.id}", found.run_room)
    elif found.per_run is not None:
        yield f"cap of a run: {_usd(found.per_run)}"
    yield _room(f"today ({found.day.id})", found.day)


def _row(row: Spending) -> list[str]:
    return [one_line(row.key, 100), _usd(row.cost), _usd(row.assumed) if row.assumed else "", str(row.attempts)]


def _total(total: Spending, paint: Paint) -> str:
    attempts = "one attempt" if total.attempts == 1 else f"{total.attempts} attempts"
    assumed = f"; {_usd(total.assumed)} of it assumed: nobody billed it" if total.assumed else ""
    return paint(f"{_usd(total.cost)} in {attempts}{assumed}", "bright_white")


def _room(name: str, room: Room) -> str:
    held = f", {_usd(room.held)} reserved" if room.held else ""
    if room.cap is None:
        return f"{name}: {_usd(room.spent)} spent{held}; no cap"
    return f"{name}: {_usd(room.spent)} spent{held} of {_usd(room.cap)}; {_usd(room.left or 0)} left"


def _usd(micro: int) -> str:
    return f"${micro / 1_000_000:.4f}"
