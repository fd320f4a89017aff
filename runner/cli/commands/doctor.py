"""`runner doctor`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.output import Paint, columns, options, out, out_json, painter, safe
from runner.cli.shared import verb, within_option
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.api.findings import Finding

EPILOG = """\b
Examples:
  runner doctor
  runner doctor --within 3             do not wait long for servers
  runner doctor --json | jq -r '.checks[] | select(.verdict == "broken") | .fix'

Looks at the program, the config, the state database, the workspace, commands, variables of secrets (never at their values), asks
every model endpoint whether it is there, takes the key and has the models of the config (no model is asked anything), and opens a
session with every MCP server. Changes nothing.

\b
Exit codes: 0 all that is needed works (warnings are about what may never be), 1 something is broken.
"""

SIGNS = {"ok": "✓", "warning": "!", "broken": "✗"}
_COLORS = {"ok": "green", "warning": "yellow", "broken": "red"}


@verb(EPILOG)
@within_option("The longest to wait for a server.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(within: float, json_: bool) -> int:
    """Say whether everything that is configured works, and what to do about what does not."""
    from runner.api.doctor import examine, healthy
    from runner.api.settings import load_config

    config = options().get("config")
    settings = load_config(Path(config) if config else None, start=_here(), env=os.environ)
    found = asyncio.run(examine(settings, os.environ, deadline_s=within))
    if json_:
        out_json({"version": 1, "ok": healthy(found), "checks": [one.to_json() for one in found]})
    else:
        out("\n".join(text(found, painter())))
    return 0 if healthy(found) else 1


def text(found: Sequence[Finding], paint: Paint) -> Iterator[str]:
    """Everything by area, and a last line with the count."""
    for area, those in groupby(found, key=lambda one: one.area):
        yield paint(area, "bright_white")
        yield from _area(list(those), paint)
    broken, warnings = (sum(one.verdict == verdict for one in found) for verdict in ("broken", "warning"))
    if broken:
        yield paint(f"{broken} broken, {warnings} to know about", "red")
    else:
        yield paint("all that is needed works" + (f"; {warnings} to know about" if warnings else ""), "green")


def _area(found: Sequence[Finding], paint: Paint) -> Iterator[str]:
    rows = [[paint(SIGNS[one.verdict], _COLORS[one.verdict]), safe(one.name), _first(one)] for one in found]
    for line, one in zip(columns(rows, indent="  "), found, strict=True):
        yield line
        yield from (f"      {safe(part)}" for part in one.detail.split("\n")[1:])
        if one.verdict != "ok" and one.fix:
            yield f"      help: {safe(one.fix)}"


def _first(one: Finding) -> str:
    return safe(one.detail.partition("\n")[0])


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the working directory was removed", hint="change to a folder that exists") from error
