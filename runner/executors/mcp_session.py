"""One session with one MCP server: a link of ours under the SDK's Client, held by one owner task.

Imports `mcp` (0.8 s): load this module on use only, see `runner.executors.mcp_pool.prefetch`. The owner task alone enters and
leaves the Client, as the SDK demands; any task may call. Not here: when sessions open and close (`mcp_pool`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from mcp import Client, MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.types import (
    INVALID_REQUEST,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    URL_ELICITATION_REQUIRED,
    Tool,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from runner.digest import digest
from runner.executors.mcp_arguments import Check, compile_check, unknown_tool
from runner.executors.mcp_http import Streamable
from runner.executors.mcp_link import CannotOpen, Link, ServerGone
from runner.executors.mcp_process import CannotStart, ProcessId, start
from runner.executors.mcp_remote import Remote
from runner.executors.mcp_results import (
    INSTEAD,
    NOBODY,
    failed,
    from_error,
    from_tool,
    shown,
)
from runner.executors.mcp_spec import ServerSpec
from runner.executors.mcp_sse import OldSse
from runner.executors.mcp_stdio import Stdio
from runner.executors.mcp_wire import spec_problem
from runner.ports import CallResult, ToolInfo

if TYPE_CHECKING:
    from mcp.types import RequestParamsMeta

logging.getLogger("mcp").addHandler(
    logging.NullHandler()
)  # else its warnings go to our stderr when logging is not set up

TOOL_PAGES = 100
"""A server whose listing never ends must not hold us."""
KEY_IN_META = "ares/idempotency-key"
_REFUSALS = (
    "Elicitation not supported",
    "Sampling not supported",
    "List roots not supported",
)
"""What the SDK answers a server that asks for input when we gave it no callback: so we never advertise any."""


OnTools = Callable[[str, Mapping[str, ToolInfo]], None]
"""Told of each listing of tools: (server, {name: tool})."""


class Progress(Protocol):
    """Hears how far a call is."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


Connect = Callable[[Callable[[], None]], Link]
"""Makes the link, given what to call when it ends."""


