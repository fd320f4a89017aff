"""When the session of one server is open: lazily, once for all who ask, closed when idle, opened anew after it died.

Not here: what is said in a session (`mcp_session`), and what a call comes to (`mcp`)."""

import asyncio
import importlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from runner.executors.mcp_link import CannotOpen
from runner.executors.mcp_process import ProcessId
from runner.executors.mcp_results import OUTPUT_BYTES
from runner.executors.mcp_spec import ServerSpec
from runner.ports import LogSink, ToolInfo
from runner.redact import SHORTEST, Redactor

if TYPE_CHECKING:
    from runner.executors.mcp_session import Session

OnProcess = Callable[[str, ProcessId], None]
"""Told of each server process that starts: (server, its group)."""


OnTools = Callable[[str, Mapping[str, ToolInfo]], None]
"""Told of each listing of tools: (server, {name: tool})."""


class Surroundings(NamedTuple):
    """What sessions tell, and the most bytes of an output."""

    on_process: OnProcess = lambda server, process: None
    on_tools: OnTools = lambda server, tools: None
    output_bytes: int = OUTPUT_BYTES


async def prefetch() -> None:
    """Import the SDK (0.8 s) without holding the loop."""
    await asyncio.to_thread(importlib.import_module, "runner.executors.mcp_session")


class Slot:
    """One server: at most one session, opened by the first who needs it."""

    def __init__(self, spec: ServerSpec, around: Surroundings) -> None:
        self.spec = _masking(spec)
        self.places = asyncio.Semaphore(spec.max_in_flight)
        self._around = around
        self._session: Session | None = None
        self._opening: asyncio.Task[Session | CannotOpen] | None = None
        self._failure: CannotOpen | None = None
        self._foretold: CannotOpen | None = None
        self._logs: list[LogSink] = []
        self._users = 0
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    # ------------------------------------------------ what is known

    @property
    def session(self) -> "Session | None":
        """The session, when it can be used."""
        return self._session if self._session is not None and self._session.alive else None

    def status(self) -> Literal["closed", "opening", "open", "failed"]:
        if self._opening is not None:
            return "opening"
        if self.session is not None:
            return "open"
        return "failed" if self._failure else "closed"

    # ------------------------------------------------ opening

    def ensure(self, done: Callable[[], Any]) -> None:
        """Begin to open unless open; `done()` from the loop when that has ended either way."""
        loop = asyncio.get_running_loop()
        if self.session is not None:
            loop.call_soon(done)
            return
        opening = self._open_once()
        opening.add_done_callback(self._foretell)
        opening.add_done_callback(lambda _: done())

    def _foretell(self, opening: "asyncio.Task[Session | CannotOpen]") -> None:
        """A failure that `ensure` met is the answer to the next call: it must not wait for the same again."""
        self._foretold = self._failure
        self._rest()

    async def open(self) -> "Session | CannotOpen":
        """The open session, or why there is none."""
        foretold, self._foretold = self._foretold, None
        if self.session is not None:
            return self.session
        if foretold is not None:
            return foretold
        opening = self._open_once()
        await asyncio.wait([opening])  # not the task itself: who stops waiting must not stop it for the others
        return CannotOpen("its session was closed") if opening.cancelled() else opening.result()

    def _open_once(self) -> "asyncio.Task[Session | CannotOpen]":
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"open mcp:{self.spec.name}")
        return self._opening

    async def _open(self) -> "Session | CannotOpen":
        try:
            if self.spec.unusable:
                raise CannotOpen(self.spec.unusable, error_class="auth")  # never tried again, and another server may be
            await prefetch()
            from runner.executors.mcp_session import open_session

            await self._drop()
            self._session = await open_session(
                self.spec,
                on_stderr=self._heard,
                on_process=self._started,
                on_tools=self._around.on_tools,
                output_bytes=self._around.output_bytes,
            )
            self._failure = None
            return self._session
        except CannotOpen as error:
            self._failure = error.with_traceback(None)  # it is kept, and must keep nothing alive
            return error
        except Exception as error:  # noqa: BLE001  of the border of one attempt: left "closed", it would be opened for ever
            self._heard(self.spec.masked("".join(traceback.format_exception(error))))
            self._failure = CannotOpen(self.spec.masked(f"internal error: {type(error).__name__}: {error}"))
            return self._failure
        finally:
            self._opening = None

    def _started(self, process: ProcessId) -> None:
        self._around.on_process(self.spec.name, process)

    def _heard(self, text: str) -> None:
        """What a server says on stderr belongs to every attempt that uses it at the time."""
        for log in self._logs:
            log.write("stderr", text)

    # ------------------------------------------------ use and rest

    @contextmanager
    def used(self, log: LogSink | None) -> Iterator[None]:
        """While a call waits or runs: the session stays, and `log` hears the server's stderr."""
        self._users += 1
        self._stay()
        if log is not None:
            self._logs.append(log)
        try:
            yield
        finally:
            if log is not None:
                self._logs.remove(log)
            self._users -= 1
            self._rest()

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _rest(self) -> None:
        """Nobody uses it (any more): close it if that lasts."""
        self._stay()
        if not self._users and self._session is not None:
            self._idle = asyncio.get_running_loop().call_later(self.spec.idle_timeout_s, self._retire)

    def _retire(self) -> None:
        session, self._idle, self._session = self._session, None, None  # at once: a call must not get it any more
        if session is None:
            return
        leaving = asyncio.create_task(session.close())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """End the session and its process; returns when they are gone."""
        self._stay()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await self._drop()
        if self._leaving:
            await asyncio.wait(self._leaving)


def _masking(spec: ServerSpec) -> ServerSpec:
    """`spec` that also masks the values of our headers, which a server may say back to us: whole, and what follows a scheme such as
    `Bearer`."""
    parts = {part for value in spec.headers.values() for part in (value, *value.split()) if len(part) >= SHORTEST}
    headers = Redactor({str(at): part for at, part in enumerate(sorted(parts))}).text
    return replace(spec, masked=lambda text: headers(spec.masked(text)))
