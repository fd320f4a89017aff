"""From problems in data to diagnostics in files, and which of them are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runner.diagnostics.model import Diagnostic, Problem
from runner.diagnostics.render import path_text
from runner.diagnostics.rules import RULES
from runner.syntax.document import Document

MOST_SHOWN = 50
_GRAVITY = {"error": 0, "warning": 1, "note": 2}


def place(problems: Iterable[Problem], documents: Sequence[Document]) -> list[Diagnostic]:
    """Diagnostics for problems found in merged data. `documents` are the manifest, then the partials it extends, the
    winning one first. Silences warnings by `# runner: ignore[rule]` on their line. All of them, each
    once: `arrange` says which are shown."""
    found = []
    for problem in problems:
        document = next((one for one in documents if one.has(problem.loc)), documents[0])
        if document.is_bad(problem.loc):
            continue
        span = document.locate(problem.loc, problem.on, problem.within)
        severity = RULES[problem.rule].severity
        if severity == "warning" and problem.rule in document.ignored(span.line):
            continue
        path = path_text(problem.loc)
        found.append(Diagnostic(document.file, span, severity, problem.rule, path, problem.message, problem.fix))
    return in_order(found)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By place, each once."""
    return sorted(dict.fromkeys(diagnostics), key=_where)


def arrange(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By file and place, each once, at most 50 a file (errors before warnings), then a note that says how many more."""
    files: dict[str, list[Diagnostic]] = {}
    for diagnostic in dict.fromkeys(diagnostics):
        files.setdefault(diagnostic.file, []).append(diagnostic)
    return [shown for file, found in files.items() for shown in _most_important(file, found)]


def _most_important(file: str, found: Sequence[Diagnostic]) -> list[Diagnostic]:
    gave_up = [one for one in found if one.rule == "too-many"]
    rest = sorted((one for one in found if one.rule != "too-many"), key=_where)
    kept = sorted(sorted(rest, key=lambda one: _GRAVITY[one.severity])[:MOST_SHOWN], key=_where)
    if len(rest) == len(kept):
        return kept + gave_up
    message = f"{len(rest) - len(kept)} more mistakes in this file are not shown"
    if gave_up:
        message = f"at least {message}; {gave_up[0].message}"
    return [*kept, Diagnostic(file, None, "note", "too-many", "", message)]


def _where(diagnostic: Diagnostic) -> tuple[int, int, str, str]:
    span = diagnostic.span
    return (span.line if span else 0, span.column if span else 0, diagnostic.rule, diagnostic.message)
