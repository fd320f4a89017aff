"""The answer that is there already: what a sub-run gave, so that the checks of its `call` step run like those of any attempt."""

from __future__ import annotations

from runner.ports import CallResult, Request


class GivenResults:
    """Executor of the verb `call`: inputs {"result": Stored}, inline. Has no effect and cannot fail."""

    async def call(self, request: Request) -> CallResult:
        result = request.inputs["result"]["value"]
        return CallResult(output=result.get("output"), text=result.get("text"), structured=True, executor=request.label)

    async def close(self) -> None:
        """Nothing is held."""
