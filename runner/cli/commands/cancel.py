"""`runner cancel`."""

from __future__ import annotations

import asyncio
import getpass

import click

from runner.cli.context import settings_of

EPILOG = """\b
Example:
  runner cancel fix-issue
A runner that drives it right now is told; else it is ended here. Its `finally` steps run.
"""


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN")
@click.pass_context
def command(ctx: click.Context, run: str) -> int:
    """End one run as cancelled."""
    from runner.api.apply import cancel

    result = asyncio.run(cancel(run, settings_of(ctx), by=getpass.getuser()))
    end = result.runs[0]
    done = end.state == "cancelled"
    click.echo(f"{end.manifest} {end.run}: " + ("cancelled" if done else f"told to cancel (it is {end.state})"))
    return 0
