"""Verbs that run in a folder of their own: told to end, they remove it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from runner.endings import HANGUP, endings

T = TypeVar("T")


async def until_told(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. SIGTERM or a hang-up cancels it, as Ctrl-C does, and is then the exit code; unhandled it would end us on the spot."""
    task, told = asyncio.ensure_future(work), list[signal.Signals]()

    def end(number: signal.Signals) -> None:
        if not told or number != HANGUP:  # the end of one terminal may be told more than once: clearing up goes on
            task.cancel()
        told.append(number)

    for number in endings():
        if number != signal.SIGINT:  # that is asyncio's
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError as cancelled:
        current = asyncio.current_task()
        if current is not None and current.cancelling():  # Ctrl-C
            raise
        raise click.exceptions.Exit(128 + (told or [signal.SIGTERM])[0]) from cancelled
