"""JSON-RPC messages from the bytes that a server sent, and what to do about those that are too long to be read.

Imports `mcp`: load it on use only. Not here: where the bytes come from (`mcp_stdio`, `mcp_http`)."""

from __future__ import annotations

import re

from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter
from pydantic_core import from_json

from runner.executors.mcp_process import Overlong
from runner.executors.mcp_results import UNREADABLE

_HEAD_ID = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d+)\s*[,}]')
_TAIL_ID = re.compile(rb'"id"\s*:\s*(\d+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


def read_message(line: bytearray) -> JSONRPCMessage | None:
    """The message in a line; None when there is none. A byte that is not UTF-8 costs a character, not the message."""
    try:
        value = _json(line)
        # Parsed first and validated then: validating JSON directly takes three times the memory for a large line.
        return jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValueError:
        return None


def _json(line: bytearray) -> object:
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError:
        text = line.decode(errors="replace")
        if "\ufffd" not in text:
            raise
    return from_json(text, allow_inf_nan=False)


def request_of(head: bytes, tail: bytes) -> int | None:
    """The id of a message, from its first or last bytes alone."""
    found = _HEAD_ID.match(head) or _TAIL_ID.search(tail)
    return int(found[1]) if found is not None else None


def unreadable(request: str | int, why: str) -> JSONRPCError:
    """The answer in place of one that cannot be read."""
    return JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=UNREADABLE, message=why))


def over_cap(cap: int) -> str:
    """Why an answer over the cap was not read."""
    return f"the answer is longer than {cap} bytes"


class Overruns:
    """Whose the messages over the cap are, on a stream that carries the answers to all of `pending`."""

    def __init__(self, pending: set[str | int]) -> None:
        self._pending = pending
        self._settled = False
        """The message that is being thrown away has had its answer."""

    def owner(self, message: Overlong) -> tuple[str | int | None, bool]:
        """The request that `message` answers, None when that is not known (yet) or nobody waits; and whether a call would now wait
        for ever. Whose it is stands at either end of it; or there is only one request."""
        if message.tail is not None and self._settled:
            return None, False
        found: str | int | None = request_of(message.head, message.tail or b"")
        if found is None and message.tail is None and len(self._pending) == 1:
            found = next(iter(self._pending))
        self._settled = message.tail is None and found is not None
        lost = found is None and message.tail is not None and bool(self._pending)
        return (found if found in self._pending else None), lost
