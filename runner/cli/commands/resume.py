"""`runner resume`."""

from __future__ import annotations

import click

from runner.cli.context import settings_of
from runner.cli.driving import drive

EPILOG = """\b
Examples:
  runner resume 3f9a2c             a unique prefix of the run's id
  runner resume fix-issue          the latest run of a manifest
  runner resume 3f9a2c --from test a new run that reuses what is before that step
"""


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN")
@click.option("--from", "from_step", metavar="STEP", help="A new run: this step and all that depends on it run again.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="At most N running steps.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
@click.option("--events", is_flag=True, help="Every event as a JSON line on stdout, ending with that document.")
@click.pass_context
def command(ctx: click.Context, run: str, from_step: str | None, jobs: int | None, json_: bool, events: bool) -> int:
    """Go on with one run: a next leg when it failed or was cancelled, else from where it was."""
    from runner.api.apply import resume
    from runner.api.request import Request

    settings = settings_of(ctx)
    request = Request(jobs=jobs)
    return drive(
        ctx,
        lambda sinks, control: resume(run, settings, request, from_step=from_step, sinks=sinks, control=control),
        json_=json_,
        events=events,
    )
