"""`runner show`."""

from __future__ import annotations

import click

from runner.cli.context import reading, settings_of
from runner.cli.output import out, out_json, painter
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner show 3f9a2c             a unique prefix of the run's id
  runner show fix-issue          the latest run of a manifest
  runner show 3f9a2c --json      with every item and attempt

\b
Exit codes: 0 ok, 2 no such run, 7 state database.
"""


@verb(EPILOG)
@click.argument("run", metavar="RUN")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(run: str, json_: bool) -> int:
    """Show one run: its steps with states, reasons, attempts, answers and worktrees, its outputs, and what to do next."""
    from runner.api.queries import find_run, show_json
    from runner.cli.run_text import show_text
    from runner.engine.worktree import kept_worktrees

    settings = settings_of()
    state = settings.state_path.parent
    with reading(settings) as store:
        row = find_run(store, run)
        if json_:
            out_json(show_json(store, row.run, kept_worktrees(state / "worktrees", row.run)))
        else:
            out(show_text(store, row, state, painter()))
    return 0
