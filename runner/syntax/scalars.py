"""What an unquoted scalar means in the YAML 1.2 core schema: null, booleans, integers, floats, else text."""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

FIRST = frozenset("-+.0123456789~nNtTfF")
"""The first characters of everything that is not text; an empty scalar is null."""

_WORDS: dict[str, Scalar] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES = {"0o": 8, "0x": 16}
_MOST_DIGITS = 24


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises ValueError, with the reason, for a number that JSON or SQLite cannot hold."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError("the number is too large")
        return number
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("not-a-number and infinity are not allowed")
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-0") if text[:2] not in _BASES else text[2:].lstrip("0")
    number = (
        int(text[2:], _BASES[text[:2]])
        if text[:2] in _BASES
        else int(text[:1].strip("0123456789") + (digits or "0")[:_MOST_DIGITS])
    )
    # 64 bits is what SQLite and most JSON readers hold; more would change silently on the way.
    if len(digits) >= _MOST_DIGITS or not -(2**63) <= number < 2**63:
        raise ValueError("the integer does not fit into 64 bits")
    return number
