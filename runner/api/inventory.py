"""What can do work here: every MCP server of the config, the local commands, and the tools that a server offers.

Looking starts nothing and opens no socket; only `probe` does. Not here: whether the rest of the installation is well (`doctor`)."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from runner.api.agents_here import standing
from runner.api.facts import operator_policy
from runner.api.secrets import SecretSource
from runner.api.servers import server_specs
from runner.api.settings import Settings
from runner.core.graph import Body
from runner.errors import RunnerError, UsageError
from runner.executors.mcp_link import CannotOpen
from runner.executors.mcp_pool import Slot, Surroundings
from runner.executors.mcp_spec import ServerSpec
from runner.executors.tools_lock import FILE, ToolsLock
from runner.manifest.config_complete import BUNDLED
from runner.manifest.config_servers import McpServer
from runner.manifest.presets import PRESETS
from runner.manifest.vocabulary import Effects
from runner.ports import ToolInfo

LOCAL = "run"
"""The name under which local commands are listed: the verb that they do."""
PROBES_AT_ONCE = 8
INSTALL: Mapping[str, str] = {
    "claude-code": "npm install -g @anthropic-ai/claude-code",
    "openclaw": "npm install -g openclaw (Node 24.16 or later), or give the url of a gateway",
    "codex": "npm install -g @openai/codex",
}
"""Preset → what to type when its program is missing."""

Ready = Literal["installed", "reachable", "not looked", "broken"]


@dataclass(frozen=True, slots=True)
class Executor:
    """One line of `runner executors`. `kind`: command, http, sse, preset:NAME, or `local commands`. `where`: the program or the URL.

    `ready`: "installed" = its program was found, nothing was started; "reachable" = a session opened; "not looked" = only `--probe`
    could tell; "broken" = `detail` says why, with the server's last words, and `fix` what to do. `tools`: how many it offers, None
    when it was not asked. `took_ms`: how long the session took to open."""

    name: str
    kind: str
    where: str
    tier: str | None
    local: bool
    agent: bool
    capabilities: tuple[str, ...]
    max_in_flight: int | None
    ready: Ready
    detail: str = ""
    fix: str = ""
    tools: int | None = None
    took_ms: int | None = None
    unset: bool = False
    """Broken only for want of something that this machine was never given: a variable, an agent's program, its login, its gateway."""
    version: str = ""
    logged_in: bool | None = None
    """Of an agent; None = it was not asked, or could not tell."""

    def to_json(self) -> dict[str, Any]:
        """As `executors --json` tells it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "where": self.where,
            "tier": self.tier,
            "local": self.local,
            "agent": self.agent,
            "capabilities": list(self.capabilities),
            "max_in_flight": self.max_in_flight,
            "ready": self.ready.replace(" ", "_"),
            "detail": self.detail or None,
            "fix": self.fix or None,
            "tools": self.tools,
            "took_ms": self.took_ms,
            "version": self.version or None,
            "logged_in": self.logged_in,
        }


def executors(settings: Settings, env: Mapping[str, str]) -> tuple[Executor, ...]:
    """Local commands, then the servers in the order of the config. Starts nothing."""
    specs = server_specs(settings, env)
    servers = settings.config.mcp_servers
    return (_local(settings), *(_server(name, server, specs[name], env) for name, server in servers.items()))


async def probe(settings: Settings, env: Mapping[str, str], *, deadline_s: float) -> tuple[Executor, ...]:
    """As `executors`, with every server that is not known to be broken asked for its tools: all at once, each within `deadline_s`
    or its own `connect_timeout`, whichever is shorter. Returns when all that was started is gone."""
    specs = server_specs(settings, env)
    hide = SecretSource(settings.config, env).redactor().text
    places = asyncio.Semaphore(PROBES_AT_ONCE)

    async def asked(one: Executor) -> Executor:
        if one.kind == "local commands" or one.ready == "broken":
            return one
        spec = specs[one.name]
        async with places:
            if one.kind.startswith("preset:"):
                one = _standing(one, await standing(spec, deadline_s))
            if one.ready != "broken":
                one = await _asked(one, replace(spec, connect_timeout_s=min(spec.connect_timeout_s, deadline_s)))
            return replace(one, detail=hide(one.detail))

    return tuple(await asyncio.gather(*map(asked, executors(settings, env))))


def _standing(one: Executor, told: Mapping[str, Any]) -> Executor:
    """`one`, with what its bridge told of its agent."""
    found = replace(
        one,
        version=told.get("version") or "",
        logged_in=told.get("logged_in"),
        detail=told.get("detail") or "",
        fix=told.get("fix") or "",
    )
    return found if told["fine"] else replace(found, ready="broken", unset=True)


async def _asked(one: Executor, spec: ServerSpec) -> Executor:
    began = time.monotonic()
    slot = Slot(spec, Surroundings())
    try:
        session = await slot.open()
        took = round((time.monotonic() - began) * 1000)
        if isinstance(session, CannotOpen):
            return replace(
                one, ready="broken", detail=slot.spec.masked(str(session)), fix=_fix(spec, session), took_ms=took
            )
        return replace(one, ready="reachable", tools=len(session.tools), took_ms=took)
    finally:
        await slot.close()


def _fix(spec: ServerSpec, error: CannotOpen) -> str:
    entry = f"mcp_servers.{spec.name}"
    if error.error_class == "auth":
        return f"the server refuses who we are: check the headers of {entry}"
    if spec.url:
        return f"is the server running, and is {entry}.url right? A slow one needs a longer {entry}.connect_timeout"
    if "handshake within" in str(error):
        return f"it started but said nothing: is it an MCP server on stdio? A slow one needs a longer {entry}.connect_timeout"
    return f"run it by hand and see: {shlex.join([spec.command, *spec.args])}"


def _local(settings: Settings) -> Executor:
    allowed = settings.config.policy.run == "allow"
    return Executor(
        name=LOCAL,
        kind="local commands",
        where="argv, or sh -euc",
        tier=None,
        local=True,
        agent=False,
        capabilities=("shell",),
        max_in_flight=None,
        ready="installed" if allowed else "broken",
        detail="" if allowed else "the operator's policy denies local commands",
        fix="" if allowed else "set policy.run to allow, if manifests may run commands",
    )


def _server(name: str, server: McpServer, spec: ServerSpec, env: Mapping[str, str]) -> Executor:
    kind = f"preset:{server.preset}" if server.preset else server.transport if server.url else "command"
    ready, detail, fix = _looked(name, server, spec, env)
    return Executor(
        name=name,
        kind=kind,
        where=_where(name, server),
        tier=server.tier,
        local=bool(server.local),
        agent=bool(server.preset or server.agent),
        capabilities=tuple(server.capabilities),
        max_in_flight=server.max_in_flight,
        ready=ready,
        detail=detail,
        fix=fix,
        unset=bool(spec.unusable or (server.preset and ready == "broken")),
    )


def _where(name: str, server: McpServer) -> str:
    if name == BUNDLED:
        return "bundled"
    if server.preset:
        return server.url or _program(server)
    return server.url or " ".join([server.command or "", *server.args]).strip()


def _looked(name: str, server: McpServer, spec: ServerSpec, env: Mapping[str, str]) -> tuple[Ready, str, str]:
    """What can be told without starting it: (ready, detail, fix)."""
    if spec.unusable:
        return "broken", spec.unusable, "export the variable, or put it where this command gets its environment from"
    if server.url:
        return "not looked", "", ""
    command = _program(server) if server.preset else spec.command
    program = f"{spec.cwd}/{command}" if "/" in command and not command.startswith("/") else command
    if shutil.which(program, path=spec.env.get("PATH", env.get("PATH"))) is None:
        return "broken", f"command not found: {command}", _install(name, server, command)
    return "installed", "", ""


def _program(server: McpServer) -> str:
    """What the bridge of a preset starts: the agent's command, unless the config names another one."""
    named = [arg.removeprefix("--command=") for arg in server.args if arg.startswith("--command=")]
    return named[-1] if named else PRESETS[server.preset or ""].program


