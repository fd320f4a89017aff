"""The connections that LiteLLM is given: no redirect is followed, no proxy is taken from the environment, bodies are capped.

Imports `openai`, `httpx` and a part of litellm: `litellm_client` loads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx
import openai
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from runner.llms.exchange import CONNECT_S, KEEP_ALIVE_S

FAILURES = (openai.OpenAIError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)
"""What LiteLLM raises for what the other side did. All else is a defect, and the border of the attempt says so."""
NO_KEY = "none"
"""Sent where no key is configured: without one, LiteLLM would look for OPENAI_API_KEY and send that."""


_heard: ContextVar[bytearray] = ContextVar("_heard")


class TooLarge(Exception):
    """A body over the cap."""


@contextmanager
def listening() -> Iterator[bytearray]:
    """What comes in answer to the call that is made meanwhile is in here, whatever LiteLLM makes of it."""
    token = _heard.set(bytearray())
    try:
        yield _heard.get()
    finally:
        _heard.reset(token)


@contextmanager
def _single_shot() -> Iterator[None]:
    """LiteLLM's handler sends again, over connections of its own, after exactly these two: so they get another name."""
    try:
        yield
    except (httpx.RemoteProtocolError, httpx.ConnectError) as error:
        raise httpx.NetworkError(str(error)) from error


class _Capped(httpx.AsyncByteStream):
    """A body that ends with an error once it is longer than `cap`. `heard` gets what is read."""

    def __init__(self, body: Any, cap: int, heard: bytearray) -> None:
        self._body, self._cap, self._heard = body, cap, heard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _single_shot():
            async for part in self._body:
                self._heard += part
                if len(self._heard) > self._cap:
                    raise TooLarge(f"the answer is over {self._cap} bytes")
                yield part

    async def aclose(self) -> None:
        await self._body.aclose()


class _Transport(httpx.AsyncHTTPTransport):
    def __init__(self, cap: int) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=KEEP_ALIVE_S)
        super().__init__(limits=limits)
        self._cap = cap

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with _single_shot():
            response = await super().handle_async_request(request)
        response.stream = _Capped(response.stream, self._cap, _heard.get())
        return response


class Pool:
    """One pool of connections, in the shape in which LiteLLM takes it. Belongs to the event loop that first uses it."""

    def __init__(self, answer_bytes: int) -> None:
        self._http = httpx.AsyncClient(
            transport=_Transport(answer_bytes),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            headers={"accept-encoding": "identity"},
            follow_redirects=False,
        )
        self.client = AsyncHTTPHandler(follow_redirects=False)
        """LiteLLM's `client`. Its own ones follow redirects, with the key."""
        self.client.client = self._http

    async def close(self) -> None:
        await self._http.aclose()
