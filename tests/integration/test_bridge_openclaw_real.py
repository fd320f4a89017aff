"""The bundled server `openclaw` with the gateway of the real OpenClaw, in front of a loopback API that plays a script (its `agent exec`:
`test_agent_real.py`). `.ci/install-openclaw` installs it; else these tests skip with the reason."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bridge_calls import Bridge
from servers.fake_anthropic import FakeAnthropic, Turn

pytestmark = pytest.mark.slow

START_S = 120.0
WRITE = Turn(tool="write", given={"path": "note.txt", "content": "hello\n"})


def settings(api: FakeAnthropic, root: Path, **more: object) -> Path:
    """A configuration whose only model is played by `api`; everything of it is below `root`."""
    model = {"id": "m", "name": "m", "contextWindow": 200_000, "maxTokens": 4096}
    provider = {"baseUrl": api.url, "api": "anthropic-messages", "apiKey": "sk-test", "models": [model]}
    agents = {"defaults": {"model": "fake/m", "workspace": str(root / "work"), "skipBootstrap": True}}
    file = root / ".openclaw" / "openclaw.json"
    file.parent.mkdir()
    (root / "work").mkdir()
    file.write_text(
        json.dumps({"models": {"mode": "replace", "providers": {"fake": provider}}, "agents": agents, **more})
    )
    return file


@contextmanager
def gateway(openclaw: str, api: FakeAnthropic, root: Path, token: str = "tok") -> Iterator[str]:
    """A gateway with the endpoint switched on; its URL, once it says that it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = {"endpoints": {"chatCompletions": {"enabled": True}}}
    auth = {"mode": "token", "token": token}
    config = settings(
        api, root, gateway={"mode": "local", "port": port, "bind": "loopback", "auth": auth, "http": endpoint}
    )
    process = subprocess.Popen(
        [openclaw, "gateway", "run"],
        env={"HOME": str(root), "PATH": os.environ["PATH"], "OPENCLAW_CONFIG_PATH": str(config)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    drain = threading.Thread(target=process.stdout.read)
    try:
        said = b""
        while b"[gateway] ready" not in said:
            assert select.select([process.stdout], [], [], START_S)[0], said.decode()
            more = os.read(process.stdout.fileno(), 65_536)
            assert more, said.decode()
            said += more
        drain.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if drain.ident is not None:
            drain.join()
        process.stdout.close()


def bridge(url: str, token: str = "tok") -> Bridge:
    return Bridge("openclaw", f"--url={url}", env={"OPENCLAW_GATEWAY_TOKEN": token})


def test_a_gateway_does_tasks_in_one_session_cancels_when_we_hang_up_and_tells_its_own_401_from_the_providers(
    openclaw: str, tmp_path: Path
) -> None:
    busy, late = Turn(status=529, headers={"retry-after": "3600"}), Turn(status=429, headers={"retry-after": "3600"})
    turns = [
        WRITE,
        Turn(text="written"),
        Turn(text="again"),
        Turn(hold=True),
        busy,
        late,
        Turn(status=401, message="bad key"),
    ]
    with FakeAnthropic(turns) as api, gateway(openclaw, api, tmp_path) as url:
        with bridge(url, token="wrong") as claw:
            error = claw.run()["error"]
            assert (error["kind"], error["http_status"]) == ("auth", 401)
        with bridge(url) as claw:
            first = claw.run(prompt="write a note", idempotency_key="k")
            assert (first["status"], first["text"], first["session_id"]) == ("ok", "written", "ares-k")
            assert (tmp_path / "work" / "note.txt").read_text() == "hello\n"
            again = claw.run(prompt="once more", session=first["session_id"])
            assert (again["text"], again["usage"]) == ("again", {"in": 10, "out": 5})
            assert "write a note" in json.dumps(api.asked[-1]["messages"])
            request = claw.begin(prompt="think long")
            assert api.reached.wait(60)
            claw.cancel(request)
            assert api.gone.wait(30)
            assert claw.run()["error"]["kind"] == "unavailable"
            assert claw.run(timeout_s=3)["error"]["kind"] == "timeout"  # it waits as long as its provider asks for
            refused, cooling = claw.run(), claw.run()
    assert (refused["error"]["kind"], refused["error"]["http_status"]) == ("auth", None)
    assert (cooling["error"]["kind"], cooling["error"]["retry_after_s"]) == ("auth", 60)
