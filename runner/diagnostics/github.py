"""Diagnostics as workflow commands of GitHub Actions: annotations on the lines of a pull request, and the full text in the log.

GitHub shows ten errors and ten warnings of a step; what goes beyond stands in the log only. The text is printed between
`::stop-commands::` and its token: source lines that look like commands do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.diagnostics.excerpt import harmless
from runner.diagnostics.model import Diagnostic, Severity
from runner.diagnostics.uri import relative_name

MOST = 10
"""Annotations of one severity that GitHub takes from a step."""
_COMMANDS: dict[Severity, str] = {"error": "error", "warning": "warning"}


def to_github(diagnostics: Sequence[Diagnostic], text: str, *, token: str, root: str, here: str) -> str:
    """The log of a step: `text` as it is, then the annotations. `token`: nobody may guess it; `root`: the checkout, `here`: the
    working directory that names count from; both absolute. Notes are no annotations."""
    lines = [f"::stop-commands::{token}", text, f"::{token}::"] if text else []
    for severity in _COMMANDS:
        lines += _annotations([one for one in diagnostics if one.severity == severity], root, here)
    return "\n".join(lines)


def _annotations(diagnostics: Sequence[Diagnostic], root: str, here: str) -> Iterator[str]:
    for one in diagnostics[:MOST]:
        yield annotation(one, root, here)
    if len(diagnostics) > MOST:
        more = len(diagnostics) - MOST
        yield f"{more} more {diagnostics[0].severity}{'' if more == 1 else 's'} above: GitHub shows {MOST} of a step"


def annotation(one: Diagnostic, root: str, here: str) -> str:
    """One workflow command."""
    properties = {"file": relative_name(one.file, root, here), **_region(one), "title": one.rule}
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    path = f"{harmless(one.path)}: " if one.path else ""
    fix = "".join(f"\n{harmless(line)}" for line in one.fix.split("\n")) if one.fix else ""
    return f"::{_COMMANDS[one.severity]} {given}::{_data(f'{path}{harmless(one.message)}{fix}')}"


def _region(one: Diagnostic) -> dict[str, str]:
    if one.span is None:
        return {}
    lines = {"line": str(one.span.line), "endLine": str(one.span.end_line)}
    if one.span.line != one.span.end_line:
        return lines  # GitHub refuses columns of a region over several lines
    return {**lines, "col": str(one.span.column), "endColumn": str(one.span.end_column)}


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(harmless(text)).replace(":", "%3A").replace(",", "%2C")
