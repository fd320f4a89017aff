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
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unbegun: set[str] = set()
        """Keys of tasks that had no turn yet: one that is cancelled before never runs, so it cannot tell its outcome."""
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
        self._unbegun.add(key)
        self._tasks[key] = asyncio.get_running_loop().create_task(self._run(task))

    async def cancel(self, key: str) -> None:
        """Ask the attempt to end; its outcome follows. An unknown key is no error: it may have ended."""
        if key in self._tasks:
            self._tasks[key].cancel()
            if key in self._unbegun:
                self._unbegun.remove(key)
                self._tell(key, CANCELLED)

    async def recover(self, keys: Sequence[str]) -> Mapping[str, Literal["attached", "lost"]]:
        """`attached`: its outcome is still to come."""
        return {key: "attached" if key in self._tasks else "lost" for key in keys}

    async def close(self) -> None:
        """Cancel what runs, and wait at most a few seconds for it."""
        if self._closed:
            return
        self._closed = True
        running = dict(self._tasks)
        for key in running:
            await self.cancel(key)
        if running:
            await asyncio.wait(running.values(), timeout=CLOSE_S)

    def _noted(self, key: str, note: Note) -> None:
        self._heard(key, note)

    async def _run(self, task: StepTask) -> None:
        """The outcome is told from within: a callback of the task would cost another turn of the loop."""
        key = task.key
        self._unbegun.remove(key)
        try:
            outcome = await self._step(task, partial(self._noted, key))
        except asyncio.CancelledError:
            outcome = CANCELLED
        except Exception as error:  # noqa: BLE001  the border of one attempt: a defect of ours is a failure of its step
            outcome = CRASHED._replace(message=_where(error))
        self._tell(key, outcome)

    def _tell(self, key: str, outcome: Outcome) -> None:
        del self._tasks[key]
        self._delivered[key] = None
        if len(self._delivered) > REMEMBERED:
            self._delivered.popitem(last=False)
        self._heard(key, outcome)


CANCELLED = Outcome(
    state="cancelled", error_class="cancelled", message="stopped while it was at work", effect="maybe", cost=None
)
CRASHED = Outcome(state="failed", error_class="crash", effect="maybe", cost=None)


def _where(error: BaseException) -> str:
    """Kind and place of a defect of ours. Not its text: that may quote inputs which nobody has masked."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    return f"internal error: {type(error).__name__}{place}"
