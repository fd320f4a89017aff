"""The items of a fan-out: the product of a matrix, the elements of a list, and their keys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from runner.core.graph import GraphStep, Json
from runner.core.item import Item
from runner.core.rendered import BindError, cut, short
from runner.digest import canonical_json
from runner.templating import has_template, render_tree

KEY_LENGTH = 200


def matrix_items(step: GraphStep, values: Mapping[str, Any], limit: int) -> list[Item]:
    """The combinations of a matrix: product of its axes in order, minus `exclude`, then `include`. Keys are `os=linux,python=3.12`.
    Raises BindError (class `invalid`) for axes that are no lists, rows that are no maps, keys that clash, and too many items."""
    assert step.fan is not None
    spec: Mapping[str, Json] = step.fan.spec
    if has_template(spec):
        spec = render_tree(dict(spec), values)
    return expand_matrix(
        spec["axes"],
        _rows("include", spec.get("include")),
        _rows("exclude", spec.get("exclude")),
        limit,
    )


def expand_matrix(
    axes: Mapping[str, Json],
    include: Sequence[Mapping[str, Json]],
    exclude: Sequence[Mapping[str, Json]],
    limit: int,
) -> list[Item]:
    """`matrix_items` of rendered axes and rows."""
    size = 1
    for axis, choices in axes.items():
        if not isinstance(choices, list | tuple):
            raise BindError("invalid", f"matrix.{axis}: expected a list, not {short(choices)}")
        size *= len(choices)
        _within(size, limit)
    combinations = [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())] if axes else []
    excluded = _Points(exclude)
    kept = [row for row in combinations if not excluded.fit(row)]
    keyed = [(_matrix_key(row), row) for row in kept]
    places: dict[tuple[str, ...], dict[_Point, list[dict[str, Json]]]] = {}
    extended = 0
    for rule in include:
        shared = tuple(sorted(axis for axis in rule if axis in axes))
        if shared not in places:
            places[shared] = _by_point(kept, shared)
        matching = places[shared].get(_point(rule, shared), [])
        extended += len(matching)
        if extended > _MOST_EXTENDED:
            raise BindError("invalid", f"matrix.include extends combinations more than {_MOST_EXTENDED} times")
        for row in matching:
            row.update(rule)
        if not matching:
            keyed.append((_matrix_key(rule), dict(rule)))
    _within(len(keyed), limit)
    return _unique(Item(key, row) for key, row in keyed)


_MOST_EXTENDED = 200_000
_Point = tuple[Any, ...]


class _Points:
    """Rows by the axes that they name, so that a combination is looked up and not compared with each of them."""

    def __init__(self, rules: Iterable[Mapping[str, Json]]) -> None:
        self._shapes: dict[tuple[str, ...], set[_Point]] = {}
        for rule in rules:
            shape = tuple(sorted(rule))
            self._shapes.setdefault(shape, set()).add(_point(rule, shape))

    def fit(self, row: Mapping[str, Json]) -> bool:
        """Does a rule hold for the combination?"""
        return any(
            _point(row, shape) in points for shape, points in self._shapes.items() if all(axis in row for axis in shape)
        )


def _by_point(rows: Iterable[dict[str, Json]], shape: Sequence[str]) -> dict[_Point, list[dict[str, Json]]]:
    found: dict[_Point, list[dict[str, Json]]] = {}
    for row in rows:
        found.setdefault(_point(row, shape), []).append(row)
    return found


def _point(row: Mapping[str, Json], shape: Sequence[str]) -> _Point:
    """The values on some axes, hashable; 1 is 1.0, and neither is true."""
    return tuple((isinstance(row[axis], bool), _hashable(row[axis])) for axis in shape)


def _hashable(value: Json) -> Any:
    if isinstance(value, Mapping):
        return ("map", frozenset((key, _hashable(inner)) for key, inner in value.items()))
    return ("list", tuple(map(_hashable, value))) if isinstance(value, list | tuple) else value


def _rows(what: str, rows: Json) -> Sequence[Mapping[str, Json]]:
    listed = rows or ()
    if not isinstance(listed, list | tuple) or not all(isinstance(row, Mapping) for row in listed):
        raise BindError("invalid", f"matrix.{what}: expected a list of maps, not {short(rows)}")
    return listed


def _matrix_key(row: Mapping[str, Json]) -> str:
    return ",".join(f"{axis}={key_text(value)}" for axis, value in row.items())


def foreach_items(
    step: GraphStep,
    values: Sequence[Json],
    key_of: Callable[[int, Json], Json],
    limit: int,
) -> list[Item]:
    """One item for each value; `key_of(index, value)` gives its key. Raises BindError (class `invalid`) when keys clash, are longer
    than 200 characters, or there are too many items."""
    assert step.fan is not None
    _within(len(values), limit)
    return _unique(Item(key_text(key_of(index, value)), value) for index, value in enumerate(values))


def key_text(value: Json) -> str:
    """A value as (part of) an item's key."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int else canonical_json(value)


def _unique(items: Iterable[Item]) -> list[Item]:
    seen: set[str] = set()
    listed = list(items)
    for item in listed:
        if len(item.key) > KEY_LENGTH:
            raise BindError(
                "invalid",
                f"the key {cut(item.key, 60)} is longer than {KEY_LENGTH} characters",
            )
        if item.key in seen:
            raise BindError("invalid", f"two items have the key {item.key}")
        seen.add(item.key)
    return listed


def _within(count: int, limit: int) -> None:
    if count > limit:
        raise BindError("invalid", f"more than {limit} items (limit `steps`)")
