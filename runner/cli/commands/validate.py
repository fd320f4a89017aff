"""`runner validate`."""

from __future__ import annotations

import click

from runner.cli.context import settings_of
from runner.cli.output import err, options, out_json, print_diagnostics
from runner.cli.shared import verb

EPILOG = """\b
Examples:
  runner validate manifests/
  runner validate manifests/report.yaml --format json

Starts no process, opens no socket, resolves no secret: safe on manifests of strangers.

\b
Exit codes: 0 no error, 2 at least one.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How mistakes are written."
)
def command(paths: tuple[str, ...], format_: str) -> int:
    """Find every mistake of every manifest at once, each with its line and what to do about it."""
    from runner.api.load import load
    from runner.cli.loading import say_empty
    from runner.diagnostics.render import to_json

    loaded = load(paths, settings_of())
    found = loaded.diagnostics
    if format_ == "json":
        out_json(to_json(found, loaded.files))
        return 2 if loaded.failed else 0
    shown = [d for d in found if d.severity != "note" or options().get("verbose")]
    print_diagnostics(shown, loaded.sources, to_stderr=False)
    if not options().get("quiet"):
        errors, warnings = (sum(d.severity == severity for d in found) for severity in ("error", "warning"))
        good = len(loaded.manifests)
        err(
            f"{_count(loaded.files, 'file')}: {_count(good, 'good manifest')}, {_count(errors, 'error')}, {_count(warnings, 'warning')}"
        )
        if not good and not errors:
            say_empty(paths, loaded)
    return 2 if loaded.failed else 0


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
