"""The values that composing leaves behind: data, where it is, and what was wrong on the way."""

from typing import Any, NamedTuple

from runner.diagnostics.model import Loc

Data = Any
"""A JSON value: None, bool, int, float, str, list, dict with string keys."""

Node = tuple[int, int, str | None, Any]
"""Where a value is: start and end offset, the scalar's style (`''` plain, quotes, `|`, `>`; None for lists and maps), and its
parts: a map's `{key: (key start, key end, Node)}`, a list's `[Node]`, None for scalars. A bare tuple: one is made for each value."""


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


class _Marker:
    """In place of a key: none yet, `<<`, or one that was refused."""

    __slots__ = ()


NO_KEY, MERGE_KEY, REFUSED_KEY = _Marker(), _Marker(), _Marker()


class Frame:
    """A list or map that is still open."""

    __slots__ = ("anchor", "data", "key", "key_end", "key_start", "merges", "parts", "start")

    def __init__(self, data: Data, parts: Any, start: int, anchor: str | None) -> None:
        self.data = data
        self.parts = parts
        self.start = start
        self.anchor = anchor
        self.key: str | _Marker | None = NO_KEY if type(data) is dict else None
        self.key_start = 0
        self.key_end = 0
        self.merges: list[tuple[Data, Node]] | None = None
