"""How text reaches a terminal: colours when they are wanted, and nothing that a step or file could use as a control sequence."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence

import click

from runner.diagnostics.model import Diagnostic
from runner.diagnostics.render import to_text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """`text` with control characters made visible; newlines and tabs stay."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def wants_color(option: str, stream: object) -> bool:
    """`--color`, then NO_COLOR, then whether the stream is a terminal that can."""
    if option != "auto":
        return option == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


def color_option() -> str:
    """`--color` of the running command."""
    ctx = click.get_current_context(silent=True)
    return (ctx.find_root().obj or {}).get("color", "auto") if ctx is not None else "auto"


def print_diagnostics(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], *, err: bool = True) -> None:
    """Every diagnostic with its source line."""
    stream = sys.stderr if err else sys.stdout
    text = to_text(diagnostics, sources, color=wants_color(color_option(), stream))
    if text:
        click.echo(text, err=err, color=True)
