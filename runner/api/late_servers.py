"""The MCP servers of the config: loaded when the first of them is asked for something. A part of `wiring`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from runner.ports import CallResult, Request, ToolInfo

if TYPE_CHECKING:
    from runner.executors.mcp import McpServers


class LateServers:
    """A `ServerPool`, and the `Executor` of the verb `tool`. `places`: by name, how many calls a server is given at once. `make` is
    called once."""

    def __init__(self, places: Mapping[str, int], make: Callable[[], McpServers]) -> None:
        self._places, self._make = places, make

    @cached_property
    def made(self) -> McpServers:
        """The servers themselves."""
        return self._make()

    def known(self, server: str) -> bool:
        return server in self._places

    def status(self, server: str) -> Literal["closed", "opening", "open", "failed"]:
        return self.made.status(server) if self._is_made else "closed"

    def ensure(self, server: str, done: Callable[[], Any]) -> None:
        self.made.ensure(server, done)

    def tool(self, server: str, name: str) -> ToolInfo | None:
        return self.made.tool(server, name) if self._is_made else None

    def max_in_flight(self, server: str) -> int:
        return self._places[server]

    async def call(self, request: Request) -> CallResult:
        return await self.made.call(request)

    async def close(self) -> None:
        if self._is_made:
            await self.made.close()

    @property
    def _is_made(self) -> bool:
        return "made" in self.__dict__
