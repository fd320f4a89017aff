"""What a misspelt word may have meant."""

from __future__ import annotations

from collections.abc import Iterable
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
    from difflib import get_close_matches  # most commands meet no misspelt word

    if not 0 < len(word) <= ABSURD:
        return None
    options: dict[str, str] = {}
    with PATIENCE.spent() as left:
        for name in islice(known, MOST_KNOWN) if left else ():
            options.setdefault(_plain(name), name)
        plain = _plain(word)
        found = _shortened(plain, options) or get_close_matches(plain, options, 1, 0.6)
    return options[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A fix that offers the nearest known word, if one is near."""
    meant = near(word, known)
    if meant is None:
        return None
    return f"did you mean `{meant if len(meant) <= LONGEST else meant[:LONGEST] + '…'}`?"


def _plain(word: str) -> str:
    return word[:LONGEST].lower().replace("-", "_")


def _shortened(word: str, options: Iterable[str]) -> list[str]:
    """The only option that `word` may be a short form of, as `cmd` is of `command`: by likeness alone, `cwd` is nearer."""
    if len(word) < 3:
        return []
    ends = word[0], word[-1]
    found = [name for name in options if name and (name[0], name[-1]) == ends and _within(word, name)]
    return found if len(found) == 1 else []


def _within(word: str, name: str) -> bool:
    """Are all letters of `word` in `name`, in their order?"""
    letters = iter(name)
    return all(letter in letters for letter in word)
