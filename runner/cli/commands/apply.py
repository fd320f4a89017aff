"""`runner apply`."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.context import inputs_options, settings_of, texts_of, values_of
from runner.cli.driving import drive

EPILOG = """\b
Examples:
  runner apply manifests/
  runner apply manifests/report.yaml -i pattern=FIXME -j 4
  runner apply manifests/ --json > result.json
Again: what succeeded and did not change is left alone; what is unfinished goes on where it was. Ctrl-C lets running steps
end, twice stops them; both can be resumed.

\b
Exit codes: 0 ok, 1 a run failed, 2 invalid, 3 waits for a person, 4 budget, 5 mode, quota or exhausted, 7 state database,
8 internal error, 130/143 signals.
"""


@click.command(epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@inputs_options
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="At most N running steps in all.")
@click.option("--force", is_flag=True, help="New runs that reuse nothing.")
@click.option("--on-pause", type=click.Choice(["fail", "ok"]), default="fail", help="`ok`: exit codes 3 to 5 become 0.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
@click.option("--events", is_flag=True, help="Every event as a JSON line on stdout, ending with that document.")
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], **options: Any) -> int:
    """Converge: run what is new or changed, resume what is unfinished, leave the rest."""
    from runner.api.apply import apply
    from runner.api.request import Request
    from runner.cli.loading import load_all

    settings = settings_of(ctx)
    loaded = load_all(ctx, paths, settings)
    request = Request(
        texts=texts_of(options["inputs"]),
        values=values_of(options["inputs_file"]),
        force=options["force"],
        jobs=options["jobs"],
        on_pause=options["on_pause"],
    )
    return drive(
        ctx,
        lambda sinks, control: apply(loaded, settings, request, sinks=sinks, control=control),
        json_=options["json_"],
        events=options["events"],
        graphs=loaded.graphs,
    )
