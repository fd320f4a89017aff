"""A model endpoint on loopback that says what it is told to, dies on a word, and comes back on the same port.

It speaks as much of the OpenAI chat API as a story needs: completions, a list of models, and the health of a LiteLLM proxy. Not a test double:
the tests have a fake of their own that plays every way to fail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

HOST = "127.0.0.1"
BODY_BYTES = 1 << 20


class Upstream:
    """An async context manager. `answer` gives the text for a prompt, or None: then the endpoint dies with the question in its hands."""

    def __init__(self, answer: Callable[[str], Awaitable[str | None]]) -> None:
        self._answer = answer
        self.port = 0
        self.asked: list[str] = []
        """The prompts that came, in order."""
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Upstream:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        """Come (back) to life, on the port that it had."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=BODY_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """As a killed process does: nobody listens, and no connection outlives it."""
        if self._server is None:
            return
        self._server.close()
        here = asyncio.current_task()
        others = [task for task in self._open.values() if task is not here]
        for writer in list(self._open):
            writer.transport.abort()
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        try:
            while (request := await _request(reader)) is not None:
                if not await self._respond(*request, writer):
                    break
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or `die` ends us: nobody else holds this task
        finally:
            del self._open[writer]
            writer.close()

    async def _respond(self, method: str, body: Mapping[str, Any], writer: asyncio.StreamWriter) -> bool:
        """False when the connection is over."""
        if method == "GET":
            await _send(writer, {"status": "healthy", "data": []})
            return True
        prompt = str(body["messages"][-1]["content"])
        self.asked.append(prompt)
        text = await self._answer(prompt)
        if text is None:
            await self.die()
            return False
        await _send(writer, _completion(str(body.get("model", "")), text))
        return True


def _completion(model: str, text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60}
    return {"id": "demo", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


async def _request(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, Any]] | None:
    """(method, body); None when the connection ended."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1") if not reader.at_eof() else ""
    if not head:
        return None
    first, *lines = head.split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(min(int(headers.get("content-length") or 0), BODY_BYTES))
    return first.split(" ")[0], json.loads(body) if body else {}


async def _send(writer: asyncio.StreamWriter, document: Mapping[str, Any]) -> None:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
