"""Plain data as YAML that people read and git compares: keys in their order, texts of several lines as blocks, small things on one line.

What is written reads back as the same data (`runner.syntax.read`); that is all it is for: no anchors, no tags, no comments. Characters
that no file of ours may hold (`syntax.text.CONTROL`) are the caller's to keep elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

WIDTH: Final = 110
_PLAIN: Final = re.compile(r"[A-Za-z_./$][A-Za-z0-9_./@+%()-]*(?: [A-Za-z0-9_./@+%()-]+)*")
_WORDS: Final = re.compile(r"(?i)(?:true|false|null|yes|no|on|off|y|n|\.inf|\.nan|[.+-]*\d.*|\.+)")
"""Words that some YAML reader takes for something else than text."""
_BLOCK: Final = re.compile(r"[\n\t\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")


def to_yaml(value: Mapping[str, Any]) -> str:
    """The document."""
    return "".join(f"{line}\n" for line in _map(value, 0))


def _map(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, child in value.items():
        yield from _entry(f"{'  ' * depth}{scalar(key)}:", child, depth + 1)


def _list(value: Sequence[Any], depth: int) -> Iterator[str]:
    for child in value:
        if isinstance(child, Mapping) and child and _flow(child, depth * 2 + 2) is None:
            first, *rest = _map(child, depth + 1)
            yield f"{'  ' * depth}- {first.lstrip(' ')}"
            yield from rest
        else:
            yield from _entry(f"{'  ' * depth}-", child, depth + 1)


def _entry(head: str, child: Any, depth: int) -> Iterator[str]:
    """`head` and its value, on the same line where it fits."""
    if isinstance(child, str) and "\n" in child and (block := _block(child, depth)) is not None:
        yield f"{head} {block[0]}"
        yield from block[1:]
    elif (flow := _flow(child, len(head))) is not None:
        yield f"{head} {flow}"
    else:
        yield head
        yield from _map(child, depth) if isinstance(child, Mapping) else _list(child, depth)


def _flow(value: Any, used: int) -> str | None:
    """On one line; None when it is better on several. An empty map or list, a scalar, have no other form."""
    if isinstance(value, Mapping | list | tuple):
        text = _inline(value)
        return text if not value or (text is not None and used + len(text) < WIDTH) else None
    return scalar(value)


def _inline(value: Any) -> str | None:
    if isinstance(value, Mapping):
        parts = [(scalar(key), _inline(child)) for key, child in value.items()]
        if any(child is None for _, child in parts):
            return None
        return "{" + ", ".join(f"{key}: {child}" for key, child in parts) + "}"
    if isinstance(value, list | tuple):
        words = [_inline(child) for child in value]
        return None if None in words else "[" + ", ".join(map(str, words)) + "]"
    return None if isinstance(value, str) and "\n" in value else scalar(value)


def scalar(value: Any) -> str:
    """A value of one line."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value) and len(value) < WIDTH:
            return value
        return _quoted(value)
    return json.dumps(value, allow_nan=False)


def _quoted(text: str) -> str:
    """In quotes: double ones, unless that would only make escapes. What a terminal or an editor may not show as it is, is escaped."""
    if ('"' in text or "\\" in text) and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in quoted)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _block(text: str, depth: int) -> list[str] | None:
    """The lines of a literal block; None for a text that cannot be one."""
    if not text.strip() or not _BLOCK.fullmatch(text):
        return None
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    lines = body.split("\n")
    indent = "2" if lines[0][:1] in (" ", "\t", "") else ""
    sign = "-" if ends == 0 else "" if ends == 1 else "+"
    pad = "  " * depth
    return [f"|{indent}{sign}", *(pad + line if line else "" for line in lines), *[""] * (ends - 1)]
