"""What can do work, and whether all that is configured is well: real servers, real files."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.api.doctor import Finding, examine, healthy
from runner.api.inventory import Executor, NoSession, Tool, executors, probe, tools
from runner.api.settings import Settings, load_config
from runner.api.wiring import open_store
from runner.clock import SystemClock
from runner.errors import UsageError

SERVERS = Path(__file__).parent / "servers"
TALKER = {"command": sys.executable, "args": [str(SERVERS / "talker.py")]}
DIES = {"command": sys.executable, "args": ["-c", "import os, sys; sys.exit('no database at ' + os.environ['PLACE'])"]}
SILENT = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
SECRET = "a-very-secret-value"


def settings_of(folder: Path, **config: Any) -> Settings:
    (folder / "config.yaml").write_text(json.dumps(config or {"timezone": "UTC"}))
    settings = load_config(None, start=folder, env={})
    assert settings.ok, settings.diagnostics
    return settings


def env(**more: str) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], **more}


def by_name(found: Sequence[Executor]) -> dict[str, Executor]:
    return {one.name: one for one in found}


def probed(settings: Settings, deadline_s: float = 10.0, **more: str) -> dict[str, Executor]:
    return by_name(asyncio.run(probe(settings, env(**more), deadline_s=deadline_s)))


def examined(settings: Settings, **more: str) -> tuple[Finding, ...]:
    return asyncio.run(examine(settings, env(**more), deadline_s=10.0))


def verdicts(found: Sequence[Finding], area: str) -> dict[str, str]:
    return {one.name: one.verdict for one in found if one.area == area}


# ---------------------------------------------------------------- executors


def test_looking_starts_no_server_and_tells_what_is_configured(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    servers = {
        "talker": {
            **TALKER,
            "env": {"STARTS": str(starts)},
            "max_in_flight": 2,
            "capabilities": ["issues"],
            "tier": "free",
        },
        "gone": {"command": "no-such-program"},
        "web": {"url": "https://host.example/mcp"},
        "near": {"url": "http://127.0.0.1:1/sse", "transport": "sse"},
        "coder": {"preset": "claude-code"},
        "helper": {**TALKER, "agent": {"tool": "say", "args": {"q": "{{ prompt }}"}, "result": {"text": "text"}}},
    }
    found = executors(settings_of(tmp_path, mcp_servers=servers), env())
    assert [one.name for one in found] == ["run", "workspace", *servers]
    named = by_name(found)
    kinds = {name: (one.kind, one.local, one.agent, one.ready) for name, one in named.items()}
    assert kinds["run"] == ("local commands", True, False, "installed")
    assert kinds["workspace"] == ("command", True, False, "installed")
    assert kinds["talker"] == ("command", True, False, "installed")
    assert kinds["gone"] == ("command", True, False, "broken")
    assert kinds["web"] == ("http", False, False, "not looked")
    assert kinds["near"] == ("sse", True, False, "not looked")
    assert kinds["coder"][:3] == ("preset:claude-code", False, True)
    assert kinds["helper"] == ("command", True, True, "installed")
    assert (named["talker"].max_in_flight, named["talker"].capabilities, named["talker"].tier) == (
        2,
        ("issues",),
        "free",
    )
    assert "not found: no-such-program" in named["gone"].detail and "install" in named["gone"].fix
    assert not starts.exists()


def test_a_probe_opens_every_session_and_tells_the_last_words_of_what_does_not_open(tmp_path: Path) -> None:
    servers = {
        "talker": TALKER,
        "dies": {**DIES, "env": {"PLACE": "${DB_TOKEN}"}},
        "silent": {**SILENT, "connect_timeout": "300ms"},
        "web": {"url": "http://127.0.0.1:1/mcp"},
    }
    settings = settings_of(tmp_path, mcp_servers=servers, secrets={"DB": "${DB_TOKEN}"})
    found = probed(settings, DB_TOKEN=SECRET)
    assert (found["talker"].ready, found["talker"].tools) == ("reachable", 22)
    assert found["talker"].took_ms is not None
    assert found["dies"].ready == found["silent"].ready == found["web"].ready == "broken"
    assert "no database at" in found["dies"].detail and SECRET not in found["dies"].detail
    assert "by hand" in found["dies"].fix
    assert "handshake" in found["silent"].detail and "connect_timeout" in found["silent"].fix
    assert "refused" in found["web"].detail and "is the server running" in found["web"].fix


def test_a_probe_does_not_wait_longer_than_it_was_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, mcp_servers={"silent": {**SILENT, "connect_timeout": "10m"}})
    assert "within 0.3 s" in probed(settings, deadline_s=0.3)["silent"].detail


def test_a_server_that_waits_for_a_variable_is_not_started_and_says_which(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    servers = {"talker": {**TALKER, "env": {"STARTS": str(starts), "API_TOKEN": "${API_TOKEN}"}}}
    found = probed(settings_of(tmp_path, mcp_servers=servers))["talker"]
    assert (found.ready, found.unset) == ("broken", True)
    assert "API_TOKEN" in found.detail
    assert not starts.exists()


def test_the_operators_policy_against_commands_is_told(tmp_path: Path) -> None:
    found = executors(settings_of(tmp_path, policy={"run": "deny"}), env())[0]
    assert (found.name, found.ready) == ("run", "broken")


# ---------------------------------------------------------------- tools


def listed(settings: Settings, server: str, *, accept: bool = False) -> tuple[dict[str, Tool], tuple[str, ...]]:
    listing = asyncio.run(tools(settings, env(), server, accept=accept))
    return {tool.info.name: tool for tool in listing.tools}, listing.warnings


def test_tools_come_with_arguments_and_the_effects_that_follow_from_their_annotations(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, mcp_servers={"talker": TALKER}, policy={"tools": {"deny": ["talker.die*"]}})
    found, warnings = listed(settings, "talker")
    assert {name: found[name].effects for name in ("get_issue", "set_label", "say")} == {
        "get_issue": "none", "set_label": "idempotent", "say": "once"
    }  # fmt: skip
    assert found["get_issue"].to_json()["arguments"]["required"] == ["number"]
    assert "talker.die*" in found["die_after"].refusal and found["say"].refusal == ""
    assert warnings == ()
    assert not (settings.state_path.parent / "tools.lock").exists()


def test_tools_that_changed_since_they_were_seen_are_told_until_a_person_accepts_them(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, mcp_servers={"talker": TALKER})
    pins = settings.state_path.parent / "tools.lock"
    pins.parent.mkdir()
    pins.write_text(json.dumps({"talker": {"say": "sha256:another"}}))
    _, warnings = listed(settings, "talker")
    assert len(warnings) == 1 and "say" in warnings[0]
    assert listed(settings, "talker", accept=True)[1] == ()
    assert listed(settings, "talker")[1] == ()


def test_a_server_that_does_not_start_or_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, mcp_servers={"dies": {**DIES, "env": {"PLACE": "here"}}, "gone": {"command": "no-such-program"}}
    )
    with pytest.raises(NoSession, match="no database at here"):
        listed(settings, "dies")
    with pytest.raises(NoSession, match="command not found: no-such-program") as caught:
        listed(settings, "gone")
    assert caught.value.hint and "install" in caught.value.hint
    with pytest.raises(UsageError, match="no MCP server 'other'") as unknown:
        listed(settings, "other")
    assert unknown.value.hint == "servers: workspace, dies, gone"


# ---------------------------------------------------------------- doctor


def test_a_fresh_project_is_healthy(tmp_path: Path) -> None:
    found = examined(load_config(None, start=tmp_path, env={}))
    assert healthy(found), [one for one in found if one.verdict == "broken"]
    assert {one.area for one in found} == {"program", "config", "files", "commands", "servers"}
    assert verdicts(found, "servers") == {"workspace": "ok"}
    assert not (tmp_path / ".ares").exists()


def test_a_broken_server_is_what_makes_a_project_ill_and_comes_with_a_fix(tmp_path: Path) -> None:
    found = examined(settings_of(tmp_path, mcp_servers={"talker": TALKER, "gone": {"command": "no-such-program"}}))
    assert not healthy(found)
    assert verdicts(found, "servers") == {"workspace": "ok", "talker": "ok", "gone": "broken"}
    assert next(one for one in found if one.name == "gone").fix


def test_variables_of_secrets_are_set_or_not_and_their_values_are_never_told(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path,
        secrets={"A": "${SET_TOKEN}", "B": "${UNSET_TOKEN}", "C": "${SHORT_TOKEN}"},
        mcp_servers={"web": {"url": "http://127.0.0.1:1/mcp", "headers": {"Authorization": "Bearer ${WEB_TOKEN}"}}},
    )
    found = examined(settings, SET_TOKEN=SECRET, SHORT_TOKEN="tiny")
    assert verdicts(found, "secrets") == {
        "SET_TOKEN": "ok", "UNSET_TOKEN": "warning", "SHORT_TOKEN": "warning", "WEB_TOKEN": "warning"
    }  # fmt: skip
    assert healthy(found), "what is not set hurts only who uses it"
    told = json.dumps([one.to_json() for one in found])
    assert SECRET not in told and "tiny" not in told


def test_mistakes_of_the_config_are_told_and_nothing_else_is_tried(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mcp_servers:\n  a: {comand: x}\n")
    found = examined(load_config(None, start=tmp_path, env={}))
    wrong = [one for one in found if one.verdict == "broken"]
    assert {one.area for one in wrong} == {"config"}
    assert wrong[0].name.startswith("config.yaml:2")
    assert not verdicts(found, "servers")


def test_the_state_database_is_looked_at_with_version_and_size(tmp_path: Path) -> None:
    settings = load_config(None, start=tmp_path, env={})
    open_store(settings, SystemClock()).close()
    state = next(one for one in examined(settings) if one.name == "state database")
    assert state.verdict == "ok"
    assert "version" in state.detail and "KiB" in state.detail


@pytest.mark.parametrize("content", ["no database", "another program's"])
def test_a_state_database_that_is_not_ours_is_told_and_left_alone(tmp_path: Path, content: str) -> None:
    settings = load_config(None, start=tmp_path, env={})
    settings.state_path.parent.mkdir()
    if content == "no database":
        settings.state_path.write_text(content * 100)
    else:
        with sqlite3.connect(settings.state_path) as db:
            db.execute("create table theirs (x)")
        db.close()
    before = settings.state_path.read_bytes()
    found = examined(settings)
    assert verdicts(found, "files")["state database"] == "broken"
    assert settings.state_path.read_bytes() == before


def test_a_newer_state_database_is_told(tmp_path: Path) -> None:
    settings = load_config(None, start=tmp_path, env={})
    open_store(settings, SystemClock()).close()
    with sqlite3.connect(settings.state_path) as db:
        db.execute("pragma user_version = 999")
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    state = next(one for one in examined(settings) if one.name == "state database")
    assert state.verdict == "broken" and "999" in state.detail and state.fix


def test_a_workspace_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("a file")
    found = examined(settings_of(tmp_path, workspace="plain"))
    assert verdicts(found, "files")["workspace"] == "broken"


def test_commands_that_are_not_on_the_path_are_told(tmp_path: Path) -> None:
    settings = load_config(None, start=tmp_path, env={})
    found = asyncio.run(examine(settings, {"PATH": str(tmp_path)}, deadline_s=10.0))
    assert verdicts(found, "commands") == {"sh": "broken", "git": "warning"}
    assert verdicts(found, "program")["uv"] == "warning"


def test_a_uv_that_does_not_work_is_a_warning(tmp_path: Path) -> None:
    broken = tmp_path / "uv"
    broken.write_text("no program")
    broken.chmod(0o755)
    found = asyncio.run(examine(load_config(None, start=tmp_path, env={}), {"PATH": str(tmp_path)}, deadline_s=10.0))
    assert verdicts(found, "program")["uv"] == "warning"
