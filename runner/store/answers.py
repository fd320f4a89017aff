"""Answers to writers: a future of the caller's event loop, a plain one where no loop runs (either can be awaited), or a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")


class Ticket(Future[T], Generic[T]):
    """An answer for a caller without an event loop: `result()` waits for it. It may still be awaited later."""

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self).__await__()


class Answering(Protocol):
    """Who waits for an answer, and in which loop he is told (None = wherever)."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None: ...

    def tell(self, answer: Any) -> None:
        """An exception as answer is raised at whoever waits."""
        ...


class Promise:
    """Where an answer goes: `future` is what the caller got."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None
        self.future: Any
        try:
            self.loop = asyncio.get_running_loop()
            self.future = self.loop.create_future()
        except RuntimeError:
            self.loop, self.future = None, Ticket()

    def tell(self, answer: Any) -> None:
        if self.future.done():
            return  # its caller was cancelled
        if isinstance(answer, BaseException):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


class Call:
    """An answer that is told by a call, in the loop that runs now: with the error, or None."""

    __slots__ = ("loop", "tell")

    def __init__(self, told: Callable[[Any], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.tell = told


def settle(answers: Iterable[tuple[Answering, Any]], told: Callable[[int], None]) -> None:
    """Give everybody his answer. One wake-up for each loop. Any thread may call. `told(n)`: so many of them have it now, or wait no
    longer."""
    loops: dict[asyncio.AbstractEventLoop | None, list[tuple[Answering, Any]]] = {}
    for waiting, answer in answers:
        loops.setdefault(waiting.loop, []).append((waiting, answer))
    for loop, pairs in loops.items():
        if loop is None:
            _tell(pairs, told)
            continue
        try:
            loop.call_soon_threadsafe(_tell, pairs, told)
        except RuntimeError:
            told(len(pairs))  # it is closed: nobody waits any more


def _tell(pairs: list[tuple[Answering, Any]], told: Callable[[int], None]) -> None:
    for waiting, answer in pairs:
        waiting.tell(answer)
    told(len(pairs))
