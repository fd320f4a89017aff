"""`runner route`."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from runner.cli.context import inputs_options, reading, settings_of, texts_of, values_of
from runner.cli.output import out, out_json, painter
from runner.cli.shared import verb
from runner.manifest.vocabulary import MODES

EPILOG = """\b
Examples:
  runner route manifests/report.yaml summarise
  runner route manifests/ report/summarise -i issue=42
  runner route manifests/ summarise --mode brainstem     as if that mode held
  runner route manifests/ summarise --json | jq -r '.ways[0].candidates[] | select(.taken) | .target'

\b
Signs: → taken, · asked when those before it fail, ~ hidden for now (mode, open circuit, cooling), × refused as things are.
Without --mode the mode that holds now is meant (`runner mode`). Asks nobody, starts nothing, resolves no secret.

\b
Exit codes: 0 ok, 2 invalid manifest, config or usage, 7 state database.
"""


@verb(EPILOG)
@click.argument("path", metavar="PATH")
@click.argument("step", metavar="STEP")
@inputs_options
@click.option(
    "--mode", type=click.Choice(MODES), help="The system mode to route for (default: the one that holds now)."
)
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(path: str, step: str, **given: Any) -> int:
    """Say who would do STEP (or MANIFEST/STEP) and why: every candidate, taken or not, with its reason."""
    from runner.api import planning, routes, routing
    from runner.api.request import Request
    from runner.cli.loading import load_all
    from runner.cli.route_text import route_text

    settings = settings_of()
    request = Request(texts=texts_of(given["inputs"]), values=values_of(given["inputs_file"]))
    loaded = load_all([path], settings)
    graph, found = routes.find_step([entry.graph for entry in loaded.manifests], step)
    inputs = planning.inputs_for(graph, request)
    now = time.time_ns() // 1_000_000
    with reading(settings) as store:
        outlook = routing.outlook(settings, os.environ, store.health, now, given["mode"])
        ways = routes.Router.of(settings.config, outlook).ways(graph, found, inputs)
    if given["json_"]:
        out_json(routes.route_json(graph, found, ways, outlook))
    else:
        out(route_text(graph, found, ways, outlook, painter()))
    return 0
