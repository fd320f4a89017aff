"""From a stretch of a scalar's text to its place in the file: exact for one line, literal blocks; elsewhere the same words are looked up."""

from __future__ import annotations

import re
from typing import Any

from runner.syntax.nodes import Node
from runner.syntax.text import LINE_BREAK

_CHOPPED = re.compile(r"[\s\\]")


def stretch(source: str, node: Node, value: Any, within: tuple[int, int]) -> tuple[int, int]:
    """Start and end offset, in `source`, of (offset, length) within the value; the whole scalar when it cannot be told."""
    start, stop, style, _ = node
    begin, end = start, stop
    if style in ("'", '"'):
        begin, end = begin + 1, end - 1
    if not isinstance(value, str):
        return start, stop
    offset = max(0, min(within[0], len(value)))
    length = max(1, min(within[1], len(value) - offset))
    if source[begin:end] == value:
        return begin + offset, begin + offset + length
    found = _literal(source, node, value, offset) if style == "|" else None
    if found is None:
        found = _same_words(source, node, value, offset, length)
    if found is None:
        return start, stop
    rest = LINE_BREAK.search(source, found, min(found + length, end))
    return found, rest.start() if rest else min(found + length, end)


def _literal(source: str, node: Node, value: str, offset: int) -> int | None:
    """In a literal block each line of the value is a line of the file behind the block's indentation."""
    start, stop, _, _ = node
    lines = LINE_BREAK.split(source[start:stop])
    values = value.split("\n")
    first = next((number for number, line in enumerate(values) if line.strip()), None)
    if first is None or first + 1 >= len(lines):
        return None
    indent = len(lines[first + 1]) - len(values[first])
    number = value.count("\n", 0, offset)
    column = offset - (value.rfind("\n", 0, offset) + 1)
    breaks = list(LINE_BREAK.finditer(source, start, stop))
    if number >= len(breaks) or lines[number + 1][indent:] != values[number]:
        return None
    return breaks[number].end() + indent + column


def _same_words(source: str, node: Node, value: str, offset: int, length: int) -> int | None:
    """The n-th place of the same words: exact unless escapes or folding make or break one before it."""
    words = _CHOPPED.split(value[offset : offset + length], maxsplit=1)[0].split("'")[0].split('"')[0]
    if not words:
        return None
    start, stop, style, _ = node
    if style in ("|", ">"):
        header = LINE_BREAK.search(source, start, stop)
        start = header.end() if header else start
    place = start - 1
    for _ in range(_count(value, words, offset) + 1):
        place = source.find(words, place + 1, stop)
        if place < 0:
            return None
    return place


def _count(value: str, words: str, offset: int) -> int:
    count, place = 0, value.find(words, 0, offset + len(words) - 1)
    while 0 <= place < offset:
        count, place = count + 1, value.find(words, place + 1, offset + len(words) - 1)
    return count
