"""The way in: finds the verb, runs it, and is the one border where errors become messages and exit codes."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from runner.cli.registry import ALIASES, VERBS
from runner.errors import InvalidInput, RunnerError

EPILOG = """\b
Examples:
  runner validate manifests/            every mistake at once
  runner plan manifests/                what apply would do, and why
  runner apply manifests/               run it; again: nothing to do
  runner status                         how the runs stand
"""


class LazyGroup(click.Group):
    """Imports a verb's module when it is used; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        verb = VERBS.get(ALIASES.get(name, name))
        return None if verb is None else import_module(verb.module).command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and name not in ALIASES:
            near = difflib.get_close_matches(name, [*VERBS, *ALIASES], 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else " `runner --help` lists the commands."
            raise click.UsageError(f"no command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--config", metavar="FILE", help="The config file (default: RUNNER_CONFIG, else config.yaml of the project).")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colours (NO_COLOR holds, too).")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="More detail on stderr.")
@click.version_option(None, "--version", package_name="omni-orchestrator", prog_name="runner", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, **options: Any) -> None:
    """ARES: a declarative pipeline runner for agent work, driven by YAML task manifests."""
    ctx.obj = options


def run(argv: Sequence[str]) -> int:
    """Run a command line; returns the exit code. Nothing but KeyboardInterrupt and SystemExit of the interpreter passes."""
    try:
        code = cli.main(args=list(argv), prog_name="runner", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except RunnerError as error:
        return _refused(error)
    except BrokenPipeError:  # the reader of our output went away: that is no failure of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  the border of the program
        from runner.cli.crash import report

        return report(error)


def _refused(error: RunnerError) -> int:
    if isinstance(error, InvalidInput) and error.diagnostics:
        from runner.cli.output import print_diagnostics

        print_diagnostics(error.diagnostics, {})
    from runner.cli.output import safe

    click.echo(f"error: {safe(error.message)}", err=True)
    if error.hint:
        click.echo(f"  help: {safe(error.hint)}", err=True)
    return error.exit_code
