"""The form of a cron expression. When it fires next, and whether it ever does, is told elsewhere."""

from __future__ import annotations

import re

from runner.manifest.base import mistake
from runner.manifest.types import shown

SCHEDULE_PATTERN = r"^\s*\S+(\s+\S+){4}\s*$"
"""Five fields: what a JSON Schema can say of a schedule."""

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, ["", *_MONTHS]),
    ("day of week", 0, 7, _DAYS),
)
_RANGE = r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d{1,3}))?"


def read_schedule(value: str) -> str:
    """A cron expression of five fields, as it was written."""
    parts = value.split()
    if len(parts) != 5:
        raise mistake("cron-syntax", f"expected five fields such as `0 6 * * 1-5`, not {shown(value)}")
    for part, (noun, low, high, names) in zip(parts, _FIELDS, strict=True):
        for piece in part.split(","):
            if not _fits(piece, low, high, names):
                raise mistake("cron-syntax", f"{shown(piece)} is no {noun} ({low} to {high})")
    return value


def _fits(piece: str, low: int, high: int, names: list[str]) -> bool:
    match = re.fullmatch(_RANGE, piece.lower())
    if not match or match[3] == "0":
        return False
    bounds = [_number(text, names) for text in match.group(1, 2) if text is not None]
    return all(low <= bound <= high for bound in bounds) and bounds == sorted(bounds)


def _number(text: str, names: list[str]) -> int:
    if text.isascii() and text.isdigit():
        return int(text)
    return names.index(text) if text in names else -1
