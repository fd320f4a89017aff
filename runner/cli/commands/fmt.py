"""`runner fmt`."""

from __future__ import annotations

import click

from runner.cli.context import settings_of
from runner.cli.output import err, options, out, safe
from runner.cli.shared import verb
from runner.diagnostics.excerpt import harmless
from runner.errors import InvalidInput

EPILOG = """\b
Examples:
  runner fmt manifests/
  runner fmt manifests/ --check     write nothing: are all files in their usual form?

Sorts the keys of a manifest and of its steps, and indents by two spaces. Comments, quotes and the order of steps stay, and what
a manifest means never changes: a file for which that could not be shown is left as it is. Generated files are passed over.

\b
Exit codes: 0 ok, 2 a file is no YAML (nothing was written), 6 with --check when a file would change.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--check", is_flag=True, help="Write nothing; exit with 6 when a file would change.")
def command(paths: tuple[str, ...], check: bool) -> int:
    """Write manifests in their usual form."""
    from runner.api.formatting import formatting, write
    from runner.cli.loading import print_found

    done = formatting(paths, settings_of())
    print_found(done.diagnostics, done.sources, even_quiet=done.failed)
    if done.failed:
        raise InvalidInput("a file that is no YAML cannot be formatted; nothing was written")
    if not check:
        write(done)
    changed = [file for file in done.files if file.changed]
    for file in changed:
        out(harmless(str(file.path)))
    if not options().get("quiet"):
        for file in done.files:
            if file.after is None:
                err(f"{harmless(str(file.path))} {safe(file.reason)}: left as it is")
        err(f"{len(changed)} of {len(done.files)} {'would change' if check else 'changed'}")
    return 6 if check and changed else 0
