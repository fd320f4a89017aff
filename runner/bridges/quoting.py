"""As much of what an agent's program says as is told: without the secrets that we were given. The runner masks them, too, but would not
know the half of one that a cut leaves."""

from __future__ import annotations

import os
from functools import cache

from runner.redact import SENSITIVE, SHORTEST, Redactor, head


def first(text: str, most: int) -> str:
    """The first `most` characters of `text` once it is masked."""
    return head(text, most, masked)[0]


def masked(text: str) -> str:
    """`text` without the values of the variables of our environment that are named as secrets are."""
    return _redactor(tuple(sorted(filter(_is_secret, os.environ.items())))).text(text)


def _is_secret(variable: tuple[str, str]) -> bool:
    name, value = variable
    return len(value) >= SHORTEST and SENSITIVE.search(name) is not None


@cache
def _redactor(secrets: tuple[tuple[str, str], ...]) -> Redactor:
    return Redactor(dict(secrets))
