"""The closed lists of the template language: filters with their parameters, tests with their number of arguments."""

from __future__ import annotations

from typing import Final

FILTERS: Final[dict[str, tuple[str, ...]]] = {
    "default": ("default_value", "boolean"),
    "join": ("d", "attribute"),
    "length": (),
    "first": (),
    "last": (),
    "list": (),
    "map": ("attribute", "default"),
    "select": ("test", "value"),
    "reject": ("test", "value"),
    "selectattr": ("attribute", "test", "value"),
    "rejectattr": ("attribute", "test", "value"),
    "sort": ("reverse", "case_sensitive", "attribute"),
    "unique": ("case_sensitive", "attribute"),
    "sum": ("attribute", "start"),
    "min": ("case_sensitive", "attribute"),
    "max": ("case_sensitive", "attribute"),
    "round": ("precision", "method"),
    "int": ("default", "base"),
    "float": ("default",),
    "string": (),
    "lower": (),
    "upper": (),
    "trim": ("chars",),
    "replace": ("old", "new", "count"),
    "split": ("sep",),
    "truncate": ("length", "killwords", "end", "leeway"),
    "tojson": (),
}
"""Filter → names of its parameters, in order. The value that is filtered is not among them."""

REQUIRED: Final[dict[str, int]] = {"replace": 2, "selectattr": 1, "rejectattr": 1}
"""How many arguments a filter cannot do without."""

KEYWORD_ONLY: Final = frozenset({"map"})
"""Filters whose arguments must be named: `map(attribute='x')`, since `map('upper')` would be a call."""

TEST_POSITION: Final[dict[str, int]] = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
"""Filters that take the name of a test, and the position of that argument."""

TESTS: Final[dict[str, int]] = {
    "defined": 0,
    "none": 0,
    "string": 0,
    "number": 0,
    "mapping": 0,
    "iterable": 0,
    "in": 1,
    "==": 1,
    "eq": 1,
    "!=": 1,
    "ne": 1,
    "<": 1,
    "lt": 1,
    "<=": 1,
    "le": 1,
    ">": 1,
    "gt": 1,
    ">=": 1,
    "ge": 1,
}
"""Test → number of its arguments."""

LOOP_NAMES: Final = ("index", "index0", "first", "last", "length")
"""What `loop` offers inside `{% for %}`."""
