"""The connections that LiteLLM is given: no redirect is followed, no proxy is taken from the environment, bodies are capped.

Imports `openai`, `httpx` and a part of litellm: `litellm_client` loads it once litellm is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import openai

from runner.llms.exchange import CONNECT_S, KEEP_ALIVE_S
from runner.llms.spec import EndpointSpec

FAILURES = (openai.OpenAIError, httpx.HTTPError, httpx.InvalidURL, OSError, ValueError)
"""What LiteLLM raises for what the other side did. All else is a defect, and the border of the attempt says so."""
NO_KEY = "none"
"""Sent where no key is configured: without one, LiteLLM would look for OPENAI_API_KEY and send that."""


class TooLarge(Exception):
    """A body over the cap."""


@contextmanager
def _single_shot() -> Iterator[None]:
    """LiteLLM's Ollama handler sends again, over connections of its own, after exactly these two: so they get another name."""
    try:
        yield
    except (httpx.RemoteProtocolError, httpx.ConnectError) as error:
        raise httpx.NetworkError(str(error)) from error


class _Capped(httpx.AsyncByteStream):
    """A body that ends with an error once it is longer than `cap`."""

    def __init__(self, body: Any, cap: int) -> None:
        self._body, self._cap = body, cap

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        with _single_shot():
            async for part in self._body:
                size += len(part)
                if size > self._cap:
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
        response.stream = _Capped(response.stream, self._cap)
        return response


class Pool:
    """One pool of connections, and a client over it for each endpoint. Belongs to the event loop that first uses it."""

    def __init__(self, answer_bytes: int) -> None:
        self._http = httpx.AsyncClient(
            transport=_Transport(answer_bytes),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            headers={"accept-encoding": "identity"},
            follow_redirects=False,
        )
        self._clients: dict[str, Any] = {}

    def client(self, endpoint: EndpointSpec) -> Any:
        """What LiteLLM takes as `client` for this endpoint. Its own ones follow redirects, with the key."""
        if endpoint.name not in self._clients:
            self._clients[endpoint.name] = self._handler() if endpoint.kind == "ollama" else self._sdk(endpoint)
        return self._clients[endpoint.name]

    def _sdk(self, endpoint: EndpointSpec) -> Any:
        key = endpoint.api_key or NO_KEY
        return openai.AsyncOpenAI(api_key=key, base_url=endpoint.url, max_retries=0, http_client=self._http)

    def _handler(self) -> Any:
        from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler  # heavy, and there by now

        handler = AsyncHTTPHandler(follow_redirects=False)
        handler.client = self._http
        return handler

    async def close(self) -> None:
        await self._http.aclose()
