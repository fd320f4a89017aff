"""The MCP server of the tool rows: one tool that gives its argument back. Standard library only, so that the client is what is measured."""

import json
import sys


def answer(message: dict[str, object]) -> object:
    """The result of a request; None for a method that it does not have."""
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "echo", "version": "1"},
            }
        case "tools/list":
            schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
            hints = {"readOnlyHint": True}
            return {"tools": [{"name": "echo", "inputSchema": schema, "annotations": hints}]}
        case "tools/call":
            params = message["params"]
            assert isinstance(params, dict)
            return {"content": [{"type": "text", "text": params["arguments"]["text"]}]}
    return None


def main() -> None:
    """Answer one request after the other until stdin ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message)
        missing = {"error": {"code": -32601, "message": "no such method"}}
        reply = {"jsonrpc": "2.0", "id": message["id"], **(missing if result is None else {"result": result})}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


main()
