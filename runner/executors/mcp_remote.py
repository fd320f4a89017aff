"""What every link to a URL has: the HTTP client, the tasks of its requests, and the messages that come in, each to its request.

Ours and not the SDK's clients, because there one refused connection cancels the session with all its calls, a failed POST of the older
transport leaves its call waiting for ever, JSON of any length is read, and every HTTP failure becomes the same error. One request of
ours is one task: what becomes of it is the answer to that request alone. Imports `mcp`: load it on use only. Not here: how messages
travel (`mcp_http`, `mcp_sse`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

import anyio
import httpx2
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse

from runner.executors.mcp_link import OURS, REMEMBERED, CannotOpen, ServerGone
from runner.executors.mcp_messages import Overruns, over_cap, read_message, unreadable
from runner.executors.mcp_process import Overlong
from runner.executors.mcp_results import shown, wanted
from runner.executors.mcp_spec import ServerSpec
from runner.executors.mcp_wire import FAILURES, Wire
from runner.ports import CallResult

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream

ERROR_BYTES: Final = 64 * 1024
"""How much of an answer that is no success is read for its reason."""
LEAVE_S: Final = 1.0
"""How long the end of a session may take: cancels that are under way, and our good-bye."""
_AT_OPENING = frozenset({"auth", "rate_limit", "quota", "denied"})
"""Classes that a failed handshake keeps; whatever else went wrong, the server is unavailable."""
_OWN_ANSWERS = frozenset({400, 404, 405, 406, 409, 415, 422})
"""HTTP statuses beside which an error of the protocol is the server's answer to the request."""
RequestId = str | int


class Way(Protocol):
    """How messages travel. `begin` is called once; `send` never waits for an answer; `leave` says good-bye."""

    def begin(self) -> None: ...

    async def send(self, item: SessionMessage) -> None: ...

    async def leave(self) -> None: ...


