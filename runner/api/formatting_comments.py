"""Comments that have a line of their own, kept beside what they stand beside when lines are indented anew. The YAML library leaves
them in their columns, where a comment may become part of a block of text above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from yaml import CBaseLoader, ScalarEvent

Beside = Literal["next", "previous", "neither"]


def indented(text: str, reform: Callable[[str], str]) -> str:
    """`reform(text)`, with each comment as deep as the line that it was as deep as."""
    lines = text.split("\n")
    places = _comment_lines(text)
    beside = [_beside(lines, place) for place in places]
    columns = [_depth(lines[place]) for place in places]
    for place in places:
        lines[place] = lines[place].lstrip(" ")  # at the margin, a comment is part of nothing
    reformed = reform("\n".join(lines))
    after = reformed.split("\n")
    found = _comment_lines(reformed)
    if [after[place].strip() for place in found] != [lines[place].strip() for place in places]:
        return reformed
    for place, how, column in zip(found, beside, columns, strict=True):
        depth = column if how == "neither" else _depth_of(after, place, 1 if how == "next" else -1)
        after[place] = " " * min(depth, _deepest(after, place)) + after[place].lstrip(" ")
    return "\n".join(after)


def _comment_lines(text: str) -> list[int]:
    """The lines that hold nothing but a comment."""
    inside: set[int] = set()
    loader = CBaseLoader(text)
    while loader.check_event():
        event = loader.get_event()
        if isinstance(event, ScalarEvent) and event.end_mark.line > event.start_mark.line:
            last = event.end_mark.line - (event.style in ("|", ">"))
            inside.update(range(event.start_mark.line + 1, last + 1))
    return [at for at, line in enumerate(text.split("\n")) if line.lstrip(" ").startswith("#") and at not in inside]


def _beside(lines: list[str], place: int) -> Beside:
    depth = _depth(lines[place])
    if depth == _depth_of(lines, place, 1):
        return "next"
    return "previous" if depth == _depth_of(lines, place, -1) else "neither"


def _depth_of(lines: list[str], place: int, way: int) -> int:
    """How deep the nearest line with content is, downwards (1) or upwards (-1)."""
    at = place + way
    while 0 <= at < len(lines) and (not lines[at].strip() or lines[at].lstrip(" ").startswith("#")):
        at += way
    return _depth(lines[at]) if 0 <= at < len(lines) else 0


def _deepest(lines: list[str], place: int) -> int:
    """No deeper than both its neighbours, so that it is part of no text above it."""
    return max(_depth_of(lines, place, 1), _depth_of(lines, place, -1))


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
