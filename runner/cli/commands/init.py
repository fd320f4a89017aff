"""`runner init`."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from runner.cli.output import err, options, out
from runner.cli.shared import verb
from runner.cli.starter import FILES, IGNORED, SCHEMAS
from runner.errors import UsageError
from runner.reporters.words import one_line

EPILOG = """\b
Examples:
  runner init
  runner init my-project

Makes config.yaml, manifests/hello.yaml, the schemas that editors check them with, and .ares/ (the state) with an entry in
.gitignore.
Nothing that is there is overwritten.

\b
Exit codes: 0 ok, 2 the folder cannot be written.
"""


@verb(EPILOG)
@click.argument("folder", metavar="[DIR]", default=".")
def command(folder: str) -> int:
    """Begin a project in DIR (default: here)."""
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # The state's folder also says where the project begins: without it, that of a project above would count.
        (root / IGNORED).mkdir(mode=0o700, exist_ok=True)
        done = [*_files(root), _ignore(root / ".gitignore")]
    except OSError as error:
        raise UsageError(
            f"cannot make {error.filename or folder}: {error.strerror}", hint="name a folder that you may write"
        ) from error
    if not options().get("quiet"):
        for name, what in done:
            err(f"  {what:<9} {name}")
    here = "" if root.resolve() == Path.cwd() else f"cd {one_line(shlex.quote(folder), 400)} && "
    out(f"next: {here}runner apply manifests/")
    return 0


def _files(root: Path) -> Iterator[tuple[str, str]]:
    from runner.manifest.schema import text

    for name, content in FILES.items():
        yield name, _create(root / name, content)
    for schema in SCHEMAS:
        name = f"schemas/v1/{schema}.schema.json"
        yield name, "kept" if (root / name).exists() else _create(root / name, text(schema))


def _create(path: Path, content: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # O_EXCL also refuses a link that leads nowhere: nothing outside the folder is made.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return "kept"
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
    return "made"


def _ignore(path: Path) -> tuple[str, str]:
    if path.exists() and not (path.is_file() or path.is_dir()):  # reading a pipe would never end
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.exists() else []
    if any(line.strip().strip("/") == IGNORED.strip("/") for line in lines):
        return path.name, "kept"
    with path.open("a", encoding="utf-8") as file:
        if lines and not path.read_bytes().endswith(b"\n"):
            file.write("\n")
        file.write(f"{IGNORED}\n")
    return path.name, "added to" if lines else "made"
