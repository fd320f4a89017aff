"""How diagnostics are shown: text with the source line and a caret, JSON and paths.

Which of them are shown, and in which order, is decided in `runner.syntax.placing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.diagnostics.excerpt import Excerpt, harmless
from runner.diagnostics.model import Diagnostic, Loc
from runner.source import Span

_Paint = Callable[[str, str], str]
_PLAIN_KEY = re.compile(r"[\w-]+\??")
_COLORS = {"error": "1;31", "warning": "1;33", "note": "1;36", "file": "1", "gutter": "34", "help": "32"}
_LINE_BREAK = r"\r\n|\n|\r"
_LONGEST_WORD = 64


def path_text(loc: Loc) -> str:
    """`steps.a.checks[0]`; a key that is no plain word is quoted: `env["a b"]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += '["' + part[:_LONGEST_WORD].replace('"', '\\"') + '"]'
    return text


def to_text(diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], *, color: bool = False) -> str:
    """All diagnostics for a terminal, one after the other; `sources` holds the text of files by name, missing ones show no lines.

    Terminal control characters of messages and sources are made visible instead of sent.
    """
    lines: dict[str, list[str]] = {}
    out: list[str] = []
    for one in diagnostics:
        if one.file not in lines:
            lines[one.file] = re.split(_LINE_BREAK, sources.get(one.file, "").removeprefix("\ufeff"))
        out += _block(one, lines[one.file], _colored if color else _plain)
    return "\n".join(out)


def _plain(text: str, kind: str) -> str:
    return text


def _colored(text: str, kind: str) -> str:
    return f"\x1b[{_COLORS[kind]}m{text}\x1b[0m"


def _block(one: Diagnostic, lines: Sequence[str], paint: _Paint) -> list[str]:
    place = f"{one.file}:{one.span.line}:{one.span.column}" if one.span else one.file
    path = f"{harmless(one.path)}: " if one.path else ""
    severity = paint(f"{one.severity}[{one.rule}]", one.severity)
    out = [f"{paint(harmless(place), 'file')}: {severity}: {path}{harmless(one.message)}"]
    spans = [span for span in (one.span, *(span for span, _ in one.notes)) if span]
    gutter = max((len(str(span.line)) for span in spans), default=1)
    if one.span:
        out += _lines(one.span, lines, gutter, one.severity, paint)
    for span, message in one.notes:
        out.append(
            f"{' ' * gutter} {paint('=', 'gutter')} {paint('note', 'note')}: line {span.line}: {harmless(message)}"
        )
        out += _lines(span, lines, gutter, "note", paint)
    if one.fix:
        first, *rest = one.fix.split("\n")
        out.append(f"{' ' * gutter} {paint('=', 'gutter')} {paint('help', 'help')}: {harmless(first)}")
        out += [f"{' ' * gutter}         {harmless(line)}" for line in rest]
    return out


def _lines(span: Span, lines: Sequence[str], gutter: int, kind: str, paint: _Paint) -> list[str]:
    """The source line and the caret under it; nothing when the source is not at hand, or the line empty."""
    if not 1 <= span.line <= len(lines) or lines == [""]:
        return []
    line = lines[span.line - 1]
    if not line.strip():
        return []
    end = span.end_column if span.end_line == span.line else len(line) + 1
    excerpt = Excerpt.around(line, span.column, max(end, span.column + 1))
    return [
        paint(f"{span.line:>{gutter}} |", "gutter") + f" {excerpt.text}",
        paint(f"{'':>{gutter}} |", "gutter") + f" {' ' * excerpt.indent}{paint('^' + '~' * (excerpt.width - 1), kind)}",
    ]


def to_json(diagnostics: Sequence[Diagnostic], files: int) -> dict[str, Any]:
    """The document of `validate --format json`, version 1; `files` is how many were read. Lines and columns count from 1, or are None."""
    return {
        "version": 1,
        "files": files,
        "diagnostics": [
            {
                "file": _encodable(one.file),
                "line": one.span.line if one.span else None,
                "column": one.span.column if one.span else None,
                "severity": one.severity,
                "rule": one.rule,
                "path": one.path,
                "message": one.message,
                "fix": one.fix,
            }
            for one in diagnostics
        ],
    }


def _encodable(name: str) -> str:
    """A file name as valid Unicode: the operating system may give names that are none."""
    return name.encode("utf-8", "replace").decode("utf-8")
