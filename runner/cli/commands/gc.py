"""`runner gc`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from runner.cli.context import settings_of
from runner.cli.output import columns, err, options, out, out_json
from runner.cli.shared import verb
from runner.cli.trouble import moment
from runner.errors import UsageError

if TYPE_CHECKING:  # it loads everything that runs steps, which --help does without
    from runner.api.gc import Cleared

EPILOG = """\b
Examples:
  runner gc --dry-run
  runner gc                  what ended before config's `state.keep` (30d) ago
  runner gc --keep 7d

Removes old runs from the state database, with their logs, their own folders and their large results. Never a run that `apply` or
`resume` may go on with, nor the newest run of a task (manifest and inputs): `apply` compares with it. Steps of removed runs are no
longer reused.

\b
Exit codes: 0 ok, 1 a folder could not be removed, 2 usage, 7 state database.
"""


@verb(EPILOG)
@click.option("--keep", metavar="DURATION", help="Keep what ended within, such as 30d or 12h (default: `state.keep`).")
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be removed.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(keep: str | None, dry_run: bool, json_: bool) -> int:
    """Remove what ended long ago from the state."""
    from runner.api.gc import gc

    cleared = asyncio.run(gc(settings_of(), keep=_millis(keep), dry_run=dry_run))
    if json_:
        out_json(cleared.to_json())
    else:
        _tell(cleared)
    return 1 if cleared.left else 0


def _millis(text: str | None) -> int | None:
    if text is None:
        return None
    from runner.manifest.types import read_duration

    try:
        return read_duration(text)
    except ValueError as error:
        raise UsageError(f"--keep {text}: {error}", hint="such as 30d, 12h or 90m") from error


def _tell(cleared: Cleared) -> None:
    removed = cleared.removed
    verb_ = "would remove" if cleared.dry else "removed"
    if options().get("verbose") or cleared.dry:
        rows = [(verb_, row.run, row.name, row.state, moment(row.finished or row.created)) for row in removed]
        lines = columns(rows)
        if lines:
            out("\n".join(lines))
    kept = [each for each in cleared.candidates if each.kept]
    if options().get("verbose"):
        for line in columns([("kept", each.row.run, each.row.name, each.row.state, each.kept) for each in kept]):
            out(line)
    space = "" if cleared.dry else f", {_bytes(cleared.freed)} given back"
    out(f"{verb_} {_runs(len(removed))}{space}; kept {_runs(len(kept) + cleared.recent)}")
    for line in cleared.left:
        err(f"cannot remove {line}")


def _runs(count: int) -> str:
    return f"{count} run" if count == 1 else f"{count} runs"


def _bytes(count: int) -> str:
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
