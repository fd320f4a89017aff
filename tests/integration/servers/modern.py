"""A server made with the SDK itself (protocol of 2026): what other people's servers are like. Starts in about a second."""

import asyncio
import base64
import os
from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.types import (
    BlobResourceContents,
    ContentBlock,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    ImageContent,
    InputRequiredResult,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
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


released = asyncio.Event()
cancels = 0


@server.tool()
async def hold(ctx: Context[Any]) -> str:
    """Wait to be released or cancelled."""
    global cancels
    held = released
    await ctx.report_progress(0)
    try:
        await held.wait()
    except asyncio.CancelledError:
        cancels += 1
        raise
    return "held"


@server.tool()
async def release() -> str:
    """Let every `hold` of now go on."""
    global released
    released.set()
    released = asyncio.Event()
    return "released"


@server.tool()
async def cancelled() -> int:
    """How many `hold` were cancelled."""
    return cancels


@server.tool()
async def die() -> str:
    """End at once."""
    os._exit(9)


@server.tool(structured_output=False)
async def large(size: int) -> str:
    """So many characters."""
    return "x" * size


@server.tool(structured_output=False)
async def show() -> list[ContentBlock]:
    """A text, an image, a file of text, a file of bytes, and a link."""
    data = base64.b64encode(b"hello").decode()
    return [
        TextContent(text="look"),
        ImageContent(data=data, mime_type="image/png"),
        EmbeddedResource(resource=TextResourceContents(uri="demo://text", mime_type="text/plain", text="né")),
        EmbeddedResource(resource=BlobResourceContents(uri="demo://blob", blob=data)),
        ResourceLink(uri="demo://link", name="a link", size=7),
    ]


if __name__ == "__main__":
    server.run("stdio")
