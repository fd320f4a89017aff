"""Attempts as tasks of this process. What an attempt does is the step function's (engine/attempt.py)."""

from __future__ import annotations

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from runner.core.messages import Note, Outcome, StepTask

Step = Callable[[StepTask, Callable[[Note], None]], Coroutine[Any, Any, Outcome]]
REMEMBERED = 4_096
"""Delivered keys that are still known: a repeated `submit` of one of them does nothing."""
CLOSE_S = 5.0


class LocalTransport:
    """Runs the step function in this process. An attempt's outcome is told exactly once, whatever happens: an exception of the step
    function is a failure of class `crash`, a cancellation is `cancelled`, both with effect `maybe` and an unknown cost."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._tasks: dict[str, asyncio.Task[Outcome]] = {}
        self._heard: Callable[[str, Note | Outcome], None] = lambda key, happened: None
        self._delivered: OrderedDict[str, None] = OrderedDict()
        self._closed = False

    def listen(self, heard: Callable[[str, Note | Outcome], None]) -> None:
        """`heard(key, note or outcome)` as they come, the last of them before `close` returns."""
        self._heard = heard

    def submit(self, task: StepTask) -> None:
        """Start the attempt now, unless its key is known. Nothing starts after `close`."""
        key = task.key
        if key in self._tasks or key in self._delivered or self._closed:
            return
        running = asyncio.get_running_loop().create_task(self._step(task, partial(self._noted, key)))
        self._tasks[key] = running
        running.add_done_callback(partial(self._done, key))

    async def cancel(self, key: str) -> None:
        """Ask the attempt to end; its outcome follows. An unknown key is no error: it may have ended."""
        if key in self._tasks:
            self._tasks[key].cancel()

    async def recover(self, keys: Sequence[str]) -> Mapping[str, Literal["attached", "lost"]]:
        """`attached`: its outcome is still to come."""
        return {key: "attached" if key in self._tasks else "lost" for key in keys}

    async def close(self) -> None:
        """Cancel what runs, and wait at most a few seconds for it."""
        if self._closed:
            return
        self._closed = True
        running = list(self._tasks.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CLOSE_S)
            await asyncio.sleep(0)  # the callbacks of those that have just ended

    def _noted(self, key: str, note: Note) -> None:
        self._heard(key, note)

    def _done(self, key: str, task: asyncio.Task[Outcome]) -> None:
        del self._tasks[key]
        self._delivered[key] = None
        if len(self._delivered) > REMEMBERED:
            self._delivered.popitem(last=False)
        self._heard(key, _outcome(task))


def _outcome(task: asyncio.Task[Outcome]) -> Outcome:
    if task.cancelled():
        return Outcome(state="cancelled", error_class="cancelled", message="cancelled", effect="maybe", cost=None)
    error = task.exception()
    if error is None:
        return task.result()
    return Outcome(state="failed", error_class="crash", message=_where(error), effect="maybe", cost=None)


def _where(error: BaseException) -> str:
    """Kind and place of a defect of ours. Not its text: that may quote inputs which nobody has masked."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return f"internal error: {type(error).__name__}{place}"
