"""`runner resolve`."""

from __future__ import annotations

import asyncio
import getpass
import json
from typing import Any

import click

from runner.cli.context import settings_of
from runner.errors import UsageError

EPILOG = """\b
Examples:
  runner resolve 3f9a2c send --done '{"id": 42}'   it did happen; this is its output
  runner resolve 3f9a2c send --redo                it did not happen, or may happen twice: run it again
Then `runner apply` (or `runner resume`) goes on.
"""


@click.command(epilog=EPILOG)
@click.argument("run", metavar="RUN")
@click.argument("step", metavar="STEP")
@click.option("--done", metavar="JSON", help="The step happened; JSON is its output.")
@click.option("--redo", is_flag=True, help="Run the step again.")
@click.pass_context
def command(ctx: click.Context, run: str, step: str, done: str | None, redo: bool) -> int:
    """Say what became of a step whose outcome is unknown."""
    from runner.api.apply import resolve

    if (done is None) == (not redo):
        raise UsageError("say either --done JSON or --redo", hint="`runner resolve --help` has examples")
    output = None if done is None else _parsed(done)
    result = asyncio.run(resolve(run, settings_of(ctx), step, by=getpass.getuser(), done=output, redo=redo))
    end = result.runs[0]
    word = "will run again" if redo else "is recorded as done"
    click.echo(f"{end.manifest} {end.run}: {step} {word}; go on with `runner resume {end.run}`")
    return 0


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--done: not JSON: {error}", hint="text needs quotes: --done '\"sent\"'") from error
