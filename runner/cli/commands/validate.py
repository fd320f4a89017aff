"""`runner validate`."""

from __future__ import annotations

import sys

import click

from runner.cli.context import print_json, settings_of
from runner.cli.output import print_diagnostics

EPILOG = """\b
Examples:
  runner validate manifests/
  runner validate manifests/report.yaml --format json
Exit code 0 when there is no error, else 2. Starts no process, opens no socket, resolves no secret.
"""


@click.command(epilog=EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How mistakes are written.")
@click.pass_context
def command(ctx: click.Context, paths: tuple[str, ...], format_: str) -> int:
    """Find every mistake of every manifest at once."""
    from runner.api.load import load
    from runner.diagnostics.render import to_json

    loaded = load(paths, settings_of(ctx))
    if format_ == "json":
        print_json(to_json(loaded.diagnostics, loaded.files))
    else:
        print_diagnostics(loaded.diagnostics, loaded.sources, err=False)
        errors = sum(d.severity == "error" for d in loaded.diagnostics)
        warnings = sum(d.severity == "warning" for d in loaded.diagnostics)
        summary = f"{loaded.files} file(s), {len(loaded.manifests)} good manifest(s), {errors} error(s), {warnings} warning(s)"
        click.echo(summary, file=sys.stderr)
    return 2 if loaded.failed else 0
