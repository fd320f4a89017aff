"""A raw HTTP/1.1 server in the test's own loop, which speaks MCP of 2025-06-18 over Streamable HTTP and misbehaves as its `mode` says.

Plain asyncio: what is on the wire is what stands here."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

SESSION = "session-1"
FAR = "http://169.254.169.254/latest/meta-data"


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def rpc(self) -> str:
        return self.body.get("method", "answer") if isinstance(self.body, dict) else ""


@dataclass
class RawHttp:
    """`mode`: what a tools/call meets (and, for `open:…` modes, what every request meets)."""

    mode: str = "ok"
    seen: list[Seen] = field(default_factory=list)
    session: str = SESSION
    calls: int = 0
    port: int = 0

    async def __aenter__(self) -> RawHttp:
        self.held = asyncio.Event()
        self.never = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        await self.start()
        return self

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As if the process had died: no connection outlives it."""
        self._server.close()
        tasks = list(self._open.values())
        for writer in self._open:
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks)
        await self._server.wait_closed()

    async def __aexit__(self, *_: object) -> None:
        self.never.set()
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp?key=in-the-query"

    def rpcs(self) -> list[str]:
        return [seen.rpc if seen.method == "POST" else seen.method for seen in self.seen]

    # ------------------------------------------------ HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        try:
            while (seen := await self._read(reader)) is not None:
                self.seen.append(seen)
                await self._answer(seen, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the other side has gone, or we have
        finally:
            del self._open[writer]
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
        if not head:
            return None
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(method, path, headers, json.loads(body) if body else None)

    def send(self, writer: asyncio.StreamWriter, status: int, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def json(self, writer: asyncio.StreamWriter, message: object, status: int = 200, **headers: str) -> None:
        self.send(writer, status, json.dumps(message).encode(), content_type="application/json", **headers)

    def stream(self, writer: asyncio.StreamWriter) -> None:
        """Without a length: the end of the connection is the end of the stream."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")

    def reset(self, writer: asyncio.StreamWriter) -> None:
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        raise ConnectionResetError

    # ------------------------------------------------ MCP

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if self.mode.startswith("open:"):
            await self._fault(self.mode.removeprefix("open:"), seen, writer)
        elif seen.method == "GET":
            await self._get(seen, writer)
        elif seen.method == "DELETE":
            self.send(writer, 200)
        elif seen.rpc == "server/discover":
            error = {"code": -32000, "message": "Bad Request: Server not initialized"}
            self.json(writer, {"jsonrpc": "2.0", "id": None, "error": error}, 400)
        elif seen.rpc == "initialize":
            info = {"serverInfo": {"name": "raw", "version": "1"}, "protocolVersion": "2025-06-18"}
            self.json(writer, self.result(seen, {**info, "capabilities": {"tools": {}}}), mcp_session_id=self.session)
        elif "id" not in seen.body:
            self.send(writer, 202)
        elif seen.headers.get("mcp-session-id") != self.session:
            error = {"code": -32001, "message": "Session not found"}
            self.json(writer, {"jsonrpc": "2.0", "id": None, "error": error}, 404)
        elif seen.rpc == "tools/list":
            self.json(writer, self.result(seen, {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}))
        else:
            self.calls += 1
            await self._fault(self.mode, seen, writer)

    async def _get(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if self.mode == "resume" and "last-event-id" in seen.headers:
            self.stream(writer)
            self.event(writer, self.text(self.waiting, f"resumed after {seen.headers['last-event-id']}"), "e2")
            await self.end(writer)
        else:
            self.send(writer, 405)

    def result(self, seen: Seen, result: object) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": seen.body["id"], "result": result}

    def text(self, seen: Seen, said: str) -> dict[str, object]:
        return self.result(seen, {"content": [{"type": "text", "text": said}]})

    def event(self, writer: asyncio.StreamWriter, message: object, identifier: str = "") -> None:
        mark = f"id: {identifier}\r\n" if identifier else ""
        writer.write(f"event: message\r\n{mark}data: {json.dumps(message)}\r\n\r\n".encode())

    async def end(self, writer: asyncio.StreamWriter) -> None:
        await writer.drain()
        writer.close()
        raise ConnectionResetError

    async def _fault(self, mode: str, seen: Seen, writer: asyncio.StreamWriter) -> None:
        if mode.isdigit():
            self.send(writer, int(mode), b"<html>no</html>", content_type="text/html")
        elif mode == "echo_401":
            said = f"bad token {seen.headers.get('authorization')}"
            error = {"code": -32001, "message": said}
            self.json(writer, {"jsonrpc": "2.0", "id": seen.body["id"], "error": error}, 401)
        elif mode == "echo_400":
            error = {"code": -32602, "message": f"no: {seen.headers.get('authorization')}"}
            self.json(writer, {"jsonrpc": "2.0", "id": seen.body["id"], "error": error}, 400)
        elif mode == "429_after":
            self.send(writer, 429, retry_after="7")
        elif mode == "redirect":
            self.send(writer, 307, location="/elsewhere?key=in-the-query")
        elif mode == "redirect_far":
            self.send(writer, 302, location=FAR)
        elif mode == "html":
            self.send(writer, 200, b"<html>welcome</html>", content_type="text/html; charset=utf-8")
        elif mode == "not_json":
            self.send(writer, 200, b"{]", content_type="application/json")
        elif mode == "no_answer":
            self.json(
                writer, {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}}
            )
        elif mode == "accepted":
            self.send(writer, 202)
        elif mode == "reset":
            self.reset(writer)
        elif mode == "reset_body":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{")
            await writer.drain()
            self.reset(writer)
        elif mode == "reset_stream":
            self.stream(writer)
            writer.write(b"event: message\r\ndata: {")
            await writer.drain()
            self.reset(writer)
        elif mode == "end_stream":
            self.stream(writer)
            await self.end(writer)
        elif mode == "resume":
            self.waiting = seen
            self.stream(writer)
            writer.write(b"id: e1\r\nretry: 1\r\ndata:\r\n\r\n")
            await self.end(writer)
        elif mode == "no_http":
            writer.write(b"220 mail.example ESMTP\r\n")
            await self.end(writer)
        elif mode == "hang":
            self.held.set()
            await self.never.wait()
        elif mode == "drip":
            await self._drip(seen, writer)
        elif mode.startswith("json_mb:"):
            await self._large(seen, writer, int(mode.partition(":")[2]), b"application/json", b"")
        elif mode.startswith("stream_mb:"):
            await self._large(seen, writer, int(mode.partition(":")[2]), b"text/event-stream", b"data: ")
        else:
            self.json(writer, self.text(seen, "hi"))

    async def _drip(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.stream(writer)
        for byte in (
            b"\xef\xbb\xbf: hello\n\nevent: ping\ndata: x\n\ndata: "
            + json.dumps(self.text(seen, "drops")).encode()
            + b"\n\n"
        ):
            writer.write(bytes([byte]))
            await writer.drain()
        await self.end(writer)

    async def _large(self, seen: Seen, writer: asyncio.StreamWriter, mb: int, kind: bytes, before: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nconnection: close\r\n\r\n" % kind)
        writer.write(before + b'{"result":{"content":[{"type":"text","text":"')
        for _ in range(mb):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
        writer.write(b'"}]},"jsonrpc":"2.0","id":%d}\n\n' % seen.body["id"])
        await self.end(writer)
