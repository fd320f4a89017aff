"""MCP servers at URLs: Streamable HTTP and HTTP+SSE, made with the SDK (`servers/http_modern.py`) or raw (`servers/raw_http.py`)."""

from __future__ import annotations

import asyncio
import functools
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from mcp_calls import PATIENCE_S, SERVERS, Log, call, until

from runner.executors.mcp import McpServers, ServerSpec

sys.path.append(str(SERVERS))
from raw_http import RawHttp

SHORT_S = 0.3
CAP = 1_000_000
TOKEN = "Bearer s3cret-token-of-ours"


def at(url: str, **changes: object) -> McpServers:
    return McpServers({"s": ServerSpec("s", url=url, **changes)})


@asynccontextmanager
async def raw(mode: str = "ok", **changes: object) -> AsyncIterator[tuple[RawHttp, McpServers]]:
    async with RawHttp(mode) as server:
        servers = at(server.url, **{"max_line_bytes": CAP, "headers": {"Authorization": TOKEN}, **changes})
        yield server, servers
        await servers.close()


class Modern:
    """`http_modern.py` as a process that can die and come back on the same port."""

    def __init__(self, way: str) -> None:
        self.way, self.port = way, 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(SERVERS / "http_modern.py"), self.way, str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def spec(self, **changes: object) -> ServerSpec:
        path, transport = ("sse", "sse") if self.way == "sse" else ("mcp", "http")
        return ServerSpec("s", url=f"http://127.0.0.1:{self.port}/{path}", transport=transport, **changes)


@contextmanager
def running(way: str) -> Iterator[Modern]:
    modern = Modern(way)
    try:
        yield modern
    finally:
        modern.kill()


WAYS = ["http", "json", "sse"]


@pytest.fixture(scope="module")
def modern() -> Iterator[Callable[[str], Modern]]:
    """Way → a server that all tests of this file use, and none ends."""
    with ExitStack() as stack:
        yield functools.cache(lambda way: stack.enter_context(running(way)))


# ---------------------------------------------------------------- servers that behave


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_at_a_url_is_a_server_like_any_other(modern: Callable[[str], Modern], way: str) -> None:
    servers, log = McpServers({"s": modern(way).spec()}), Log()
    assert (await call(servers, "add", arguments={"a": 1, "b": 2})).output == {"result": 3}
    assert servers.status("s") == "open"
    wrong = await call(servers, "add", arguments={"a": 1})
    assert (wrong.error_class, wrong.message) == ("invalid", "add: missing argument `b`")
    refused = await call(servers, "refuse")
    assert refused.error_class == "tool_error" and "refuse" in refused.message
    counted = await call(servers, "count", arguments={"to": 2}, log=log)
    assert counted.output == {"result": "counted"}
    if way != "json":  # an answer as JSON has no place for progress
        await log.seen("progress", "2/2 step 2\n")
    tool = servers.tool("s", "add")
    assert tool and tool.read_only and tool.digest
    await servers.close()
    assert servers.status("s") == "closed"


@pytest.mark.parametrize("way", ["http", "sse"])
async def test_calls_run_side_by_side_and_a_cancel_reaches_the_server(
    modern: Callable[[str], Modern], way: str
) -> None:
    servers, log = McpServers({"s": modern(way).spec()}), Log()
    before = (await call(servers, "cancelled")).output["result"]
    late = asyncio.create_task(call(servers, "hold", log=log))
    await log.seen("progress", "0")
    late.cancel()
    with pytest.raises(asyncio.CancelledError):
        await late
    async with asyncio.timeout(PATIENCE_S):
        while (await call(servers, "cancelled")).output != {"result": before + 1}:
            continue
    again = Log()
    holding = asyncio.create_task(call(servers, "hold", log=again))
    await again.seen("progress", "0")
    assert (await call(servers, "release")).output == {"result": "released"}
    assert (await holding).output == {"result": "held"}
    await servers.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_that_dies_in_a_call_is_in_doubt_and_one_that_came_back_is_used_again(way: str) -> None:
    with running(way) as modern:
        servers = McpServers({"s": modern.spec()})
        died = await call(servers, "die")
        assert (died.error_class, died.effect) == ("crash", "maybe")
        modern.kill()
        down = await call(servers, "cancelled")
        assert (down.error_class, down.effect) == ("unavailable", "none")
        assert "connect" in down.message or "refused" in down.message
        modern.start()
        assert (await call(servers, "cancelled")).output == {"result": 0}
        await servers.close()


