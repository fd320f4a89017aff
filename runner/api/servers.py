"""From the section `mcp_servers` of the config to what the executors need: how each server is started or connected to, and how those
that are agents are asked. Resolves references to the environment; starts nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runner.api.secrets import SecretSource
from runner.api.settings import Settings
from runner.digest import digest
from runner.errors import InvalidInput
from runner.executors.agent_spec import AgentSpec
from runner.executors.mcp_spec import ServerSpec
from runner.manifest.config import Config
from runner.manifest.config_complete import agent_executors
from runner.manifest.config_servers import McpServer
from runner.manifest.presets import PRESETS
from runner.manifest.references import resolve, resolve_secret

BRIDGES: Mapping[str, tuple[str, ...]] = {
    "claude-code": ("runner.bridges.claude_code",),
    "openclaw": ("runner.bridges.openclaw",),
    "moltworker": ("runner.bridges.openclaw", "--moltworker"),
    "codex": ("runner.bridges.codex",),
}
"""Preset → the module of its bridge, and the options that make it this one."""


def server_specs(settings: Settings, env: Mapping[str, str]) -> dict[str, ServerSpec]:
    """The servers of the config. One that refers to a variable which is not set is there, but each of its calls fails and says which:
    the others go on."""
    masked = SecretSource(settings.config, env).redactor().text
    return {
        name: replace(_resolved(_spec(name, server, settings.workspace), server, env), masked=masked)
        for name, server in settings.config.mcp_servers.items()
    }


def agent_specs(config: Config) -> dict[str, AgentSpec]:
    """The servers that take `agent` steps, and how each is asked."""
    return {name: _agent(name, config.mcp_servers[name]) for name in sorted(agent_executors(config))}


def _agent(name: str, server: McpServer) -> AgentSpec:
    free, mapping = server.tier in ("free", "local"), server.agent
    if mapping is None:
        return AgentSpec(name, free=free)
    paths = {} if mapping.result is None else mapping.result.model_dump(exclude_none=True)
    rules = tuple((rule.match, str(rule.class_)) for rule in mapping.errors)
    return AgentSpec(name, mapping.tool, mapping.args, paths, rules, free)


def _spec(name: str, server: McpServer, workspace: Path) -> ServerSpec:
    """All that needs no environment."""
    ms = server.call_timeout
    bridge = ("-P", "-m", *BRIDGES[server.preset]) if server.preset else ()
    return ServerSpec(
        name=name,
        command=sys.executable if server.preset else server.command or "",
        args=(*bridge, *server.args),
        cwd=str(workspace / (server.cwd or ".")),
        connect_timeout_s=_connect_s(server),
        call_timeout_s=None if ms is None else ms / 1000,
        idle_timeout_s=server.idle_timeout / 1000,
        max_in_flight=server.max_in_flight,
        transport=server.transport,
        digest=digest(
            [
                server.preset,
                server.command,
                list(server.args),
                dict(server.env),
                server.cwd,
                server.url,
                server.token,
                dict(server.headers),
            ]
        ),
    )


def _connect_s(server: McpServer) -> float:
    return (server.connect_timeout or 15_000) / 1000


def _resolved(spec: ServerSpec, server: McpServer, env: Mapping[str, str]) -> ServerSpec:
    entry = f"mcp_servers.{spec.name}"
    try:
        own = {key: resolve(text, env, entry=f"{entry}.env.{key}") for key, text in server.env.items()}
        url = resolve(server.url or "", env, entry=f"{entry}.url")
        headers = {key: _secret(text, env, f"{entry}.headers.{key}") for key, text in server.headers.items()}
        if not server.preset:
            return replace(spec, env=own, url=url, headers=headers)
        token = _secret(server.token, env, f"{entry}.token") if server.token else ""
    except InvalidInput as error:
        return replace(spec, unusable=str(error))
    inherited = {name: env[name] for name in PRESETS[server.preset].inherits if name in env}
    return replace(spec, env=inherited | _gateway(url, token, headers, _connect_s(server)) | own)


def _gateway(url: str, token: str, headers: Mapping[str, str], start_s: float) -> dict[str, str]:
    """What a bridge is told of its gateway: by its environment, which other users of the machine cannot read as they can arguments."""
    if not url:
        return {}
    told = {"OPENCLAW_GATEWAY_URL": url, "OPENCLAW_GATEWAY_TOKEN": token, "OPENCLAW_GATEWAY_START_S": f"{start_s:g}"}
    return {**told, "OPENCLAW_GATEWAY_HEADERS": json.dumps(dict(headers))}


def _secret(text: str, env: Mapping[str, str], entry: str) -> str:
    return resolve_secret(text, env, entry=entry).get_secret_value()
