"""Answers of stores in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from runner.errors import RunnerError

T = TypeVar("T")


class Done(Generic[T]):
    """An answer that is there already."""

    __slots__ = ("_answer", "_error")

    def __init__(self, work: Callable[[], T]) -> None:
        self._answer: T | None = None
        self._error: RunnerError | None = None
        try:
            self._answer = work()
        except RunnerError as error:
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._answer  # type: ignore[return-value]  # work() has returned it

    def __await__(self) -> Generator[Any, None, T]:
        return self.result()
        yield  # what makes it a generator
