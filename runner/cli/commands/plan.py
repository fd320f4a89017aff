"""`runner plan`."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.context import inputs_options, reading, settings_of, texts_of, values_of
from runner.cli.output import out, out_json, painter
from runner.cli.shared import verb
from runner.manifest.vocabulary import MODES

EPILOG = """\b
Examples:
  runner plan manifests/
  runner plan manifests/report.yaml -i pattern=FIXME --explain
  runner plan manifests/ --mode brainstem --format json
  runner plan manifests/ --detailed-exitcode || echo "there is something to do"

Starts no process, opens no socket, resolves no secret: safe on manifests of strangers.

\b
Signs: + create or run, ~ update, > resume, = unchanged or reused, - skip, ? known only later.
Exit codes: 0 ok, 2 invalid manifest, config or usage, 6 with --detailed-exitcode when apply would do something,
7 state database.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@inputs_options
@click.option("--mode", type=click.Choice(MODES), default="normal", help="The system mode to plan for.")
@click.option("--explain", is_flag=True, help="Also routes, fault policies, effects, and where each value comes from.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How the plan is written."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 6 when apply would do something.")
def command(paths: tuple[str, ...], **options: Any) -> int:
    """Show what apply would do with each manifest and step, and why."""
    from runner.api.planning import has_changes, plan, plan_json
    from runner.api.request import Request
    from runner.cli.loading import load_all
    from runner.cli.plan_text import plan_text
    from runner.clock import SystemClock

    settings = settings_of()
    texts, values = texts_of(options["inputs"]), values_of(options["inputs_file"])
    loaded = load_all(paths, settings)
    request = Request(texts=texts, values=values, mode=options["mode"])
    with reading(settings) as store:
        planned = plan(loaded, settings, store, request, SystemClock())
    if options["format_"] == "json":
        out_json(plan_json(planned))
    else:
        out(plan_text(planned, painter(), mode=options["mode"] if options["explain"] else None))
    return 6 if options["detailed_exitcode"] and has_changes(planned) else 0
