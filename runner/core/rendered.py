"""Reading values that templates gave: words, counts, durations, each refused with `BindError` when it is something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from runner.core.graph import Json
from runner.digest import canonical_json
from runner.manifest.types import read_count, read_duration, read_positive_duration
from runner.manifest.vocabulary import ERROR_CLASSES
from runner.templating import TemplateError
from runner.templating.text import weigh


class BindError(Exception):
    """A value that was computed from inputs cannot be used. `error_class` is how the step that needs it fails."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message


LARGEST = 64 * 1024 * 1024
"""Bytes that the values of one step, or the vars of a run, may take in memory, roughly: as `limits.output_bytes` at most."""
_A_VALUE = 32


class Room:
    """How much memory values that are computed one by one may still take. What each of them may be is bounded; there may be thousands,
    and of forty steps that each name the last one twice, the last would be larger than any disk."""

    def __init__(self) -> None:
        self._left = LARGEST

    def take(self, value: Json) -> Json:
        """`value`, unless there is no room for it. Raises TemplateError."""
        try:
            self._left -= weigh(value, self._left, each=_A_VALUE)
        except TemplateError as error:
            raise TemplateError(f"these values take more than {LARGEST >> 20} MiB of memory") from error
        return value


def cut(text: str, length: int = 200) -> str:
    """The text, at most `length` characters of it."""
    return text if len(text) <= length else text[: length - 1] + "…"


def short(value: Json) -> str:
    """A value as it may stand in a message."""
    return cut(canonical_json(value), 60)


def duration(what: str, value: Json) -> int:
    """Text such as `10m` as milliseconds. A number has no unit, so it is refused."""
    return _read(what, read_duration, value)


def limit(what: str, value: Json) -> int:
    """A duration longer than nothing, as milliseconds."""
    return _read(what, read_positive_duration, value)


def count(what: str, value: Json) -> int:
    """A whole number from 0 up, or text such as `200k`."""
    return _read(what, read_count(0), value)


def positive(what: str, value: Json) -> int:
    """A whole number from 1 up, or text such as `200k`."""
    return _read(what, read_count(1), value)


def _read(what: str, read: Callable[[Any], int], value: Json) -> int:
    try:
        return read(value)
    except ValueError as error:
        raise BindError("invalid", f"{what}: {error}") from error


def number(what: str, value: Json, least: float, most: float | None = None) -> float:
    """A number within bounds."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and value >= least
    if fits and (most is None or value <= most):
        return float(value)
    bounds = f"from {least:g} up" if most is None else f"from {least:g} to {most:g}"
    raise BindError("invalid", f"{what}: expected a number {bounds}, not {short(value)}")


def one_of(what: str, value: Json, allowed: Iterable[str]) -> Any:
    """One of a closed set of words."""
    if isinstance(value, str) and value in allowed:
        return value
    raise BindError("invalid", f"{what}: expected one of {', '.join(allowed)}, not {short(value)}")


def word_list(what: str, value: Json) -> list[str]:
    """A list of words; one word is a list of one."""
    listed = [value] if isinstance(value, str) else value
    if isinstance(listed, list | tuple) and all(isinstance(word, str) for word in listed):
        return list(listed)
    raise BindError("invalid", f"{what}: expected a list of words, not {short(value)}")


def error_classes(what: str, value: Json) -> frozenset[str]:
    """A set of error classes."""
    classes = frozenset(word_list(what, value))
    unknown = sorted(classes.difference(ERROR_CLASSES))
    if unknown:
        raise BindError("invalid", f"{what}: there is no error class {unknown[0]}")
    return classes
