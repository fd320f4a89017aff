"""Values as the JSON text that is stored, checked before they reach the writer. Nothing here touches a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

_strict = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


class BadValue(ValueError):
    """A value that cannot be recorded: not JSON, not finite, or text with lone surrogates. Only its own unit is refused."""


@cache
def _fast() -> Callable[[Any], bytes]:
    from pydantic_core import to_json  # four times the speed of json; loading it costs 50 ms, which readers do not pay

    return to_json


def encode(value: Any) -> str:
    """`value` as JSON text. Raises BadValue."""
    try:
        data = _fast()(value)
    except ValueError:
        return _encode_strictly(value)  # too deep for the fast encoder, or no JSON at all: the slow one words it
    if b"NaN" in data or b"Infinity" in data:
        return _encode_strictly(value)  # perhaps only a text that says so
    return data.decode()


def _encode_strictly(value: Any) -> str:
    try:
        text = _strict(value)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadValue(f"a value cannot be recorded: {error}") from error
    return text


decode: Callable[[str], Any] = json.loads
