"""Verbs that run in a folder of their own: told to end, they remove it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

T = TypeVar("T")


async def until_sigterm(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. SIGTERM cancels it, as Ctrl-C does, and is then the exit code; unhandled it would end us on the spot."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await task
    except asyncio.CancelledError as cancelled:
        current = asyncio.current_task()
        if current is not None and current.cancelling():  # Ctrl-C
            raise
        raise click.exceptions.Exit(128 + signal.SIGTERM) from cancelled
