"""The part of MCP that our bundled servers need, over stdio: initialize, ping, tools/list, tools/call, cancel and progress.

Written out because it starts in 40 ms where importing the SDK's server takes 800 (docs/decisions/0006). A server is a value of
descriptions and one function. Not here: what the tools do."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, BinaryIO

from runner.endings import endings

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
LINE_BYTES = 16 * 1024 * 1024
IN_FLIGHT = 32
"""Calls at once of a server that answers in parallel; one more is refused."""
KEY_IN_META = "ares/idempotency-key"
SESSION_IN_META = "ares/session"
"""In `_meta` of a progress notification: the conversation that this call is in."""

Json = dict[str, Any]


class Fault(Exception):
    """An error answer of the protocol."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Call:
    """One tools/call as its tool sees it. Thread-safe."""

    def __init__(self, meta: Mapping[str, Any], send: Callable[[Json], None], client: str = "") -> None:
        key = meta.get(KEY_IN_META)
        self.key = key if isinstance(key, str) else None
        """The idempotency key that the client gave in `_meta`."""
        self.client = client
        """What the client calls itself; "" = it did not say."""
        self.cancelled = False
        self._token, self._send = meta.get("progressToken"), send
        self._told = 0
        self._stops: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def progress(self, message: str, *, session: str | None = None) -> None:
        """Tell the client that it goes on; each counts one. Nothing is sent to a client that did not ask for it."""
        if self._token is None:
            return
        with self._lock:
            self._told += 1
            params: Json = {"progressToken": self._token, "progress": self._told, "message": message}
        if session is not None:
            params["_meta"] = {SESSION_IN_META: session}
        self._send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Call `stop()` (from another thread) when the call is cancelled; now, when it is already."""
        with self._lock:
            self._stops.append(stop)
            now = self.cancelled
        if now:
            stop()

    def cancel(self) -> None:
        with self._lock:
            stops, self.cancelled = ([] if self.cancelled else list(self._stops)), True
        for stop in stops:
            stop()


@dataclass(frozen=True, slots=True)
class Server:
    """`call(tool, arguments, call)` gives the result of tools/call. It may raise Fault; nothing else.

    `parallel`: each call has a thread of its own; else one after the other in the main thread. `instructions`: for the model that
    has the tools."""

    name: str
    descriptions: Sequence[Json] | Callable[[], Sequence[Json]]
    call: Callable[[str, Mapping[str, Any], Call], Json]
    parallel: bool = False
    version: str = "1"
    instructions: str = ""


class Peer:
    """The client at the other end."""

    def __init__(self, server: Server, sink: BinaryIO) -> None:
        self._server, self._sink, self._client = server, sink, ""
        self._calls: dict[str | int, tuple[Call, threading.Thread | None]] = {}
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # of its own: a client that reads slowly must not hold up its own cancel

    def take(self, line: bytes) -> None:
        """Do what one line asks for."""
        request: str | int | None = None
        try:
            message = _parse(line)
            method, params = message.get("method"), message.get("params") or {}
            request = _id(message)
            if not isinstance(method, str):
                return  # an answer to something that we did not ask
            if not isinstance(params, dict):
                raise Fault(-32602, "`params` must be an object")
            if request is None:
                self._notified(method, params)
            elif method == "tools/call":
                self._call(request, params)
            else:
                if method == "initialize":
                    self._client = _client(params)
                self.send({"jsonrpc": "2.0", "id": request, "result": answer(self._server, method, params)})
        except Fault as fault:
            if request is not None or fault.code in (-32700, -32600):
                self.send(_refusal(request, fault))

    def end(self) -> None:
        """Cancel what runs and wait for it."""
        with self._lock:
            calls = list(self._calls.values())
        for call, _ in calls:
            call.cancel()
        for _, thread in calls:
            if thread is not None:
                thread.join()

    def send(self, message: Json) -> None:
        line = written(message)
        with self._writing:
            try:
                self._sink.write(line)
                self._sink.flush()
            except (BrokenPipeError, ValueError):  # nobody reads any more: the end of stdin will tell us, too
                return

    def _notified(self, method: str, params: Mapping[str, Any]) -> None:
        if method != "notifications/cancelled":
            return
        wanted = params.get("requestId")
        with self._lock:
            found = self._calls.get(wanted) if isinstance(wanted, str | int) else None
        if found is not None:
            found[0].cancel()

    def _call(self, request: str | int, params: Mapping[str, Any]) -> None:
        name, given = params.get("name"), params.get("arguments") or {}
        if not isinstance(name, str) or not isinstance(given, dict):
            raise Fault(-32602, "tools/call needs a `name` and an object of `arguments`")
        meta = params.get("_meta")
        call = Call(meta if isinstance(meta, dict) else {}, self.send, self._client)
        if not self._server.parallel:
            self._answer(request, name, given, call)
            return
        thread = threading.Thread(target=self._answer, args=(request, name, given, call))
        with self._lock:
            if len(self._calls) >= IN_FLIGHT:
                raise Fault(-32603, f"{IN_FLIGHT} calls are in flight: one more is too many")
            self._calls[request] = call, thread
            thread.start()

    def _answer(self, request: str | int, name: str, given: Mapping[str, Any], call: Call) -> None:
        reply = _refusal(request, Fault(-32603, "the server failed; its stderr says how"))
        try:
            reply = {"jsonrpc": "2.0", "id": request, "result": self._server.call(name, given, call)}
        except Fault as fault:
            reply = _refusal(request, fault)
        finally:  # also after a mistake of ours: a call without an answer would wait for ever
            with self._lock:
                self._calls.pop(request, None)
            if not call.cancelled:  # the protocol wants no answer to what was cancelled
                self.send(reply)


def answer(server: Server, method: str, params: Mapping[str, Any]) -> Json:
    """The result of a request other than tools/call. Raises Fault."""
    if method == "initialize":
        wanted = params.get("protocolVersion")
        said = {
            "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": {"name": server.name, "version": server.version},
        }
        return said | ({"instructions": server.instructions} if server.instructions else {})
    if method == "ping":
        return {}
    if method == "tools/list":
        tools = server.descriptions
        return {"tools": list(tools() if callable(tools) else tools)}
    raise Fault(-32601, f"unknown method {method}")


def _client(params: Mapping[str, Any]) -> str:
    """The name that a client gives itself."""
    info = params.get("clientInfo")
    name = info.get("name") if isinstance(info, dict) else None
    return name if isinstance(name, str) else ""


def _refusal(request: str | int | None, fault: Fault) -> Json:
    return {"jsonrpc": "2.0", "id": request, "error": {"code": fault.code, "message": fault.message}}


def _parse(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Fault(-32700, "this is not JSON") from error
    if not isinstance(message, dict):
        raise Fault(-32600, "a message must be an object")
    return message


def written(message: Json) -> bytes:
    """The line of a message, with a question mark for each half of a surrogate pair (a file's name may hold one): no client could read
    a line with one in it."""
    line = json.dumps(message, ensure_ascii=True).encode()
    if b"\\ud" in line:  # or of a whole pair
        whole = json.loads(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))
        line = json.dumps(whole, ensure_ascii=True).encode()
    return line + b"\n"


def _id(message: Json) -> str | int | None:
    """Anything else is not worth an echo: what is nested just as deep as JSON may be cannot be written again."""
    found = message.get("id")
    if found is not None and not isinstance(found, str | int):
        raise Fault(-32600, "`id` must be text or a whole number")
    return found


def lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines of `source`; one that is too long comes as a text that is no JSON."""
    while line := source.readline(LINE_BYTES):
        if line.endswith(b"\n") or len(line) < LINE_BYTES:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = source.readline(LINE_BYTES)
        yield b"too long"


def serve(server: Server, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer until `source` ends; what then still runs is cancelled and waited for."""
    peer = Peer(server, sink)
    try:
        for line in lines(source):
            if line.strip():
                peer.take(line)
    finally:
        peer.end()


def serve_stdio(server: Server) -> None:
    """`serve` on our stdin and stdout; SIGTERM and a hang-up end it in the same orderly way."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in asked:  # once is enough: the second must not cut the clearing up short
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    asked = [number for number in endings() if number != signal.SIGINT]
    for number in asked:
        signal.signal(number, end)
    serve(server, sys.stdin.buffer, sys.stdout.buffer)


def described(name: str, says: str, takes: Json, gives: Json, needs: Sequence[str], hints: Mapping[str, bool]) -> Json:
    """One entry of tools/list. `takes` and `gives`: {property: schema}; all that is given is required of the result."""
    return {
        "name": name,
        "description": says,
        "inputSchema": shape(takes, needs),
        "outputSchema": shape(gives, list(gives)),
        "annotations": dict(hints),
    }


def shape(properties: Json, required: Sequence[str]) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def failed(message: str) -> Json:
    """A tools/call result for what cannot be done."""
    return {"content": [{"type": "text", "text": message}], "isError": True}
