"""Is an endpoint there? One small GET that asks no model and costs nothing. Never raises for what the other side does.

A key that is refused is an answer: whoever refuses is there. What follows for circuit and mode is core's. Imports `httpx2`: load this
module on use only.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from runner.llms.signs import reason, sign_of
from runner.llms.spec import EndpointKind, EndpointSpec

PATHS: Final[Mapping[EndpointKind, str]] = {
    "litellm_proxy": "/health/readiness",  # never /health: that asks every model
    "openai": "/models",
    "ollama": "/api/version",
}
"""What a probe asks for when config does not say it."""
LISTS: Final[Mapping[EndpointKind, str]] = {"litellm_proxy": "/v1/models", "openai": "/models", "ollama": "/api/tags"}
"""Where an endpoint lists its models."""
BODY_BYTES: Final = 1024 * 1024
_HEADERS: Final = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "omni-orchestrator"}


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """`ok`: somebody who speaks HTTP answered, and not with a failure of its own. `status`: None = no answer at all. `unreached`: no
    connection was made, or it was reset. `refused_key`: it is there, and does not take our key."""

    ok: bool
    reason: str
    ms: int
    status: int | None = None
    unreached: bool = False
    refused_key: bool = False


async def probe(endpoint: EndpointSpec, timeout_s: float) -> ProbeResult:
    """Ask once, within `timeout_s`. CancelledError passes."""
    found, _ = await _get(endpoint, _join(endpoint, endpoint.probe or PATHS[endpoint.kind]), timeout_s)
    return found


async def models(endpoint: EndpointSpec, timeout_s: float) -> tuple[ProbeResult, frozenset[str] | None]:
    """The names of the models that the endpoint says it has; None when it does not say."""
    found, body = await _get(endpoint, _join(endpoint, LISTS[endpoint.kind]), timeout_s)
    return found, _listed(body) if found.status == 200 else None


def lacks(kind: EndpointKind, listed: frozenset[str], names: Iterable[str]) -> list[str]:
    """Those of `names` that are not in the list. A proxy's wildcards (`openai/*`) have them all; Ollama's `llama3` is `llama3:latest`."""
    prefixes = tuple(name.removesuffix("*") for name in listed if name.endswith("*"))
    known = listed | {name.removesuffix(":latest") for name in listed} if kind == "ollama" else listed
    return [name for name in names if name not in known and not (prefixes and name.startswith(prefixes))]


# ---------------------------------------------------------------- one GET


async def _get(endpoint: EndpointSpec, url: str, timeout_s: float) -> tuple[ProbeResult, bytes]:
    began = time.monotonic()
    if endpoint.unusable:
        return ProbeResult(False, endpoint.unusable, 0), b""
    try:
        async with asyncio.timeout(timeout_s):
            found, body = await _ask(endpoint, url)
    except TimeoutError:
        found, body = ProbeResult(False, f"no answer within {timeout_s:g} s", 0, unreached=True), b""
    except (httpx2.RequestError, httpx2.InvalidURL, OSError) as error:
        unreached = sign_of(error) in ("dns", "refused", "tls", "connect_timeout", "reset")
        found, body = ProbeResult(False, reason(error), 0, unreached=unreached), b""
    return replace(found, ms=round((time.monotonic() - began) * 1000)), body


async def _ask(endpoint: EndpointSpec, url: str) -> tuple[ProbeResult, bytes]:
    """Given a transport, the client takes no proxy from the environment: one would see the key in our stead."""
    transport = httpx2.AsyncHTTPTransport(verify=_trust() if url.startswith("https:") else False)
    headers = {**_HEADERS, **({"authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {})}
    async with (
        httpx2.AsyncClient(transport=transport, timeout=None, follow_redirects=False) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > BODY_BYTES:
                return ProbeResult(False, f"its answer is over {BODY_BYTES} bytes", 0, response.status_code), b""
        kind = response.headers.get("content-type", "")
        return _judged(endpoint.kind, response.status_code, kind, bytes(body)), bytes(body)


@cache
def _trust() -> ssl.SSLContext:
    """Reading all certificates takes a tenth of a second: once a process, and only for who is asked over TLS."""
    return httpx2.create_ssl_context()


def _judged(kind: EndpointKind, status: int, content_type: str, body: bytes) -> ProbeResult:
    def said(ok: bool, why: str, *, refused: bool = False) -> ProbeResult:
        return ProbeResult(ok, why, 0, status, refused_key=refused)

    if status in (401, 403) or (kind == "litellm_proxy" and status == 400 and b"No connected db" in body):
        return said(True, f"reachable, but it refuses the key ({status})", refused=True)
    if status >= 500 or status == 408:
        return said(False, f"it answers {status}")
    if status >= 400:
        return said(True, _BUT.get(status, f"reachable (it answers {status})"))
    if status >= 300:
        return said(False, f"it redirects ({status}), which is not followed: is the URL right?")
    if content_type.startswith("text/html"):
        return said(False, "it answers with a web page, not as an API: is the URL right?")
    return said(True, "reachable")


_BUT: Final[Mapping[int, str]] = {
    404: "reachable, but it does not know the path of the probe (404)",
    429: "reachable, and busy (429)",
}


def _join(endpoint: EndpointSpec, path: str) -> str:
    """The path after the endpoint's own. A proxy's health is beside its API: `http://host/v1` is probed at `http://host/health/…`."""
    base = endpoint.url
    if endpoint.kind == "litellm_proxy" and urlsplit(base).path.rstrip("/") == "/v1":
        base = base.removesuffix("/v1")
    return base + path


def _listed(body: bytes) -> frozenset[str] | None:
    """The names in `{"data": [{"id"}]}` (OpenAI) or `{"models": [{"name"}]}` (Ollama)."""
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    rows = data.get("data", data.get("models")) if isinstance(data, dict) else None
    if not isinstance(rows, list):
        return None
    return frozenset(str(row.get("id") or row.get("name")) for row in rows if isinstance(row, dict))
