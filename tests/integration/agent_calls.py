"""What the tests of agents share: the fake agent and its script, and one call of an agent through the executor."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcp_calls import PATIENCE_S, SERVERS, Log

from runner.core.messages import Note
from runner.executors.agent import AgentCalls
from runner.executors.agent_spec import AgentSpec
from runner.executors.mcp import McpServers, ServerSpec
from runner.ports import CallResult, Request

Json = dict[str, Any]
Turn = list[Json]
FAKE = SERVERS / "fake_agent.py"


class FakeAgent:
    """The fake agent's script and what it was given. `turns`: see `servers/fake_agent.py`."""

    def __init__(self, folder: Path, *turns: Turn, name: str = "agent") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.script = name, folder / f"{name}.json"
        self.play(*turns)

    def play(self, *turns: Turn) -> None:
        self.script.write_text(json.dumps(list(turns or [[]])))

    @property
    def entries(self) -> list[Json]:
        file = self.script.with_suffix(".given")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def given(self) -> list[Json]:
        """The arguments of each call."""
        return [entry["arguments"] for entry in self.entries if "arguments" in entry]

    @property
    def keys(self) -> list[str]:
        return [entry["key"] for entry in self.entries if "arguments" in entry]

    @property
    def children(self) -> list[int]:
        return [entry["child"] for entry in self.entries if "child" in entry]

    def command(self, *offers: str) -> list[str]:
        line = [sys.executable, "-P", str(FAKE), str(self.script)]
        return [*line, "--offers", ",".join(offers)] if offers else line

    def server(self, *offers: str, **changes: Any) -> ServerSpec:
        command, *args = self.command(*offers)
        return ServerSpec(name=self.name, command=command, args=tuple(args), **changes)

    def config(self, *offers: str, **more: Any) -> Json:
        """Its entry of `mcp_servers`."""
        command, *args = self.command(*offers)
        return {"command": command, "args": args, "agent": {"tool": "run_task"}, **more}


class Bench:
    """One agent behind the executor, and what a call told meanwhile."""

    def __init__(
        self, agent: FakeAgent, *offers: str, spec: Mapping[str, Any] | None = None, clock: Any = None
    ) -> None:
        self.agent = agent
        self.servers = McpServers({agent.name: agent.server(*offers)})
        self.calls = AgentCalls(self.servers, {agent.name: AgentSpec(agent.name, **(spec or {}))}, clock=clock)
        self.log, self.notes, self.shown = Log(), list[Note](), list[str]()

    async def __aenter__(self) -> Bench:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.servers.close()

    async def call(self, prompt: str = "do it", *, inputs: Json | None = None, **more: Any) -> CallResult:
        request = {
            "env": {},
            "cwd": str(self.agent.script.parent),
            "idempotency_key": "key",
            "deadline_s": PATIENCE_S,
            **more,
        }
        return await self.calls.call(
            Request(
                label=self.agent.name,
                verb="agent",
                inputs={"prompt": prompt, **(inputs or {})},
                log=self.log,
                note=self.notes.append,
                progress=self.shown.append,
                **request,
            )
        )

    def logged(self) -> str:
        return "".join(text for stream, text in self.log.entries if stream == "progress")
