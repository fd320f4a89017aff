"""What leaves the server is harmless: no secret, no half characters, and in text no control characters. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.redact import Redactor

MOST_CHARS = 50_000
MOST_ENTRIES = 1_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """`text` with control characters, and what turns the direction of text, made visible; newlines and tabs stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def clean(value: Any, redactor: Redactor) -> Any:
    """A JSON value with secrets masked, long texts and lists cut (and the cut marked), and only whole characters."""
    return _bounded(redactor.data(value))


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, Mapping):
        kept = {_whole(key): _bounded(inner) for key, inner in list(value.items())[:MOST_ENTRIES]}
        return kept | ({"…": f"cut: {len(value) - MOST_ENTRIES} more"} if len(value) > MOST_ENTRIES else {})
    if isinstance(value, list | tuple):
        kept_items = [_bounded(inner) for inner in value[:MOST_ENTRIES]]
        return kept_items + ([f"… cut: {len(value) - MOST_ENTRIES} more"] if len(value) > MOST_ENTRIES else [])
    return value


def _whole(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}… [cut: {len(text) - MOST_CHARS} characters more]"
