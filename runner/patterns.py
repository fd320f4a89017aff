"""Regular expressions of strangers, over texts of strangers: searched for no longer than we are willing to wait.

A pattern such as `^(a+)+$` takes Python's own `re` longer than the universe has, for forty characters. So these go through `regex`, which
has a time limit (and is quicker with such patterns). Which patterns are well-formed is for `re` to say, when they are read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

SECONDS = 2.0
"""The longest search, where nobody says otherwise."""
_until: ContextVar[float | None] = ContextVar("patience", default=None)


class TooSlow(Exception):
    """A search was given up."""

    def __init__(self, pattern: str) -> None:
        shown = pattern if len(pattern) <= 80 else f"{pattern[:79]}…"
        super().__init__(f"the pattern {shown!r} takes too long")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """All searches within this take no longer together."""
    end, before = time.monotonic() + seconds, _until.get()
    token = _until.set(end if before is None else min(before, end))
    try:
        yield
    finally:
        _until.reset(token)


def found(pattern: str, text: str) -> bool:
    """Is `pattern` found in `text`? Raises TooSlow."""
    import regex  # 20 ms, and only for schemas with a pattern

    until = _until.get()
    left = SECONDS if until is None else until - time.monotonic()
    try:
        if left > 0:
            return regex.search(pattern, text, timeout=left) is not None
    except (TimeoutError, regex.error, MemoryError, RecursionError) as error:
        raise TooSlow(pattern) from error
    raise TooSlow(pattern)


@cache
def bounded(kind: Any) -> Any:
    """A class of validators of `jsonschema`, with `pattern` and `patternProperties` searched for by `found`."""
    from jsonschema import validators

    extend: Any = validators.extend  # its types say nothing
    return extend(kind, {"pattern": _pattern, "patternProperties": _pattern_properties})


def _pattern(validator: Any, pattern: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not found(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for pattern, inner in patterns.items():
            for name, child in value.items():
                if found(pattern, name):
                    yield from validator.descend(child, inner, path=name, schema_path=pattern)
