"""How text reaches a terminal: colours when they are wanted, nothing that a step or a file could use as a control sequence, and
no noise when nobody reads any more."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

import click

from runner.diagnostics.model import Diagnostic
from runner.diagnostics.render import to_text
from runner.errors import RunnerError

Paint = Callable[[str, str | None], str]
"""(text, colour) → text for the terminal; no colour leaves it as it is."""

_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def safe(text: str) -> str:
    """`text` with control characters, and what turns the direction of text, made visible; newlines and tabs stay."""
    return re.sub(_CONTROL, _visible, text)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def wants_color(option: str, stream: object) -> bool:
    """`--color`, then NO_COLOR, then whether the stream is a terminal that can."""
    if option != "auto":
        return option == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(getattr(stream, "isatty", lambda: False)())


def options() -> Mapping[str, Any]:
    """The options that every verb has (`--color`, `--quiet`, …) of the running command."""
    ctx = click.get_current_context(silent=True)
    return (ctx.find_root().obj or {}) if ctx is not None else {}


def painter(stream: object | None = None) -> Paint:
    """How to colour what goes to `stream` (default: stdout)."""
    if wants_color(options().get("color", "auto"), stream or sys.stdout):
        return lambda text, color: click.style(text, fg=color) if color else text
    return lambda text, color: text


def out(text: str) -> None:
    """The result of a command, on stdout; silent when its reader went away."""
    _write(sys.stdout, f"{text}\n")


def err(text: str) -> None:
    """Progress and complaints, on stderr. When they cannot be written nobody hears them: what is done, and its exit code, stay."""
    with suppress(RunnerError):
        _write(sys.stderr, f"{text}\n")


def complain(error: RunnerError) -> None:
    """What went wrong, and what to do about it, on stderr."""
    err(f"error: {safe(error.message)}")
    if error.hint:
        err(f"  help: {safe(error.hint)}")


def out_json(document: Any, *, indent: int | None = 2) -> None:
    """A JSON document on stdout as UTF-8, whole or not at all. Raises RunnerError when it cannot be written."""
    from runner.reporters.words import json_bytes  # which loads what events are: most commands print no JSON

    try:
        text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RunnerError(f"the result cannot be written as JSON: {error}") from error
    _write(sys.stdout, json_bytes(text) + b"\n")


def flushed() -> None:
    """What was written to stdout by others has got there. Raises RunnerError when it cannot."""
    _write(sys.stdout, "")


def _write(stream: TextIO, data: str | bytes) -> None:
    try:
        if isinstance(data, bytes):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data)
        stream.flush()
    except OSError as error:
        unread = nobody_reads(stream, error)
        abandon(stream)
        if unread:
            return
        raise RunnerError(f"cannot write the result: {error.strerror}", hint="is the disk full?") from error


def nobody_reads(stream: TextIO, error: OSError) -> bool:
    """Whether whoever read the stream went away: the other end of a pipe, or the terminal. On a file, EIO is a disk that fails."""
    return isinstance(error, BrokenPipeError) or (error.errno == errno.EIO and _hung_up(stream))


def _hung_up(stream: TextIO) -> bool:
    """A terminal that is gone answers nothing but EIO; what never was one says so."""
    import termios

    try:
        termios.tcgetattr(stream.fileno())
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    except OSError:
        pass  # it has no descriptor
    return False


def abandon(stream: TextIO) -> None:
    """Nobody reads this stream any more: what is still written to it goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def print_diagnostics(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], *, to_stderr: bool = True) -> None:
    """Every diagnostic with its source line."""
    stream = sys.stderr if to_stderr else sys.stdout
    text = to_text(diagnostics, sources, color=wants_color(options().get("color", "auto"), stream))
    if text:
        (err if to_stderr else out)(text)


def columns(rows: Iterable[Sequence[str]], *, gap: str = "  ", indent: str = "") -> list[str]:
    """Rows of cells (with or without colours) as aligned lines; the last cell of a row may be as long as it likes."""
    table = [list(row) for row in rows]
    count = max((len(row) for row in table), default=0)
    widths = [max((_width(row[i]) for row in table if len(row) > i + 1), default=0) for i in range(count)]
    lines = []
    for row in table:
        padded = [cell + " " * (widths[i] - _width(cell)) for i, cell in enumerate(row[:-1])]
        lines.append((indent + gap.join([*padded, *row[-1:]])).rstrip())
    return lines


def _width(text: str) -> int:
    return len(click.unstyle(text))
