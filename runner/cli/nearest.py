"""Suggestions for misspelt words on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def nearest(word: str, options: Sequence[str]) -> str:
    """`; did you mean 'apply'?`, or nothing when no option is near."""
    near = difflib.get_close_matches(word[:64], options, 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
