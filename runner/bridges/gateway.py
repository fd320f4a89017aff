"""One task through the HTTP gateway of OpenClaw: chat completions, streamed, in a session of ours; and the cold start of Moltworker.

`http.client` and a thread a task: no library to load, and closing the socket is how the gateway learns that a run is cancelled.
Redirects are answers here, never followed: the one that Cloudflare Access sends leads to a login page. Not here: what an answer
means for the contract beyond its HTTP status (`task`)."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from runner.bridges.quoting import first
from runner.bridges.stdio import Call, Json
from runner.bridges.task import Answer, Problem, Task

CONNECT_S = 15.0
SILENCE_S = 3600.0
"""No socket waits longer for the next byte, whatever the task's own time is."""
BODY_BYTES = 32 * 1024 * 1024
_SAID_CHARS = 500
_STATUSES = {
    400: "invalid",
    401: "auth",
    402: "quota",
    403: "auth",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limit",
}
_TYPES = {
    "unauthorized": "auth",
    "forbidden": "auth",
    "authentication_error": "auth",
    "rate_limit_error": "rate_limit",
    "insufficient_quota": "quota",
    "billing_error": "quota",
    "invalid_request_error": "invalid",
    "overloaded_error": "unavailable",
    "timeout": "timeout",
    "timeout_error": "timeout",
}
"""`error.type` of a JSON error: says more than the HTTP status, and is all there is in a stream that has begun. OpenClaw's own
failures all have `api_error`: their words must do."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_HTTP = re.compile(r"\bHTTP (\d{3})\b|^(\d{3})[: ]")
_COOLS = re.compile(r"temporarily disabled after a provider auth/billing failure.*?(\d+) minute", re.DOTALL)
"""For a minute after a provider refused a key, OpenClaw does not use it."""
_WORDS = (
    (r"(?i)context (window|length)|prompt is too long|too many tokens", "context_overflow"),
    (r"(?i)authentication|unauthorized|no api key|missing api key|no credentials|not logged in", "auth"),
    (r"(?i)rate.?limit|too many requests", "rate_limit"),
    (r"(?i)billing|quota|insufficient (credits|balance|funds)", "quota"),
    (r"(?i)overloaded|unavailable|ECONNREFUSED|ENOTFOUND|connection (error|refused)|network", "unavailable"),
    (r"(?i)timed? ?out", "timeout"),
)


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the gateway is. `probe`: path that tells when a sleeping one has started; `start_s`: how long that may take, and a
    connection at most."""

    url: str
    token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    agent: str = "openclaw/default"
    probe: str | None = None
    probe_every_s: float = 2.0
    start_s: float = 200.0


