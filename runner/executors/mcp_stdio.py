"""The SDK's transport contract over a `ServerProcess`: bounded lines in, JSON-RPC messages out.

Ours and not the SDK's `stdio_client`, because that one reads a line of any length (32 MB take it 12 s), dies of a byte that is not
UTF-8, and leaves grandchildren behind. Imports `mcp`: load it on use only. Not here: the process itself (`mcp_process`)."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from runner.executors import mcp_guard
from runner.executors.mcp_link import REMEMBERED, CannotOpen, ServerGone
from runner.executors.mcp_messages import Overruns, over_cap, read_message, request_of, unreadable
from runner.executors.mcp_process import HEAD_BYTES, Overlong, ServerProcess
from runner.executors.mcp_results import wanted, with_tail
from runner.executors.mcp_spec import ServerSpec

_STAYS_OPEN = "subscriptions/listen"
"""A request that is answered when its stream ends: no reply over the cap can be its."""
STRAY_BYTES: Final = 4_096
"""Of a line that is no message: more than is shown of it, so that no secret is cut in two before it is masked."""


class Inbound:
    """The server's messages, read by the SDK's dispatcher. Lines that are no messages join the server's other output."""

    def __init__(self, stdio: Stdio) -> None:
        self._stdio, self._process, self._pending = stdio, stdio.process, stdio.pending
        self._overruns = Overruns(stdio.pending)

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
        message = read_message(line)
        if message is None:
            self._process.tail.add(b"(stdout) " + bytes(line[:STRAY_BYTES]) + b"\n")
            found = request_of(bytes(line[:HEAD_BYTES]), bytes(line[-HEAD_BYTES:]))
            return self._instead(found, "the answer is not JSON") if found is not None else None
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._pending.discard(message.id)
        elif isinstance(message, JSONRPCRequest) and message.method != "ping" and len(self._stdio.asked) < REMEMBERED:
            self._stdio.asked.append(wanted(message.method, message.params, self._stdio.masked))
        return SessionMessage(message)

    def _overlong(self, line: Overlong) -> SessionMessage | None:
        request, lost = self._overruns.owner(line)
        if request is not None:
            return self._instead(request, over_cap(self._stdio.cap))
        if lost:
            self._process.fail(f"it sent a message of more than {self._stdio.cap} bytes that belongs to no call")
        return None

    def _instead(self, request: str | int, why: str) -> SessionMessage | None:
        if request not in self._pending:
            return None
        self._pending.discard(request)
        return SessionMessage(unreadable(request, why))

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
    """The `Link` to a process that is already running; leaving it ends the process. `on_end` is called when nothing more can come."""

    def __init__(self, process: ServerProcess, spec: ServerSpec, on_end: Callable[[], None]) -> None:
        self.process, self.on_end = process, on_end
        self.command, self.cap, self.masked = spec.command, spec.max_line_bytes, spec.masked
        self.asked: list[str] = []
        self.pending: set[str | int] = set()

    @property
    def ended(self) -> bool:
        return self.process.ended

    def fail(self, reason: str) -> None:
        self.process.fail(reason)

    def unopened(self, error: str) -> CannotOpen:
        process = self.process
        if process.failure:
            why = process.failure
        elif process.exit_code == mcp_guard.CANNOT_RUN:
            why = f"cannot run {self.command}"
        elif process.ended:
            why = f"it ended during the handshake (exit status {process.exit_code})"
        else:
            why = f"the handshake failed: {error}"
        return CannotOpen(with_tail(why, process.tail.text()))

    def death(self, closing: bool) -> str:
        process = self.process
        why = "its session was closed" if closing else f"it ended during the call (exit status {process.exit_code})"
        return with_tail(process.failure or why, process.tail.text())

    async def __aenter__(self) -> tuple[Inbound, Outbound]:
        return Inbound(self), Outbound(self.process, self.pending)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.process.close()
