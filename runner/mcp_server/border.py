"""The border of every call, where errors become answers: a defect in a tool is an error of that call, and the server goes on."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from runner.bridges.stdio import Call, Fault, Json
from runner.errors import InvalidInput, RunnerError
from runner.manifest.vocabulary import McpTool
from runner.mcp_server.arguments import check
from runner.mcp_server.catalog import TOOLS, Tool
from runner.mcp_server.desk import Desk, Reply
from runner.mcp_server.harmless import clean, visible
from runner.mcp_server.policy import refusal
from runner.reporters.words import one_line

if TYPE_CHECKING:
    from runner.diagnostics.model import Diagnostic
    from runner.mcp_server.drive import Drive

MOST_DIAGNOSTICS = 30


def answer(desk: Desk, name: str, given: Mapping[str, Any], call: Call, tools: Mapping[McpTool, Tool] = TOOLS) -> Json:
    """The result of tools/call: what the tool gives, or what is wrong. Raises Fault for a tool that there never was."""
    if name not in tools:
        raise Fault(-32602, f"unknown tool {name!r}; there are {', '.join(tools)}")
    known = cast(McpTool, name)
    if (why := refusal(desk.settings.config.policy.mcp, known)) is not None:
        return _failed(desk, why)
    tool = tools[known]
    try:
        check(name, tool.takes, tool.needs, given)
        module, _, function = tool.where.partition(":")
        reply = getattr(import_module(module), function)(desk, given, call)
        return _result(desk, reply)
    except RunnerError as error:
        return _failed(desk, _told(error))
    except Exception as error:  # noqa: BLE001  the border of one call: other calls and runs go on
        _cry(desk, "".join(traceback.format_exception(error)))
        return _failed(
            desk,
            f"internal error: {type(error).__name__}. This is a defect of runner, not of your manifest; its stderr says more. The state "
            "is safe.",
        )


def unheard(desk: Desk, drive: Drive) -> None:
    """Waits for the end of what nobody waits for: when that breaks, stderr says so."""
    try:
        drive.result()
    except RunnerError as error:
        _cry(desk, f"error: {one_line(error.message, 1000)}\n")
    except Exception as error:  # noqa: BLE001  the border of one drive
        _cry(desk, "".join(traceback.format_exception(error)))


def _cry(desk: Desk, text: str) -> None:
    sys.stderr.write(desk.redactor.text(text))


def _result(desk: Desk, reply: Reply) -> Json:
    data = clean(reply.data, desk.redactor)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False) if not reply.text else clean(reply.text, desk.redactor)
    return {
        "content": [{"type": "text", "text": text}],
        "structuredContent": data,
        "isError": reply.is_error,
    }


def _failed(desk: Desk, text: str) -> Json:
    return {"content": [{"type": "text", "text": visible(clean(text, desk.redactor))}], "isError": True}


def _told(error: RunnerError) -> str:
    lines = [error.message]
    if isinstance(error, InvalidInput):
        found = [one for one in error.diagnostics if one.severity == "error"]
        lines += [f"- {_line(one)}" for one in found[:MOST_DIAGNOSTICS]]
        lines += [f"- … and {len(found) - MOST_DIAGNOSTICS} more"] if len(found) > MOST_DIAGNOSTICS else []
    return "\n".join([*lines, *([f"help: {error.hint}"] if error.hint else [])])


def _line(one: Diagnostic) -> str:
    place = f"{one.file}:{one.span.line}:{one.span.column}" if one.span else one.file
    return f"{place}: {one.rule}: {one.message}" + (f" ({one.fix})" if one.fix else "")
