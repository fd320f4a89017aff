"""The way in: finds the verb, runs it, and is the one border where errors become messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from runner.cli.nearest import nearest
from runner.cli.registry import ALIASES, VERBS
from runner.cli.shared import CONTEXT, SHARED, shared_options
from runner.errors import InvalidInput, RunnerError, UsageError

EPILOG = """\b
Examples:
  runner init                           begin a project here
  runner validate manifests/            every mistake at once
  runner plan manifests/                what apply would do, and why
  runner apply manifests/               run it; again: nothing to do
  runner status                         how the runs stand

`runner COMMAND --help` has examples of each. The options above may also stand after the command.
"""


class LazyGroup(click.Group):
    """Imports a verb's module when it is used; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = VERBS.get(ALIASES.get(cmd_name, cmd_name))
        return None if verb is None else import_module(verb.module).command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and name not in ALIASES:
            raise click.UsageError(f"no command {name!r}{nearest(name, [*VERBS, *ALIASES])}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        other = {name: alias for alias, name in ALIASES.items()}
        with formatter.section("Commands"):
            rows = [(name + (f", {other[name]}" if name in other else ""), verb.help) for name, verb in VERBS.items()]
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings=CONTEXT)
@click.version_option(None, "--version", package_name="omni-orchestrator", message="runner %(version)s")
@shared_options(hidden=False)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """ARES: a declarative pipeline runner for agent work, driven by YAML task manifests."""


def run(argv: Sequence[str]) -> int:
    """Run a command line; returns the exit code. Nothing but the SystemExit of the interpreter passes."""
    sys.stdout, sys.stderr = _forgiving(sys.stdout), _forgiving(sys.stderr)
    try:
        with cli.make_context("runner", list(argv), obj=dict(SHARED)) as ctx:
            code = cli.invoke(ctx)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _misused(error)
    except RunnerError as error:
        return _refused(error)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except OSError as error:
        return _of_the_system(error)
    except Exception as error:  # noqa: BLE001  the border of the program
        from runner.cli.crash import report

        return report(error)


def _forgiving(stream: Any) -> Any:
    """A stream that was closed before we began swallows all. A terminal that cannot show a character gets an escape, not an
    exception (file names may be no text at all)."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _of_the_system(error: OSError) -> int:
    """Output that nobody reads any more is no failure; output that cannot be written, or a name that no file can have, no defect of ours.
    All else is."""
    from runner.cli.output import abandon, flushed, nobody_reads

    if nobody_reads(sys.stdout, error):
        abandon(sys.stdout)
        return 0
    try:
        flushed()
    except RunnerError as refused:
        return _refused(refused)
    if error.errno == errno.ENAMETOOLONG:
        return _refused(UsageError(f"{error.filename}: no file can have so long a name"))
    from runner.cli.crash import report

    return report(error)


def _misused(error: click.ClickException) -> int:
    """A flag, argument or command that makes no sense."""
    from runner.cli.output import err, out, safe

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        out(error.format_message())  # asked nothing, so it says what can be asked
        return 0
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        known = [name for param in ctx.command.params for name in param.opts] if ctx else []
        message = f"no option {error.option_name}{nearest(error.option_name, [*known, '--help'])}"
    err(f"error: {safe(message[:1].lower() + message[1:])}")
    if ctx is not None:
        err(f"  usage: {ctx.get_usage().removeprefix('Usage: ')}")
        err(f"  help: `{ctx.command_path} --help` has examples")
    return 2


def _refused(error: RunnerError) -> int:
    from runner.cli.output import complain, print_diagnostics

    if isinstance(error, InvalidInput) and error.diagnostics:
        from runner.cli.sources import sources_of

        print_diagnostics(error.diagnostics, sources_of(error.diagnostics))
    complain(error)
    return error.exit_code
