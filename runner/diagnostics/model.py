"""The two shapes of a mistake: a `Problem` knows its place in the data, a `Diagnostic` its place in the file."""

from typing import Literal, NamedTuple

from runner.source import Span

Severity = Literal["error", "warning", "note"]
Loc = tuple[str | int, ...]
"""Where in the data: keys and indexes from the document's root, such as ("steps", "fetch", "with", "number")."""


class Problem(NamedTuple):
    """A mistake found in parsed data. `on` says whether the key or the value is to be underlined; `within` is (offset, length) inside
    the text of a scalar value (a template's expression)."""

    rule: str
    loc: Loc
    message: str
    fix: str | None = None
    on: Literal["key", "value"] = "value"
    within: tuple[int, int] | None = None


class Diagnostic(NamedTuple):
    """A mistake in its place in a file. `path` is `loc` as text (`steps.fetch.with.number`, `steps.a.checks[0]`)."""

    file: str
    span: Span | None
    severity: Severity
    rule: str
    path: str
    message: str
    fix: str | None = None
    notes: tuple[tuple[Span, str], ...] = ()
