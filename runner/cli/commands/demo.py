"""`runner demo`."""

from __future__ import annotations

import asyncio

import click

from runner.cli.ending import until_told
from runner.cli.output import Paint, err, out, painter, safe
from runner.cli.shared import CONTEXT, verb

OUTAGE_EPILOG = """\b
Examples:
  runner demo outage

Plays three model endpoints on this machine (no keys, nothing leaves it) and kills two of them while a run is under way: normal,
degraded, brainstem, and back. The runs are real ones in a temporary folder, of which nothing is left.

\b
Exit codes: 0 it went as told, 1 it did not, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
"""
COLORS = {"normal": "green", "degraded": "yellow", "brainstem": "red"}


@click.group(context_settings=CONTEXT)
def command() -> None:
    """Stories that show what the runner does, without keys."""


@verb(OUTAGE_EPILOG, name="outage")
def outage() -> int:
    """In seconds and without keys: a proxy dies and comes back; watch the run go through it."""
    from runner.demo.outage import StoryFailed
    from runner.demo.outage import outage as tell

    paint = painter()
    try:
        asyncio.run(until_told(tell(lambda at, who, what: out(_line(at, who, what, paint)))))
    except StoryFailed as error:
        err(f"error: it went otherwise than it should: {error}")
        return 1
    except TimeoutError:
        err("error: it took too long\n  help: is this machine very busy? Try again")
        return 1
    return 0


def _line(at: float, who: str, what: str, paint: Paint) -> str:
    color = None
    if who == "":
        color = next((color for mode, color in COLORS.items() if what.startswith(f"mode {mode}")), "bright_white")
    text = f"{safe(who):<9} {safe(what)}" if who else safe(what)
    return f"{at:5.1f}s  {paint(text, color)}"


command.add_command(outage)
