"""`runner apply`."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.context import inputs_options, settings_of, texts_of, values_of
from runner.cli.driving import answered, drive, driving_options
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner apply manifests/
  runner apply manifests/report.yaml -i pattern=FIXME -j 4
  runner apply manifests/ --json > result.json
  runner apply manifests/ --events | jq 'select(.kind == "attempt_failed")'

Again: what succeeded and did not change is left alone, what is unfinished goes on where it was. Ctrl-C lets running steps
end, a second one stops them; both can be resumed.

\b
Exit codes: 0 ok, 1 a run failed, 2 invalid (nothing ran), 3 waits for a person, 4 budget, 5 mode, quota or exhausted,
7 state database, 8 internal error, 130 Ctrl-C, 143 SIGTERM.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@inputs_options
@driving_options
@click.option("--force", is_flag=True, help="New runs that reuse nothing.")
@click.option(
    "--on-pause",
    type=click.Choice(["fail", "ok"]),
    default="fail",
    help="`ok`: a run that waits is no failure (exit codes 3 to 5 become 0).",
)
def command(paths: tuple[str, ...], **options: Any) -> int:
    """Converge: run what is new or changed, resume what is unfinished, leave the rest."""
    from runner.api.apply import apply
    from runner.api.request import Request
    from runner.cli.loading import load_all

    with answered(options["json_"], options["events"]):
        settings = settings_of()
        texts, values = texts_of(options["inputs"]), values_of(options["inputs_file"])
        loaded = load_all(paths, settings)
        request = Request(
            texts=texts, values=values, force=options["force"], jobs=options["jobs"], on_pause=options["on_pause"]
        )
        return drive(
            lambda sinks, control: apply(loaded, settings, request, sinks=sinks, control=control),
            settings,
            json_=options["json_"],
            events=options["events"],
            graphs=loaded.graphs,
        )
