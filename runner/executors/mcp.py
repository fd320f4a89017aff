"""The MCP executor: the verb `tool`, and what the engine may ask of the servers of the config.

One `McpServers` per configuration and event loop. Not here: sessions (`mcp_session`) and their life (`mcp_pool`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Literal

from runner.executors.mcp_link import CannotOpen, ServerGone
from runner.executors.mcp_pool import OnProcess, OnTools, Slot, Surroundings, prefetch
from runner.executors.mcp_process import ProcessId, end_orphan
from runner.executors.mcp_results import OUTPUT_BYTES, failed, shown
from runner.executors.mcp_spec import ServerSpec
from runner.ports import CallResult, LogSink, Request, ToolInfo

__all__ = ["Fill", "McpServers", "OnProcess", "OnTools", "ProcessId", "ServerSpec", "end_orphan", "prefetch"]


Fill = Callable[[ToolInfo], Mapping[str, Any] | str]
"""What a server says of a tool -> the arguments of a call of it, or why there is none."""
PROGRESS_CHARS = 200
"""Of a message of progress, as who watches sees it."""


class McpServers:
    """The MCP servers of a configuration: a `ServerPool` and the `Executor` of the verb `tool`.

    `on_process(server, process)` is told of every process group that starts; should we be killed together with its guard,
    `end_orphan(process)` ends what is left of it. `on_tools(server, tools)` is told of each listing of a server's tools.
    `output_bytes`: the images and resources of an answer are kept up to this size."""

    def __init__(
        self,
        specs: Mapping[str, ServerSpec],
        *,
        on_process: OnProcess = lambda server, process: None,
        on_tools: OnTools = lambda server, tools: None,
        output_bytes: int = OUTPUT_BYTES,
    ) -> None:
        around = Surroundings(on_process, on_tools, output_bytes)
        self._slots = {name: Slot(spec, around) for name, spec in specs.items()}

    # ------------------------------------------------ ServerPool

    def known(self, server: str) -> bool:
        """Is there a server of this name?"""
        return server in self._slots

    def status(self, server: str) -> Literal["closed", "opening", "open", "failed"]:
        """`failed` = the last try to open it failed; a call tries again."""
        return self._slots[server].status()

    def ensure(self, server: str, done: Callable[[], Any]) -> None:
        """Begin to open the session unless it is open or opening; `done()` is called when that has ended either way."""
        self._slots[server].ensure(done)

    def tool(self, server: str, name: str) -> ToolInfo | None:
        """What the open session says of the tool; None when closed or unknown."""
        session = self._slots[server].session if server in self._slots else None
        return session.tools.get(name) if session is not None else None

    def tools(self, server: str) -> Mapping[str, ToolInfo]:
        """All tools of the open session, in the server's order; empty when closed."""
        session = self._slots[server].session if server in self._slots else None
        return session.tools if session is not None else {}

    def max_in_flight(self, server: str) -> int:
        """How many calls the server is given at once; more of them wait for a place."""
        return self._slots[server].spec.max_in_flight

    # ------------------------------------------------ Executor

    async def call(self, request: Request) -> CallResult:
        """`request.inputs` = {"tool": name, "with": {argument: value}}. What the server did wrong is in the result."""
        inputs = request.inputs
        return await self.ask(request, str(inputs["tool"]), lambda tool: inputs.get("with") or {})

    async def ask(
        self, request: Request, tool: str, fill: Fill, heard: Callable[[str], None] = lambda message: None
    ) -> CallResult:
        """As `call`, for who can tell the arguments of `tool` only once the server has said what it takes. `heard` gets the messages
        of progress as they are."""
        slot = self._slots.get(request.label)
        if slot is None:
            return failed("invalid", f"needs the MCP server `{request.label}`, which is not configured")
        with slot.used(request.log):
            result = await _Attempt(slot, request, tool, fill, heard).bounded()
        return result._replace(message=slot.spec.masked(result.message)) if result.message else result

    async def close(self) -> None:
        """End all sessions at once; returns when no process of theirs is left, within about 4 s."""
        await asyncio.gather(*(slot.close() for slot in self._slots.values()))


class _Attempt:
    """One call within its deadlines."""

    def __init__(self, slot: Slot, request: Request, tool: str, fill: Fill, heard: Callable[[str], None]) -> None:
        self._slot, self._request = slot, request
        self._tool, self._fill, self._heard = tool, fill, heard
        self._log: LogSink | None = request.log
        self._idle: asyncio.Timeout | None = None
        self._stage = "opening"

    async def bounded(self) -> CallResult:
        limits = [limit for limit in (self._request.deadline_s, self._slot.spec.call_timeout_s) if limit is not None]
        total_s = min(limits, default=None)
        try:
            async with asyncio.timeout(total_s) as total, asyncio.timeout(None) as self._idle:
                return await self._run()
        except TimeoutError:
            return self._late(total_s if total.expired() else None)
        finally:
            self._idle = None  # a late progress must find nobody

    def _late(self, total_s: float | None) -> CallResult:
        name = self._slot.spec.name
        after = f"within {total_s:g} s" if total_s is not None else f"for {self._request.idle_s:g} s (idle)"
        if self._stage == "opening":
            return failed("timeout", f"{name}: the session did not open {after}")
        if self._stage == "waiting":
            return failed(
                "timeout", f"{name}: no place among its {self._slot.spec.max_in_flight} calls in flight {after}"
            )
        return failed("timeout", f"{name}: no answer to {self._tool} {after}", maybe=True)

    async def _run(self) -> CallResult:
        self._stage = "waiting"
        async with self._slot.places:
            for _ in range(2):  # a server that died while nobody looked costs a new session, not the step
                self._stage = "opening"
                session = await self._slot.open()
                if isinstance(session, CannotOpen):
                    return session.result(self._slot.spec.name)
                info = session.tools.get(self._tool)
                arguments = self._fill(info) if info is not None else {}
                problem = arguments if isinstance(arguments, str) else session.problem(self._tool, arguments)
                if problem or isinstance(arguments, str):
                    return failed("invalid", problem)
                self._stage = "calling"
                self._alive()
                try:
                    return await session.call(self._tool, arguments, self._request.idempotency_key, self._progress)
                except ServerGone:
                    continue
        return failed("unavailable", f"{self._slot.spec.name}: its session ended before it took the call, twice")

    def _alive(self) -> None:
        """The idle deadline counts from now."""
        if self._idle is not None and self._request.idle_s is not None and not self._idle.expired():
            self._idle.reschedule(asyncio.get_running_loop().time() + self._request.idle_s)

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        if self._idle is None:
            return
        self._alive()
        if message:
            self._heard(message)
        share = f"{progress:g}/{total:g}" if total is not None else f"{progress:g}"
        if self._log is not None:
            self._log.write("progress", f"{share} {message}\n" if message else f"{share}\n")
        if self._request.progress is not None:
            words = " ".join(shown(message or "", PROGRESS_CHARS, self._slot.spec.masked).split())
            self._request.progress(f"{share} {words}" if words else share)
