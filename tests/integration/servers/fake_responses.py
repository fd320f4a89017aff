"""A loopback API of the Responses kind that plays a script, for the real `codex`: each request takes the next `Turn`."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

from servers.fake_anthropic import FakeAnthropic, Json, Turn


class FakeResponses(FakeAnthropic):
    """As FakeAnthropic; `Turn.tool` is a function of codex (`exec_command`)."""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(super()._handler()):  # type: ignore[misc]
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
                if self.path != "/v1/responses":
                    self.do_GET()
                    return
                turn = api.next_turn(body)
                if turn.hold:
                    api.hold(self)
                elif turn.status != 200:
                    self._json(turn.status, {"error": {"message": turn.message, "type": "as_scripted"}}, turn.headers)
                else:
                    self._send(200, "text/event-stream", _stream(turn, len(api.asked)), turn.headers)

        return Handler


def _stream(turn: Turn, number: int) -> bytes:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": None,
        "output_tokens": 5,
        "output_tokens_details": None,
        "total_tokens": 15,
    }
    response = {"id": f"resp_{number}"}
    events = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.done", "item": _item(turn, number)},
        {"type": "response.completed", "response": response | {"usage": usage}},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def _item(turn: Turn, number: int) -> Json:
    if turn.tool:
        given = json.dumps(dict(turn.given))
        return {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": f"call_{number}",
            "name": turn.tool,
            "arguments": given,
        }
    said = [{"type": "output_text", "text": turn.text}]
    return {"type": "message", "role": "assistant", "id": f"msg_{number}", "content": said}
