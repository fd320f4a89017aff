"""Places in text files: what a diagnostic points at. Lines and columns count from 1, in characters."""

from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of text. `end_column` is the column after the last character."""

    line: int
    column: int
    end_line: int
    end_column: int


class Source(NamedTuple):
    """A file as the user named it, and its text."""

    file: str
    text: str
