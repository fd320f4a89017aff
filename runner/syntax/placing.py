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
    return sorted(dict.fromkeys(found), key=_where)


def arrange(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """By file and place, each once, at most 50 a file (errors before warnings), then a note that says how many more."""
    files: dict[str, list[Diagnostic]] = {}
    for diagnostic in dict.fromkeys(diagnostics):
        files.setdefault(diagnostic.file, []).append(diagnostic)
    shown: list[Diagnostic] = []
    for file, found in files.items():
        if found[-1].rule == "too-many":  # arranged before: the note counts what is not here
            shown += found
            continue
        found.sort(key=_where)
        kept = sorted(found, key=lambda one: _GRAVITY[one.severity])[:MOST_SHOWN]
        shown += sorted(kept, key=_where)
        if len(found) > len(kept):
            shown.append(
                Diagnostic(
                    file,
                    None,
                    "note",
                    "too-many",
                    "",
                    f"{len(found) - len(kept)} more mistakes in this file are not shown",
                )
            )
    return shown


def _where(diagnostic: Diagnostic) -> tuple[int, int, str, str]:
    span = diagnostic.span
    return (span.line if span else 0, span.column if span else 0, diagnostic.rule, diagnostic.message)
