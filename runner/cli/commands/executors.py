"""`runner executors`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli.context import settings_of
from runner.cli.output import Paint, columns, err, options, out, out_json, painter, safe
from runner.cli.shared import verb, within_option

if TYPE_CHECKING:
    from runner.api.inventory import Executor

EPILOG = """\b
Examples:
  runner executors
  runner executors --probe             open a session with every server
  runner executors --probe --json | jq '.executors[] | select(.ready == "broken") | .name'

Without --probe nothing is started and no socket is opened: `installed` says that a program was found, `not looked` that only
--probe can tell.

\b
Exit codes: 0 ok, 1 with --probe when a server is broken, 2 the config has mistakes.
"""

_COLORS = {"installed": "green", "reachable": "green", "broken": "red", "not looked": "bright_black"}


@verb(EPILOG)
@click.option("--probe", is_flag=True, help="Start or connect to every server, and see whether it answers.")
@within_option("The longest that a probe may take.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(probe: bool, within: float, json_: bool) -> int:
    """List everything that can do work: local commands and the MCP servers of the config."""
    from runner.api import inventory

    settings = settings_of()
    if probe:
        found = asyncio.run(inventory.probe(settings, os.environ, deadline_s=within))
    else:
        found = inventory.executors(settings, os.environ)
    if json_:
        out_json({"version": 1, "executors": [one.to_json() for one in found]})
    else:
        out("\n".join(_text(found, painter())))
        if not probe and not options().get("quiet"):
            err("nothing was started; --probe opens a session with every server")
    return 1 if probe and any(one.ready == "broken" and not one.unset for one in found) else 0


def _text(found: Sequence[Executor], paint: Paint) -> Iterator[str]:
    head = [paint(word, "bright_black") for word in ("name", "kind", "tier", "where", "at once", "can", "state")]
    lines = columns([head, *(_row(one, paint) for one in found)])
    yield lines[0]
    for one, line in zip(found, lines[1:], strict=True):
        yield line
        yield from (f"    {safe(part)}" for part in one.detail.split("\n") if part)
        if one.fix:
            yield f"    help: {safe(one.fix)}"


def _row(one: Executor, paint: Paint) -> list[str]:
    at_once = "" if one.max_in_flight is None else str(one.max_in_flight)
    state: str = one.ready
    if one.tools is not None:
        agent = ", ".join(filter(None, (one.version, "logged in" if one.logged_in else "")))
        state = f"{one.ready}: {one.tools} tool{'' if one.tools == 1 else 's'} in {(one.took_ms or 0) / 1000:.1f}s{f' ({agent})' if agent else ''}"
    kind = f"{one.kind}, agent" if one.agent and not one.kind.startswith("preset:") else one.kind
    place = "local" if one.local else "remote"
    can = " ".join(one.capabilities) or "–"
    return [safe(one.name), kind, one.tier or "–", place, at_once, safe(can), paint(state, _COLORS[one.ready])]
