"""`runner cancel`."""

from __future__ import annotations

import asyncio

import click

from runner.cli.context import settings_of, user
from runner.cli.output import out
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner cancel 3f9a2c       a unique prefix of the run's id
  runner cancel fix-issue    the latest run of a manifest

A runner that drives it right now is told; else it is ended here. Its `finally` steps run; to cancel those, too, say it again.

\b
Exit codes: 0 ok, 2 no such run or it has ended already, 7 state database.
"""


@verb(EPILOG)
@click.argument("run", metavar="RUN")
def command(run: str) -> int:
    """End one run as cancelled."""
    from runner.api.apply import cancel

    result = asyncio.run(cancel(run, settings_of(), by=user()))
    end = result.runs[0]
    done = end.state == "cancelled"
    out(
        f"{end.manifest} {end.run}: "
        + ("cancelled" if done else f"its runner was told to cancel it (now: {end.state})")
    )
    return 0
