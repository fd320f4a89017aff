"""`modern.py` over HTTP on a port of this machine, as people run the SDK's server: `http_modern.py WAY [PORT]`, prints the port.

WAY: `http` (sessions for clients of 2025, none for 2026), `json` (answers as JSON), `sse` (the older transport)."""

import asyncio
import socket
import sys

import uvicorn
from modern import server


def main() -> None:
    way, port = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    app = server.sse_app() if way == "sse" else server.streamable_http_app(json_response=way == "json")
    listening = socket.socket(
        proto=socket.IPPROTO_TCP
    )  # said, so that asyncio sends small answers at once (TCP_NODELAY)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, loop="asyncio")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
