"""`runner tools`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import settings_of
from runner.cli.output import Paint, columns, err, options, out, out_json, painter, safe
from runner.cli.shared import verb
from runner.reporters.words import one_line

if TYPE_CHECKING:
    from runner.api.inventory import Tool

EPILOG = """\b
Examples:
  runner tools workspace               the bundled server
  runner tools git --json | jq -r '.tools[].name'
  runner tools git --accept            what it says now is right: pin it in .ares/tools.lock

Starts the server (or connects to it), lists what it offers, and ends it. `effects` is what holds for a step that does not say it
itself: none is free to repeat, idempotent is repeated after an unknown outcome, once never silently.

\b
Exit codes: 0 ok, 1 no session opened, 2 no such server or the config has mistakes.
"""

_EFFECT_COLORS = {"none": "green", "idempotent": "cyan", "once": "yellow"}
WIDTH = 100


@verb(EPILOG)
@click.argument("server", metavar="SERVER")
@click.option("--accept", is_flag=True, help="Pin the tools as they are described now.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(server: str, accept: bool, json_: bool) -> int:
    """List the tools of an MCP server, with their arguments and what a crash may repeat."""
    from runner.api import inventory

    listing = asyncio.run(inventory.tools(settings_of(), os.environ, server, accept=accept))
    if json_:
        out_json({"version": 1, "server": server, "tools": [tool.to_json() for tool in listing.tools]})
    elif listing.tools:
        out("\n".join(_text(server, listing.tools, painter())))
    elif not options().get("quiet"):
        err(f"{safe(server)} offers no tools")
    for text in listing.warnings:
        err(f"warning: {safe(text)}\n  help: runner tools {safe(server)} --accept, when that is right")
    return 0


def _text(server: str, tools: Sequence[Tool], paint: Paint) -> Iterator[str]:
    for tool in tools:
        effects = paint(tool.effects, _EFFECT_COLORS[tool.effects])
        yield f"{paint(safe(f'{server}.{tool.info.name}'), 'bright_white')}  effects: {effects}{_hints(tool)}"
        if tool.info.description:
            yield f"  {one_line(tool.info.description, 4 * WIDTH)}"
        if tool.refusal:
            yield f"  {paint(safe(tool.refusal), 'red')}"
        yield from columns(arguments(tool.info.input_schema), indent="    ")


def _hints(tool: Tool) -> str:
    told = [word for word, holds in (("read only", tool.info.read_only), ("idempotent", tool.info.idempotent)) if holds]
    return f" ({', '.join(told)})" if told else " (it says nothing of what it does)"


def arguments(schema: Mapping[str, Any]) -> Iterator[list[str]]:
    """One row an argument: name (`?` when it may be left out), type, what it is for."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping):
        return
    needed = required if isinstance(required, list) else []
    for name, declared in properties.items():
        about = declared if isinstance(declared, Mapping) else {}
        words = one_line(about.get("description", ""), WIDTH)
        if "default" in about:
            words += f" (default {one_line(json.dumps(about['default'], ensure_ascii=False), 40)})"
        yield [one_line(name if name in needed else f"{name}?", 60), _type(about), words.strip()]


def _type(schema: Mapping[str, Any]) -> str:
    if isinstance(values := schema.get("enum"), list):
        return one_line("|".join(map(str, values)), 60)
    kind = schema.get("type", "any")
    if kind == "array" and isinstance(items := schema.get("items"), Mapping):
        return f"list of {_type(items)}"
    return one_line("|".join(map(str, kind)) if isinstance(kind, list) else kind, 60)
