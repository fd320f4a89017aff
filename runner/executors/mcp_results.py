"""What an MCP server said, as a CallResult: results, refusals, faults.

Pure, and loads nothing heavy. Not here: sessions (`mcp_session`), and whether a call can be made at all (`mcp_arguments`)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.executors.mcp_parts import parts_of
from runner.executors.mcp_process import clean
from runner.ports import CallResult
from runner.redact import shortened

if TYPE_CHECKING:
    from mcp.types import CallToolResult

OUTPUT_BYTES = 64 * 1024 * 1024
MESSAGE_CHARS = 4000
UNREADABLE = -31_999
"""Error code with which our transport answers a request whose reply cannot be read. Outside of what JSON-RPC reserves."""
_MALFORMED = (-32_700, -32_600, -32_601, -32_602)
"""Parse error, invalid request, unknown method, invalid params: the call itself is wrong."""


Masked = Callable[[str], str]
"""A text -> the text without secrets."""


def shown(text: str, limit: int = MESSAGE_CHARS, masked: Masked = str) -> str:
    """`text` fit for a message: nothing that a terminal obeys, masked before it is cut to a bound, the cut marked."""
    return shortened(clean(text).strip(), limit, masked)


def with_tail(message: str, tail: str) -> str:
    """`message`, and what the server last said on stderr."""
    return f"{message}; its last output:\n{tail}" if tail else message


# ---------------------------------------------------------------- answers

NOBODY = "nobody is there to answer during a call"
INSTEAD: Mapping[str, str] = {
    "elicitation/create": "Give it what it asks for in `with`, or put an `approve` step before it where a person must decide",
    "sampling/createMessage": "Ask a model in a `model` step, and give it the answer in `with`",
    "roots/list": "Name its folders in its entry of mcp_servers (args, env or cwd)",
}
"""What a server may want of us while it is called, and what an author does instead."""


def wanted(method: str, params: Mapping[str, Any] | None, masked: Masked = str) -> str:
    """What a server asks us for, in a few words."""
    question = (params or {}).get("message")
    return f'{method} "{shown(question, 120, masked)}"' if isinstance(question, str) else method


def from_tool(
    result: CallToolResult, asked: Sequence[str], output_bytes: int = OUTPUT_BYTES, masked: Masked = str
) -> CallResult:
    """The answer to tools/call. `asked`: what the server wanted of us meanwhile and was refused (for the message of a failure).

    Output: structured content; else, when there are parts that are not text, all parts in their order (see `parts_of`); else the text.
    `text` is always the text parts, joined by newlines; None when there are parts and none is text."""
    texts = [block.text for block in result.content if block.type == "text"]
    text = "\n".join(texts) if texts or not result.content else None
    if result.is_error:
        return _refused(result, text or "", asked, masked)
    if not _finite(result.structured_content):
        return failed("bad_output", "the structured content has a number that JSON cannot hold")
    if result.structured_content is not None:
        return CallResult(
            output=result.structured_content,
            text=text if texts else None,
            structured=True,
        )
    if len(texts) == len(result.content):
        return CallResult(output=text, text=text)
    return CallResult(output=parts_of(result.content, output_bytes), text=text, structured=text is None)


def _finite(value: Any) -> bool:
    """False when there is an infinite number in it (`1e999`): nothing downstream could store that."""
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _refused(result: CallToolResult, text: str, asked: Sequence[str], masked: Masked) -> CallResult:
    said = text or (
        json.dumps(result.structured_content) if result.structured_content is not None else "the tool gave no reason"
    )
    note = f" (it asked for {_told(asked)})" if asked else ""
    return CallResult(
        output=result.structured_content,
        text=text,
        structured=result.structured_content is not None,
        error_class="tool_error",
        message=shown(said, masked=masked) + note,
    )


def _told(asked: Sequence[str]) -> str:
    instead = dict.fromkeys(INSTEAD.get(one.partition(" ")[0], "") for one in asked)
    advice = "".join(f". {text}" for text in instead if text)
    return f"{', '.join(dict.fromkeys(asked))}, which is refused: {NOBODY}{advice}"


def from_error(server: str, code: int, message: str, masked: Masked = str) -> CallResult:
    """An error answer of the protocol: known, so nothing is in doubt."""
    if code == UNREADABLE:
        return failed("bad_output", f"{server}: {message}")
    said = shown(message, masked=masked) or "no message"
    return failed(
        "invalid" if code in _MALFORMED else "tool_error",
        f"{server}: {said} (MCP error {code})",
        status=code,
    )


def failed(
    error_class: str,
    message: str,
    *,
    maybe: bool = False,
    status: int | None = None,
    retry_after_ms: int | None = None,
) -> CallResult:
    """A failure; `maybe` = the world may have changed."""
    return CallResult(
        error_class=error_class,
        message=message,
        effect="maybe" if maybe else "none",
        status=status,
        retry_after_ms=retry_after_ms,
    )
