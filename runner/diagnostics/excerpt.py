"""A source line as a terminal can show it: no control characters, known widths, not longer than a line."""

import unicodedata
from typing import NamedTuple

_TAB_WIDTH = 4
_WINDOW = 100
_BEFORE = 40
_ELLIPSIS = "…"
_DELETE = 0x7F


class Excerpt(NamedTuple):
    """What to print, and where the caret goes: `indent` columns from the left, `width` columns wide."""

    text: str
    indent: int
    width: int

    @classmethod
    def around(cls, line: str, column: int, end_column: int) -> "Excerpt":
        """The part of a line around columns (from 1, in characters) `column` to before `end_column`."""
        begin = min(column - 1, len(line))
        end = max(begin, min(end_column - 1, len(line)))
        first = 0 if len(line) <= _WINDOW else max(0, min(begin - _BEFORE, len(line) - _WINDOW))
        last = min(len(line), first + _WINDOW)
        head = _ELLIPSIS if first else ""
        tail = _ELLIPSIS if last < len(line) else ""
        cells = [_cell(character) for character in line[first:last]]
        indent = len(head) + sum(width for _, width in cells[: begin - first])
        width = sum(width for _, width in cells[begin - first : end - first])
        return cls(head + "".join(text for text, _ in cells) + tail, indent, max(1, width))


def harmless(text: str) -> str:
    """The text on one line, with control characters made visible."""
    return "".join(_cell(character)[0] if character != "\t" else " " for character in text)


def _cell(character: str) -> tuple[str, int]:
    """What stands for a character, and how many columns it takes."""
    if " " <= character <= "~":
        return character, 1
    if character == "\t":
        return " " * _TAB_WIDTH, _TAB_WIDTH
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code), 1
    if code == _DELETE:
        return "\u2421", 1
    category = unicodedata.category(character)
    if category[0] == "C" or category in ("Zl", "Zp"):
        return "\ufffd", 1  # among them bidirectional overrides, which would show the line in another order
    if category in ("Mn", "Me"):
        return character, 0
    return character, 2 if unicodedata.east_asian_width(character) in "WF" else 1
