"""What clients of the server may do: config `policy.mcp`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.manifest.vocabulary import MCP_TOOLS, McpTool

if TYPE_CHECKING:
    from runner.manifest.config import McpPolicy


def permitted(policy: McpPolicy) -> tuple[McpTool, ...]:
    """The tools that clients have, in the order in which they are listed."""
    return tuple(tool for tool in MCP_TOOLS if tool in policy.allow and tool not in policy.deny)


def refusal(policy: McpPolicy, tool: McpTool) -> str | None:
    """Why a client may not use this tool, and whose word would change that; None = it may."""
    if tool in policy.deny:
        why, key = "denies", "policy.mcp.deny"
    elif tool not in policy.allow:
        why, key = "does not allow", "policy.mcp.allow"
    else:
        return None
    return (
        f"the operator's policy {why} `{tool}` (config key {key}). Only a person who may edit the configuration of the runner can "
        f"change that; the server reads it when it starts. Allowed now: {', '.join(permitted(policy)) or 'nothing'}"
    )
