"""Models over plain HTTP: OpenAI-compatible endpoints, the LiteLLM proxy, and Ollama's compatible path.

No redirect is followed, no proxy is taken from the environment, the body is capped, and no message shows a path, a query or a header:
they may hold secrets. Imports `httpx2`: load this module on use only."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx2

from runner.llms.answers import COST_HEADER, price, read, refusal
from runner.llms.exchange import ANSWER_BYTES, CONNECT_S, KEEP_ALIVE_S, Answer, Ask, Fault, response_format
from runner.llms.signs import kinds_of, reason, sign_of
from runner.llms.spec import EndpointSpec, ModelSpec

ERROR_BYTES: Final = 64 * 1024
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "omni-orchestrator"}
"""Answers come as they are: what a compressed one grows to is known too late."""


class HttpClient:
    """Keeps one pool of connections for all endpoints. Belongs to the event loop that first uses it."""

    def __init__(self, *, answer_bytes: int = ANSWER_BYTES) -> None:
        self._cap = answer_bytes
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=KEEP_ALIVE_S)
        # Given a transport, the client takes no proxy from the environment: one would see prompts and keys in our stead.
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(limits=limits),
            headers=_HEADERS,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),  # calls have deadlines of their own
            follow_redirects=False,
        )

    async def ask(self, model: ModelSpec, ask: Ask) -> Answer | Fault:
        """See `exchange.Client`."""
        try:
            async with asyncio.timeout(ask.deadline_s):
                return await self._ask(model, ask)
        except TimeoutError:
            return Fault(f"no answer within {ask.deadline_s:g} s", sign="deadline")
        except (httpx2.RequestError, httpx2.InvalidURL, OSError) as error:
            return Fault(reason(error), sign=sign_of(error), kinds=kinds_of(error))

    async def _ask(self, model: ModelSpec, ask: Ask) -> Answer | Fault:
        body = json.dumps(_body(model, ask), ensure_ascii=False).encode("utf-8", "replace")
        headers = _headers(model.endpoint, ask)
        async with self._client.stream("POST", _url(model.endpoint), content=body, headers=headers) as response:
            if response.status_code != 200:
                return await self._refused(response)
            data = await _read(response, self._cap)
        if data is None:
            return Fault(f"the answer is over {self._cap} bytes", sign="too_large")
        return read(data, price(response.headers.get(COST_HEADER)))

    async def _refused(self, response: httpx2.Response) -> Fault:
        text = (await _read(response, ERROR_BYTES) or b"").decode("utf-8", "replace")
        return refusal(response.status_code, response.headers, text)

    async def close(self) -> None:
        await self._client.aclose()


async def _read(response: httpx2.Response, cap: int) -> bytes | None:
    """The body; None when it is longer than `cap`."""
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > cap:
            return None
    return bytes(data)


def _url(endpoint: EndpointSpec) -> str:
    base = f"{endpoint.url}/v1" if endpoint.kind == "ollama" else endpoint.url
    return f"{base}/chat/completions"


def _headers(endpoint: EndpointSpec, ask: Ask) -> dict[str, str]:
    headers = {"content-type": "application/json"}
    if endpoint.api_key:
        headers["authorization"] = f"Bearer {endpoint.api_key}"
    if ask.idempotency_key:
        headers["idempotency-key"] = ask.idempotency_key
    return headers


def _body(model: ModelSpec, ask: Ask) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model.model, "messages": [dict(message) for message in ask.messages]}
    if ask.temperature is not None:
        body["temperature"] = ask.temperature
    if ask.max_tokens is not None:
        body["max_tokens"] = ask.max_tokens
    if ask.schema is not None:
        body["response_format"] = response_format(ask.schema)
    return body
