"""`runner mcp`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from runner.cli.output import err, options
from runner.cli.shared import verb
from runner.errors import UsageError
from runner.mcp_server.serving import run

if TYPE_CHECKING:  # a client waits until we have said hello
    from runner.api.settings import Settings

EPILOG = """\b
Examples:
  runner mcp /path/to/project
  runner mcp --config /etc/ares/config.yaml      a config that agents in the project cannot change
  claude mcp add ares -- runner mcp              how Claude Code starts it, in the folder of a project

Speaks MCP on stdin and stdout until stdin ends. What clients may do is the operator's decision: without a word in the config they
have the tools that only read (validate, plan, route, status, show, logs, events); `policy.mcp.allow` gives them more. Set-up for
Claude Code and OpenClaw: docs/recipes/mcp.md.

\b
Exit codes: 0 stdin has ended, 2 no such folder or the config has mistakes, 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM (running
steps end first; what is left can be resumed).
"""


@verb(EPILOG)
@click.argument("directory", metavar="[DIR]", required=False)
@click.pass_context
def command(ctx: click.Context, directory: str | None) -> int:
    """This runner as an MCP server, for the project in DIR (default: here)."""
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}", hint="name the folder of a project") from error
    if sys.stdin.isatty() and not options().get("quiet"):
        err("speaks MCP on stdin and stdout, for a client that starts it (docs/recipes/mcp.md); Ctrl-D ends it")
    return run(lambda: _settings(ctx), _user)


def _settings(ctx: click.Context) -> Settings:
    """The settings of this command, in a thread that has no command of its own."""
    from runner.cli.context import settings_of

    with ctx.scope(cleanup=False):
        return settings_of()


def _user() -> str:
    from runner.cli.context import user

    return user()
