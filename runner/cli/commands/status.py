"""`runner status`, also called `ps`."""

from __future__ import annotations

import os
import time

import click

from runner.cli.context import reading, settings_of
from runner.cli.output import columns, err, options, out, out_json, painter
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner status
  runner ps -n 5
  runner status --json | jq '.runs[] | select(.state == "failed")'

A second terminal may look while a run goes on. `interrupted` is a run whose runner died: `runner apply` takes it up again.

\b
Exit codes: 0 ok, 7 state database.
"""


@verb(EPILOG)
@click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 1_000_000),
    default=30,
    metavar="N",
    help="The newest N runs.",
    show_default=True,
)
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(limit: int, json_: bool) -> int:
    """List the runs, newest first, and how they stand."""
    from runner.api.modes import standing
    from runner.api.queries import run_reason, run_reason_in_full, status_json
    from runner.cli.run_text import status_rows

    settings = settings_of()
    with reading(settings) as store:
        rows = store.runs(limit=limit + 1)
        tell = run_reason if json_ else run_reason_in_full
        reasons = {row.run: tell(store, row) for row in rows[:limit]}
        now = time.time_ns() // 1_000_000
        mode = standing(settings, os.environ, store.health, now).state.mode
    if json_:
        out_json(status_json(rows[:limit], mode, lambda row: reasons[row.run]))
        return 0
    if mode != "normal" and not options().get("quiet"):
        err(f"the mode is {mode}: `runner mode` says why")
    if not rows:
        err("no runs yet: `runner apply PATH` makes the first one")
        return 0
    lines = columns(status_rows(rows[:limit], reasons, now, painter()))
    out("\n".join(lines))
    if len(rows) > limit and not options().get("quiet"):
        err(f"… there are older runs: runner status -n {limit * 4}")
    return 0
