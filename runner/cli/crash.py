"""A defect of ours: a report file instead of a bare traceback (exit code 8)."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback

from runner import __version__
from runner.cli.output import err
from runner.redact import SENSITIVE, SHORTEST, Redactor


def report(error: BaseException) -> int:
    """Write what is known to a file that only we can read, and say where it is. What the environment calls a secret is masked."""
    trace = _masked("".join(traceback.format_exception(error)))
    err(f"internal error: {type(error).__name__}. This is a defect of runner, not of your manifest.")
    try:
        path = _written(trace)
    except OSError as failed:  # no place to write to, or none left: the terminal is what remains
        err(trace)
        err(f"  help: no report file could be written ({failed.strerror})")
        return 8
    err(f"  help: the report is in {path}; the state is safe, and `runner apply` goes on where it was")
    return 8


def _written(trace: str) -> str:
    """The path of the report. Raises OSError."""
    handle, path = tempfile.mkstemp(prefix="runner-crash-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"runner {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
        file.write(f"verb: {next((word for word in sys.argv[1:] if not word.startswith('-')), '')}\n\n")
        file.write(trace)
    return path


def _masked(text: str) -> str:
    secrets = {name: value for name, value in os.environ.items() if SENSITIVE.search(name) and len(value) >= SHORTEST}
    return Redactor(secrets).text(text)
