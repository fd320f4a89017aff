"""`runner plan`."""

from __future__ import annotations

import click

from runner.cli.context import inputs_options, print_json, settings_of, texts_of, values_of
from runner.manifest.vocabulary import MODES

EPILOG = """\b
Examples:
  runner plan manifests/
  runner plan manifests/report.yaml -i pattern=FIXME --explain
  runner plan manifests/ --mode brainstem --format json
Starts no process, opens no socket, resolves no secret: safe on manifests of strangers.
"""


@click.command(epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@inputs_options
@click.option("--mode", type=click.Choice(MODES), default="normal", help="The system mode to plan for.")
@click.option("--explain", is_flag=True, help="Also routes, fault policies and where each value comes from.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How the plan is written.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 6 when apply would do something.")
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    inputs: tuple[str, ...],
    inputs_file: str | None,
    mode: str,
    explain: bool,
    format_: str,
    detailed_exitcode: bool,
) -> int:
    """Show what apply would do with each manifest and step, and why."""
    from runner.api.app import open_store
    from runner.api.planning import has_changes, plan, plan_json
    from runner.api.request import Request
    from runner.cli.loading import load_all
    from runner.cli.plan_text import plan_text
    from runner.clock import SystemClock

    settings = settings_of(ctx)
    loaded = load_all(ctx, paths, settings)
    request = Request(texts=texts_of(inputs), values=values_of(inputs_file), mode=mode)  # type: ignore[arg-type]
    clock = SystemClock()
    store = open_store(settings, clock, read_only=True)
    try:
        planned = plan(loaded, settings, store, request, clock)
    finally:
        store.close()
    if format_ == "json":
        print_json(plan_json(planned))
    else:
        click.echo(plan_text(planned, mode, explain=explain))
    return 6 if detailed_exitcode and has_changes(planned) else 0
