"""What an unquoted scalar means in the YAML 1.2 core schema: null, booleans, integers, floats, else text."""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

NUMERIC = frozenset("-+.0123456789")
"""The first characters of numbers."""

WORDS: dict[str, Scalar] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
"""The unquoted words that are not text."""
WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES = {"0o": 8, "0x": 16}
_MOST_DIGITS = 24


def number(text: str) -> int | float | str:
    """The number that an unquoted scalar is, or itself. Raises ValueError, with the reason, for one that JSON or SQLite cannot hold."""
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError("the number is too large")
        return value
    if _NOT_FINITE.fullmatch(text):
        raise ValueError("not-a-number and infinity are not allowed")
    return text


def _integer(text: str) -> int:
    base = _BASES.get(text[:2], 10)
    digits = text[2:] if base != 10 else text.lstrip("+-")
    # Counted before they are converted: Python refuses (and is slow with) thousands of decimal digits.
    if len(digits.lstrip("0")) <= _MOST_DIGITS:
        value = int(digits, base)
        value = -value if text[0] == "-" else value
        if -(2**63) <= value < 2**63:
            return value
    # 64 bits is what SQLite and most JSON readers hold; more would change silently on the way.
    raise ValueError("the integer does not fit into 64 bits")


def quoted(text: str) -> str:
    """The text as a quoted YAML scalar on one line, in the quotes that need no escapes where possible."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"
