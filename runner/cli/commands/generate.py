"""`runner generate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import settings_of
from runner.cli.output import err, options, out, painter, safe
from runner.cli.shared import verb
from runner.errors import InvalidInput

if TYPE_CHECKING:
    from runner.api.generating import Generation

EPILOG = """\b
Examples:
  runner generate templates/service.yaml --rows services.csv -o manifests/services
  runner generate templates/service.yaml --rows services.csv -o manifests/services --check --prune
  runner generate templates/report.yaml --rows 'data/*.json' -o manifests/reports
  curl -s https://example.com/teams.json | runner generate t.yaml --rows - -o manifests/teams
  runner generate t.yaml --rows teams.jsonl -o manifests --path '[[ row.team ]]/[[ row.name ]].yaml'

A template is a manifest with [[ row.column ]], [% if … %], [% for … %]. A value is always quoted: it cannot end its place, and
{{ }} in it is text. Everything is validated before anything is written. The files that were made are listed in
.generated.json beside them: one that was edited by hand is not written over.

\b
Signs: + new, ~ changed, - removed, ! edited by hand, or not made by this template, ? of a row that is gone (--prune).
Exit codes: 0 ok, 2 invalid (nothing was written), 6 with --check when something would change.
"""
SIGNS = {
    "new": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red"), "gone": ("-", "red"), "edited": ("!", "red"),
    "foreign": ("!", "red"), "stale": ("?", "yellow"),
}  # fmt: skip


@verb(EPILOG)
@click.argument("template", metavar="TEMPLATE")
@click.option(
    "--rows",
    required=True,
    metavar="FILE",
    help="CSV, JSON, JSON lines or YAML; `-`: stdin; a glob: each file is a row.",
)
@click.option(
    "--rows-format",
    "form",
    type=click.Choice(["csv", "json", "jsonl", "yaml"]),
    help="What the rows are written in (default: by the file's name, else by how they begin).",
)
@click.option("-o", "--out", "folder", default=".", metavar="DIR", help="The folder of the results (default: here).")
@click.option(
    "--path", metavar="TEMPLATE", help="The path of each file below DIR (default: the manifest's name, with .yaml)."
)
@click.option("--check", is_flag=True, help="Write nothing; exit with 6 when something would change.")
@click.option("--prune", is_flag=True, help="Remove the files of rows that are gone.")
@click.option("--force", is_flag=True, help="Write over files that were edited by hand, or that are there already.")
def command(template: str, rows: str, folder: str, **given: Any) -> int:
    """Make a manifest of each row of data, from one template."""
    from runner.api.generating import Wish, generation, write

    wish = Wish(
        Path(template),
        rows,
        Path(folder),
        given["path"],
        given["form"],
        given["prune"],
        given["force"],
        sys.stdin.buffer.read,
    )
    done = generation(wish, settings_of())
    _refuse_mistakes(done)
    if not given["check"]:
        write(done)
    _tell(done, check=given["check"])
    return 6 if given["check"] and done.pending else 0


def _refuse_mistakes(done: Generation) -> None:
    from runner.api.generating import MOST_SHOWN
    from runner.cli.loading import print_found

    errors = [found for found in done.loaded.diagnostics if found.severity == "error"]
    shown = errors[:MOST_SHOWN] or done.loaded.diagnostics
    print_found(shown, done.loaded.sources, even_quiet=bool(errors))
    if errors:
        rows = sorted({done.row_of[found.file] for found in errors if found.file in done.row_of})
        more = f" and {len(rows) - MOST_SHOWN} more" if len(rows) > MOST_SHOWN else ""
        numbers = ", ".join(map(str, rows[:MOST_SHOWN]))
        raise InvalidInput(
            f"what the template makes of row {numbers}{more} has mistakes; nothing was written",
            hint="correct the template, or the rows",
        )
    if any(found.rule == "not-a-manifest" for found in done.loaded.diagnostics):
        raise InvalidInput("the template makes no manifest: it has no top-level key `ares`", hint="ares: v1")


def _tell(done: Generation, *, check: bool) -> None:
    paint = painter()
    for change in done.changes:
        if change.action in SIGNS:
            sign, color = SIGNS[change.action]
            out(f"{paint(sign, color)} {safe(str(done.out / change.path))}")
    if not options().get("quiet"):
        err(_words(done, check=check))


def _words(done: Generation, *, check: bool) -> str:
    from runner.api.generating import counts

    number = counts(done)
    parts = [f"{number[action]} {action}" for action in ("new", "changed", "removed", "unchanged") if action in number]
    if "stale" in number:
        parts.append(f"{number['stale']} of rows that are gone (--prune removes them)")
    if refused := number.get("edited", 0) + number.get("foreign", 0):
        parts.append(f"{refused} edited by hand or not ours (--force writes over them)")
    return f"{'would be: ' if check and done.pending else ''}{', '.join(parts) or 'no rows: nothing to do'}"
