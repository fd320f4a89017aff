"""Streamable HTTP: each message is a POST, and the answer is its body, as JSON or as a stream of events.

Imports `mcp`: load it on use only. Not here: what it shares with the older transport (`mcp_remote`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

import httpx2
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from runner.executors.mcp_events import EventFramer
from runner.executors.mcp_link import ServerGone
from runner.executors.mcp_messages import Overruns, over_cap
from runner.executors.mcp_process import Overlong
from runner.executors.mcp_remote import Remote, RequestId
from runner.executors.mcp_results import failed, shown
from runner.executors.mcp_wire import FAILURES, Sent

RETRY_S, LEAST_RETRY_S, MOST_RETRY_S = 1.0, 0.05, 30.0
"""Before a stream is taken up again: when the server names no time; the shortest and the longest that it may name."""
RETRIES: Final = 2
"""How often in vain."""
_SESSION_ID = re.compile(r"[\x21-\x7e]+")
"""As the protocol has it; any other could not be sent back."""


class Post:
    """A request that is under way. `modern`: the server takes the end of the connection as its cancel."""

    def __init__(self, modern: bool) -> None:
        self.modern = modern
        self.sent = Sent()
        self.task: asyncio.Task[None] | None = None


class Streamable:
    """The `Way` of the protocol since 2025-03-26, with or without a session at the server."""

    def __init__(self, remote: Remote) -> None:
        self._remote, self._wire = remote, remote.wire
        self._session = ""
        self._version = ""
        self._posts: dict[RequestId, Post] = {}

    def begin(self) -> None:
        return None

    async def leave(self) -> None:
        if self._session:
            await self._quietly("DELETE", self._headers(), Sent())

    async def send(self, item: SessionMessage) -> None:
        message, headers = item.message, self._stamped(item)
        body = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        if isinstance(message, JSONRPCRequest):
            post = self._posts[message.id] = Post(self._version in MODERN_PROTOCOL_VERSIONS)
            post.task = self._remote.spawn(self._post(message, headers, body, post))
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._cancel((message.params or {}).get("requestId", ""), headers, body)
        else:
            # In order: the server must have heard that we are ready before the first call. Awaited as a task, which `fail` can end.
            await asyncio.wait([self._remote.spawn(self._quietly("POST", headers, Sent(), body))])
            if isinstance(message, JSONRPCNotification) and message.method == "notifications/initialized":
                self._remote.spawn(self._listen())

    def _cancel(self, request: RequestId, headers: Mapping[str, str], body: bytes) -> None:
        post = self._posts.get(request)
        if post is None or post.task is None:
            return
        if post.sent.written and not post.modern:
            self._remote.spawn(self._quietly("POST", headers, Sent(), body), courtesy=True)
        self._remote.pending.discard(request)
        post.task.cancel()

    # ------------------------------------------------ headers

    def _stamped(self, item: SessionMessage) -> dict[str, str]:
        """The headers of a message: what the SDK wants to be there goes along, and is remembered for what has none of its own."""
        given = item.metadata.headers if isinstance(item.metadata, ClientMessageMetadata) else None
        if isinstance(item.message, JSONRPCRequest) and item.message.method == "initialize":
            self._version = ""  # a probe's version is not what is being agreed on
        elif given and "mcp-protocol-version" in (lower := {name.lower(): name for name in given}):
            self._version = given[lower["mcp-protocol-version"]]
        return self._headers() | (given or {})

    def _headers(self) -> dict[str, str]:
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if self._session:
            headers["mcp-session-id"] = self._session
        if self._version:
            headers["mcp-protocol-version"] = self._version
        return headers

    # ------------------------------------------------ a request

    async def _post(self, message: JSONRPCRequest, headers: Mapping[str, str], body: bytes, post: Post) -> None:
        try:
            async with self._wire.request("POST", headers, post.sent, body=body) as response:
                await self._answered(message, response)
        except FAILURES as error:
            await self._remote.refuse(message.id, self._wire.broken(error, post.sent))
        finally:
            if self._posts.get(message.id) is post:
                del self._posts[message.id]

    async def _answered(self, message: JSONRPCRequest, response: httpx2.Response) -> None:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != 200:
            await self._refused(message.id, response)
        elif kind == "text/event-stream":
            self._opened(message, response)
            await self._streamed(message.id, response)
        elif kind == "application/json":
            self._opened(message, response)
            await self._whole(message.id, response)
        else:
            where = f"{self._remote.spec.name}: {self._wire.place}"
            why = f"{where}: the answer is {shown(kind, 100, self._remote.spec.masked) or 'of no type'}, no MCP message (is this an MCP URL?)"
            await self._remote.refuse(message.id, failed("bad_output", why, maybe=True))

    async def _refused(self, request: RequestId, response: httpx2.Response) -> None:
        """No success; or the server does not know our session (any more): 404 says so, some say it with 400 and in words."""
        status, said = response.status_code, await self._remote.reason(response)
        if self._session and (status == 404 or (status == 400 and b"session" in said.lower())):
            await self._remote.refuse(request, ServerGone())
            self._remote.fail("the server has ended our session")
        else:
            await self._remote.refused(request, response, said)

    def _opened(self, message: JSONRPCRequest, response: httpx2.Response) -> None:
        if message.method == "initialize":
            name = response.headers.get("mcp-session-id", "")
            self._session = name if _SESSION_ID.fullmatch(name) else ""

    async def _whole(self, request: RequestId, response: httpx2.Response) -> None:
        data = await self._remote.body(response, self._remote.spec.max_line_bytes)
        if data is None:
            await self._remote.instead(request, over_cap(self._remote.spec.max_line_bytes))
        elif not await self._remote.deliver(data, request):
            await self._remote.instead(request, "the answer is no answer")

    # ------------------------------------------------ streams

    async def _streamed(self, request: RequestId, response: httpx2.Response) -> None:
        """The events of an answer, taken up again where the server lets us when the stream ends before the answer."""
        framer = EventFramer(self._remote.spec.max_line_bytes)
        answered = await self._events(response, framer, request)
        tries = 0
        while not answered and framer.last_id and tries < RETRIES:
            await asyncio.sleep(_pause_s(framer))
            known = framer.last_id
            answered = await self._taken_up(framer, request)
            tries = 0 if framer.last_id != known else tries + 1
        if not answered:
            where = f"{self._remote.spec.name}: {self._wire.place}"
            await self._remote.refuse(
                request, failed("crash", f"{where}: the stream ended without an answer", maybe=True)
            )

    async def _taken_up(self, framer: EventFramer, request: RequestId | None) -> bool:
        headers = self._headers() | {"accept": "text/event-stream", "last-event-id": framer.last_id}
        try:
            async with self._wire.request("GET", headers, Sent()) as response:
                return response.status_code == 200 and await self._events(response, framer, request)
        except FAILURES:
            return False

    async def _events(self, response: httpx2.Response, framer: EventFramer, request: RequestId | None) -> bool:
        """Hand on what comes, until the answer to `request` or the end. Raises httpx2.RequestError when it cannot be taken up again."""
        overruns = Overruns(self._remote.pending)
        framer.restart()
        try:
            async for chunk in response.aiter_bytes():
                for event in framer.feed(chunk):
                    if isinstance(event, Overlong):
                        if request is not None:
                            return await self._remote.instead(request, over_cap(self._remote.spec.max_line_bytes))
                        await self._remote.overlong(overruns, event)
                    elif (
                        event.kind == "message"
                        and await self._remote.deliver(event.data, request)
                        and request is not None
                    ):
                        return True
        except httpx2.RequestError:
            if request is None or not framer.last_id:
                raise
        return False

    async def _listen(self) -> None:
        """What a server of a session says beside its answers. Many offer no such stream."""
        framer, tries = EventFramer(self._remote.spec.max_line_bytes), 0
        while self._session and tries < RETRIES:
            headers = self._headers() | {"accept": "text/event-stream"}
            headers |= {"last-event-id": framer.last_id} if framer.last_id else {}
            try:
                async with self._wire.request("GET", headers, Sent()) as response:
                    if response.status_code != 200:
                        return
                    tries = 0
                    await self._events(response, framer, None)
            except FAILURES:
                tries += 1
            await asyncio.sleep(_pause_s(framer))

    async def _quietly(self, method: str, headers: Mapping[str, str], sent: Sent, body: bytes | None = None) -> None:
        """A request whose fate is nobody's business."""
        try:
            async with self._wire.request(method, headers, sent, body=body):
                return
        except FAILURES:
            return


def _pause_s(framer: EventFramer) -> float:
    return min(max(RETRY_S if framer.retry_s is None else framer.retry_s, LEAST_RETRY_S), MOST_RETRY_S)
