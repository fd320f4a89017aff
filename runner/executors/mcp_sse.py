"""The older HTTP+SSE transport (2024-11-05): one stream of events brings everything, messages go to an address that it names.

Imports `mcp`: load it on use only. Not here: what it shares with Streamable HTTP (`mcp_remote`)."""

from __future__ import annotations

import asyncio
from urllib.parse import urljoin

import httpx2
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest

from runner.executors.mcp_events import Event, EventFramer
from runner.executors.mcp_messages import Overruns
from runner.executors.mcp_process import Overlong
from runner.executors.mcp_remote import Remote
from runner.executors.mcp_results import failed, shown
from runner.executors.mcp_wire import FAILURES, Sent, same_origin
from runner.ports import CallResult


class OldSse:
    """A stream that stays open, and a POST for each message of ours. The end of the stream is the end of the session."""

    def __init__(self, remote: Remote) -> None:
        self._remote, self._wire = remote, remote.wire
        self._framer = EventFramer(remote.spec.max_line_bytes)
        self._overruns = Overruns(remote.pending)
        self._address: asyncio.Future[str | CallResult] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self._remote.spawn(self._listen())

    async def leave(self) -> None:
        return None

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        body = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
        request = message.id if isinstance(message, JSONRPCRequest) else None
        cancel = isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled"
        posting = self._remote.spawn(self._post(body, request), courtesy=cancel)
        if request is None and not cancel:
            await asyncio.wait(
                [posting]
            )  # in order: the server must have heard that we are ready before the first call

    # ------------------------------------------------ out

    async def _post(self, body: bytes, request: str | int | None) -> None:
        sent = Sent()
        address = await asyncio.shield(self._address)
        if isinstance(address, CallResult):
            if request is not None:
                await self._remote.refuse(request, address)
            return
        try:
            async with self._wire.request(
                "POST", {"content-type": "application/json"}, sent, body=body, url=address
            ) as response:
                if not response.is_success and request is not None:
                    await self._remote.refused(request, response, await self._remote.reason(response))
        except FAILURES as error:
            if request is not None:
                await self._remote.refuse(request, self._wire.broken(error, sent))

    # ------------------------------------------------ in

    async def _listen(self) -> None:
        sent, why = Sent(), "the event stream ended"
        try:
            async with self._wire.request("GET", {"accept": "text/event-stream"}, sent) as response:
                if response.status_code != 200:
                    self._found(self._wire.refused(response, ""))
                    return
                async for chunk in response.aiter_bytes():
                    for event in self._framer.feed(chunk):
                        await self._event(event)
        except FAILURES as error:
            trouble = self._wire.broken(error, sent)
            self._found(trouble)
            why = trouble.message.removeprefix(f"{self._remote.spec.name}: ")
        where = f"{self._remote.spec.name}: {self._wire.place}"
        if not self._found(failed("unavailable", f"{where}: it named no address (is this the URL of an SSE server?)")):
            self._remote.fail(why)

    def _found(self, address: str | CallResult) -> bool:
        """Where messages go, or why they cannot; True when that was not known before."""
        if self._address.done():
            return False
        self._address.set_result(address)
        return True

    async def _event(self, event: Event | Overlong) -> None:
        if isinstance(event, Overlong):
            await self._remote.overlong(self._overruns, event)
        elif event.kind == "endpoint":
            self._named(event.data.decode(errors="replace"))
        elif event.kind == "message":
            await self._remote.deliver(event.data, None)

    def _named(self, reference: str) -> None:
        url = self._remote.spec.url
        target = urljoin(url, reference.strip())
        try:
            same = same_origin(url, target)
        except httpx2.InvalidURL:
            same = False
        where = f"{self._remote.spec.name}: {self._wire.place}"
        wrong = failed(
            "denied", f"{where}: it names an address elsewhere: {shown(reference, 200, self._remote.spec.masked)}"
        )
        self._found(target if same else wrong)
