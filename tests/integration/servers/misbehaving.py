"""A raw stdio MCP server that shakes hands and then misbehaves as its MODE says. Standard library only: it must start fast."""

import json
import os
import signal
import subprocess
import sys
import time

MODE = os.environ.get("MODE", "ok")
FOREVER = 600
out = sys.stdout.buffer


def send(message: object) -> None:
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def text(request: object, said: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request, "result": {"content": [{"type": "text", "text": said}]}}


def call(request: int) -> None:
    good = text(request, "hi")
    if MODE == "crash":
        sys.stderr.write("about to \x1b[31mdie\x1b[0m\n")
        sys.stderr.flush()
        os._exit(137)
    elif MODE == "crash_half":
        out.write(b'{"jsonrpc":"2.0","id":%d,"resu' % request)
        out.flush()
        os._exit(1)
    elif MODE in ("hang", "nosigterm"):
        time.sleep(FOREVER)
    elif MODE == "garbage":
        out.write(b'log line\n{"not":"rpc"}\n[1,2]\n\xff\xfe\n')
        send(good)
    elif MODE == "latin1":
        out.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"caf\xe9"}]}}\n' % request)
        out.flush()
    elif MODE == "nan":
        out.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"structuredContent":{"x":NaN}}}\n' % request)
        out.flush()
    elif MODE == "infinite":
        out.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"structuredContent":{"x":[1e999]}}}\n' % request)
        out.flush()
    elif MODE == "deep":
        nested = b"[" * 100_000 + b"]" * 100_000
        out.write(
            b'{"result":{"content":[],"structuredContent":{"x":%s}},"jsonrpc":"2.0","id":%d}\n' % (nested, request)
        )
        out.flush()
    elif MODE == "surrogate":
        send(text(request, "\ud800"))
    elif MODE == "wrongid":
        send({**good, "id": 9999})
    elif MODE == "dupresp":
        send(good)
        send(good)
    elif MODE == "badresult":
        send({"jsonrpc": "2.0", "id": request, "result": {"content": "notalist"}})
    elif MODE == "rpcerror":
        send({"jsonrpc": "2.0", "id": request, "error": {"code": -32000, "message": "no disk"}})
    elif MODE == "noline":
        out.write(b"x" * 8_000_000)
        out.flush()
        time.sleep(FOREVER)
    elif MODE == "huge":
        out.write(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"' % request)
        for _ in range(100):
            out.write(b"x" * 1_000_000)
        out.write(b'"}]}}\n')
        out.flush()
    elif MODE == "huge_id_last":
        out.write(b'{"result":{"content":[{"type":"text","text":"%s"}]},' % (b"x" * 3_000_000))
        out.write(b'"jsonrpc":"2.0","id":%d}\n' % request)
        out.flush()
    elif MODE == "stderrflood":
        for _ in range(20_000):
            sys.stderr.write("e" * 1000 + "\n")
        send(good)
    elif MODE == "orphan":
        group = subprocess.Popen(["sleep", str(FOREVER)])
        away = subprocess.Popen(["sleep", str(FOREVER)], start_new_session=True)
        send(text(request, f"{group.pid} {away.pid}"))
    else:
        send(good)


def main() -> None:
    if MODE in ("slowstart", "nohandshake"):
        time.sleep(FOREVER)
    if MODE == "exit0":
        sys.stderr.write("nothing to do\n")
        sys.exit(0)
    if MODE == "nosigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if MODE == "banner":
        out.write(b"Starting server v1...\n\n\xff\xfe binary\n")
        out.flush()
    for line in sys.stdin.buffer:
        message = json.loads(line)
        request, method = message.get("id"), message.get("method")
        if method == "initialize":
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bad", "version": "1"},
            }
            send({"jsonrpc": "2.0", "id": request, "result": result})
        elif method == "tools/list":
            tool = {"name": "t", "inputSchema": {"type": "object"}}
            send({"jsonrpc": "2.0", "id": request, "result": {"tools": [tool]}})
        elif method == "tools/call":
            call(request)
        elif request is not None:
            send({"jsonrpc": "2.0", "id": request, "error": {"code": -32601, "message": "nope"}})


main()