class Session:
    """An open session. Made by `open_session`; `call` from any task; `close` ends it and what is at the other end of its link."""

    def __init__(self, spec: ServerSpec, connect: Connect, on_tools: OnTools, output_bytes: int) -> None:
        self.spec = spec
        self.tools: Mapping[str, ToolInfo] = {}
        self._on_tools, self._output_bytes = on_tools, output_bytes
        self._checks: dict[str, Check] = {}
        self._client: Client | None = None
        self._closing = False
        self._leave = asyncio.Event()
        self._changed = asyncio.Event()
        self._link = connect(self._leave.set)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.owner = asyncio.create_task(self._own(), name=f"mcp:{spec.name}")

    @property
    def alive(self) -> bool:
        """False once the server has ended or the session is being closed."""
        return not (self._leave.is_set() or self._link.ended or self.owner.done())

    def fail(self, reason: str) -> None:
        """End it by force: nobody waits for it any more."""
        self._link.fail(reason)

    async def close(self) -> None:
        """Returns when the process group is gone; safe to call twice and from several tasks."""
        self._closing = True
        self._leave.set()
        await asyncio.wait([self.owner])

    # ------------------------------------------------ the owner

    async def _own(self) -> None:
        late = f"no answer to the handshake within {self.spec.connect_timeout_s:g} s"
        timer = asyncio.get_running_loop().call_later(self.spec.connect_timeout_s, self._link.fail, late)
        try:
            async with Client(self._link, message_handler=self._hear, cache=None) as client:
                self._client = client
                await self._list_tools(client)
                timer.cancel()
                self.ready.set_result(None)
                await self._stay(client)
        except (
            MCPError,
            ValidationError,
            ServerGone,
            RuntimeError,
            ExceptionGroup,
        ) as error:
            leaf = _leaf(error)
            self._give_up(self._link.unopened(f"{type(leaf).__name__}: {shown(str(leaf), 500, self.spec.masked)}"))
        finally:
            timer.cancel()
            self._give_up(CannotOpen("its session ended before it began"))

    def _give_up(self, why: CannotOpen) -> None:
        if not self.ready.done():
            self.ready.set_exception(why)

    async def _stay(self, client: Client) -> None:
        """Until the session is closed or the server ends; meanwhile the listing of tools is kept fresh."""
        beside = [
            asyncio.create_task(self._listen(client)),
            asyncio.create_task(self._refresh(client)),
        ]
        try:
            await self._leave.wait()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)

    async def _hear(self, message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed.set()

    async def _listen(self, client: Client) -> None:
        """Servers of 2026 tell of changes only who listens; `_hear` gets what they tell."""
        tools = client.server_capabilities.tools
        if client.session.discover_result is None or tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._changed.set()
        except (MCPError, SubscriptionLost, ServerGone):
            return  # the listing that we have stays

    async def _refresh(self, client: Client) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._list_tools(client)
            except (MCPError, ValidationError, ServerGone):
                continue  # the listing that we have stays

    async def _list_tools(self, client: Client) -> None:
        found: dict[str, ToolInfo] = {}
        cursor: str | None = None
        if client.server_capabilities.tools is not None:
            for _ in range(TOOL_PAGES):
                page = await client.list_tools(cursor=cursor)
                found.update((tool.name, _info(tool)) for tool in page.tools)
                cursor = page.next_cursor
                if cursor is None:
                    break
        self.tools, self._checks = found, {}
        self._on_tools(self.spec.name, found)

    # ------------------------------------------------ calls

    def problem(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What is wrong with this call before it is made, or ""."""
        info = self.tools.get(tool)
        if info is None:
            return unknown_tool(self.spec.name, tool, self.tools)
        if tool not in self._checks:
            self._checks[tool] = compile_check(info)
        return self._checks[tool](arguments)

    async def call(self, tool: str, arguments: Mapping[str, Any], key: str, progress: Progress) -> CallResult:
        """One tools/call with the idempotency key `key`. Cancelling it tells the server. Raises ServerGone when nothing was written."""
        client, asked = self._client, len(self._link.asked)
        if client is None or not self.alive:
            raise ServerGone
        name, meta = self.spec.name, cast("RequestParamsMeta", {KEY_IN_META: key})
        try:
            result = await client.call_tool(tool, dict(arguments), progress_callback=progress, meta=meta)
        except MCPError as error:
            return await self._refused(tool, error)
        except ValidationError as error:
            return failed("bad_output", f"{name}: the answer is no MCP result: {_where(error)}")
        except RuntimeError as error:  # the SDK's word for structured content that breaks the tool's own output schema
            return failed("bad_output", f"{name}: {shown(str(error).splitlines()[0], 500, self.spec.masked)}")
        return from_tool(result, self._link.asked[asked:], self._output_bytes, self.spec.masked)

    async def _refused(self, tool: str, error: MCPError) -> CallResult:
        if isinstance(error.data, ServerGone):
            raise error.data
        if isinstance(error.data, CallResult):
            return error.data
        if not self.alive:
            return await self._died()
        name = self.spec.name
        if _asks(error):
            instead = INSTEAD["elicitation/create"]
            return failed("denied", f"{name}: {tool} asks for input, which is refused: {NOBODY}. {instead}")
        return from_error(name, error.code, error.message, self.spec.masked)

    async def _died(self) -> CallResult:
        closing = self._closing
        await self.close()  # its last words and its exit status come with its end
        return failed("crash", f"{self.spec.name}: {self._link.death(closing)}", maybe=True)


async def open_session(
    spec: ServerSpec,
    *,
    on_stderr: Callable[[str], None],
    on_process: Callable[[ProcessId], None],
    on_tools: OnTools,
    output_bytes: int,
) -> Session:
    """Start the server, or connect to it, and shake hands, within `spec.connect_timeout_s`. Raises CannotOpen; then nothing is left."""
    connect = _remote(spec) if spec.url else await _process(spec, on_stderr, on_process)
    session = Session(spec, connect, on_tools, output_bytes)
    try:
        await session.ready
    except (CannotOpen, asyncio.CancelledError):
        session.fail("its session was closed")  # nobody waits for a handshake any more
        await session.close()
        raise
    return session


async def _process(
    spec: ServerSpec, on_stderr: Callable[[str], None], on_process: Callable[[ProcessId], None]
) -> Connect:
    try:
        process = await start(spec, on_stderr)
    except CannotStart as error:
        raise CannotOpen(str(error)) from error
    try:
        on_process(process.id)
    except BaseException:  # who is told writes it down, and may fail at that: nobody would ever end it
        await process.close()
        raise
    return lambda on_end: Stdio(process, spec, on_end)


def _remote(spec: ServerSpec) -> Connect:
    problem = spec_problem(spec)
    if problem:
        raise CannotOpen(problem, error_class="invalid")
    return lambda on_end: Remote(spec, on_end, OldSse if spec.transport == "sse" else Streamable)


def _info(tool: Tool) -> ToolInfo:
    hints = tool.annotations
    return ToolInfo(
        name=tool.name,
        description=tool.description or "",
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        read_only=bool(hints and hints.read_only_hint),
        idempotent=bool(hints and hints.idempotent_hint),
        digest=_digest(tool),
    )


def _digest(tool: Tool) -> str:
    hints = tool.annotations.model_dump(mode="json", by_alias=True, exclude_none=True) if tool.annotations else {}
    try:
        return digest([tool.name, tool.description or "", tool.input_schema, tool.output_schema, hints])
    except ValueError:  # a number or a character that JSON cannot hold, in a schema
        return ""


def _asks(error: MCPError) -> bool:
    """Is this how a server, or the SDK on our behalf, says that it needs a person or a model on our side?"""
    if error.code == INVALID_REQUEST:
        return error.message in _REFUSALS
    return error.code in (MISSING_REQUIRED_CLIENT_CAPABILITY, URL_ELICITATION_REQUIRED)


def _leaf(error: Exception) -> Exception:
    """The first real error in the groups that the SDK's task groups make of it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _where(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
