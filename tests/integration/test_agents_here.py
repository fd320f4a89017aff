"""What `executors --probe` and `doctor` tell of an agent: installed, version, logged in, reachable, and what to type."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from servers.fake_openclaw import LOADING, FakeOpenClaw, Reply

from runner.api.doctor import examine
from runner.api.inventory import Executor, probe
from runner.api.settings import Settings, load_config

PATIENCE_S = 30.0
ENV = {"TOKEN": "a long enough token", "PATH": "/usr/bin:/bin"}


def settings_of(folder: Path, server: str) -> Settings:
    (folder / "config.yaml").write_text(f"mcp_servers: {{agent: {server}}}\n")
    settings = load_config(folder / "config.yaml", start=folder, env={})
    assert settings.ok, settings.diagnostics
    return settings


def looked_at(folder: Path, server: str, deadline_s: float = PATIENCE_S) -> Executor:
    found = asyncio.run(probe(settings_of(folder, server), ENV, deadline_s=deadline_s))
    return next(one for one in found if one.name == "agent")


def program(folder: Path, script: str) -> str:
    """The config of an agent whose program is this shell script."""
    file = folder / "claude"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return f"{{preset: claude-code, args: [--command={file}]}}"


def gateway(url: str, preset: str = "openclaw") -> str:
    return f'{{preset: {preset}, url: "{url}", token: "${{TOKEN}}"}}'


LOGGED_IN = 'case "$1" in --version) echo 2.1.330;; auth) echo \'{"loggedIn": true}\';; esac'
LOGGED_OUT = 'case "$1" in --version) echo 2.1.330;; auth) echo \'{"loggedIn": false}\'; exit 1;; esac'
OLD = 'case "$1" in --version) echo 1.0;; *) echo "unknown command" >&2; exit 1;; esac'


def test_an_agent_that_is_installed_and_logged_in_is_told_with_its_version(tmp_path: Path) -> None:
    found = looked_at(tmp_path, program(tmp_path, LOGGED_IN))
    assert (found.ready, found.version, found.logged_in, found.tools) == ("reachable", "2.1.330", True, 1)


def test_an_agent_in_a_folder_that_is_not_there_is_broken_and_the_folder_named(tmp_path: Path) -> None:
    found = looked_at(tmp_path, program(tmp_path, LOGGED_IN).replace("{", "{cwd: nowhere, ", 1))
    assert found.ready == "broken"
    assert "nowhere" in found.detail and "No such file or directory" in found.detail
    assert "mcp_servers.agent" in found.fix


def test_an_agent_that_is_not_logged_in_is_broken_and_told_what_to_type(tmp_path: Path) -> None:
    found = looked_at(tmp_path, program(tmp_path, LOGGED_OUT))
    assert (found.ready, found.unset, found.version, found.logged_in) == ("broken", True, "2.1.330", False)
    assert found.detail == "it is not logged in" and "/login" in found.fix


def test_an_agent_that_cannot_tell_whether_it_is_logged_in_may_be_used(tmp_path: Path) -> None:
    found = looked_at(tmp_path, program(tmp_path, OLD))
    assert (found.ready, found.version, found.logged_in) == ("reachable", "1.0", None)


def test_a_program_that_is_missing_is_told_with_how_to_install_it(tmp_path: Path) -> None:
    found = looked_at(tmp_path, "{preset: claude-code}")
    assert (found.ready, found.detail) == ("broken", "command not found: claude")
    assert "npm install -g @anthropic-ai/claude-code" in found.fix


def test_a_program_that_does_not_start_is_not_taken_for_an_installed_one(tmp_path: Path) -> None:
    found = looked_at(tmp_path, program(tmp_path, "exit 3"))
    assert (found.ready, found.logged_in) == ("broken", None)
    assert "ends with status 3" in found.detail


def test_a_program_that_takes_too_long_is_left_in_doubt_and_ended(tmp_path: Path) -> None:
    found = looked_at(tmp_path, program(tmp_path, "exec sleep 600"), deadline_s=1.0)
    assert "did not say within 1 s" in found.detail and "--within" in found.fix


@pytest.mark.parametrize(
    ("models", "detail"),
    [
        (Reply(body={"data": []}), ""),
        (Reply(status=401, body={"error": {"type": "unauthorized"}}), "refuses the token"),
        (Reply(status=404, body={}), "does not offer chat completions"),
        (Reply(status=500, body={}), "HTTP 500"),
        (Reply(status=302, headers={"location": "https://x.cloudflareaccess.com/login"}, body={}), "CF-Access"),
    ],
    ids=["ready", "token", "off", "broken", "access"],
)
def test_a_gateway_is_asked_whether_it_takes_our_token(models: Reply, detail: str, tmp_path: Path) -> None:
    with FakeOpenClaw([], [models]) as fake:
        found = looked_at(tmp_path, gateway(fake.url))
        assert {(one.method, one.path) for one in fake.asked} == {("GET", "/v1/models")}
        assert {one.headers["authorization"] for one in fake.asked} == {f"Bearer {ENV['TOKEN']}"}
    assert detail in found.detail and (found.ready == "reachable") == (detail == "")
    assert ENV["TOKEN"] not in f"{found.detail}{found.fix}"


def test_a_gateway_that_is_not_there_is_told_with_how_to_start_it(tmp_path: Path) -> None:
    found = looked_at(tmp_path, gateway("http://127.0.0.1:1"))
    assert (found.ready, found.unset) == ("broken", True)
    assert "refused" in found.detail and "openclaw gateway" in found.fix


def test_a_sleeping_moltworker_is_woken_and_said_to_be_starting(tmp_path: Path) -> None:
    with FakeOpenClaw([], [Reply(body=LOADING, status=503)]) as fake:
        found = looked_at(tmp_path, gateway(fake.url, "moltworker"))
        assert [one.path for one in fake.asked] == ["/api/status"]
    assert "it is starting: loading page" in found.detail and "in a minute" in found.fix


def test_doctor_warns_of_an_agent_that_cannot_be_used_and_is_well_all_the_same(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, program(tmp_path, LOGGED_OUT))
    found = {one.name: one for one in asyncio.run(examine(settings, ENV, deadline_s=PATIENCE_S))}
    assert (found["agent"].verdict, found["agent"].detail) == ("warning", "it is not logged in")
    program(tmp_path, LOGGED_IN)
    found = {one.name: one for one in asyncio.run(examine(settings, ENV, deadline_s=PATIENCE_S))}
    assert found["agent"].verdict == "ok" and "2.1.330, logged in" in found["agent"].detail
