"""A server made with the SDK itself (protocol of 2026): what other people's servers are like. Starts in about a second."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult, ToolAnnotations
from pydantic import BaseModel, Field

server = MCPServer("modern")


class Answer(BaseModel):
    name: str


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: Annotated[int, Field(description="second")]) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def count(ctx: Context[Any], to: int) -> str:
    """Report progress on the way."""
    for done in range(to):
        await ctx.report_progress(done + 1, to, f"step {done + 1}")
    return "counted"


def question() -> Elicit[Answer]:
    return Elicit("Who are you?", Answer)


@server.tool()
async def ask(who: Annotated[Answer, Resolve(question)]) -> str:
    """Ask the person, who is not there: the SDK sees that we cannot."""
    return who.name


@server.tool()
async def insist() -> str | InputRequiredResult:
    """Ask whatever the client says it can."""
    params = ElicitRequestFormParams(message="Who?", requested_schema={"type": "object", "properties": {}})
    return InputRequiredResult(input_requests={"who": ElicitRequest(params=params)}, request_state="s")


@server.tool()
def refuse() -> str:
    """Fail as tools fail."""
    raise ValueError("there is no such thing")


@server.tool()
async def learn(ctx: Context[Any]) -> str:
    """Get a new tool while connected."""

    def learned() -> str:
        return "learned"

    server.add_tool(learned)
    await ctx.notify_tools_changed()
    return "ok"


if __name__ == "__main__":
    server.run("stdio")
