"""From the parser's events to plain data and its places, iteratively and within limits.

PyYAML's C parser (libyaml 0.2.5) gives the events: the older libyaml of ruamel.yaml refuses `{hint?: string}` and
`[http://x]`. Never a C composer: those recurse on foreign depth and crash the interpreter. Two resolutions of YAML 1.2 are
our own: scalars (`scalars`), and the refusal of tags, directives and keys that are not text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from yaml import (  # type: ignore[import-untyped]
    AliasEvent,
    CBaseLoader,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from runner.diagnostics.model import Loc
from runner.syntax.limits import Limits
from runner.syntax.scalars import FIRST, resolve
from runner.syntax.text import CONTROL, Text

Data = Any
"""A JSON value: None, bool, int, float, str, list, dict with string keys."""

MOST_MISTAKES = 1000
_CHARACTERS_A_NODE = 1024
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t\r\n]*)+")


class Node(NamedTuple):
    """Where a value is: offsets, the scalar's style (`''` plain, quotes, `|`, `>`; None for lists and maps), and its parts."""

    start: int
    end: int
    style: str | None
    parts: Any
    """A map's `{key: (key start, key end, Node)}`, a list's `[Node]`, None for scalars."""


class Mistake(NamedTuple):
    """What will be a diagnostic, with offsets instead of lines."""

    rule: str
    start: int
    end: int
    loc: Loc
    message: str
    fix: str | None = None
    notes: tuple[tuple[int, int, str], ...] = ()


class Root(NamedTuple):
    """One composed document. `bad`: where values start that had a mistake, so that nobody complains about them twice."""

    data: Data
    node: Node
    bad: frozenset[int]


class Stop(Exception):
    """Composing cannot go on; the reason is among the mistakes."""


class _Marker:
    """In place of a key: none yet, `<<`, or one that was refused."""

    __slots__ = ()


_NONE, _MERGE, _REFUSED = _Marker(), _Marker(), _Marker()


class _Frame:
    """A list or map that is still open."""

    __slots__ = ("anchor", "data", "key", "key_end", "key_start", "merges", "parts", "start")

    def __init__(self, data: Data, parts: Any, start: int, anchor: str | None) -> None:
        self.data = data
        self.parts = parts
        self.start = start
        self.anchor = anchor
        self.key: str | _Marker | None = _NONE if type(data) is dict else None
        self.key_start = 0
        self.key_end = 0
        self.merges: list[tuple[Data, Node]] | None = None


