"""The echo tool made with the SDK itself, as most servers are: slower to answer than `echo_server.py`, and no different for a client."""

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("echo")


@server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
def echo(text: str) -> str:
    """Give the argument back."""
    return text


server.run("stdio")
