"""What a misspelt word may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

from runner.patience import Patience

PATIENCE = Patience(1.0)
LONGEST = 64
"""Characters that are compared."""
ABSURD = 256
"""Characters of a word that nobody has mistyped."""
MOST_KNOWN = 2_000
"""Words that are compared: a suggestion is a kindness, and must not take long."""


def near(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that is nearest to `word`, as it stands there; None when none is near. Upper and lower case are the same, and
    so are `-` and `_`."""
    if not 0 < len(word) <= ABSURD:
        return None
    options: dict[str, str] = {}
    with PATIENCE.spent() as left:
        for name in islice(known, MOST_KNOWN) if left else ():
            options.setdefault(_plain(name), name)
        found = get_close_matches(_plain(word), options, 1, 0.6)
    return options[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A fix that offers the nearest known word, if one is near."""
    meant = near(word, known)
    if meant is None:
        return None
    return f"did you mean `{meant if len(meant) <= LONGEST else meant[:LONGEST] + '…'}`?"


def _plain(word: str) -> str:
    return word[:LONGEST].lower().replace("-", "_")
