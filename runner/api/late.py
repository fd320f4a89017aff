"""Executors that hardly any run asks: loaded with the first call. A part of `wiring`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from typing import Any, Final, Literal

from runner.ports import CallResult, Executor, Request

REGISTRY: Final = {
    "model": ("runner.llms.executor", "ModelCalls"),
    "agent": ("runner.executors.agent", "AgentCalls"),
}


class Late:
    """`make` is given the class of the verb's executor, when it is first needed."""

    def __init__(self, verb: Literal["model", "agent"], make: Callable[[Any], Executor]) -> None:
        self._verb, self._make = verb, make

    async def call(self, request: Request) -> CallResult:
        return await self._executor.call(request)

    async def close(self) -> None:
        if "_executor" in self.__dict__:
            await self._executor.close()

    async def prefetch(self) -> None:
        """Load what calls will need, while others run."""
        if (prefetch := getattr(self._executor, "prefetch", None)) is not None:
            await prefetch()

    @cached_property
    def _executor(self) -> Executor:
        module, name = REGISTRY[self._verb]
        return self._make(getattr(import_module(module), name))
