"""HTTP to one MCP server: which requests leave here, and what it means when one fails. Knows nothing of messages (`mcp_http`).

No redirect is followed, no address of a cloud's metadata is spoken to, no proxy is taken from the environment, and no message shows
a path, a query or a header: they may hold secrets. Imports `httpx2`: load it on use only."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from runner.executors.mcp_results import failed
from runner.executors.mcp_spec import ServerSpec
from runner.ports import CallResult

KEEP_ALIVE_S: Final = 4.0
"""Shorter than the 5 s of most servers: a connection that they close as we write to it would put the call in doubt."""
_METADATA: Final = frozenset({"100.100.100.200", "fd00:ec2::254"})
"""Beside the link-local ones. Names of such hosts end at these addresses, too."""
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_BASE: Final = {"accept-encoding": "identity", "user-agent": "omni-orchestrator"}
"""Answers come as they are: what a compressed one grows to is known too late."""


class Forbidden(Exception):
    """The name led to an address that we do not speak to."""


FAILURES: Final = (httpx2.RequestError, Forbidden)
"""What a request may raise."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Sent:
    """How far one request came."""

    def __init__(self) -> None:
        self.written = False
        """The server may have seen it."""

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Told by the HTTP client of each step of a request."""
        if name == "connection.connect_tcp.complete":
            stream = info["return_value"]
            address = stream.get_extra_info("server_addr")[0]
            if is_metadata(address):
                await stream.aclose()
                raise Forbidden(f"{address} is a metadata address of a cloud")
        elif name.endswith(".send_request_headers.started"):
            self.written = True


class Wire:
    """The HTTP client of one session."""

    def __init__(self, spec: ServerSpec) -> None:
        parts = urlsplit(spec.url)
        self.place = parts.netloc
        self._spec = spec
        # Given a transport, the client takes no proxy from the environment: one would resolve names and see headers in our stead.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=KEEP_ALIVE_S)
        self._client = httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(limits=limits),
            headers=_BASE | dict(spec.headers),
            timeout=httpx2.Timeout(None, connect=spec.connect_timeout_s),  # calls have deadlines of their own
        )

    def request(
        self, method: str, headers: Mapping[str, str], sent: Sent, *, body: bytes | None = None, url: str = ""
    ) -> AbstractAsyncContextManager[httpx2.Response]:
        """One request to the server's URL, or to another one of its origin. Raises httpx2.RequestError, Forbidden."""
        return self._client.stream(
            method,
            url or self._spec.url,
            content=body,
            headers=dict(headers),
            follow_redirects=False,
            extensions={"trace": sent.trace},
        )

    async def close(self) -> None:
        await self._client.aclose()

    # ------------------------------------------------ what a failure means

    def broken(self, error: Exception, sent: Sent) -> CallResult:
        """A request that got no answer."""
        if isinstance(error, Forbidden):
            return failed("denied", f"{self._spec.name}: {self.place}: {error}")
        if isinstance(error, httpx2.ConnectTimeout):
            return self._unreached(f"no connection within {self._spec.connect_timeout_s:g} s")
        if not sent.written:
            return self._unreached(_reason(error))
        said = _reason(error)
        return failed("crash", f"{self._spec.name}: {self.place}: the connection broke ({said})", maybe=True)

    def _unreached(self, why: str) -> CallResult:
        return failed("unavailable", f"{self._spec.name}: {self.place}: {why}")

    def refused(self, response: httpx2.Response, said: str, now: Callable[[], datetime] = utc_now) -> CallResult:
        """An answer that is no success. `said`: what the server gave as its reason."""
        status = response.status_code
        error_class, maybe = _classed(status)
        hint = _hint(response, bool(self._spec.headers))
        message = f"{self._spec.name}: {self.place} answered HTTP {status}{hint}{f': {said}' if said else ''}"
        retry_after_ms = _retry_after_ms(response.headers.get("retry-after", ""), now)
        return failed(error_class, message, maybe=maybe, status=status, retry_after_ms=retry_after_ms)


def spec_problem(spec: ServerSpec) -> str:
    """Why nothing can be sent with this configuration, or ""."""
    try:
        parts = urlsplit(spec.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "its URL cannot be read"
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        return "its URL must be http:// or https:// with a host, without user and password"
    if is_metadata(host):
        return f"{host} is a metadata address of a cloud"
    for name, value in spec.headers.items():
        if not _HEADER_NAME.fullmatch(name):
            return "a header has a name that HTTP cannot carry"
        if not _HEADER_VALUE.fullmatch(value):
            return f"the value of the header {name} has characters that HTTP cannot carry"
    return ""


def is_metadata(host: str) -> bool:
    """Is this an address that machines of clouds ask for their own credentials?"""
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_link_local or str(address) in _METADATA


def same_origin(url: str, other: str) -> bool:
    """Do both lead to the same scheme, host and port?"""
    one, two = httpx2.URL(url), httpx2.URL(other)
    return (one.scheme, one.host, one.port) == (two.scheme, two.host, two.port)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, groups opened."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__context__, one.__cause__, *(one.exceptions if isinstance(one, BaseExceptionGroup) else ())]


def _reason(error: Exception) -> str:
    """In words of ours: the library's may quote a header."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return "its name cannot be resolved"
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return f"no TLS: {cause.reason or 'the handshake failed'}"
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
    kinds = {
        httpx2.RemoteProtocolError: "it ended the connection, or what it sent is no HTTP",
        httpx2.ReadError: "it ended the connection",
        httpx2.DecodingError: "the answer is not encoded as it says",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), type(error).__name__)


def _classed(status: int) -> tuple[str, bool]:
    """The class of an HTTP status, and whether the call may have been done all the same."""
    known = {401: "auth", 402: "quota", 403: "auth", 404: "unavailable", 405: "unavailable", 429: "rate_limit"}
    if status in known:
        return known[status], False
    if status >= 500:
        return "unavailable", True
    if status < 300:
        return "bad_output", True
    return ("unavailable", False) if status < 400 or status == 408 else ("invalid", False)


def _hint(response: httpx2.Response, with_headers: bool) -> str:
    status = response.status_code
    if status in (401, 403):
        return f" (it does not accept {'our `headers`' if with_headers else 'us without `headers`'})"
    if status in (404, 405):
        return " (is this an MCP URL?)"
    if status < 300:
        return " without an answer"
    if response.has_redirect_location:
        target = urlsplit(response.headers["location"]).hostname
        return f" (redirects are not followed{f'; it leads to {target}' if target else ''})"
    return ""


def _retry_after_ms(value: str, now: Callable[[], datetime]) -> int | None:
    """Seconds or a date, as HTTP has it; None when there is none."""
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value) * 1000
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for a year or a zone of twenty digits
        return None
    return max(0, int((date.replace(tzinfo=date.tzinfo or UTC) - now()).total_seconds() * 1000))