class Composer:
    """Composes the documents of one text. `roots` and `mistakes` are the result, also after `Stop` or a parser's error."""

    def __init__(self, text: Text, limits: Limits, bad: frozenset[int] = frozenset()) -> None:
        self.roots: list[Root] = []
        self.mistakes: list[Mistake] = []
        self._source = text.content
        self._limits = limits
        self._known_bad = bad
        self._nodes = 0
        self._begin()
        self._handlers: dict[type, Callable[[Any], None]] = {
            StreamStartEvent: self._ignore,
            DocumentStartEvent: self._document_start,
            DocumentEndEvent: self._document_end,
            MappingStartEvent: self._mapping_start,
            MappingEndEvent: self._collection_end,
            SequenceStartEvent: self._sequence_start,
            SequenceEndEvent: self._collection_end,
            ScalarEvent: self._scalar,
            AliasEvent: self._alias,
        }

    def run(self) -> None:
        """Compose everything. Raises `Stop` at a limit, and whatever the parser raises where the text is not YAML."""
        handlers = self._handlers
        get_event = CBaseLoader(self._source).get_event
        while True:
            event = get_event()
            kind = type(event)
            if kind is StreamEndEvent:
                return
            handlers[kind](event)

    # Documents

    def _begin(self) -> None:
        self._top = _Frame([], [], 0, None)  # a list that takes the root: a root is then nothing special
        self._stack = [self._top]
        self._anchors: dict[str, tuple[Data, Node] | None] = {}
        self._aliases = 0
        self._bad: set[int] = set(self._known_bad)
        self._template: int | None = None

    def _ignore(self, event: Any) -> None:
        return

    def _document_start(self, event: Any) -> None:
        self._begin()
        if event.version or event.tags:
            start = event.start_mark.index
            end = self._source.find("\n", start)
            self._report(
                "yaml-directive", start, end, "directives are not allowed", "remove the line: every file is YAML 1.2"
            )

    def _document_end(self, event: Any) -> None:
        node: Node = self._top.parts[0]
        if node.style == "" and node.start == node.end:
            return  # nothing between two `---`
        self.roots.append(Root(self._top.data[0], node, frozenset(self._bad)))

    # Scalars

    def _scalar(self, event: Any) -> None:
        value: Data = event.value
        start: int = event.start_mark.index
        end: int = event.end_mark.index
        style: str = event.style
        if event.anchor is not None or event.tag is not None:
            start = self._properties(event)
        if style == "":
            if value[:1] in FIRST or not value:
                value = self._resolve(value, start, end)
        elif style == '"' and CONTROL.search(value):
            self._control(value, start, end)
        top = self._top
        if top.key is _NONE:
            self._key(top, value, event, start, end)
            return
        node = Node(start, end, style, None)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, node)
        self._add(value, node)

    def _resolve(self, text: str, start: int, end: int) -> Data:
        try:
            return resolve(text)
        except ValueError as error:
            self._report("yaml-number", start, end, str(error), "quote it if text is meant")
            return text

    def _control(self, value: str, start: int, end: int) -> None:
        code = ord(CONTROL.search(value)[0])  # type: ignore[index]
        self._report(
            "yaml-character",
            start,
            end,
            f"the character U+{code:04X} is not allowed, not even as an escape",
            "remove it",
        )

    def _add(self, value: Data, node: Node) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            self._too_many_nodes(node)
        top = self._top
        key = top.key
        if key is None:
            top.data.append(value)
            top.parts.append(node)
            return
        if type(key) is str:
            top.data[key] = value
            top.parts[key] = (top.key_start, top.key_end, node)
        elif key is _MERGE:
            self._merge(top, value, node)
        top.key = _NONE

    # Keys

    def _key(self, top: _Frame, value: Data, event: Any, start: int, end: int) -> None:
        top.key_start = start
        top.key_end = end
        if type(value) is not str:
            shown = f"`{event.value}`" if event.value else "an empty key"
            fix = f'quote it: "{event.value}"' if event.value else "write the key before the `:`"
            self._report("yaml-key", start, end, f"{shown} is not text: keys are strings", fix)
            top.key = _REFUSED
        elif value == "<<" and event.style == "":
            top.key = _MERGE
        elif value in top.parts:
            first = top.parts[value]
            note = (first[0], first[1], "it is given here first")
            self._report(
                "duplicate-key",
                start,
                end,
                f"the key `{value[:64]}` is given twice",
                "remove one of them",
                (note,),
                value,
            )
            top.key = _REFUSED
        else:
            top.key = value
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, Node(start, end, event.style, None))

    def _merge(self, top: _Frame, value: Data, node: Node) -> None:
        sources = [(value, node)] if type(value) is not list else list(zip(value, node.parts, strict=True))
        if top.merges is None:
            top.merges = []
        else:
            self._report(
                "duplicate-key", top.key_start, top.key_end, "the key `<<` is given twice", "use one `<<` with a list"
            )
        for source, place in sources:
            if type(source) is dict:
                top.merges.append((source, place))
            elif place.start not in self._bad:
                self._report(
                    "yaml-merge",
                    place.start,
                    place.end,
                    "`<<` takes a map, or a list of maps",
                    "name an anchor of a map: `<<: *base`",
                )

    def _merged(self, frame: _Frame) -> None:
        data: dict[str, Data] = {}
        parts: dict[str, Any] = {}
        for source, node in frame.merges or ():
            self._nodes += len(source)
            if self._nodes > self._limits.nodes:
                self._too_many_nodes(node)
            for key, value in source.items():
                if key not in data:
                    data[key] = value
                    parts[key] = node.parts[key]
        frame.data = data | frame.data
        frame.parts = parts | frame.parts

    # Lists and maps

    def _mapping_start(self, event: Any) -> None:
        start: int = event.start_mark.index
        if event.anchor is not None or event.tag is not None:
            start = self._properties(event)
        if self._template is None and event.flow_style and self._source.startswith("{{", start):
            self._template = len(self._stack)
        self._push(_Frame({}, {}, start, event.anchor))

    def _sequence_start(self, event: Any) -> None:
        start: int = event.start_mark.index
        if event.anchor is not None or event.tag is not None:
            start = self._properties(event)
        self._push(_Frame([], [], start, event.anchor))

    def _push(self, frame: _Frame) -> None:
        if len(self._stack) > self._limits.depth:
            limit = self._limits.depth
            self._stop(
                "limit",
                frame.start,
                f"more than {limit} nested lists and maps (limit `depth`)",
                "raise `limits.depth` in config",
            )
        if frame.anchor is not None:
            self._anchors[frame.anchor] = None  # open: an alias to it inside would never end
        self._stack.append(frame)
        self._top = frame

    def _collection_end(self, event: Any) -> None:
        stack = self._stack
        frame = stack.pop()
        top = self._top = stack[-1]
        if frame.merges:
            self._merged(frame)
        value = frame.data
        node = Node(frame.start, event.end_mark.index, None, frame.parts)
        refused = self._template == len(stack)
        if refused:
            value, node = self._unquoted_template(node)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (value, node)
        if top.key is _NONE:
            top.key_start, top.key_end, top.key = node.start, node.end, _REFUSED
            if not refused:
                self._report(
                    "yaml-key", node.start, node.end, "a list or map cannot be a key", "quote it if text is meant"
                )
        else:
            self._add(value, node)

    def _unquoted_template(self, node: Node) -> tuple[Data, Node]:
        """`{{ x }}` parsed as a map with a map as its key: take the text that was meant."""
        self._template = None
        text = self._source[node.start : node.end]
        fix = f"quote the template: {quoted(text)}" if len(text) <= 100 and "\n" not in text else "quote the template"
        self._report("quote-template", node.start, node.end, "a value that starts with `{{` needs quotes", fix)
        return text, Node(node.start, node.end, "", None)

    # Anchors, aliases, tags

    def _properties(self, event: Any) -> int:
        """Refuses a tag, notes an anchor that hides another; gives the offset behind both."""
        start: int = event.start_mark.index
        match = _PROPERTIES.match(self._source, start, max(start, event.end_mark.index))
        behind = match.end() if match else start
        if event.tag is not None:
            self._report("yaml-tag", start, behind, f"tags are not allowed: `{event.tag[:64]}`", "remove the tag")
        if event.anchor is not None and event.anchor in self._anchors:
            self._report(
                "yaml-anchor-duplicate",
                start,
                behind,
                f"the anchor `{event.anchor[:64]}` is defined twice",
                "rename one",
            )
        return behind

    def _alias(self, event: Any) -> None:
        start: int = event.start_mark.index
        end: int = event.end_mark.index
        self._aliases += 1
        if self._aliases > self._limits.aliases:
            limit = self._limits.aliases
            self._stop(
                "limit",
                start,
                f"more than {limit} aliases in a document (limit `aliases`)",
                "raise `limits.aliases` in config",
            )
        found = self._anchors.get(event.anchor)
        if found is None:
            inside = event.anchor in self._anchors
            reason = "is used inside its own anchor" if inside else "has no anchor before it"
            self._report("yaml-alias", start, end, f"the alias `*{event.anchor[:64]}` {reason}", None)
            found = (None, Node(start, end, "", None))
        if self._top.key is _NONE:
            self._top.key_start, self._top.key_end, self._top.key = start, end, _REFUSED
            self._report("yaml-key", start, end, "an alias cannot be a key", "write the key itself")
            return
        self._add(self._copy(found[0], len(self._stack), start), found[1])

    def _copy(self, value: Data, depth: int, alias: int) -> Data:
        """The value once more, counted. Recursion is bounded by the depth limit; long text counts a node for each KiB."""
        if type(value) is str:
            self._nodes += len(value) // _CHARACTERS_A_NODE
        elif type(value) is dict or type(value) is list:
            if depth > self._limits.depth:
                limit = self._limits.depth
                self._stop(
                    "limit", alias, f"more than {limit} nested lists and maps through this alias (limit `depth`)", None
                )
            self._nodes += len(value)
        if self._nodes > self._limits.nodes:
            self._too_many_nodes(Node(alias, alias + 1, "", None))
        if type(value) is dict:
            return {key: self._copy(item, depth + 1, alias) for key, item in value.items()}
        return [self._copy(item, depth + 1, alias) for item in value] if type(value) is list else value

    # Mistakes

    def _too_many_nodes(self, node: Node) -> None:
        limit = self._limits.nodes
        message = f"more than {limit:,} values once aliases are expanded (limit `nodes`)"
        self._stop("limit", node.start, message, "split the file, or raise `limits.nodes` in config")

    def _stop(self, rule: str, at: int, message: str, fix: str | None) -> None:
        self.mistakes.append(Mistake(rule, at, at + 1, self.loc(), message, fix))
        raise Stop

    def _report(
        self,
        rule: str,
        start: int,
        end: int,
        message: str,
        fix: str | None,
        notes: tuple[tuple[int, int, str], ...] = (),
        key: str | None = None,
    ) -> None:
        if self._template is not None:
            return  # inside an unquoted template nothing means what it seems to
        self._bad.add(start)
        loc = self.loc() if key is None else (*self.loc(), key)
        self.mistakes.append(Mistake(rule, start, end if end > start else start + 1, loc, message, fix, notes))
        if len(self.mistakes) >= MOST_MISTAKES:
            self._stop(
                "too-many", start, f"more than {MOST_MISTAKES} mistakes; the rest of the file was not read", None
            )

    def loc(self) -> Loc:
        """Where composing is: the open keys and indexes. The first frame only holds the root."""
        loc: list[str | int] = []
        for frame in self._stack[1:]:
            if frame.key is None:
                loc.append(len(frame.data))
            elif type(frame.key) is str:
                loc.append(frame.key)
        return tuple(loc)


def quoted(text: str) -> str:
    """The text as a quoted YAML scalar on one line, in the quotes that need no escapes where possible."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"
