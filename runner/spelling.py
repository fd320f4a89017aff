"""What a misspelt word may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from runner.patience import Patience

PATIENCE = Patience(1.0)
LONGEST = 64
MOST_KNOWN = 2_000
"""Words that are compared: a suggestion is a kindness, and must not take long."""


def near(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that is nearest to `word`, as it stands there; None when none is near."""
    with PATIENCE.spent() as left:
        options = {name[:LONGEST]: name for name in islice(known, MOST_KNOWN)} if left else {}
        found = get_close_matches(word[:LONGEST], options, 1, 0.6)
    return options[found[0]] if found else None
