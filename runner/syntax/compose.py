"""From the parser's events to plain data and its places, iteratively and within limits.

PyYAML's C parser (libyaml 0.2.5) gives the events: the older libyaml of ruamel.yaml refuses `{hint?: string}` and
`[http://x]`. Never a C composer: those recurse on foreign depth and crash the interpreter. Two resolutions of YAML 1.2 are
our own: scalars (`scalars`), and the refusal of tags, directives and keys that are not text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from yaml import (
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
from runner.syntax.nodes import MERGE_KEY, NO_KEY, REFUSED_KEY, Data, Frame, Mistake, Node, Root
from runner.syntax.scalars import NUMERIC, WORDS, number, quoted
from runner.syntax.text import CONTROL, Text

MOST_MISTAKES = 1000
_CHARACTERS_A_NODE = 1024
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t\r\n]*)+")


class Stop(Exception):
    """Composing cannot go on; the reason is among the mistakes."""


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

    def run(self) -> None:
        """Compose everything. Raises `Stop` at a limit, and whatever the parser raises where the text is not YAML."""
        scalar = self._scalar
        get_event = CBaseLoader(self._source).get_event
        while True:
            event = get_event()
            kind = type(event)
            if kind is ScalarEvent:
                scalar(event)
            elif kind is StreamEndEvent:
                return
            else:
                _HANDLERS[kind](self, event)

    # Documents

    def _begin(self) -> None:
        self._top = Frame([], [], 0, None)  # a list that takes the root: a root is then nothing special
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
        self._count(1, node[0])
        if node[2] == "" and node[0] == node[1]:
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
            if value in WORDS:
                value = WORDS[value]
            elif value[0] in NUMERIC:
                value = self._number(value, start, end)
        elif style == '"' and CONTROL.search(value):
            self._control(value, start, end)
        top = self._top
        if top.key is NO_KEY:
            self._key(top, value, event, start, end)
            return
        node = (start, end, style, None)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, node)
        self._add(value, node)

    def _number(self, text: str, start: int, end: int) -> Data:
        try:
            return number(text)
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
        top = self._top
        key = top.key
        if key is None:
            top.data.append(value)
            top.parts.append(node)
            return
        if type(key) is str:
            top.data[key] = value
            top.parts[key] = (top.key_start, top.key_end, node)
        elif key is MERGE_KEY:
            self._merge(top, value, node)
        top.key = NO_KEY

    # Keys

    def _key(self, top: Frame, value: Data, event: Any, start: int, end: int) -> None:
        top.key_start = start
        top.key_end = end
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, (start, end, event.style, None))
        if value == "<<" and event.style == "":
            top.key = MERGE_KEY
        elif type(value) is str and value not in top.parts:
            top.key = value
        else:
            self._refuse_key(top, value, event.value)

    def _refuse_key(self, top: Frame, value: Data, text: str) -> None:
        top.key = REFUSED_KEY
        start, end = top.key_start, top.key_end
        if type(value) is str:
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
        else:
            shown = f"`{text[:64]}`" if text else "an empty key"
            fix = f'quote it: "{text[:64]}"' if text else "write the key before the `:`"
            self._report("yaml-key", start, end, f"{shown} is not text: keys are strings", fix)

    def _merge(self, top: Frame, value: Data, node: Node) -> None:
        sources = [(value, node)] if type(value) is not list else list(zip(value, node[3], strict=True))
        if top.merges is None:
            top.merges = []
        else:
            self._report(
                "duplicate-key", top.key_start, top.key_end, "the key `<<` is given twice", "use one `<<` with a list"
            )
        for source, place in sources:
            if type(source) is dict:
                top.merges.append((source, place))
            elif place[0] not in self._bad:
                self._report(
                    "yaml-merge",
                    place[0],
                    place[1],
                    "`<<` takes a map, or a list of maps",
                    "name an anchor of a map: `<<: *base`",
                )

    def _merged(self, frame: Frame) -> None:
        data: dict[str, Data] = {}
        parts: dict[str, Any] = {}
        for source, node in frame.merges or ():
            self._count(len(source), node[0])
            for key, value in source.items():
                if key not in data:
                    data[key] = value
                    parts[key] = node[3][key]
        frame.data = data | frame.data
        frame.parts = parts | frame.parts

    # Lists and maps

    def _mapping_start(self, event: Any) -> None:
        start: int = event.start_mark.index
        if event.anchor is not None or event.tag is not None:
            start = self._properties(event)
        if self._template is None and event.flow_style and self._source.startswith("{{", start):
            self._template = len(self._stack)
        self._push(Frame({}, {}, start, event.anchor))

    def _sequence_start(self, event: Any) -> None:
        start: int = event.start_mark.index
        if event.anchor is not None or event.tag is not None:
            start = self._properties(event)
        self._push(Frame([], [], start, event.anchor))

    def _push(self, frame: Frame) -> None:
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
        self._count(len(frame.data), frame.start)
        if frame.merges:
            self._merged(frame)
        value = frame.data
        node: Node = (frame.start, event.end_mark.index, None, frame.parts)
        refused = self._template == len(stack)
        if refused:
            value, node = self._unquoted_template(node)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (value, node)
        if top.key is NO_KEY:
            top.key_start, top.key_end, top.key = node[0], node[1], REFUSED_KEY
            if not refused:
                self._report("yaml-key", node[0], node[1], "a list or map cannot be a key", "quote it if text is meant")
        else:
            self._add(value, node)

    def _unquoted_template(self, node: Node) -> tuple[Data, Node]:
        """`{{ x }}` parsed as a map with a map as its key: take the text that was meant."""
        self._template = None
        start, end, _, _ = node
        text = self._source[start:end]
        fix = f"quote the template: {quoted(text)}" if len(text) <= 100 and "\n" not in text else "quote the template"
        self._report("quote-template", start, end, "a value that starts with `{{` needs quotes", fix)
        return text, (start, end, "", None)

    # Anchors, aliases, tags

    def _properties(self, event: Any) -> int:
        """Refuses a tag, notes an anchor that hides another; gives the offset behind both."""
        start: int = event.start_mark.index
        match = _PROPERTIES.match(self._source, start, max(start, event.end_mark.index))
        behind = match.end() if match else start
        written = self._source[start:behind].rstrip()
        if event.tag is not None:
            self._report(
                "yaml-tag", start, start + len(written), f"tags are not allowed: `{written[:64]}`", "remove the tag"
            )
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
            found = (None, (start, end, "", None))
        if self._top.key is NO_KEY:
            self._top.key_start, self._top.key_end, self._top.key = start, end, REFUSED_KEY
            self._report("yaml-key", start, end, "an alias cannot be a key", "write the key itself")
            return
        self._add(self._copy(found[0], len(self._stack), start), found[1])

    def _copy(self, value: Data, depth: int, alias: int) -> Data:
        """The value once more, counted. Recursion is bounded by the depth limit; long text counts a node for each KiB."""
        if type(value) is str:
            self._count(len(value) // _CHARACTERS_A_NODE, alias)
        elif type(value) is dict or type(value) is list:
            if depth > self._limits.depth:
                limit = self._limits.depth
                self._stop(
                    "limit", alias, f"more than {limit} nested lists and maps through this alias (limit `depth`)", None
                )
            self._count(len(value), alias)
        if type(value) is dict:
            return {key: self._copy(item, depth + 1, alias) for key, item in value.items()}
        return [self._copy(item, depth + 1, alias) for item in value] if type(value) is list else value

    # Mistakes

    def _count(self, nodes: int, at: int) -> None:
        """Counts the values of a list or map when it ends, or when an alias repeats it: what the file expands to."""
        self._nodes += nodes
        limit = self._limits.nodes
        if self._nodes > limit:
            message = f"more than {limit:,} values once aliases are expanded (limit `nodes`)"
            self._stop("limit", at, message, "split the file, or raise `limits.nodes` in config")

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

    def opened(self) -> int | None:
        """Where the innermost bracket that is still open stands; None inside block style."""
        start = self._top.start
        return start if len(self._stack) > 1 and self._source.startswith(("[", "{"), start) else None


_HANDLERS: dict[type, Callable[[Composer, Any], None]] = {
    StreamStartEvent: Composer._ignore,
    DocumentStartEvent: Composer._document_start,
    DocumentEndEvent: Composer._document_end,
    MappingStartEvent: Composer._mapping_start,
    MappingEndEvent: Composer._collection_end,
    SequenceStartEvent: Composer._sequence_start,
    SequenceEndEvent: Composer._collection_end,
    AliasEvent: Composer._alias,
}
