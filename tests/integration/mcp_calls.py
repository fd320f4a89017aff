"""What the MCP tests share: specs of the servers in `servers/`, one call, a log that can be waited for, and who is still alive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.executors.mcp import McpServers, ServerSpec
from runner.executors.mcp_process import pid_start
from runner.ports import CallResult, Request

SERVERS = Path(__file__).parent / "servers"
PATIENCE_S = 20.0
"""No wait of a test is longer, whatever the machine is busy with."""


def spec(server: str, name: str = "s", **changes: Any) -> ServerSpec:
    """`-S`: these servers need no site-packages, and start in 15 ms without."""
    flags = ("-P",) if server == "modern" else ("-S", "-P")
    return ServerSpec(name=name, command=sys.executable, args=(*flags, str(SERVERS / f"{server}.py")), **changes)


class Log:
    """An attempt's log; `seen` waits for a text."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []
        self._more = asyncio.Event()

    def write(self, stream: str, text: str) -> None:
        self.entries.append((stream, text))
        self._more.set()

    async def seen(self, stream: str, text: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not any(where == stream and text in what for where, what in self.entries):
                self._more.clear()
                await self._more.wait()


async def call(
    servers: McpServers, tool: str, server: str = "s", deadline_s: float | None = PATIENCE_S, **more: Any
) -> CallResult:
    """One call; `arguments` and the fields of Request as keywords."""
    request = {"env": {}, "cwd": ".", "idempotency_key": "key", "deadline_s": deadline_s, **more}
    inputs = {"tool": tool, "with": request.pop("arguments", {})}
    return await servers.call(Request(label=server, verb="tool", inputs=inputs, **request))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0)


def lives(pid: int, start: int | None = None) -> bool:
    """Is this process there, and no zombie?"""
    if pid_start(pid) is None or (start is not None and pid_start(pid) != start):
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
