"""Absent values inside an expression: objects whose attributes and items are themselves, so that a path may go on past the first
missing key; what they do otherwise depends on where they stand."""

from __future__ import annotations

from typing import Any

from jinja2.runtime import StrictUndefined, Undefined


class AbsentRead(Exception):
    """A strict reading of an absent value; `absent` tells what was missing, and in what."""

    def __init__(self, absent: Undefined) -> None:
        super().__init__("absent")
        self.absent = absent


class Absent(StrictUndefined):
    """Where a value must be there: any use but going on along the path raises AbsentRead, or Jinja's UndefinedError."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self

    def __bool__(self) -> bool:  # type: ignore[override]
        raise AbsentRead(self)


class Quiet(Absent):
    """Where all is read tolerantly (`finally`, `outputs`): false in a condition; none in a comparison and at the end."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


def _itself(self: Any, other: object) -> Any:
    return self


class Passing(Quiet):
    """Left of `| default(…)` and under `is defined`: false in a condition; any other operation with it is absent as well."""

    __slots__ = ()
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _itself
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __contains__(self, item: object) -> bool:  # type: ignore[override]
        return False


class Deferred(Passing):
    """In the argument of a default, which is computed even when it is not needed: absent as well, but no condition."""

    __slots__ = ()

    def __bool__(self) -> bool:  # type: ignore[override]
        raise AbsentRead(self)


def relaxed(kind: type[Absent], value: Any) -> Any:
    """An absent value as another kind of absent; any other value as it is."""
    if not isinstance(value, Undefined):
        return value
    return kind(value._undefined_hint, value._undefined_obj, value._undefined_name)


def absorbed(value: Undefined) -> Undefined:
    """What an operation with an absent value gives: itself, where that is allowed. Raises AbsentRead where it is not."""
    if isinstance(value, Quiet):
        return value
    raise AbsentRead(value)
