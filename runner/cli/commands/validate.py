"""`runner validate`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from runner.api.checking import Checked, checked_of
from runner.cli.context import memory_of, settings_of, warn_of_config
from runner.cli.loading import say_empty, worth_showing
from runner.cli.output import err, options, out, out_json, print_diagnostics
from runner.cli.shared import verb
from runner.diagnostics.model import Diagnostic
from runner.errors import InvalidInput

EPILOG = """\b
Examples:
  runner validate manifests/
  runner validate manifests/report.yaml --format json
  runner validate manifests/ --format github     annotations, in a workflow of GitHub Actions
  runner validate manifests/ --format gitlab > codequality.json     a Code Quality report
  runner validate manifests/ --format sarif > runner.sarif

Starts no process, opens no socket, resolves no secret: safe on manifests of strangers.

\b
Exit codes: 0 no error, 2 at least one.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "github", "gitlab", "sarif"]),
    default="text",
    help="How mistakes are written.",
)
def command(paths: tuple[str, ...], format_: str) -> int:
    """Find every mistake of every manifest at once, each with its line and what to do about it."""
    from runner.diagnostics.render import to_json

    try:
        checked = _checked(paths)
    except InvalidInput as error:
        if format_ in ("text", "json"):
            raise
        from runner.cli.sources import sources_of

        _write(format_, error.diagnostics, sources_of(error.diagnostics))
        return 2
    if format_ == "json":
        out_json(to_json(checked.diagnostics, checked.files))
        return 2 if checked.failed else 0
    _write(format_, worth_showing(checked.diagnostics), checked.sources)
    if format_ not in ("gitlab", "sarif") and not options().get("quiet"):
        _count_all(paths, checked)
    return 2 if checked.failed else 0


def _checked(paths: Sequence[str]) -> Checked:
    """What is wrong with these files: known from before, or found now. Raises InvalidInput when the config has mistakes."""
    memory = memory_of(paths)
    if (known := memory.recall()) is not None:
        warn_of_config(known.config_diagnostics)
        return known
    from runner.api.load import load

    settings = settings_of()
    loaded = load(paths, settings)
    checked = checked_of(loaded, settings)
    memory.keep(checked, loaded.looks)
    return checked


def _write(format_: str, shown: Sequence[Diagnostic], sources: Mapping[str, str]) -> None:
    here = str(Path.cwd())
    root = os.environ.get("GITHUB_WORKSPACE") or here
    if format_ == "github":
        import secrets  # draws in half of the standard library's cryptography

        from runner.diagnostics.github import to_github
        from runner.diagnostics.render import to_text

        text = to_text(shown, sources)
        if shown:
            out(to_github(shown, text, token=secrets.token_hex(16), root=root, here=here))
    elif format_ == "gitlab":
        from runner.diagnostics.gitlab import to_gitlab

        out_json(to_gitlab(shown, root=os.environ.get("CI_PROJECT_DIR") or here, here=here))
    elif format_ == "sarif":
        from importlib.metadata import version

        from runner.diagnostics.rules import RULES
        from runner.diagnostics.sarif import to_sarif

        out_json(to_sarif(shown, RULES, version=version("omni-orchestrator"), root=root, here=here))
    else:
        print_diagnostics(shown, sources, to_stderr=False)


def _count_all(paths: Sequence[str], checked: Checked) -> None:
    found = checked.diagnostics
    errors, warnings = (sum(d.severity == severity for d in found) for severity in ("error", "warning"))
    good = len(checked.heads)
    err(
        f"{_count(checked.files, 'file')}: {_count(good, 'good manifest')}, {_count(errors, 'error')}, {_count(warnings, 'warning')}"
    )
    if not good and not errors:
        say_empty(paths, checked.files)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
