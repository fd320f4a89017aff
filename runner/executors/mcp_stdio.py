"""The SDK's transport contract over a `ServerProcess`: bounded lines in, JSON-RPC messages out.

Ours and not the SDK's `stdio_client`, because that one reads a line of any length (32 MB take it 12 s), dies of a byte that is not
UTF-8, and leaves grandchildren behind. Imports `mcp`: load it on use only. Not here: the process itself (`mcp_process`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic_core import from_json

from runner.executors.mcp_process import HEAD_BYTES, Overlong, ServerProcess
from runner.executors.mcp_results import UNREADABLE

_HEAD_ID = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d+)\s*[,}]')
_TAIL_ID = re.compile(rb'"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
_STAYS_OPEN = "subscriptions/listen"
"""A request that is answered when its stream ends: no reply over the cap can be its."""
REMEMBERED = 100
"""Requests of a server that we keep the names of."""


class ServerGone(Exception):
    """The request was not written: the server had ended already."""


class Inbound:
    """The server's messages, read by the SDK's dispatcher. Lines that are no messages join the server's other output."""

    def __init__(self, stdio: Stdio) -> None:
        self._stdio, self._process, self._pending = stdio, stdio.process, stdio.pending
        self._settled = False
        """The line that is being thrown away has had its answer."""

    async def receive(self) -> SessionMessage | Exception:
        while (line := await self._process.next_line()) is not None:
            message = self._overlong(line) if isinstance(line, Overlong) else self._parse(line)
            if message is not None:
                return message
        self._stdio.on_end()
        raise anyio.EndOfStream

    def _parse(self, line: bytearray) -> SessionMessage | None:
        if not line.strip():
            return None
        message = _read(line)
        if message is None:
            self._process.tail.add(b"(stdout) " + bytes(line[:1000]) + b"\n")
            found = _request_of(bytes(line[:HEAD_BYTES]), bytes(line[-HEAD_BYTES:]))
            return self._instead(found, "the answer is not JSON") if found is not None else None
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._pending.discard(message.id)
        elif isinstance(message, JSONRPCRequest) and message.method != "ping" and len(self._stdio.asked) < REMEMBERED:
            self._stdio.asked.append(message.method)
        return SessionMessage(message)

    def _overlong(self, line: Overlong) -> SessionMessage | None:
        """An error in place of an answer over the cap. Whose it is stands at either end of it; or there is only one request."""
        if line.tail is not None and self._settled:
            return None
        found = _request_of(line.head, line.tail or b"")
        if found is None and line.tail is None and len(self._pending) == 1:
            found = next(iter(self._pending))
        self._settled = line.tail is None and found is not None
        if found is not None:
            return self._instead(found, f"the answer is longer than {self._stdio.cap} bytes")
        if line.tail is not None and self._pending:
            self._process.fail(f"it sent a message of more than {self._stdio.cap} bytes that belongs to no call")
        return None

    def _instead(self, request: str | int, why: str) -> SessionMessage | None:
        if request not in self._pending:
            return None
        self._pending.discard(request)
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=UNREADABLE, message=why)))

    async def aclose(self) -> None:
        return None

    def __aiter__(self) -> Inbound:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Inbound:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class Outbound:
    """Our messages to the server. Only requests wait for a server that reads slowly: a cancel must never block."""

    def __init__(self, process: ServerProcess, pending: set[str | int]) -> None:
        self._process, self._pending = process, pending

    async def send(self, item: SessionMessage, /) -> None:
        message = item.message
        data = message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
        if not self._process.write(data):
            raise (ServerGone if isinstance(message, JSONRPCRequest) else anyio.ClosedResourceError)
        if isinstance(message, JSONRPCRequest):
            if message.method != _STAYS_OPEN:
                self._pending.add(message.id)
            await self._process.writable()
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._pending.discard((message.params or {}).get("requestId", ""))

    async def aclose(self) -> None:
        return None

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class Stdio:
    """The SDK's Transport over a process that is already running; leaving it ends the process. `on_end` is called when nothing
    more can come; `asked` collects what the server requested of us (method names)."""

    def __init__(self, process: ServerProcess, cap: int, on_end: Callable[[], None]) -> None:
        self.process, self.cap, self.on_end = process, cap, on_end
        self.asked: list[str] = []
        self.pending: set[str | int] = set()

    async def __aenter__(self) -> tuple[Inbound, Outbound]:
        return Inbound(self), Outbound(self.process, self.pending)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.process.close()


def _request_of(head: bytes, tail: bytes) -> int | None:
    """The id of a message, from its first or last bytes alone."""
    found = _HEAD_ID.match(head) or _TAIL_ID.search(tail)
    return int(found[1]) if found is not None else None


def _read(line: bytearray) -> JSONRPCMessage | None:
    """The message in a line; None when there is none. A byte that is not UTF-8 costs a character, not the message."""
    try:
        value = _json(line)
        # Parsed first and validated then: validating JSON directly takes three times the memory for a large line.
        return jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValueError:
        return None


def _json(line: bytearray) -> object:
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError:
        text = line.decode(errors="replace")
        if "\ufffd" not in text:
            raise
    return from_json(text, allow_inf_nan=False)