class Remote:
    """The `Link` to a URL. `on_end` is called when nothing more can come."""

    def __init__(self, spec: ServerSpec, on_end: Callable[[], None], way: Callable[[Remote], Way]) -> None:
        self.spec = spec
        self.asked: list[str] = []
        self.pending: set[RequestId] = set()
        self.wire = Wire(spec)
        self._on_end = on_end
        self._failure = ""
        self._ended = False
        self._trouble: CallResult | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._courtesies: set[asyncio.Task[None]] = set()
        self._way = way(self)
        # Without a buffer: a stream is read no faster than its messages are taken.
        self._to, self._from = anyio.create_memory_object_stream[SessionMessage | Exception](0)

    # ------------------------------------------------ the session's side

    @property
    def ended(self) -> bool:
        return self._ended

    def fail(self, reason: str) -> None:
        """Nothing is sent or received any more; who waits is told by the end of the stream."""
        self._failure = self._failure or reason
        self._ended = True
        self._to.close()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        self._on_end()

    def unopened(self, error: str) -> CannotOpen:
        if self._failure or self._trouble is None:
            return CannotOpen(self._failure or f"the handshake failed: {error}")
        trouble = self._trouble
        return CannotOpen(
            trouble.message.removeprefix(f"{self.spec.name}: "),
            error_class=trouble.error_class if trouble.error_class in _AT_OPENING else "unavailable",
            status=trouble.status,
            retry_after_ms=trouble.retry_after_ms,
        )

    def death(self, closing: bool) -> str:
        return self._failure or ("its session was closed" if closing else "the session ended during the call")

    async def __aenter__(
        self,
    ) -> tuple[MemoryObjectReceiveStream[SessionMessage | Exception], Outbound]:
        if not self._ended:
            self._way.begin()
        return self._from, Outbound(self, self._way)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        if self._courtesies:
            await asyncio.wait(self._courtesies, timeout=LEAVE_S)
        if not self._failure:
            leaving = asyncio.create_task(self._way.leave())
            await asyncio.wait([leaving], timeout=LEAVE_S)
            self._tasks.add(leaving)
        for task in (tasks := self._tasks | self._courtesies):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._to.close()
        self._from.close()
        await self.wire.close()

    # ------------------------------------------------ the way's side

    def spawn(self, work: Coroutine[None, None, None], *, courtesy: bool = False) -> asyncio.Task[None]:
        """`work` beside the session, to its end or the session's; a courtesy is given a moment at the end."""
        task = asyncio.create_task(work)
        tasks = self._courtesies if courtesy else self._tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(self._defect)
        return task

    def _defect(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours must not leave a call waiting."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(f"internal error of the executor: {type(error).__name__}")

    async def deliver(self, data: bytearray, request: RequestId | None) -> bool:
        """Hand on the message in `data`, which came in answer to `request`; True when it is the answer."""
        message = read_message(data)
        if message is None:
            return request is not None and await self.instead(request, "the answer is not JSON")
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            if isinstance(message, JSONRPCResponse):
                self._trouble = None
            if request is not None:
                message.id = request
            if message.id is not None:
                self.pending.discard(message.id)
            await self._hand_on(message)
            return True
        if isinstance(message, JSONRPCRequest) and message.method != "ping" and len(self.asked) < REMEMBERED:
            self.asked.append(wanted(message.method, message.params, self.spec.masked))
        await self._hand_on(message)
        return False

    async def instead(self, request: RequestId, why: str) -> bool:
        """Answer `request` in place of an answer that cannot be read."""
        self.pending.discard(request)
        await self._hand_on(unreadable(request, why))
        return True

    async def overlong(self, overruns: Overruns, message: Overlong) -> None:
        """Answer the request that a message over the cap was for, on a stream that is for all of them."""
        request, lost = overruns.owner(message)
        if request is not None:
            await self.instead(request, over_cap(self.spec.max_line_bytes))
        elif lost:
            self.fail(f"it sent a message of more than {self.spec.max_line_bytes} bytes that belongs to no call")

    async def refuse(self, request: RequestId, why: CallResult | ServerGone) -> None:
        """Answer `request` ourselves."""
        self.pending.discard(request)
        if isinstance(why, CallResult):
            self._trouble = why
        error = ErrorData(code=OURS, message="no answer", data=why)
        await self._hand_on(JSONRPCError(jsonrpc="2.0", id=request, error=error))

    async def refused(self, request: RequestId, response: httpx2.Response, body: bytearray) -> None:
        """Answer `request`, whose HTTP answer is no success. An error of the protocol in its body is the server's own answer."""
        message = read_message(body)
        error = message if isinstance(message, JSONRPCError) else None
        said = shown(error.error.message, 500, self.spec.masked) if error is not None else ""
        trouble = self.wire.refused(response, said)
        if error is not None and response.status_code in _OWN_ANSWERS:
            self._trouble = trouble
            await self.deliver(body, request)
        else:
            await self.refuse(request, trouble)

    async def reason(self, response: httpx2.Response) -> bytearray:
        """What an answer that is no success says, as far as it can be read."""
        try:
            return await self.body(response, ERROR_BYTES) or bytearray()
        except FAILURES:
            return bytearray()

    async def body(self, response: httpx2.Response, cap: int) -> bytearray | None:
        """The whole body; None when it is longer than `cap` bytes, or says that it is."""
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) > cap:
            return None
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > cap:
                return None
        return data

    async def _hand_on(self, message: JSONRPCMessage) -> None:
        try:
            await self._to.send(SessionMessage(message))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # the session is being closed: nobody waits for this any more


class Outbound:
    """Our messages to the server, as the SDK hands them over."""

    def __init__(self, remote: Remote, way: Way) -> None:
        self._remote, self._way = remote, way

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        if self._remote.ended:
            raise (ServerGone if isinstance(message, JSONRPCRequest) else anyio.ClosedResourceError)
        if isinstance(message, JSONRPCRequest):
            self._remote.pending.add(message.id)
        await self._way.send(item)

    async def aclose(self) -> None:
        return None

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
