"""A defect of ours: a report file instead of a bare traceback (exit code 8)."""

from __future__ import annotations

import os
import platform
import tempfile
import traceback

import click

from runner import __version__


def report(error: BaseException) -> int:
    """Write what is known to a file that only we can read, and say where it is."""
    handle, path = tempfile.mkstemp(prefix="runner-crash-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"runner {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n")
        file.write("".join(traceback.format_exception(error)))
    click.echo(f"internal error: {type(error).__name__}. This is a defect of runner, not of your manifest.", err=True)
    click.echo(f"  help: the report is in {path}; the state is safe, and `runner apply` goes on where it was.", err=True)
    return 8
