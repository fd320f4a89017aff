"""The HTTP surface of an OpenClaw gateway and of the Worker in front of one, played by a script; answers as measured with 2026.9.6.

Each POST to /v1/chat/completions takes the next `Reply` of the script, each GET of /api/status the next of `states`; the last ones
repeat. `asked` holds the requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
LOADING = "<!doctype html><title>Loading…</title>"


@dataclass(frozen=True, slots=True)
class Reply:
    """`said`: pieces of a streamed answer. `error`: an event in the stream. `hold`: no end until the client hangs up, or, with
    `broken`, an end in the middle. `body`: instead, an answer of its own (an object = JSON, a text = HTML) with `status`."""

    said: Sequence[str] = ()
    error: Json | None = None
    hold: bool = False
    broken: bool = False
    body: Json | str | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Json


class FakeOpenClaw:
    """`with FakeOpenClaw([Reply(...)]) as gateway:` serves at `gateway.url`."""

    def __init__(self, script: Sequence[Reply], states: Sequence[Reply] = ()) -> None:
        self.script, self.states = tuple(script), tuple(states)
        self.asked: list[Asked] = []
        self.gone = threading.Event()
        """The client of a reply that holds has hung up."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeOpenClaw:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, asked: Asked) -> Reply:
        replies = self.script if asked.method == "POST" else self.states
        with self._lock:
            self.asked.append(asked)
            number = sum(1 for one in self.asked if one.method == asked.method)
            return replies[min(number, len(replies)) - 1]

    def _handler(gateway) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return None

            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _answer(self, body: Json) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                reply = gateway._next(Asked(self.command, self.path, headers, body))
                if reply.body is None:
                    self._stream(reply)
                elif isinstance(reply.body, str):
                    self._send(reply, "text/html", reply.body.encode())
                else:
                    self._send(reply, "application/json; charset=utf-8", json.dumps(reply.body).encode())

            def _send(self, reply: Reply, kind: str, body: bytes) -> None:
                self.send_response(reply.status)
                for name, value in {"content-type": kind, "content-length": str(len(body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def _stream(self, reply: Reply) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream; charset=utf-8")
                self.end_headers()
                self._event({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
                for piece in reply.said:
                    self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
                if reply.hold:
                    self.connection.recv(1)  # nothing comes: until the client hangs up
                    gateway.gone.set()
                elif not reply.broken:
                    self._end(reply)

            def _end(self, reply: Reply) -> None:
                if reply.error is not None:
                    self._event({"error": reply.error})
                else:
                    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
                    self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                    self._event({"choices": [], "usage": usage})
                self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, body: Json) -> None:
                self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
                self.wfile.flush()

        return Handler
