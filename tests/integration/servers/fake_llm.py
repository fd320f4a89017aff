"""A raw HTTP/1.1 server that speaks the OpenAI chat API (as a LiteLLM proxy, as any compatible endpoint) and Ollama's, and plays every
way in which one fails. The model's name says which: `ROWS` has the plain refusals, `WIRE` what happens to the connection.

Plain asyncio: what is on the wire is what stands here. It keeps what it saw (`seen`) and what it billed (`bills`, micro-USD).
As a program: `python fake_llm.py PORT [PRICE]` serves until it is killed."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TOKENS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
PAGE = "<!DOCTYPE html><html><body>please log in</body></html>"


def error(message: str, kind: str | None = None, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


Reply = tuple[int, dict[str, str], str]
ROWS: Mapping[str, Reply] = {
    "rate429": (429, {"retry-after": "7"}, error("Rate limit reached", "requests", "rate_limit_exceeded")),
    "words429": (429, {}, error("Rate limit reached for tokens. Please try again in 1m2.5s.", "tokens", "rate_limit_exceeded")),
    "soon429": (429, {"retry-after": "30"}, error("You exceeded your current quota, please check your plan and billing details.", "x", "429")),
    "quota429": (429, {}, error("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", "insufficient_quota")),
    "quota402": (402, {}, error("Payment required", "x", "payment_required")),
    "budget400": (400, {}, error("Budget has been exceeded! Current cost: 2.0, Max budget: 1.0", "budget_exceeded", "400")),
    "credit400": (400, {}, error("Your credit balance is too low to access the API.", "invalid_request_error")),
    "key401": (401, {}, error("Incorrect API key provided", "invalid_request_error", "invalid_api_key")),
    "key403": (403, {}, error("You are not allowed to sample from this model", "permission_error")),
    "nodb400": (400, {}, error("No connected db.", "no_db_connection", "400")),
    "missing404": (404, {}, error("The model `x` does not exist", "invalid_request_error", "model_not_found")),
    "late408": (408, {}, error("Request timeout", "timeout")),
    "large413": (413, {}, error("Payload too large", "x")),
    "request400": (400, {}, error("Unsupported parameter: foo", "invalid_request_error")),
    "request422": (422, {}, error("unprocessable: temperature", "invalid_request_error")),
    "server500": (500, {}, error("boom", "server_error")),
    "server502": (502, {"content-type": "text/html"}, "<html><body>502 Bad Gateway</body></html>"),
    "server503": (503, {"retry-after": "3"}, error("no workers", "server_error")),
    "server504": (504, {}, error("upstream timed out", "server_error")),
    "overloaded529": (529, {}, error("Overloaded", "overloaded_error")),
    "overflow400": (400, {}, error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9999 tokens.", "invalid_request_error", "context_length_exceeded")),
    "overflow-words": (400, {}, error("prompt is too long: 210000 tokens > 200000 maximum", "invalid_request_error")),
    "policy400": (400, {}, error("Your request was rejected as a result of our safety system.", "invalid_request_error", "content_policy_violation")),
    "redirect": (307, {"location": "https://elsewhere.example/secret-path"}, ""),
    "html": (200, {"content-type": "text/html"}, PAGE),
    "badjson": (200, {}, '{"id": "x", "choi'),
    "blank": (200, {}, ""),
    "scalar": (200, {}, '"hello"'),
    "nothing": (200, {}, "null"),
    "hollow": (200, {}, '{"choices": [{}]}'),
    "sorry500": (200, {}, error("boom", "server_error", "500")),
}  # fmt: skip
"""model name → (status, headers, body)."""

CHOICES: Mapping[str, Any] = {
    "empty": [],
    "silent": [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}],
    "spent": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}],
    "withheld": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}],
}
"""model name → the choices of a completion that is none."""

WIRE = frozenset({"reset", "midbody", "garbage", "slow", "slowbody", "huge"})


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    played: str = ""
    """What it met: a name of `ROWS`, `WIRE` or `CHOICES`, or a model that answers."""

    @property
    def model(self) -> str:
        return str(self.body.get("model", "")) if isinstance(self.body, dict) else ""


@dataclass
class FakeLlm:
    """`says[model]`: texts that it answers one after the other, the last one again and again. `usd`: the price header of each answer,
    as the LiteLLM proxy sends it. `script`: what the next requests meet instead of what their model's name says. `pages`: what a GET of a
    path gets, instead of good health and no models."""

    usd: float | None = None
    port: int = 0
    says: dict[str, list[str]] = field(default_factory=dict)
    script: list[str] = field(default_factory=list)
    pages: dict[str, Reply] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    bills: list[int] = field(default_factory=list)

    async def __aenter__(self) -> FakeLlm:
        self.held = asyncio.Event()
        """A `slow` request has arrived."""
        self.never = asyncio.Event()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.never.set()
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As if the process had died: no connection outlives it. `start` brings it back on the same port."""
        self._server.close()
        tasks = list(self._open.values())
        for writer, task in self._open.items():
            writer.transport.abort()
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self) -> list[str]:
        """The models that were asked, in order."""
        return [seen.model for seen in self.seen if seen.method == "POST"]

    # ------------------------------------------------ HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        try:
            while (seen := await _request(reader)) is not None:
                self.seen.append(seen)
                if not await self._answer(seen, writer):
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or `stop` ends us: nobody else holds this task
        finally:
            del self._open[writer]
            writer.close()

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        """False when the connection is over."""
        name = self.script.pop(0) if self.script and seen.method == "POST" else seen.model.rsplit("/", 1)[-1]
        seen.played = name
        if seen.method == "GET" and seen.path in self.pages:
            return await _send(writer, self.pages[seen.path])
        if seen.method == "GET":
            return await _send(writer, (200, {}, json.dumps({"status": "healthy", "data": [], "models": []})))
        if name in WIRE:
            return await self._wire(name, writer)
        if name in ROWS:
            return await _send(writer, ROWS[name])
        if name in ("echo401", "late401"):  # as proxies do that tell which key they were given
            before = "." * 1_960 if name == "late401" else ""
            return await _send(
                writer, (401, {}, error(f"{before}Received API key: {seen.headers['authorization']}{before}"))
            )
        return await _send(writer, self._completion(seen, name))

    def _completion(self, seen: Seen, name: str) -> Reply:
        text = self._text(seen, name)
        headers = {}
        self.bills.append(round((self.usd or 0) * 1_000_000))  # an answer without text is work all the same
        if self.usd is not None:
            headers["x-litellm-response-cost"] = repr(self.usd)
        if seen.path == "/api/chat":
            return 200, headers, json.dumps(_ollama(seen.model, text, CHOICES.get(name)))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if name == "cut":
            choice["finish_reason"] = "length"
        body: dict[str, Any] = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_800_000_000, "model": seen.model,
            "choices": CHOICES.get(name, [choice]),
        }  # fmt: skip
        if name != "uncounted":
            body["usage"] = TOKENS
        return 200, headers, json.dumps(body)

    def _text(self, seen: Seen, name: str) -> str:
        says = self.says.get(name)
        if not says:
            return f"hello from {name}"
        return says.pop(0) if len(says) > 1 else says[0]

    async def _wire(self, name: str, writer: asyncio.StreamWriter) -> bool:
        if name in ("slow", "slowbody"):
            if name == "slowbody":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
                await writer.drain()
            self.held.set()
            await self.never.wait()
            return False
        if name == "huge":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\n\r\n")
            writer.write(b" " * 2_000_000)
            await writer.drain()
            await self.never.wait()
            return False
        if name == "garbage":
            writer.write(b"\x16\x03 this is no HTTP\r\n\r\n")
        if name == "midbody":
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"id": "x"')
        await writer.drain()
        if name == "reset":  # linger 0: the peer gets RST, not an orderly end
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


def _ollama(model: str, text: str, choices: Any) -> dict[str, Any]:
    return {
        "model": model, "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
        "message": {"role": "assistant", "content": "" if choices is not None else text},
        "prompt_eval_count": 10, "eval_count": 5, "total_duration": 1, "eval_duration": 1,
    }  # fmt: skip


async def _request(reader: asyncio.StreamReader) -> Seen | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if headers.get("transfer-encoding") == "chunked":
        body = await _chunks(reader)
    return Seen(method, path.partition("?")[0], headers, json.loads(body) if body else None)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        whole += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return whole


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> bool:
    status, headers, text = reply
    body = text.encode()
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("latin-1") + body)
    await writer.drain()
    return True


async def main(port: int, usd: float | None) -> None:
    async with FakeLlm(usd=usd, port=port) as fake:
        print(fake.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else None))
