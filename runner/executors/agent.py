"""The executor of the verb `agent`: one task for one agent, through the tool of its MCP server.

Not here: which agent gets a step and what follows from a failure (the kernel's), sessions with servers (`mcp`), the words of a task
(`agent_words`), what an answer means (`agent_answer`)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from runner.clock import Clock, SystemClock
from runner.core.messages import Note
from runner.executors.agent_answer import MICRO, Ended, ended
from runner.executors.agent_spec import AgentSpec
from runner.executors.agent_words import told
from runner.executors.mcp import McpServers
from runner.executors.mcp_results import failed
from runner.manifest.config_servers import AGENT_TEMPLATE
from runner.ports import CallResult, Request, ToolInfo

SESSION: Final = re.compile(r"session: (\S{1,300})$")
"""The message of progress that names the conversation."""
LAST_WORDS_S: Final = 3.0
"""Of its time, what an agent that keeps to `timeout_s` has left to say how far it came; at most a fifth."""
LIMITS: Final = {"allowed_tools": "the tools that it may use"}
"""Arguments of run_task that are promises to the author: who cannot keep them must not take the task."""
LEFT_OUT: Final = {
    "cwd": "it works in a folder of its own",
    "model": "it chooses its model itself",
    "max_usd": "it keeps to no spend cap",
    "session": "it cannot go on in a conversation",
}


class AgentCalls:
    """The agents of a configuration by the names that manifests use; `Request.label` is such a name, and that of its server."""

    def __init__(self, servers: McpServers, agents: Mapping[str, AgentSpec], *, clock: Clock | None = None) -> None:
        self._servers, self._agents = servers, agents
        self._clock = clock or SystemClock()

    async def call(self, request: Request) -> CallResult:
        """`request.inputs` = {"prompt", "allowed_tools"?, "model"?}. What the agent did wrong is in the result."""
        spec = self._agents.get(request.label)
        if spec is None:
            return failed("invalid", f"needs the agent executor `{request.label}`, which is not configured")
        prompt = request.inputs.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            return failed("invalid", "the prompt must be a text, and not empty")
        began = asyncio.get_running_loop().time()
        done = await self._once(spec, request)
        if done.forgotten and request.session is not None:
            _write(request, f"{spec.name} does not know the conversation {request.session} any more: a new one begins")
            spent = asyncio.get_running_loop().time() - began
            left = None if request.deadline_s is None else max(0.001, request.deadline_s - spent)
            done = await self._once(spec, request._replace(session=None, deadline_s=left))
        _write(request, _line(done.result))
        return done.result

    async def close(self) -> None:
        """The servers are not ours to close."""

    async def _once(self, spec: AgentSpec, request: Request) -> Ended:
        turn = _Turn(spec, request)
        raw = await self._servers.ask(request, spec.tool, turn.fill, turn.heard)
        model = str(request.inputs.get("model") or "")
        return ended(spec, raw, turn.session, model, self._clock.now(), request.masked)


class _Turn:
    """One call of the agent's tool. `session`: the conversation that it is in, as soon as that is known."""

    def __init__(self, spec: AgentSpec, request: Request) -> None:
        self._spec, self._given = spec, request
        self.session = request.session

    def fill(self, tool: ToolInfo) -> Mapping[str, Any] | str:
        """The arguments of the call, or why it cannot be made."""
        return self._mapped() if self._spec.args is not None else self._contract(tool)

    def heard(self, message: str) -> None:
        """Progress: the first that names a session is recorded, so that whoever takes over after a crash can go on in it."""
        found = SESSION.fullmatch(message)
        if found is not None and self._spec.args is None:
            self.session = found[1]
            if self._given.note is not None:
                self._given.note(Note(session=self.session))

    def _contract(self, tool: ToolInfo) -> dict[str, Any] | str:
        """Only what the tool offers is given to it. A limit that it does not offer is a refusal; the rest is told in the log."""
        request, offered = self._given, tool.input_schema.get("properties") or {}
        wanted = {
            "cwd": request.cwd,
            "model": request.inputs.get("model"),
            "allowed_tools": request.inputs.get("allowed_tools"),
            "session": request.session,
            "timeout_s": _own_time(request.deadline_s),
            "output_schema": dict(request.returns) if request.returns is not None else None,
            "max_usd": None if request.max_micro_usd is None else request.max_micro_usd / MICRO,
        }
        wanted = {name: value for name, value in wanted.items() if value not in (None, [])}
        for name in wanted.keys() - offered.keys():
            if name in LIMITS:
                return f"{self._spec.name} cannot keep to `{name}` ({LIMITS[name]}): leave it out, or route the step to another"
            if name in LEFT_OUT:
                _write(request, f"{self._spec.name} takes no `{name}`: {LEFT_OUT[name]}")
        resumed = request.session is not None and "session" in offered
        prompt = told(request, resumed=resumed, in_words="output_schema" not in offered)
        return {"prompt": prompt, **{name: value for name, value in wanted.items() if name in offered}}

    def _mapped(self) -> dict[str, Any] | str:
        """By the templates of the config."""
        request = self._given
        if request.inputs.get("allowed_tools"):
            return f"{self._spec.name} cannot keep to `allowed_tools`: leave it out, or route the step to another"
        resumed = request.session is not None and "session" in str(self._spec.args)
        words = told(request, resumed=resumed, in_words=True)
        model = request.inputs.get("model")
        given = {"prompt": words, "cwd": request.cwd, "model": model, "session": request.session}
        filled = _filled(dict(self._spec.args or {}), given)
        return {name: value for name, value in filled.items() if value is not None}


def _filled(value: Any, given: Mapping[str, str | None]) -> Any:
    """`value` with the names of `given` in place of `{{ name }}`; a whole one that there is not gives None. What is filled in is never
    looked at again."""
    if isinstance(value, Mapping):
        return {key: _filled(item, given) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, given) for item in value]
    if not isinstance(value, str):
        return value
    whole = AGENT_TEMPLATE.fullmatch(value)
    return given.get(whole[1]) if whole else AGENT_TEMPLATE.sub(lambda name: given.get(name[1]) or "", value)


def _own_time(deadline_s: float | None) -> float | None:
    return None if deadline_s is None else max(deadline_s - LAST_WORDS_S, deadline_s * 0.8)


def _write(request: Request, line: str) -> None:
    if request.log is not None:
        request.log.write("progress", f"{line}\n")


def _line(result: CallResult) -> str:
    """For the attempt's log."""
    if result.error_class:
        return f"{result.executor}: {result.error_class}: {result.message}"
    tokens = (
        f"{result.tokens['in']} tokens in, {result.tokens['out']} out"
        if {"in", "out"} <= result.tokens.keys()
        else "tokens not counted"
    )
    price = "price unknown" if result.cost is None else f"{result.cost / MICRO:.6f} USD ({result.cost_source})"
    return f"{result.executor}: {tokens}, {price}"
