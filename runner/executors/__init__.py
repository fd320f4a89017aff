"""Adapters that do a call: local commands here, MCP servers in `mcp`. The registry is a literal; imports happen on use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

REGISTRY: dict[str, tuple[str, str]] = {
    "run": ("runner.executors.local", "LocalCommands"),
    "tool": ("runner.executors.mcp", "McpServers"),
}
"""verb → (module, class). An executor that needs a heavy package is imported when a run first needs it."""


def executor_class(verb: str) -> Any:
    """The executor class of `verb`. Raises KeyError when no executor of ours does it."""
    module, name = REGISTRY[verb]
    return getattr(import_module(module), name)
