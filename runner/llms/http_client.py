"""Models over plain HTTP: OpenAI-compatible endpoints, the LiteLLM proxy, and Ollama's compatible path.

No redirect is followed, no proxy is taken from the environment, the body is capped, and no message shows a path, a query or a header:
they may hold secrets. Imports `httpx2`: load this module on use only."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from runner.llms.answers import COST_HEADER, completion, error_object, looks_like_page, no_json, price, shown
from runner.llms.classify import chain, sign_of
from runner.llms.exchange import ANSWER_BYTES, Answer, Ask, Fault
from runner.llms.spec import EndpointSpec, ModelSpec

CONNECT_S: Final = 10.0
KEEP_ALIVE_S: Final = 4.0
"""Shorter than the 5 s of most servers: a connection that they close as we write to it would put the call in doubt."""
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
            return Fault(_reason(error), sign=sign_of(error), kinds=frozenset({type(error).__name__}))

    async def _ask(self, model: ModelSpec, ask: Ask) -> Answer | Fault:
        body = json.dumps(_body(model, ask), ensure_ascii=False).encode("utf-8", "replace")
        headers = _headers(model.endpoint, ask)
        async with self._client.stream("POST", _url(model.endpoint), content=body, headers=headers) as response:
            if response.status_code != 200:
                return await self._refused(response)
            data = await _read(response, self._cap)
        if data is None:
            return Fault(f"the answer is over {self._cap} bytes", sign="too_large")
        try:
            decoded = json.loads(data)
        except (ValueError, RecursionError):
            return no_json(data.decode("utf-8", "replace"))
        return completion(decoded, price(response.headers.get(COST_HEADER)))

    async def _refused(self, response: httpx2.Response) -> Fault:
        text = (await _read(response, ERROR_BYTES) or b"").decode("utf-8", "replace")
        try:
            code, said = error_object(json.loads(text))
        except (ValueError, RecursionError):
            code, said = "", "" if looks_like_page(text) else text
        said = said or _where(response)
        status = response.status_code
        message = f"HTTP {status}{f': {shown(said)}' if said else ''}"
        return Fault(message, status=status, code=code, said=said, headers=dict(response.headers))

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


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Not `strict`: that would refuse fields that are optional. The answer is verified by whoever asked."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}


def _where(response: httpx2.Response) -> str:
    if not response.has_redirect_location:
        return ""
    target = urlsplit(response.headers["location"]).hostname
    return f"redirects are not followed{f'; it leads to {target}' if target else ''}"


def _reason(error: Exception) -> str:
    """In words of ours: the library's may quote a header."""
    for cause in chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved"
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
    if isinstance(error, httpx2.ConnectTimeout):
        return f"no connection within {CONNECT_S:g} s"
    kinds = {
        httpx2.RemoteProtocolError: "it ended the connection, or what it sent is no HTTP",
        httpx2.ReadError: "it ended the connection",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), type(error).__name__)
