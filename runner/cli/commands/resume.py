"""`runner resume`."""

from __future__ import annotations

import click

from runner.cli.context import settings_of
from runner.cli.driving import answered, drive, driving_options
from runner.cli.shared import MOST_USD, Number, verb

EPILOG = """\b
Examples:
  runner resume 3f9a2c              a unique prefix of the run's id
  runner resume fix-issue           the latest run of a manifest
  runner resume 3f9a2c --add-usd 2  it may spend two dollars more
  runner resume 3f9a2c --from test  a new run that reuses what does not depend on that step

The run goes on with the manifest as it was when it started; `runner apply` also looks for changes. Exit codes are those of
`runner apply`.
"""


@verb(EPILOG)
@click.argument("run", metavar="RUN")
@click.option("--from", "from_step", metavar="STEP", help="A new run: this step and all that depends on it run again.")
@click.option("--add-usd", type=Number(0, MOST_USD), help="US dollars that the run may spend besides; not with --from.")
@driving_options
def command(run: str, from_step: str | None, add_usd: float | None, jobs: int | None, json_: bool, events: bool) -> int:
    """Go on with one run: a next leg when it failed or was cancelled, else from where it was."""
    from runner.api.apply import resume
    from runner.api.request import Request

    with answered(json_, events):
        settings = settings_of()
        request = Request(jobs=jobs, add_usd=add_usd)
        return drive(
            lambda sinks, control: resume(run, settings, request, from_step=from_step, sinks=sinks, control=control),
            settings,
            json_=json_,
            events=events,
        )
