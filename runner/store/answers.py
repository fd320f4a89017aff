"""Answers to writers: a future of the caller's event loop, or a plain one where no loop runs. Either can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ticket(Future[T], Generic[T]):
    """An answer for a caller without an event loop: `result()` waits for it. It may still be awaited later."""

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self).__await__()


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


def settle(answers: Iterable[tuple[Promise, Any]]) -> None:
    """Give each promise its answer; an exception is raised at the caller. One wake-up for each loop. Any thread may call."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[Any, Any]]] = {}
    for promise, answer in answers:
        if promise.loop is None:
            _resolve([(promise.future, answer)])
        else:
            loops.setdefault(promise.loop, []).append((promise.future, answer))
    for loop, pairs in loops.items():
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(_resolve, pairs)
            except RuntimeError:
                continue  # it was closed just now: nobody waits any more


def _resolve(pairs: list[tuple[Any, Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue  # its caller was cancelled
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
