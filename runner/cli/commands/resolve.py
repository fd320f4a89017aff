"""`runner resolve`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from runner.cli.answering import waits, what_next
from runner.cli.context import settings_of, user
from runner.cli.output import out
from runner.cli.shared import verb
from runner.errors import UsageError

EPILOG = """\b
Examples:
  runner resolve 3f9a2c send --done '{"id": 42}'   it did happen; this is its output
  runner resolve 3f9a2c send --redo                it did not happen, or may happen twice: run it again
  runner resolve 3f9a2c 'send[3]' --redo           an item of a fan-out

`runner show RUN` tells what is known of the step. Afterwards `runner resume RUN` (or `runner apply`) goes on; a run that had failed or
was cancelled is open again by your answer.

\b
Exit codes: 0 ok, 2 no such run or step, or nothing to resolve, 7 state database.
"""


@verb(EPILOG)
@click.argument("run", metavar="RUN")
@click.argument("step", metavar="STEP")
@click.option("--done", metavar="JSON", help="The step happened; JSON is its output.")
@click.option("--redo", is_flag=True, help="Run the step again.")
def command(run: str, step: str, done: str | None, redo: bool) -> int:
    """Say what became of a step whose outcome is unknown: nobody saw how it ended, and it must not be repeated blindly."""
    from runner.api.apply import resolve

    if (done is None) == (not redo):
        raise UsageError(
            "say either --done JSON (it happened) or --redo (run it again)", hint="`runner resolve --help` has examples"
        )
    output = None if done is None else _parsed(done)
    result = asyncio.run(resolve(run, settings_of(), step, by=user(), done=output, redo=redo))
    end = result.runs[0]
    if waits(end, step, "unknown"):
        word = "is to run again" if redo else "is done"
        out(f"{end.manifest} {end.run}: the runner that drives it was told that {step} {word}")
        return 0
    word = "will run again" if redo else "is recorded as done"
    open_again = "the run had ended and is open again: " if end.action == "reopen" else ""
    out(f"{end.manifest} {end.run}: {step} {word}; {open_again}{what_next(result.runs[-1])}")
    return 0


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UsageError(f"--done: not JSON: {error}", hint="text needs quotes: --done '\"sent\"'") from error
    except RecursionError as error:
        raise UsageError("--done: nested too deeply") from error


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON value")
