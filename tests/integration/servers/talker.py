"""A raw stdio MCP server of 2025-06-18 that behaves: one tool for each thing a session can go through. Standard library only.

`hold` answers when `release` is called or when it is cancelled is remembered, so that tests order events without a clock."""

import json
import os
import sys

held: list[int] = []
cancelled: list[int] = []
started_late = False


def send(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def reply(request: int, *parts: object, **more: object) -> None:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    send({"id": request, "result": {"content": content, **more}})


def tool(name: str, schema: dict[str, object] | None = None, **more: object) -> dict[str, object]:
    return {"name": name, "inputSchema": {"type": "object", **(schema or {})}, **more}


NUMBER = {"properties": {"number": {"type": "integer"}, "label": {"enum": ["bug", "feature"]}}, "required": ["number"]}
IMAGE = {"type": "image", "mimeType": "image/png", "data": "aGk="}
PAGES = [
    [
        tool("get_issue", {**NUMBER, "additionalProperties": False}, annotations={"readOnlyHint": True}),
        tool("set_label", NUMBER, annotations={"idempotentHint": True}),
        tool("open_ref", {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}),
        tool("broken_schema", {"properties": {"x": {"type": 7}}}),
        tool("hold"),
        tool("release"),
    ],
    [
        tool("say"),
        tool("structured"),
        tool("lie", outputSchema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
        tool("image"),
        tool("text_and_image"),
        tool("nothing"),
        tool("fail"),
        tool("progress"),
        tool("ask"),
        tool("key"),
        tool("env"),
        tool("cancelled"),
        tool("grow"),
        tool("die"),
        tool("die_after"),
        tool("grumble"),
    ],
]


def call(request: int, name: str, arguments: dict[str, object], meta: dict[str, object]) -> None:
    if name == "hold":
        held.append(request)
        send({"method": "notifications/progress", "params": {"progressToken": meta["progressToken"], "progress": 0}})
    elif name == "release":
        for waiting in held:
            reply(waiting, "held")
        held.clear()
        reply(request, "released")
    elif name == "structured":
        reply(request, "n is 7", structuredContent={"n": 7})
    elif name == "lie":
        reply(request, structuredContent={"n": "seven"})
    elif name == "image":
        reply(request, IMAGE)
    elif name == "text_and_image":
        reply(request, "first", IMAGE, "second")
    elif name == "nothing":
        reply(request)
    elif name == "fail":
        reply(request, "no such\x1b[2J issue", isError=True)
    elif name == "progress":
        for done in (1, 2):
            params = {"progressToken": meta["progressToken"], "progress": done, "total": 2, "message": f"part {done}"}
            send({"method": "notifications/progress", "params": params})
        reply(request, "done")
    elif name == "ask":
        params = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}
        send({"id": f"ask-{request}", "method": "elicitation/create", "params": params})
    elif name == "key":
        reply(request, str(meta.get("ares/idempotency-key")))
    elif name == "env":
        reply(request, structuredContent={"env": dict(os.environ), "cwd": os.getcwd(), "group": os.getpgrp()})
    elif name == "cancelled":
        reply(request, structuredContent={"cancelled": cancelled})
    elif name == "grow":
        PAGES[1].append(tool("grown"))
        send({"method": "notifications/tools/list_changed"})
        reply(request, "grown")
    elif name == "grumble":
        sys.stderr.write("grumble\n")
        sys.stderr.flush()
        reply(request, "fine")
    elif name == "die":
        os._exit(9)
    elif name == "die_after":
        reply(request, "bye")
        os._exit(0)
    else:
        reply(request, json.dumps(arguments))


def answer(request: int, method: str, params: dict[str, object]) -> None:
    if method == "initialize":
        info = {"serverInfo": {"name": "talker", "version": "1"}, "protocolVersion": "2025-06-18"}
        send({"id": request, "result": {**info, "capabilities": {"tools": {"listChanged": True}}}})
    elif method == "tools/list":
        page = int(str(params.get("cursor", 0)))
        more = {"nextCursor": str(page + 1)} if page + 1 < len(PAGES) else {}
        send({"id": request, "result": {"tools": PAGES[page], **more}})
    elif method == "tools/call":
        call(request, params["name"], params.get("arguments") or {}, params.get("_meta") or {})
    else:
        send({"id": request, "error": {"code": -32601, "message": f"unknown method {method}"}})


def main() -> None:
    if "STARTS" in os.environ:
        with open(os.environ["STARTS"], "a") as file:
            file.write(f"{os.getpid()}\n")
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "notifications/cancelled":
            cancelled.append(message["params"]["requestId"])
        elif "method" in message and "id" in message:
            answer(message["id"], message["method"], message.get("params") or {})
        elif "error" in message:  # what we asked was refused
            reply(int(message["id"].removeprefix("ask-")), message["error"]["message"], isError=True)


main()
