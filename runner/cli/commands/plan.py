"""`runner plan`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import inputs_options, reading, select_option, settings_of, texts_of, values_of
from runner.cli.output import err, options, out, out_json, painter
from runner.cli.shared import verb
from runner.manifest.vocabulary import MODES

if TYPE_CHECKING:
    from runner.api.planning import PlannedManifest
    from runner.api.request import Request
    from runner.api.settings import Settings
    from runner.ports import Store

EPILOG = """\b
Examples:
  runner plan manifests/
  runner plan manifests/quickstart/repository-report.yaml -i pause=0 --explain
  runner plan manifests/ --mode brainstem --format json
  runner plan manifests/ --select report/summary,label:team=core
  runner plan manifests/ --out plan.json && runner apply plan.json
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
@click.option("--mode", type=click.Choice(MODES), help="The system mode to plan for (default: the one that holds now).")
@select_option
@click.option("--out", "out_file", metavar="FILE", help="Also write the plan to FILE (.json), for `runner apply FILE`.")
@click.option("--explain", is_flag=True, help="Also routes, fault policies, effects, and where each value comes from.")
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How the plan is written."
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 6 when apply would do something.")
def command(paths: tuple[str, ...], **given: Any) -> int:
    """Show what apply would do with each manifest and step, and why."""
    from runner.api.planning import has_changes, plan, plan_json
    from runner.api.request import Request
    from runner.cli.loading import load_all
    from runner.cli.plan_text import plan_text
    from runner.clock import SystemClock

    settings = settings_of()
    texts, values = texts_of(given["inputs"]), values_of(given["inputs_file"])
    loaded = load_all(paths, settings)
    request = Request(texts=texts, values=values, mode=given["mode"], select=given["select"])
    with reading(settings) as store:
        planned = plan(loaded, settings, store, request, SystemClock())
        if given["out_file"] is not None:
            _write(Path(given["out_file"]), planned, paths, settings, store, request)
    if given["format_"] == "json":
        out_json(plan_json(planned))
    else:
        out(plan_text(planned, painter(), explain=given["explain"]))
    return 6 if given["detailed_exitcode"] and has_changes(planned) else 0


def _write(
    path: Path,
    planned: Sequence[PlannedManifest],
    paths: Sequence[str],
    settings: Settings,
    store: Store,
    request: Request,
) -> None:
    """`--out`."""
    from runner.api import planfile

    now = time.time_ns() // 1_000_000
    made = planfile.document(planned, paths, settings, store, request, now=now, env=os.environ)
    planfile.write(path, made)
    if not options().get("quiet"):
        err(f"wrote {path}: `runner apply {path}` does exactly this, or nothing")
        if made.left_out:
            err(f"  not in it, because they may be secrets: {', '.join(made.left_out)}; give them to apply again")
