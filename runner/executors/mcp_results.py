"""What an MCP server said, as a CallResult: results, refusals, faults, and arguments that cannot be right.

Pure, and loads nothing heavy: `jsonschema` is imported when the first argument is checked. Not here: sessions (`mcp_session`)."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.executors.mcp_parts import parts_of
from runner.executors.mcp_process import clean
from runner.patterns import SECONDS, TooSlow, bounded, patience
from runner.ports import CallResult, ToolInfo

if TYPE_CHECKING:
    from mcp.types import CallToolResult

OUTPUT_BYTES = 64 * 1024 * 1024
MESSAGE_CHARS = 4000
SHOWN_SCHEMA_CHARS = 200
UNREADABLE = -31_999
"""Error code with which our transport answers a request whose reply cannot be read. Outside of what JSON-RPC reserves."""
_MALFORMED = (-32_700, -32_600, -32_601, -32_602)
"""Parse error, invalid request, unknown method, invalid params: the call itself is wrong."""

Check = Callable[[Mapping[str, Any]], str]
"""Arguments -> what is wrong with them, or ""."""


def shown(text: str, limit: int = MESSAGE_CHARS) -> str:
    """`text` fit for a message: nothing that a terminal obeys, a bound, the cut marked."""
    text = clean(text).strip()
    return text if len(text) <= limit else f"{text[:limit]}… [cut: {len(text)} characters]"


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


def wanted(method: str, params: Mapping[str, Any] | None) -> str:
    """What a server asks us for, in a few words."""
    question = (params or {}).get("message")
    return f'{method} "{shown(question, 120)}"' if isinstance(question, str) else method


def from_tool(result: CallToolResult, asked: Sequence[str], output_bytes: int = OUTPUT_BYTES) -> CallResult:
    """The answer to tools/call. `asked`: what the server wanted of us meanwhile and was refused (for the message of a failure).

    Output: structured content; else, when there are parts that are not text, all parts in their order (see `parts_of`); else the text.
    `text` is always the text parts, joined by newlines; None when there are parts and none is text."""
    texts = [block.text for block in result.content if block.type == "text"]
    text = "\n".join(texts) if texts or not result.content else None
    if result.is_error:
        return _refused(result, text or "", asked)
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


def _refused(result: CallToolResult, text: str, asked: Sequence[str]) -> CallResult:
    said = text or (
        json.dumps(result.structured_content) if result.structured_content is not None else "the tool gave no reason"
    )
    note = f" (it asked for {_told(asked)})" if asked else ""
    return CallResult(
        output=result.structured_content,
        text=text,
        structured=result.structured_content is not None,
        error_class="tool_error",
        message=shown(said) + note,
    )


def _told(asked: Sequence[str]) -> str:
    instead = dict.fromkeys(INSTEAD.get(one.partition(" ")[0], "") for one in asked)
    advice = "".join(f". {text}" for text in instead if text)
    return f"{', '.join(dict.fromkeys(asked))}, which is refused: {NOBODY}{advice}"


def from_error(server: str, code: int, message: str) -> CallResult:
    """An error answer of the protocol: known, so nothing is in doubt."""
    if code == UNREADABLE:
        return failed("bad_output", f"{server}: {message}")
    said = shown(message) or "no message"
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


# ---------------------------------------------------------------- arguments


def unknown_tool(server: str, name: str, tools: Iterable[str]) -> str:
    """Why `server.name` cannot be called, with the nearest name there is."""
    have = sorted(tools)
    near = difflib.get_close_matches(name, have, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(have)}" if have else "it has none"
    return f"{server} has no tool `{name}`: {hint}"


def compile_check(tool: ToolInfo) -> Check:
    """A check of arguments against the tool's input schema. A schema that is broken, refers outside itself, or takes too long, checks
    nothing: the server has the last word. Messages show the schema's side only: an argument may hold a secret."""
    from jsonschema import Draft202012Validator, SchemaError
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = dict(tool.input_schema)
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError:
        return lambda arguments: ""
    validator = bounded(kind)(schema, registry=Registry())  # an empty registry: no `$ref` may open a socket

    def check(arguments: Mapping[str, Any]) -> str:
        try:
            with patience(SECONDS):
                error = best_match(validator.iter_errors(dict(arguments)))
        except (Unresolvable, RecursionError, TooSlow):
            return ""
        if error is None:
            return ""
        return f"{tool.name}: {_explain(error.validator, error.validator_value, error.instance, list(error.absolute_path), schema)}"

    return check


def _explain(
    rule: Any,
    wanted: Any,
    found: Any,
    path: Sequence[str | int],
    schema: Mapping[str, Any],
) -> str:
    where = "arguments" if not path else f"argument `{'.'.join(map(str, path))}`"
    if rule == "type":
        return f"{where} must be {_either(wanted)}, not {_kind(found)}"
    if rule == "required":
        missing = [name for name in wanted if name not in found]
        under = f" in {where}" if path else ""
        return f"missing argument{'s' if len(missing) > 1 else ''} {_names(missing)}{under}"
    if rule == "additionalProperties" and wanted is False and not path:
        return _unknown_arguments(found, schema.get("properties", {}))
    limit = shown(json.dumps(wanted, ensure_ascii=False), SHOWN_SCHEMA_CHARS)
    return f"{where} must be one of {limit}" if rule == "enum" else f"{where} does not satisfy {rule}: {limit}"


def _unknown_arguments(found: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    extra = [name for name in found if name not in known]
    near = difflib.get_close_matches(extra[0], list(known), n=1) if extra else []
    hint = f": did you mean `{near[0]}`?" if near else f": it takes {_names(known)}" if known else ": it takes none"
    return f"unknown argument{'s' if len(extra) > 1 else ''} {_names(extra)}{hint}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _either(wanted: Any) -> str:
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def _kind(value: Any) -> str:
    kinds = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
    }
    return "null" if value is None else kinds.get(type(value), type(value).__name__)