def _install(name: str, server: McpServer, command: str) -> str:
    if server.preset:
        return f"{INSTALL[server.preset]}; or name it: mcp_servers.{name}.args: [--command=PATH]"
    return f"install {command}, or give its whole path in mcp_servers.{name}.command"


# ---------------------------------------------------------------- tools


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a server. `effects` is what follows for a step that does not say it; `refusal`: why the operator's policy keeps
    manifests from it, or ""."""

    info: ToolInfo
    effects: Effects
    refusal: str

    def to_json(self) -> dict[str, Any]:
        """As `tools --json` tells it."""
        return {
            "name": self.info.name,
            "description": self.info.description,
            "arguments": dict(self.info.input_schema),
            "returns": None if self.info.output_schema is None else dict(self.info.output_schema),
            "read_only": self.info.read_only,
            "idempotent": self.info.idempotent,
            "effects": self.effects,
            "refused": self.refusal or None,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """What a server offers, and what is to be said about it: tools that are described otherwise than when they were first seen."""

    tools: tuple[Tool, ...]
    warnings: tuple[str, ...]


class NoSession(RunnerError):
    """A server was asked for its tools, and no session opened."""

    exit_code = 1


async def tools(settings: Settings, env: Mapping[str, str], server: str, *, accept: bool = False) -> Listing:
    """Start `server` (or connect to it), and list what it offers. `accept`: what it says now is pinned in `.ares/tools.lock`.
    Raises UsageError for a server that is not configured, NoSession."""
    known = settings.config.mcp_servers
    if server not in known:
        raise UsageError(f"no MCP server {server!r} is configured", hint=f"servers: {', '.join(known)}")
    one = next(each for each in executors(settings, env) if each.name == server and each.kind != "local commands")
    if one.ready == "broken":
        raise NoSession(f"{server}: {one.detail}", hint=one.fix)
    warnings: list[str] = []
    slot = Slot(server_specs(settings, env)[server], _seeing(settings, server, accept, warnings.append))
    try:
        session = await slot.open()
        if isinstance(session, CannotOpen):
            raise NoSession(f"{server}: {slot.spec.masked(str(session))}", hint=_fix(slot.spec, session))
        found = tuple(_tool(settings, server, info) for info in session.tools.values())
        return Listing(found, tuple(warnings))
    finally:
        await slot.close()


def _seeing(settings: Settings, server: str, accept: bool, on_warning: Callable[[str], None]) -> Surroundings:
    """Compares with the pins when there are any: looking alone makes no file."""
    folder = settings.state_path.parent
    lock = ToolsLock(folder, on_warning)
    if not accept and not (folder / FILE).exists():
        return Surroundings()
    if accept:
        try:
            lock.accept(server)
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot change {folder / FILE}: {error}", hint="repair or remove the file") from error
    return Surroundings(on_tools=lock.seen)


def _tool(settings: Settings, server: str, info: ToolInfo) -> Tool:
    refusal = operator_policy(settings.config).refusal(Body("tool", {"server": server, "tool": info.name}))
    return Tool(info, default_effects(info), refusal or "")


def default_effects(info: ToolInfo) -> Effects:
    """What the annotations of a tool say of a crash (the language's default of `effects`)."""
    return "none" if info.read_only else "idempotent" if info.idempotent else "once"
