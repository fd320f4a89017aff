"""The closed sets of words of the language: verbs, modes, error classes, effects. No Pydantic here: everything may import it."""

from __future__ import annotations

from typing import Literal, get_args

Verb = Literal["tool", "agent", "model", "run", "call", "approve", "wait", "set", "fail"]
Mode = Literal["normal", "degraded", "brainstem"]
Effects = Literal["none", "idempotent", "once"]
ErrorClass = Literal[
    "rate_limit",
    "quota",
    "auth",
    "unavailable",
    "timeout",
    "crash",
    "context_overflow",
    "bad_output",
    "check_failed",
    "tool_error",
    "denied",
    "invalid",
    "cancelled",
]
Exhausted = Literal["fail", "skip", "suspend"]
SuspendReason = Literal["mode", "quota", "budget", "approval", "unknown", "exhausted", "child"]
McpTool = Literal[
    "validate",
    "plan",
    "route",
    "status",
    "show",
    "logs",
    "events",
    "apply",
    "resume",
    "cancel",
    "approve",
    "reject",
    "resolve",
]

VERBS: tuple[Verb, ...] = get_args(Verb)
MODES: tuple[Mode, ...] = get_args(Mode)
ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)

MCP_TOOLS: tuple[McpTool, ...] = get_args(McpTool)
MCP_READING: tuple[McpTool, ...] = MCP_TOOLS[:7]
"""The tools of `runner mcp` that change nothing and start nothing: what a client has when nobody says otherwise."""

WORK_VERBS: frozenset[str] = frozenset({"tool", "agent", "model", "run"})
"""Verbs that call an executor: they hold a slot, and may be routed, retried and checked."""

PLAIN_VERBS: frozenset[str] = frozenset({"set", "wait", "fail", "approve"})
"""Verbs that take only `needs, when, foreach, matrix, max_parallel, join, labels, optional` (`approve` also `timeout`)."""

CONFIG_KEYS: frozenset[str] = frozenset(
    {
        "lite_llm_url", "github_key", "models", "mcp_servers", "router", "fault_handler", "budget", "policy", "secrets", "state",
        "workspace", "timezone", "concurrency", "limits",
    }
)  # fmt: skip
"""The keys of config.yaml: those of `manifest.config.Config`, for who must know the file when it sees it."""