@pytest.mark.parametrize("way", WAYS)
async def test_one_answer_over_the_cap_leaves_the_session_and_its_other_calls_alone(
    modern: Callable[[str], Modern], way: str
) -> None:
    servers, log = McpServers({"s": modern(way).spec(max_line_bytes=CAP)}), Log()
    holding = asyncio.create_task(call(servers, "hold", log=log))
    if way == "json":
        await until(lambda: servers.status("s") == "open")
    else:
        await log.seen("progress", "0")
    large = await call(servers, "large", arguments={"size": 3 * CAP})
    assert (large.error_class, large.message) == ("bad_output", f"s: the answer is longer than {CAP} bytes")
    assert len((await call(servers, "large", arguments={"size": CAP // 2})).output) == CAP // 2
    await call(servers, "release")
    assert (await holding).output == {"result": "held"}
    await servers.close()


async def test_the_parts_of_an_answer_are_kept(modern: Callable[[str], Modern]) -> None:
    servers = McpServers({"s": modern("http").spec()})
    shown = await call(servers, "show")
    await servers.close()
    assert shown.text == "look"
    assert shown.output == [
        {"type": "text", "text": "look"},
        {"type": "image", "mimeType": "image/png", "size": 5, "data": "aGVsbG8="},
        {"type": "resource", "uri": "demo://text", "mimeType": "text/plain", "size": 3, "text": "né"},
        {"type": "resource", "uri": "demo://blob", "size": 5, "data": "aGVsbG8="},
        {"type": "resource_link", "uri": "demo://link", "name": "a link", "size": 7},
    ]


# ---------------------------------------------------------------- what is on the wire


async def test_headers_go_along_with_every_request_and_the_session_is_ended() -> None:
    async with raw() as (server, servers):
        assert (await call(servers, "t")).output == "hi"
        await servers.close()
        assert {seen.headers["authorization"] for seen in server.seen} == {TOKEN}
        listed = ["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"]
        assert [rpc for rpc in server.rpcs() if rpc not in ("GET", "DELETE")] == listed
        assert server.rpcs()[-1] == "DELETE"
        calls = [seen for seen in server.seen if seen.rpc == "tools/call"]
        assert calls[0].headers["mcp-session-id"] == server.session
        assert calls[0].headers["mcp-protocol-version"] == "2025-06-18"
        assert calls[0].headers["accept-encoding"] == "identity"
        assert calls[0].body["params"]["_meta"]["ares/idempotency-key"] == "key"


async def test_nothing_goes_through_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with raw() as (_, servers):
        assert (await call(servers, "t")).output == "hi"


# ---------------------------------------------------------------- faults in a call


@pytest.mark.parametrize(
    ("mode", "error_class", "effect", "message"),
    [
        ("401", "auth", "none", "answered HTTP 401 (it does not accept our `headers`)"),
        ("403", "auth", "none", "answered HTTP 403 (it does not accept our `headers`)"),
        ("402", "quota", "none", "answered HTTP 402"),
        ("405", "unavailable", "none", "answered HTTP 405 (is this an MCP URL?)"),
        ("413", "invalid", "none", "answered HTTP 413"),
        ("429", "rate_limit", "none", "answered HTTP 429"),
        ("500", "unavailable", "maybe", "answered HTTP 500"),
        ("503", "unavailable", "maybe", "answered HTTP 503"),
        ("redirect", "unavailable", "none", "answered HTTP 307 (redirects are not followed)"),
        (
            "redirect_far",
            "unavailable",
            "none",
            "answered HTTP 302 (redirects are not followed; it leads to 169.254.169.254)",
        ),
        ("html", "bad_output", "maybe", "the answer is text/html, no MCP message (is this an MCP URL?)"),
        ("accepted", "bad_output", "maybe", "answered HTTP 202 without an answer"),
        ("reset", "crash", "maybe", "the connection broke (connection reset by peer)"),
        ("reset_body", "crash", "maybe", "the connection broke (connection reset by peer)"),
        ("reset_stream", "crash", "maybe", "the connection broke (connection reset by peer)"),
        ("no_http", "crash", "maybe", "the connection broke (it ended the connection, or what it sent is no HTTP)"),
        ("end_stream", "crash", "maybe", "the stream ended without an answer"),
    ],
)
async def test_a_fault_has_its_class_and_the_session_goes_on(
    mode: str, error_class: str, effect: str, message: str
) -> None:
    async with raw() as (server, servers):
        await call(servers, "t")
        server.mode = mode
        result = await call(servers, "t")
        assert (result.error_class, result.effect) == (error_class, effect)
        assert result.message == f"s: 127.0.0.1:{server.port}{' ' if message.startswith('answered') else ': '}{message}"
        server.mode = "ok"
        assert (await call(servers, "t")).output == "hi"
        assert server.rpcs().count("initialize") == 1


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("not_json", "s: the answer is not JSON"),
        ("no_answer", "s: the answer is no answer"),
        ("json_mb:3", "s: the answer is longer than 1000000 bytes"),
        ("stream_mb:3", "s: the answer is longer than 1000000 bytes"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_bad_output(mode: str, message: str) -> None:
    async with raw(mode) as (_, servers):
        result = await call(servers, "t")
        assert (result.error_class, result.message) == ("bad_output", message)
        assert servers.status("s") == "open"


async def test_retry_after_is_handed_on() -> None:
    async with raw("429_after") as (_, servers):
        result = await call(servers, "t")
        assert (result.error_class, result.status, result.retry_after_ms) == ("rate_limit", 429, 7000)


async def test_a_refused_call_leaves_the_calls_beside_it_alone() -> None:
    async with raw("hang") as (server, servers):
        holding = asyncio.create_task(call(servers, "t"))
        await server.held.wait()
        server.mode = "reset"
        assert (await call(servers, "t")).error_class == "crash"
        assert not holding.done()
        holding.cancel()
        await asyncio.wait([holding])


@pytest.mark.parametrize("mode", ["echo_401", "echo_400"])
async def test_a_header_that_the_server_says_back_is_masked(mode: str) -> None:
    async with raw(mode) as (_, servers):
        result = await call(servers, "t")
        assert result.error_class in ("auth", "invalid")
        assert "***" in result.message
        assert "s3cret" not in result.message and "in-the-query" not in result.message


async def test_a_deadline_cancels_the_call_at_the_server_and_the_session_goes_on() -> None:
    async with raw("hang") as (server, servers):
        await call(servers, "nothing like it")  # opens the session
        late = await call(servers, "t", deadline_s=SHORT_S)
        assert (late.error_class, late.effect) == ("timeout", "maybe")
        await until(lambda: "notifications/cancelled" in server.rpcs())
        server.mode = "ok"
        assert (await call(servers, "t")).output == "hi"


async def test_an_event_stream_may_come_byte_by_byte() -> None:
    async with raw("drip") as (_, servers):
        assert (await call(servers, "t")).output == "drops"


async def test_a_stream_that_ends_early_is_taken_up_where_the_server_lets_us() -> None:
    async with raw("resume") as (server, servers):
        assert (await call(servers, "t")).output == "resumed after e1"
        assert server.calls == 1


async def test_a_session_that_the_server_forgot_costs_a_new_one_and_not_the_call() -> None:
    async with raw() as (server, servers):
        await call(servers, "t")
        server.session = "session-2"  # as after a restart
        assert (await call(servers, "t")).output == "hi"
        assert server.rpcs().count("initialize") == 2
        assert server.calls == 2


async def test_a_server_that_is_away_for_a_while_keeps_nobody_from_coming_back() -> None:
    async with raw() as (server, servers):
        await call(servers, "t")
        await server.stop()
        away = await call(servers, "t")
        assert (away.error_class, away.effect) == ("unavailable", "none")
        assert away.message == f"s: 127.0.0.1:{server.port}: connection refused"
        server.session = "session-2"
        await server.start()
        assert (await call(servers, "t")).output == "hi"


async def test_closing_ends_calls_in_flight_in_doubt() -> None:
    async with raw("hang") as (server, servers):
        holding = asyncio.create_task(call(servers, "t"))
        await server.held.wait()
        await servers.close()
        result = await holding
        assert (result.error_class, result.effect, result.message) == ("crash", "maybe", "s: its session was closed")


async def test_a_session_id_that_cannot_be_sent_back_is_none() -> None:
    async with raw() as (server, servers):
        server.session = "caf\u00e9"
        result = await call(servers, "t")
        assert (result.error_class, result.status) == ("unavailable", 404)
        assert all("mcp-session-id" not in seen.headers for seen in server.seen)


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("asked", [False, True])
async def test_closing_while_a_session_opens_ends_the_opening(transport: str, asked: bool) -> None:
    async with raw("open:hang", transport=transport) as (server, servers):
        waiting = asyncio.create_task(call(servers, "t"))
        await until(lambda: bool(server.seen) if asked else servers.status("s") == "opening")
        await servers.close()
        result = await waiting
        assert (result.error_class, result.effect, result.message) == (
            "unavailable",
            "none",
            "s: its session was closed",
        )


@pytest.mark.parametrize(
    ("mode", "error_class", "message"),
    [
        ("401", "auth", "answered HTTP 401 (it does not accept our `headers`)"),
        ("404", "unavailable", "answered HTTP 404 (is this an MCP URL?)"),
        ("400", "unavailable", "answered HTTP 400"),
        ("429_after", "rate_limit", "answered HTTP 429"),
        ("500", "unavailable", "answered HTTP 500"),
        ("redirect", "unavailable", "answered HTTP 307 (redirects are not followed)"),
        ("html", "unavailable", "the answer is text/html, no MCP message (is this an MCP URL?)"),
        ("reset", "unavailable", "the connection broke (connection reset by peer)"),
    ],
)
@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_session_that_cannot_be_opened_has_no_effect(
    transport: str, mode: str, error_class: str, message: str
) -> None:
    async with raw(f"open:{mode}", transport=transport) as (server, servers):
        result = await call(servers, "t")
        if transport == "sse" and mode == "html":
            error_class, message = "unavailable", "it named no address (is this the URL of an SSE server?)"
        assert (result.error_class, result.effect) == (error_class, "none")
        assert result.message.removeprefix(f"s: 127.0.0.1:{server.port}").lstrip(": ") == message
        assert servers.status("s") == "failed"


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_port_where_nobody_listens_is_unavailable(transport: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        servers = at(f"http://127.0.0.1:{port}/mcp?key=in-the-query", transport=transport)
        result = await call(servers, "t")
        await servers.close()
    assert (result.error_class, result.effect) == ("unavailable", "none")
    assert result.message == f"s: 127.0.0.1:{port}: connection refused"


async def test_a_name_that_cannot_be_resolved_is_unavailable() -> None:
    servers = at("http://no-such-host.invalid/mcp")
    result = await call(servers, "t")
    await servers.close()
    assert (result.error_class, result.effect) == ("unavailable", "none")
    assert result.message == "s: no-such-host.invalid: its name cannot be resolved"


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_server_that_says_nothing_is_unavailable_after_the_connect_deadline(transport: str) -> None:
    async with raw("open:hang", connect_timeout_s=SHORT_S, transport=transport) as (_, servers):
        began = time.monotonic()
        result = await call(servers, "t")
        assert time.monotonic() - began < SHORT_S + 2
        assert (result.error_class, result.effect) == ("unavailable", "none")
        assert result.message == f"s: no answer to the handshake within {SHORT_S} s"


@pytest.mark.parametrize(
    ("spec", "error_class", "message"),
    [
        (
            ServerSpec("s", url="http://169.254.169.254/mcp"),
            "invalid",
            "169.254.169.254 is a metadata address of a cloud",
        ),
        (
            ServerSpec("s", url="http://[fd00:ec2::254]/mcp"),
            "invalid",
            "fd00:ec2::254 is a metadata address of a cloud",
        ),
        (
            ServerSpec("s", url="http://[::ffff:169.254.169.254]/"),
            "invalid",
            "::ffff:169.254.169.254 is a metadata address of a cloud",
        ),
        (
            ServerSpec("s", url="ftp://host/s3cret"),
            "invalid",
            "its URL must be http:// or https:// with a host, without user and password",
        ),
        (
            ServerSpec("s", url="http://127.0.0.1:9/", headers={"X-Token": "s3cret\n"}),
            "invalid",
            "the value of the header X-Token has characters that HTTP cannot carry",
        ),
        (ServerSpec("s", url="http://127.0.0.1:9/", unusable="needs X"), "auth", "needs X"),
    ],
)
async def test_a_url_that_must_not_be_used_is_refused_before_anything_is_sent(
    spec: ServerSpec, error_class: str, message: str
) -> None:
    servers = McpServers({"s": spec})
    result = await call(servers, "t")
    await servers.close()
    assert (result.error_class, result.effect, result.message) == (error_class, "none", f"s: {message}")


async def test_a_name_that_leads_to_a_metadata_address_is_refused_when_it_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from runner.executors import mcp_wire

    monkeypatch.setattr(mcp_wire, "_METADATA", frozenset({"127.0.0.1"}))  # the nearest address that a test can reach
    async with RawHttp() as server:
        servers = at(f"http://localhost:{server.port}/mcp")
        result = await call(servers, "t")
        await servers.close()
        assert (result.error_class, result.effect) == ("denied", "none")
        assert result.message == f"s: localhost:{server.port}: 127.0.0.1 is a metadata address of a cloud"
        assert server.seen == []


async def test_an_sse_server_cannot_send_our_messages_elsewhere() -> None:
    async with RawHttp() as other, RawHttp() as server:

        async def elsewhere(seen: object, writer: asyncio.StreamWriter) -> None:
            server.stream(writer)
            writer.write(f"event: endpoint\ndata: {other.url}\n\n".encode())
            await writer.drain()
            await server.never.wait()

        server._answer = elsewhere
        servers = at(server.url, transport="sse")
        result = await call(servers, "t")
        await servers.close()
        assert (result.error_class, result.effect) == ("denied", "none")
        assert "it names an address elsewhere" in result.message
        assert other.seen == []


async def test_a_text_of_a_spec_shows_no_header() -> None:
    assert "s3cret" not in repr(ServerSpec("s", url="http://x/", headers={"Authorization": TOKEN}, env={"T": TOKEN}))


MEMORY = """
import asyncio, resource, sys
sys.path.insert(0, sys.argv[1])
from mcp_calls import call
from test_mcp_http import RawHttp, at

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

async def main():
    async with RawHttp() as server:
        servers = at(server.url)
        await call(servers, "t")
        before = peak()
        server.mode = sys.argv[2]
        result = await call(servers, "t")
        await servers.close()
        print(result.error_class, peak() - before)

asyncio.run(main())
"""


@pytest.mark.parametrize("mode", ["json_mb:100", "stream_mb:100"])
def test_an_answer_of_100_mb_takes_less_than_200_mb(mode: str) -> None:
    command = [sys.executable, "-P", "-c", MEMORY, str(Path(__file__).parent), mode]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    assert said[0] == "bad_output"
    assert int(said[1]) < 200
