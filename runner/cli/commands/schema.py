"""`runner schema`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.nearest import nearest
from runner.cli.output import err, options, out
from runner.cli.shared import verb
from runner.errors import UsageError

EPILOG = """\b
Examples:
  runner schema                              the names
  runner schema manifest > manifest.schema.json
  runner schema --write schemas/v1           all of them, one file each
  runner schema --check --write schemas/v1   are the files there as this release would write them?

\b
An editor with a YAML language server checks and completes a manifest whose first line is
  # yaml-language-server: $schema=../schemas/v1/manifest.schema.json

\b
Exit codes: 0 ok, 2 usage, 6 with --check when a file is missing or differs.
"""


@verb(EPILOG)
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--write", "folder", metavar="DIR", help="Write every schema to DIR.")
@click.option(
    "--check", is_flag=True, help="Write nothing; say which files of DIR (default: schemas/v1) are not current."
)
def command(name: str | None, folder: str | None, check: bool) -> int:
    """Print or write the JSON Schemas of manifests, config and the documents of `--json`."""
    from runner.manifest import schema

    if name is not None:
        if folder is not None or check:
            raise UsageError("give either NAME or --write/--check: these do all schemas")
        if name not in schema.SCHEMAS:
            raise UsageError(f"no schema {name!r}{nearest(name, list(schema.SCHEMAS))}", hint=_names())
        out(schema.text(name).rstrip("\n"))
    elif check:
        return _check(Path(folder or "schemas/v1"))
    elif folder is not None:
        _write(Path(folder))
    else:
        out("\n".join(schema.SCHEMAS))
    return 0


def _names() -> str:
    from runner.manifest.schema import SCHEMAS

    return f"schemas: {', '.join(SCHEMAS)}"


def _check(folder: Path) -> int:
    from runner.manifest.schema import check

    stale = check(folder)
    for name in stale:
        err(f"{folder / f'{name}.schema.json'} is missing or not current")
    if stale:
        err(f"  help: runner schema --write {folder}")
    return 6 if stale else 0


def _write(folder: Path) -> None:
    from runner.manifest.schema import write

    try:
        files = write(folder)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    if not options().get("quiet"):
        err(f"wrote {len(files)} schemas to {folder}")
