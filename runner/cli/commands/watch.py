"""`runner watch`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from runner.cli.context import settings_of
from runner.cli.driving import answered, driven, driving_options, plain_sinks
from runner.cli.output import out_json
from runner.cli.shared import verb
from runner.errors import UsageError

EPILOG = """\b
Examples:
  runner watch manifests/
  runner watch manifests/ --once --json          for cron, a timer or CI: do what is to be done, and end
  runner watch /mnt/share/manifests --poll       where the file system tells of no changes
  runner watch manifests/ --settle 2s            for slow syncs: a file counts when it was left alone this long

A manifest runs when it is new or changed, once for each content that has settled; swap files, backups and half-written files never
do. While a file has mistakes the version before stays in force. What is suspended goes on when its reason is gone: approved or
resolved from another terminal, its time come, the mode back. `triggers` start runs when files change (`files`) and at given times
(`schedule`, in config's `timezone`); times that nobody was there for are made up for by one run. A restart runs nothing again.

Ctrl-C, SIGTERM or a closed terminal (SIGHUP, unless under `nohup`) lets running steps end, a second one of the first two stops them;
all can be resumed.

\b
Exit codes: as `runner apply`; 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM. With --once also 2 when a manifest has mistakes (the others have run).
7: the folder is watched already, or the state database.
"""


@verb(EPILOG)
@click.argument("folder", metavar="DIR")
@driving_options
@click.option("--once", is_flag=True, help="Do what is to be done now, wait for it, and end.")
@click.option("--settle", metavar="DURATION", default="400ms", help="A file counts when it was left alone this long.")
@click.option(
    "--poll/--no-poll",
    default=None,
    help="Look again and again instead of waiting to be told (default: on network file systems).",
)
@click.option("--only-triggers", is_flag=True, help="Manifests that have `triggers` are run by these alone.")
def command(
    folder: str,
    jobs: int | None,
    json_: bool,
    events: bool,
    once: bool,
    settle: str,
    poll: bool | None,
    only_triggers: bool,
) -> int:
    """Run a folder of manifests by itself: what changed, what is due, what may go on."""
    from runner.api.watching import Wish, watch
    from runner.cli.watch_text import Screen

    with answered(json_, events):
        if not folder:
            raise UsageError("'' is no folder", hint="give the folder that holds the manifests")
        settings = settings_of()
        wish = Wish(
            Path(folder),
            once=once,
            settle=_millis(settle),
            poll=poll,
            only_triggers=only_triggers,
            jobs=jobs,
        )
        with closing(Screen(settings, busy=json_ or events)) as screen:
            result = driven(
                lambda sinks, control: watch(wish, settings, screen, sinks=sinks, control=control), plain_sinks(events)
            )
            if json_ or events:
                out_json(result.to_json(), indent=None if events else 2)
            else:
                screen.last(result)
    return result.exit_code


def _millis(text: str) -> int:
    from runner.manifest.types import read_duration

    try:
        millis = read_duration(text)
    except ValueError as error:
        raise UsageError(f"--settle {text}: {error}", hint="such as 400ms or 2s") from error
    if not 20 <= millis <= 600_000:
        raise UsageError(f"--settle {text}: expected 20ms to 10m")
    return millis
