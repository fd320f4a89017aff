"""One `apply` or `resume` under way: in a thread and an event loop of its own, with leases of its own, as if it were a command in another
terminal."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from runner.api.request import Control
from runner.api.results import ApplyResult
from runner.core.events import Recorded
from runner.ports import Sink
from runner.reporters.words import one_line, place_of, told

Work = Callable[[Sequence[Sink], Control], Coroutine[Any, Any, ApplyResult]]
Tell = Callable[[str], None]


class Drive:
    """One piece of work under way. Thread-safe; `drain` and `stop` may be said at any time, and again."""

    def __init__(self, work: Work, tell: Tell) -> None:
        self._work, self._watch = work, Watch(tell, self._changed)
        self._control = Control(warn=tell)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked = 0
        """How often it was told to end: 1 = let running steps end, 2 = now."""
        self._news = threading.Condition()
        self._over = False
        self._result: ApplyResult | None = None
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="ares-drive")

    @property
    def over(self) -> bool:
        return self._over

    @property
    def begun(self) -> Mapping[str, str]:
        """Manifest → run, of the root runs that something was recorded of."""
        return dict(self._watch.begun)

    def result(self) -> ApplyResult:
        """How it ended, once it has; until then this waits. Raises what the work raised."""
        self.thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def wait(self, enough: Callable[[], bool], seconds: float) -> None:
        """Until it is over, or `enough()`, or the time is."""
        with self._news:
            self._news.wait_for(lambda: self._over or enough(), seconds)

    def drain(self) -> None:
        """Start nothing more, let running steps end. Its runs can be resumed."""
        self._ask(1)

    def stop(self) -> None:
        """End running steps, too. Its runs can be resumed."""
        self._ask(2)

    def _ask(self, times: int) -> None:
        with self._news:
            missing, self._asked = max(0, times - self._asked), max(times, self._asked)
            loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has just ended
                for _ in range(missing):
                    loop.call_soon_threadsafe(self._control.interrupt, signal.SIGINT)

    def _run(self) -> None:
        try:
            self._result = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  whoever waits for the result gets it, in his thread
            self._error = error
        self._over = True
        self._changed()

    async def _main(self) -> ApplyResult:
        with self._news:
            self._loop = asyncio.get_running_loop()
            asked = self._asked
        for _ in range(asked):
            self._control.interrupt(signal.SIGINT)
        return await self._work([self._watch], self._control)

    def _changed(self) -> None:
        with self._news:
            self._news.notify_all()


class Watch:
    """A reporter: tells each change of a step as one line, and notes the runs that have begun."""

    def __init__(self, tell: Tell, changed: Callable[[], None]) -> None:
        self._tell, self._changed = tell, changed
        self.begun: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def event(self, recorded: Recorded, name: str) -> None:
        if "." not in recorded.run and recorded.run not in self._names:
            self._names[recorded.run] = name
            self.begun[name] = recorded.run
            self._changed()
        if (found := told(recorded.event)) is not None:
            state, text = found
            place = place_of(recorded.run, recorded.event.node, self._names)
            self._tell(one_line(f"{place}: {state} {text}".rstrip(), 300))

    def progress(self, run: str, node: str, text: str) -> None:
        self._tell(one_line(f"{place_of(run, node, self._names)}: running {text}", 300))

    def close(self) -> None:
        """Nothing is held back."""
