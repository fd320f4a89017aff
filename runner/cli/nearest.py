"""Suggestions for misspelt words on the command line."""

from __future__ import annotations

from collections.abc import Sequence

from runner import spelling


def nearest(word: str, options: Sequence[str]) -> str:
    """`; did you mean 'apply'?`, or nothing when no option is near."""
    near = spelling.near(word, options)
    return f"; did you mean {near!r}?" if near else ""
