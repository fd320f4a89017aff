"""`runner graph`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from runner.api.settings import Settings
from runner.cli.context import reading, settings_of
from runner.cli.output import out, painter
from runner.cli.shared import verb
from runner.core.graph import StepGraph, load
from runner.errors import UsageError

EPILOG = """\b
Examples:
  runner graph manifests/report.yaml
  runner graph manifests/report.yaml --format mermaid > graph.mmd
  runner graph fix-issue            the latest run of a manifest, with the states of its steps

\b
Edges: data (a step reads another's result), needs (order only), state (reads .state or .error), default (left of `| default`).
Exit codes: 0 ok, 2 invalid manifest, or no such file or run, 7 state database.
"""


@verb(EPILOG)
@click.argument("what", metavar="PATH|RUN")
@click.option(
    "--format", "format_", type=click.Choice(["text", "mermaid"]), default="text", help="How the graph is drawn."
)
def command(what: str, format_: str) -> int:
    """Draw the steps of a manifest, or of a run with their states, and what each waits for."""
    from runner.cli.graph_mermaid import mermaid
    from runner.cli.graph_text import graph_text

    graphs, states = _found(what, settings_of())
    paint = painter()
    draw = mermaid if format_ == "mermaid" else lambda graph, states: graph_text(graph, states, paint)
    out("\n\n".join(draw(graph, states) for graph in graphs))
    return 0


def _found(what: str, settings: Settings) -> tuple[Sequence[StepGraph], Mapping[str, str]]:
    if Path(what).exists():
        from runner.cli.loading import load_all

        return [entry.graph for entry in load_all([what], settings).manifests], {}
    from runner.api.queries import find_run

    with reading(settings) as store:
        try:
            row = find_run(store, what)
        except UsageError as error:
            if "several" in error.message:
                raise
            raise UsageError(f"no file, folder or run {what!r}", hint="`runner status` lists the runs") from error
        kept = store.manifest(row.manifest)
        assert kept is not None  # a run never outlives its manifest
        return [load(kept.graph)], {step.node: step.state for step in store.steps(row.run)}
