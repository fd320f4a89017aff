"""Servers of config.yaml, end to end: a URL with headers from the environment, and one whose environment is not there."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from mcp_calls import SERVERS, call, spec, until

from runner.api.servers import server_specs
from runner.api.settings import load_config
from runner.executors.mcp import McpServers
from runner.executors.tools_lock import ToolsLock
from runner.ports import ToolInfo

sys.path.append(str(SERVERS))
from raw_http import RawHttp

TOKEN = "s3cret-token-of-ours"
MANIFEST = """
ares: v1
name: remote
steps:
  far: {tool: remote.t, effects: idempotent}
  near: {set: {done: true}}
"""


def project(root: Path, url: str) -> Path:
    (root / "config.yaml").write_text(
        f"mcp_servers:\n  remote:\n    url: {url}\n    headers: {{Authorization: 'Bearer ${{REMOTE_TOKEN}}'}}\n    connect_timeout: 5s\n"
    )
    (root / "remote.yaml").write_text(MANIFEST)
    return root


async def apply(root: Path, **env: str) -> tuple[int, Any]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "runner", "apply", "remote.yaml", "--json"),
        cwd=root,
        env=kept | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    assert said, complaints.decode()
    [run] = json.loads(said)["runs"]
    return process.returncode or 0, run


def test_what_a_server_says_is_masked_by_all_secrets_of_the_config(tmp_path: Path) -> None:
    settings = load_config(project(tmp_path, "http://127.0.0.1:9/mcp") / "config.yaml", start=tmp_path, env={})
    specs = server_specs(settings, {"REMOTE_TOKEN": TOKEN})
    assert specs["remote"].masked(f"{TOKEN} is wrong") == "*** is wrong"


async def test_a_url_of_the_config_is_called_with_its_headers_and_they_are_in_no_file(tmp_path: Path) -> None:
    async with RawHttp() as server:
        code, run = await apply(project(tmp_path, server.url), REMOTE_TOKEN=TOKEN)
        assert (code, run["state"]) == (0, "succeeded")
        assert {seen.headers["authorization"] for seen in server.seen} == {f"Bearer {TOKEN}"}
        assert server.rpcs()[-1] == "DELETE"
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


async def test_a_header_whose_variable_is_not_set_fails_the_steps_that_use_it_and_no_other(tmp_path: Path) -> None:
    async with RawHttp() as server:
        code, run = await apply(project(tmp_path, server.url))
        assert server.seen == []
    assert code == 1
    assert run["steps"]["near"]["state"] == "succeeded"
    error = run["steps"]["far"]["error"]
    assert error["class"] == "auth"
    assert error["message"] == (
        "remote: mcp_servers.remote.headers.Authorization needs the environment variable REMOTE_TOKEN, which is not set"
    )


def test_specs_of_a_config_are_resolved_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        """
mcp_servers:
  sse: {url: "${BASE}/sse", transport: sse, headers: {X-Key: "${KEY}"}, call_timeout: 3s, idle_timeout: 1m, max_in_flight: 2}
  short: {url: "http://127.0.0.1/", headers: {X-Key: "${SHORT}"}}
  program: {command: server, env: {TOKEN: "${MISSING}"}}
  agent: {preset: claude-code}
"""
    )
    settings = load_config(tmp_path / "config.yaml", start=tmp_path, env={})
    specs = server_specs(settings, {"BASE": "http://127.0.0.1:1", "KEY": "long enough", "SHORT": "x"})
    assert set(specs) == {"workspace", "sse", "short", "program", "agent"}
    sse = specs["sse"]
    assert (sse.url, sse.transport, dict(sse.headers)) == ("http://127.0.0.1:1/sse", "sse", {"X-Key": "long enough"})
    assert (sse.call_timeout_s, sse.idle_timeout_s, sse.max_in_flight, sse.unusable) == (3.0, 60.0, 2, "")
    assert "shorter than 8 characters" in specs["short"].unusable
    assert "needs the environment variable MISSING" in specs["program"].unusable
    assert specs["workspace"].unusable == ""


async def test_a_listing_of_tools_is_told_at_each_opening_and_a_change_becomes_a_warning(tmp_path: Path) -> None:
    said: list[str] = []
    told: list[list[str]] = []
    lock = ToolsLock(tmp_path, said.append)

    def on_tools(server: str, tools: dict[str, ToolInfo]) -> None:
        told.append(list(tools))
        lock.seen(server, tools)

    servers = McpServers({"s": spec("talker")}, on_tools=on_tools)
    await call(servers, "grow")
    await until(lambda: len(told) == 2)
    await servers.close()
    assert "grown" not in told[0] and "grown" in told[1] and said == []
    pins = json.loads((tmp_path / "tools.lock").read_text())
    pins["s"]["say"] = "another"
    (tmp_path / "tools.lock").write_text(json.dumps(pins))
    again = McpServers({"s": spec("talker")}, on_tools=on_tools)
    assert (await call(again, "say")).error_class == ""  # a warning, no more
    await again.close()
    assert len(said) == 1 and "the MCP server s describes say otherwise" in said[0]
