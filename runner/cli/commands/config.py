"""`runner config`."""

from __future__ import annotations

import click

from runner.cli.context import settings_of
from runner.cli.output import columns, err, options, out, painter, safe
from runner.cli.shared import CONTEXT, verb

SHOW_EPILOG = """\b
Examples:
  runner config show
  runner config show --origin
  RUNNER_BUDGET__PER_RUN_USD=2 runner config show --origin | grep budget

Precedence: flags, then RUNNER_<SECTION>__<KEY> in the environment, then config.yaml, then defaults. Secrets are shown as the
references that they are; what looks like a secret is masked.

\b
Exit codes: 0 ok, 2 the config has mistakes.
"""


@click.group(context_settings=CONTEXT)
def command() -> None:
    """Show the configuration and where each value came from."""


@verb(SHOW_EPILOG, name="show")
@click.option(
    "--origin", is_flag=True, help="Also where each value came from: file and line, environment, flag, default."
)
def show(origin: bool) -> int:
    """Print every key with its value."""
    from runner.api import settings as api

    settings = settings_of()
    if not options().get("quiet"):
        err(
            f"config: {safe(str(settings.file)) if settings.file else 'none, defaults hold'}; project: {safe(str(settings.project_root))}"
        )
    paint = painter()
    rows = [(key, safe(value), paint(from_, "bright_black")) for key, value, from_ in api.show(settings)]
    out("\n".join(columns(row if origin else row[:2] for row in rows)))
    return 0


command.add_command(show)
