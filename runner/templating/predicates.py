"""The tests of the language (`x is none`, `select('==', 3)`), over plain data."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Final

PREDICATES: Final[dict[str, Callable[..., bool]]] = {
    "defined": lambda value: True,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: type(value) is int or type(value) is float,
    "mapping": lambda value: isinstance(value, Mapping),
    "iterable": lambda value: isinstance(value, (str, list, Mapping)),
    "in": lambda value, group: value in group,
    "==": operator.eq,
    "eq": operator.eq,
    "!=": operator.ne,
    "ne": operator.ne,
    "<": operator.lt,
    "lt": operator.lt,
    "<=": operator.le,
    "le": operator.le,
    ">": operator.gt,
    "gt": operator.gt,
    ">=": operator.ge,
    "ge": operator.ge,
}
"""Test → function of the value and its arguments. An absent value never gets here: `environments` decides for it."""
