"""Diagnostics as a Code Quality report of GitLab: what `artifacts: reports: codequality` takes, and shows in a merge request at its
lines. GitLab reads a part of the Code Climate format; nothing else is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from runner.diagnostics.excerpt import harmless
from runner.diagnostics.model import Diagnostic, Severity
from runner.diagnostics.uri import relative_name
from runner.digest import digest

_SEVERITIES: Mapping[Severity, str] = {"error": "major", "warning": "minor", "note": "info"}


def to_gitlab(diagnostics: Sequence[Diagnostic], *, root: str, here: str) -> list[dict[str, Any]]:
    """The report. `root`: the checkout, `here`: the working directory that names of files count from; both absolute paths."""
    seen: Counter[tuple[str, ...]] = Counter()
    report = []
    for one in diagnostics:
        path = _text(relative_name(one.file, root, here))
        # No line in it: a mistake is the same one when lines above it come and go. Two that are alike are told apart by number,
        # because GitLab shows only the first of a fingerprint.
        name = (path, one.rule, one.path, one.message)
        seen[name] += 1
        report.append(_issue(one, path, digest([*map(_text, name), seen[name]])))
    return report


def _issue(one: Diagnostic, path: str, fingerprint: str) -> dict[str, Any]:
    words = f"{one.path}: {one.message}" if one.path else one.message
    fix = f" ({one.fix.partition(chr(10))[0]})" if one.fix else ""
    return {
        "description": _text(harmless(f"{words}{fix}")),
        "check_name": one.rule,
        "fingerprint": fingerprint,
        "severity": _SEVERITIES[one.severity],
        "location": {"path": path, "lines": {"begin": one.span.line if one.span else 1}},
    }


def _text(text: str) -> str:
    """Valid Unicode: names of files and keys may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")