class Failed(Exception):
    """The task ends with this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Exchange:
    """One task: at most one connection at a time, which `stop` closes from any thread."""

    def __init__(self, gateway: Gateway, task: Task, call: Call) -> None:
        self._gateway, self._task, self._call = gateway, task, call
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.session = task.session or f"ares-{task.idempotency_key or uuid.uuid4()}"
        self.text = ""
        self.usage: dict[str, int] = {}
        self._begun: bool | None = False
        """False until the task was sent, and again when it was refused; then nobody knows."""

    def answer(self) -> Answer:
        """Do the task."""
        self._call.on_cancel(self.stop)
        timer = None
        if self._task.timeout_s is not None:
            timer = threading.Timer(min(self._task.timeout_s, threading.TIMEOUT_MAX), self.stop)
            timer.daemon = True
            timer.start()
        try:
            if self._gateway.probe is not None:
                self._wake(self._gateway.probe)
            self._call.progress(f"session: {self.session}", session=self.session)
            self._chat()
        except Failed as failed:
            return self._answer(failed.problem)
        except (OSError, http.client.HTTPException) as error:
            return self._answer(self._broken(error))
        finally:
            if timer is not None:
                timer.cancel()
        return self._answer(None)

    def get(self, path: str) -> tuple[int, Any]:
        """(status, body) of a page of the gateway; "" for one that is HTML. Raises Failed, OSError, HTTPException."""
        try:
            reply = self._request("GET", path, None, CONNECT_S)
            self._refuse_redirect(reply)
            return reply.status, "" if _is_html(reply) else _json(reply.read(BODY_BYTES))
        finally:
            self._hang_up()

    def stop(self) -> None:
        """Close the connection: the gateway then ends the run."""
        self._stopped.set()
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # it has just been closed by its other end
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _answer(self, problem: Problem | None) -> Answer:
        if self._call.cancelled:
            problem = Problem("cancelled", "the call was cancelled")
        elif problem is not None and self._stopped.is_set():
            problem = Problem("timeout", f"no result within {self._task.timeout_s:g} s")
        return Answer(
            text=self.text,
            session_id=self.session,
            turns=1 if problem is None else 0,
            usage=self.usage,
            problem=None if problem is None else replace(problem, begun=self._begun),
        )

    def _broken(self, error: Exception) -> Problem:
        where = self._gateway.url
        if isinstance(error, TimeoutError):
            return Problem("timeout", f"{where} is silent")
        if isinstance(error, ConnectionRefusedError | socket.gaierror | ssl.SSLError):
            return Problem("unavailable", f"cannot reach {where}: {error}")
        return Problem("crash" if self.text else "unavailable", f"the connection to {where} broke: {error!r}")

    # ------------------------------------------------------------ a sleeping gateway

    def _wake(self, path: str) -> None:
        """Until the probe says that the gateway is up. Asking is what starts it."""
        until = time.monotonic() + self._gateway.start_s
        while (state := self.probed(path)) != "running":
            if time.monotonic() > until:
                raise Failed(
                    Problem(
                        "unavailable", f"{self._gateway.url} did not start within {self._gateway.start_s:g} s ({state})"
                    )
                )
            self._call.progress(f"starting: {state}")
            if self._stopped.wait(self._gateway.probe_every_s):
                raise Failed(Problem("timeout", "it was still starting"))

    def probed(self, path: str) -> str:
        """`running`, or what there is instead. Raises Failed when it will never be."""
        try:
            reply = self._request("GET", path, None, CONNECT_S)
            if _is_html(reply):
                return "loading page"
            self._refuse_redirect(reply)
            body = _json(reply.read(BODY_BYTES))
        except (OSError, http.client.HTTPException) as error:
            return f"no answer ({error!r})"
        finally:
            self._hang_up()
        if reply.status in (401, 403):
            raise Failed(_problem(reply, body))
        if reply.status >= 400 or not isinstance(body, dict):
            return f"HTTP {reply.status}"
        if body.get("ok") is True:
            return "running"
        why = f": {body['error']}" if body.get("error") else ""
        return first(f"{body.get('status') or 'not ready'}{why}", _SAID_CHARS)

    # ------------------------------------------------------------ the run

    def _chat(self) -> None:
        try:
            reply = self._request("POST", "/v1/chat/completions", self._body(), SILENCE_S)
            if 300 <= reply.status < 500 and reply.status != 408:
                self._begun = False
            self._refuse_redirect(reply)
            if _is_html(reply):
                self._begun = False
                raise Failed(
                    Problem("unavailable", f"{self._gateway.url} shows a loading page: it is starting", reply.status)
                )
            if reply.status != 200:
                raise Failed(_problem(reply, _json(reply.read(BODY_BYTES))))
            if "text/event-stream" in (reply.getheader("content-type") or ""):
                self._stream(reply)
            else:
                self._whole(_json(reply.read(BODY_BYTES)))
        finally:
            self._hang_up()

    def _body(self) -> Json:
        return {
            "model": self._gateway.agent,
            "messages": [{"role": "user", "content": worded(self._task)}],
            "user": self.session,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _stream(self, reply: http.client.HTTPResponse) -> None:
        done, size = False, 0
        for data in _events(reply):
            size += len(data)
            if size > BODY_BYTES:
                raise Failed(Problem("bad_output", f"the answer is longer than {BODY_BYTES} bytes"))
            if data == b"[DONE]":
                done = True
                break
            chunk = _json(data)
            if not isinstance(chunk, dict):
                raise Failed(Problem("bad_output", "an event of the stream is not JSON"))
            self._chunk(chunk)
        if not done:
            raise Failed(Problem("crash", f"the stream of {self._gateway.url} ended in the middle"))

    def _chunk(self, chunk: Json) -> None:
        if chunk.get("error"):
            raise Failed(_said(chunk, None))
        self._take_usage(chunk)
        for choice in _choices(chunk):
            delta = choice.get("delta")
            said = delta.get("content") if isinstance(delta, dict) else None
            if isinstance(said, str) and said:
                self.text += said
                self._call.progress(f"{len(self.text)} characters")
            else:
                self._call.progress("works")

    def _whole(self, body: Any) -> None:
        """An answer that is not streamed, though it was asked for."""
        if not isinstance(body, dict) or not _choices(body):
            raise Failed(Problem("bad_output", "the answer is not a chat completion"))
        self._take_usage(body)
        message = _choices(body)[0].get("message")
        said = message.get("content") if isinstance(message, dict) else None
        self.text = said if isinstance(said, str) else ""

    def _take_usage(self, body: Json) -> None:
        raw = body.get("usage")
        if isinstance(raw, dict):
            names = {"in": "prompt_tokens", "out": "completion_tokens"}
            self.usage = {ours: raw[theirs] for ours, theirs in names.items() if isinstance(raw.get(theirs), int)}

    # ------------------------------------------------------------ HTTP

    def _request(self, method: str, path: str, body: Json | None, silence_s: float) -> http.client.HTTPResponse:
        """Send it and read the head of the answer. Raises OSError, HTTPException, and Failed when it is no longer wanted."""
        headers = self._headers(body is not None)
        parts = urlsplit(self._gateway.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=min(CONNECT_S, self._gateway.start_s))
        connection.connect()
        with self._lock:
            self._socket = connection.sock
        if self._stopped.is_set():
            raise Failed(Problem("timeout", "no time was left"))
        connection.sock.settimeout(silence_s)
        if body is not None:
            self._begun = None
        connection.request(method, parts.path.rstrip("/") + path, None if body is None else json.dumps(body), headers)
        return connection.getresponse()

    def _headers(self, is_task: bool) -> dict[str, str]:
        """Raises Failed for what no header can carry, without its value: that may be a secret, and `http.client` would show it."""
        gateway, task = self._gateway, self._task
        headers = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            **gateway.headers,
            **({"authorization": f"Bearer {gateway.token}"} if gateway.token else {}),
            **({"x-openclaw-model": task.model} if is_task and task.model else {}),
            **({"idempotency-key": task.idempotency_key} if is_task and task.idempotency_key else {}),
        }
        for name, value in headers.items():
            if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
                raise Failed(
                    Problem("invalid", f"no HTTP header can carry what `{name}` is to hold: a line break in it?")
                )
        return headers

    def _hang_up(self) -> None:
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the answer holds the socket open, too: closing it alone would hang nothing up
                    self._socket.shutdown(socket.SHUT_RDWR)
                self._socket.close()
                self._socket = None

    def _refuse_redirect(self, reply: http.client.HTTPResponse) -> None:
        if 300 <= reply.status < 400:
            where = urlsplit(reply.getheader("location") or "").hostname or "another page"
            hint = (
                "set CF-Access-Client-Id and CF-Access-Client-Secret"
                if "cloudflareaccess" in where
                else "check the URL"
            )
            raise Failed(Problem("auth", f"{self._gateway.url} redirects to {where}: {hint}", reply.status))


def worded(task: Task) -> str:
    """The prompt, with the schema of the answer in words: OpenClaw takes none."""
    if task.output_schema is None:
        return task.prompt
    wish = "Answer with JSON alone, without any other text, that fits this JSON Schema:"
    return f"{task.prompt}\n\n{wish}\n{json.dumps(task.output_schema)}"


def _events(reply: http.client.HTTPResponse) -> Iterator[bytes]:
    """The data of each event. OpenClaw writes one line an event."""
    while line := reply.readline(BODY_BYTES):
        if line.startswith(b"data:"):
            yield line[5:].strip()


def _is_html(reply: http.client.HTTPResponse) -> bool:
    return "text/html" in (reply.getheader("content-type") or "")


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode(errors="replace")


def _choices(body: Json) -> list[Json]:
    choices = body.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _problem(reply: http.client.HTTPResponse, body: Any) -> Problem:
    """What an HTTP error means."""
    after = reply.getheader("retry-after") or ""
    wait = float(after) if after.isdigit() else None
    if isinstance(body, dict):
        return _said(body, reply.status, wait)
    return Problem(
        _by_status(reply.status), f"HTTP {reply.status}: {first(str(body), _SAID_CHARS)}", reply.status, None, wait
    )


def _said(body: Json, status: int | None, retry_after_s: float | None = None) -> Problem:
    """What a JSON error says: OpenClaw's `{error: {message, type, code}}`, the Worker's `{error, details, hint}`."""
    error = body.get("error")
    fields = error if isinstance(error, dict) else {"message": error or body.get("message") or "no reason given"}
    said = first(str(fields.get("message")), _SAID_CHARS)
    kind = _TYPES.get(str(fields.get("type"))) or kind_of(said) or _by_status(status)
    if retry_after_s is None and (found := _COOLS.search(said)):
        kind, retry_after_s = "auth", 60.0 * int(found[1])
    head = f"HTTP {status}: " if status is not None else ""
    more = "".join(f"; {body[name]}" for name in ("details", "hint") if isinstance(body.get(name), str))
    return Problem(kind, f"{head}{said}{first(more, _SAID_CHARS)}", status, retry_after_s=retry_after_s)


def kind_of(said: str) -> str:
    """The kind of failure that the words of OpenClaw mean; "" when they do not say. They may hold the HTTP status of the provider."""
    found = _HTTP.search(said)
    status = int(found[1] or found[2]) if found else None
    if status in _STATUSES and status != 400:
        return _STATUSES[status]
    if status is not None and status >= 500:
        return "unavailable"
    return next((kind for words, kind in _WORDS if re.search(words, said)), "")


def _by_status(status: int | None) -> str:
    if status is None:
        return "unavailable"  # a run that broke off in the middle of a stream
    return _STATUSES.get(status) or ("unavailable" if status >= 500 or status == 404 else "invalid")
