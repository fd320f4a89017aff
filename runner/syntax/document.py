"""A document: its data, and the places of its parts."""

from __future__ import annotations

import re
from typing import Literal

from runner.diagnostics.model import Loc
from runner.source import Span
from runner.syntax.nodes import Data, Node, Root
from runner.syntax.text import Text
from runner.syntax.within import stretch

_IGNORE = re.compile(r"(?:^|\s)#\s*runner:\s*ignore\[([^\]]*)\]")


class Document:
    """One document of a file. `data` is plain JSON-like data that nothing may change; `file` is as the user named it."""

    __slots__ = ("_root", "_text", "data", "file")

    def __init__(self, text: Text, root: Root) -> None:
        self.file = text.file
        self.data: Data = root.data
        self._root = root
        self._text = text

    @property
    def is_manifest(self) -> bool:
        """Whether the document is a map with the key `ares`."""
        return isinstance(self.data, dict) and "ares" in self.data

    @property
    def source(self) -> str:
        """The text of the whole file, without a byte order mark: what diagnostics are shown with."""
        return self._text.content

    def has(self, loc: Loc) -> bool:
        """Whether the document holds a value at that place."""
        return self._walk(loc)[2]

    def is_bad(self, loc: Loc) -> bool:
        """Whether reading the value at that place was a mistake already: a complaint about it would be the second."""
        node, _, found = self._walk(loc)
        return found and node[0] in self._root.bad

    def locate(self, loc: Loc, on: Literal["value", "key"] = "value", within: tuple[int, int] | None = None) -> Span:
        """The place of a value or of its key. A place that the document does not hold gives the key (else the begin) of the
        nearest part around it. `within`, (offset, length), is a part of a scalar's text."""
        node, key, found = self._walk(loc)
        if found and on == "value":
            if within is not None and node[2] is not None:
                return self._text.span(*stretch(self._text.content, node, self._value(loc), within))
            start, end = node[0], self._end(node)
            if end > start:
                return self._text.span(start, end)
        if key is not None:
            return self._text.span(*key)
        return self._text.span(node[0], max(self._end(node), node[0] + 1) if found else node[0] + 1)

    def ignored(self, line: int) -> frozenset[str]:
        """The rules that a `# runner: ignore[rule, …]` comment on that line silences."""
        text = self._text.line(line)
        return frozenset(word.strip() for found in _IGNORE.findall(text) for word in found.split(",") if word.strip())

    def _walk(self, loc: Loc) -> tuple[Node, tuple[int, int] | None, bool]:
        """The deepest existing node on the way to `loc`, the offsets of its key, and whether it is `loc` itself."""
        node, key = self._root.node, None
        for part in loc:
            parts = node[3]
            if isinstance(parts, dict) and part in parts:
                start, end, node = parts[part]
                key = (start, end)
            elif isinstance(parts, list) and isinstance(part, int) and 0 <= part < len(parts):
                node, key = parts[part], None
            else:
                return node, key, False
        return node, key, True

    def _value(self, loc: Loc) -> Data:
        value = self.data
        for part in loc:
            value = value[part]
        return value

    def _end(self, node: Node) -> int:
        """Where the text of a node ends: block lists, maps and scalars end in the parser's eyes where the next token begins."""
        begin, end, style, parts = node
        if style not in (None, "|", ">"):
            return end
        content = self._text.content
        while parts and content[end - 1 : end] not in ("]", "}"):
            last: Node = parts[-1] if isinstance(parts, list) else next(reversed(parts.values()))[2]
            if not begin <= last[0] <= node[1]:
                break  # an alias or a merged key: its place is elsewhere
            _, end, _, parts = last
        while end > begin and content[end - 1] in " \t\r\n":
            end -= 1
        return end


def looks_like_manifest(data: bytes) -> bool:
    """Whether a file that did not parse was meant as a manifest: a line starts with `ares:`."""
    return data.removeprefix(b"\xef\xbb\xbf").startswith(b"ares:") or b"\nares:" in data or b"\rares:" in data
