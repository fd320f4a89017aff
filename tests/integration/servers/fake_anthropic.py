"""A loopback Anthropic API that plays a script, for the real `claude` and anything else that speaks Messages.

Each request that offers tools is one turn of the agent and takes the next `Turn` of the script; the last one repeats. Requests
without tools (titles, summaries) get a word. Not here: any judgement about what was asked; `asked` holds it for the test."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
_KINDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model does: says `text`, uses `tool` with `given`, fails with `status`, or `hold`s its tongue until the end."""

    text: str = ""
    tool: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    message: str = "as scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: bool = False
    stop: str = ""
    """Why it stops, when not because it is done or wants to use the tool."""


class FakeAnthropic:
    """`with FakeAnthropic([Turn(...)]) as api:` serves at `api.url`; `api.asked` = the bodies of the agent's turns so far."""

    def __init__(self, script: Sequence[Turn]) -> None:
        self.script = tuple(script)
        self.asked: list[Json] = []
        self.reached = threading.Event()
        """A turn that holds was reached."""
        self.gone = threading.Event()
        """The client of a turn that holds has hung up."""
        self._end = threading.Event()
        self._turn = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeAnthropic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_turn(self, body: Json) -> Turn:
        if not body.get("tools"):
            return Turn(text="word")
        with self._turn:
            self.asked.append(body)
            return self.script[min(len(self.asked), len(self.script)) - 1]

    def hold(self, handler: BaseHTTPRequestHandler) -> None:
        self.reached.set()
        handler.connection.settimeout(0.05)
        while not self._end.is_set():
            try:
                if not handler.connection.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.gone.set()
        handler.close_connection = True

    def _handler(api) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return None

            def do_GET(self) -> None:
                self._json(404, {"type": "error", "error": {"type": "not_found_error", "message": "no such page"}})

            do_HEAD = do_GET

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
                path = self.path.partition("?")[0]
                if path == "/v1/messages/count_tokens":
                    self._json(200, {"input_tokens": 10})
                elif path != "/v1/messages":
                    self.do_GET()
                else:
                    self._play(api.next_turn(body), body)

            def _play(self, turn: Turn, body: Json) -> None:
                if turn.hold:
                    api.hold(self)
                elif turn.status != 200:
                    error = {"type": _KINDS.get(turn.status, "overloaded_error"), "message": turn.message}
                    self._json(turn.status, {"type": "error", "error": error}, turn.headers)
                elif body.get("stream"):
                    self._send(200, "text/event-stream", _stream(turn, body), turn.headers)
                else:
                    message = _message(turn, body) | {"content": [_block(turn)], "stop_reason": _stop(turn)}
                    self._json(200, message, turn.headers)

            def _json(self, status: int, body: Json, headers: Mapping[str, str] | None = None) -> None:
                self._send(status, "application/json", json.dumps(body).encode(), headers or {})

            def _send(self, status: int, kind: str, body: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        return Handler


def _message(turn: Turn, body: Json) -> Json:
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _stop(turn: Turn) -> str:
    return turn.stop or ("tool_use" if turn.tool else "end_turn")


def _block(turn: Turn) -> Json:
    if turn.tool:
        return {"type": "tool_use", "id": f"toolu_{id(turn)}", "name": turn.tool, "input": dict(turn.given)}
    return {"type": "text", "text": turn.text}


def _stream(turn: Turn, body: Json) -> bytes:
    block = _block(turn)
    if turn.tool:
        start, delta = (
            {**block, "input": {}},
            {"type": "input_json_delta", "partial_json": json.dumps(dict(turn.given))},
        )
    else:
        start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": turn.text}
    events = [
        ("message_start", {"message": _message(turn, body)}),
        ("content_block_start", {"index": 0, "content_block": start}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        (
            "message_delta",
            {"delta": {"stop_reason": _stop(turn), "stop_sequence": None}, "usage": {"output_tokens": 5}},
        ),
        ("message_stop", {}),
    ]
    return "".join(f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n" for name, data in events).encode()
