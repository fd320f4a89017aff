"""`runner graph`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from runner.api.settings import Settings
from runner.cli.context import reading, settings_of
from runner.cli.output import err, options, out, painter, safe
from runner.cli.shared import verb
from runner.core.graph import StepGraph, load
from runner.errors import UsageError
from runner.ports import StepRow

EPILOG = """\b
Examples:
  runner graph manifests/report.yaml
  runner graph manifests/report.yaml --format mermaid > graph.mmd
  runner graph manifests/ -o graph.svg      the ending tells the format: .svg, .dot, .gv, .mmd, .txt
  runner graph manifests/report.yaml --format dot | dot -Tpdf > graph.pdf
  runner graph fix-issue            the latest run of a manifest, with the states of its steps

\b
Edges: data (a step reads another's result), needs (order only), state (reads .state or .error), default (left of `| default`).
Exit codes: 0 ok, 2 invalid manifest, or no such file or run, 7 state database.
"""

FORMATS = ("text", "mermaid", "dot", "svg")
FOREIGN = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf", ".ps", ".eps", ".html")
"""Endings of what somebody may expect: a text with such a name would open nowhere."""
ENDINGS = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".txt": "text"}


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be drawn. `rows` and `head` are a run's."""

    graphs: Sequence[StepGraph]
    rows: Sequence[StepRow] = ()
    head: str = ""

    @property
    def states(self) -> Mapping[str, str]:
        return {row.node: row.state for row in self.rows}


@verb(EPILOG)
@click.argument("what", metavar="PATH|RUN")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="How the graph is drawn (default: text).")
@click.option("-o", "--output", "file", metavar="FILE", help="Write it to FILE, whose ending may tell the format.")
def command(what: str, format_: str | None, file: str | None) -> int:
    """Draw the steps of a manifest, or of a run with their states, and what each waits for."""
    kind = format_ or _format_of(file)
    found = _found(what, settings_of())
    if file is None:
        out(DRAWN[kind](found).rstrip("\n"))
        return 0
    try:
        Path(file).write_text((_plain(found) if kind == "text" else DRAWN[kind](found)).rstrip("\n") + "\n", "utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    if not options().get("quiet"):
        err(f"wrote {safe(file)}")
    return 0


def _format_of(file: str | None) -> str:
    """What the ending of a file tells; text where it tells nothing. Raises UsageError for a picture that we do not make."""
    ending = Path(file).suffix.lower() if file else ""
    if ending in FOREIGN:
        hint = f"-o graph.svg, or: --format dot | dot -T{ending[1:]} > graph{ending}"
        raise UsageError(f"-o {file}: no format of ours ends in {ending}", hint=hint)
    return ENDINGS.get(ending, "text")


def _text(found: Found) -> str:
    from runner.cli.graph_text import graph_text

    paint = painter()
    return "\n\n".join(graph_text(graph, found.states, paint) for graph in found.graphs)


def _plain(found: Found) -> str:
    from runner.cli.graph_text import graph_text

    return "\n\n".join(graph_text(graph, found.states, lambda text, color: text) for graph in found.graphs)


def _mermaid(found: Found) -> str:
    from runner.cli.graph_mermaid import mermaid

    return "\n\n".join(mermaid(graph, found.states) for graph in found.graphs)


def _dot(found: Found) -> str:
    from runner.reporters.dot import dot
    from runner.reporters.picture import picture

    return dot([picture(graph, found.rows, found.head) for graph in found.graphs])


def _svg(found: Found) -> str:
    from runner.reporters.picture import picture
    from runner.reporters.svg import svg

    return svg([picture(graph, found.rows, found.head) for graph in found.graphs])


DRAWN: Mapping[str, Callable[[Found], str]] = {"text": _text, "mermaid": _mermaid, "dot": _dot, "svg": _svg}


def _found(what: str, settings: Settings) -> Found:
    if os.path.exists(what):  # noqa: PTH110  which also knows that a long word is no name of a file
        from runner.cli.loading import load_all

        return Found([entry.graph for entry in load_all([what], settings).manifests])
    from runner.api.queries import find_run, shown_state
    from runner.reporters.words import seconds

    with reading(settings) as store:
        try:
            row = find_run(store, what)
        except UsageError as error:
            if "several" in error.message:
                raise
            raise UsageError(f"no file, folder or run {what!r}", hint="`runner status` lists the runs") from error
        kept = store.manifest(row.manifest)
        assert kept is not None  # a run never outlives its manifest
        took = seconds(row.finished - row.created) if row.finished else ""
        state = f"{shown_state(row)}: {row.reason}" if row.reason else shown_state(row)
        head = " · ".join(word for word in (f"run {row.run}", state, took) if word)
        return Found([load(kept.graph)], store.steps(row.run), head)
