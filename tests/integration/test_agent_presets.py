"""`agent` steps through the presets: the bundled bridges, started by the runner from config, in front of scripted programs and a Worker
that is played."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from apply_project import Project
from bridge_calls import Script
from servers.fake_openclaw import LOADING, FakeOpenClaw, Reply

from runner.api.results import RunResult

Json = dict[str, Any]
TOKEN = "a token of the gateway"
SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
INIT: Json = {"say": {"type": "system", "subtype": "init", "session_id": SESSION}}
UP = Reply(body={"ok": True, "status": "running"})
ASLEEP = Reply(status=503, body={"ok": False, "status": "not_running"})


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOLT_TOKEN", "CF_ID", "CF_SECRET"):
        monkeypatch.setenv(name, f"{TOKEN} {name}")


def project(
    folder: Path, manifest: str = "steps: {fix: {agent: do it, faults: {retry: {max: 0}}}}", **servers: Json
) -> Project:
    given = {"state": {"durability": "process"}, "mcp_servers": servers, "router": {"agents": list(servers)}}
    home = Project(folder / "project", json.dumps(given))
    home.manifest(manifest)
    return home


def molt(fake: FakeOpenClaw, **more: Any) -> Json:
    headers = {"CF-Access-Client-Id": "${CF_ID}", "CF-Access-Client-Secret": "${CF_SECRET}"}
    args = ["--probe-every-s=0.02"]
    return {"preset": "moltworker", "url": fake.url, "token": "${MOLT_TOKEN}", "headers": headers, "args": args, **more}


def error_of(run: RunResult) -> Mapping[str, Any]:
    error = run.steps["fix"].error
    assert error is not None, run
    return error


# ---------------------------------------------------------------- Moltworker, played


def test_a_sleeping_moltworker_is_waited_for_and_then_asked_once_with_all_its_headers(tmp_path: Path) -> None:
    states = [ASLEEP, Reply(status=503, body=LOADING), UP]
    with FakeOpenClaw([Reply(said=["do", "ne"])], states) as fake:
        home = project(tmp_path, molt=molt(fake))
        run = home.run()
        posts = [asked for asked in fake.asked if asked.method == "POST"]
    assert (run.state, run.steps["fix"].executor) == ("succeeded", "molt")
    assert len(posts) == 1 and len(fake.asked) == 4
    headers = posts[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN} MOLT_TOKEN"
    assert (headers["cf-access-client-id"], headers["cf-access-client-secret"]) == (
        f"{TOKEN} CF_ID",
        f"{TOKEN} CF_SECRET",
    )
    log = next((home.folder / ".ares" / "logs").rglob("*.log")).read_text()
    assert "starting: loading page" in log and TOKEN not in log


ACCESS = Reply(status=302, headers={"location": "https://team.cloudflareaccess.com/login"}, body={})


@pytest.mark.parametrize(
    ("states", "script", "error_class", "words"),
    [
        ([ACCESS], [], "auth", "CF-Access-Client-Id"),
        ([UP], [Reply(status=401, body={"error": "Unauthorized", "hint": "send the token"})], "auth", "send the token"),
        ([UP], [Reply(status=503, body={"error": "Gateway failed to start"})], "unavailable", "failed to start"),
        ([UP], [Reply(body=LOADING)], "unavailable", "loading page"),
        ([ASLEEP], [], "unavailable", "did not start within 0.2 s"),
    ],
    ids=["access", "token", "503", "loading", "sleeps on"],
)
def test_a_moltworker_that_does_not_answer_is_told_with_its_class(
    states: Sequence[Reply], script: Sequence[Reply], error_class: str, words: str, tmp_path: Path
) -> None:
    with FakeOpenClaw(script, states) as fake:
        server = molt(fake) | {"args": ["--probe-every-s=0.02", "--start-s=0.2"]}
        error = error_of(project(tmp_path, molt=server).run())
    assert error["class"] == error_class
    assert words in error["message"] and TOKEN not in error["message"]


# ---------------------------------------------------------------- OpenClaw's gateway, and Claude Code


def test_a_repair_round_goes_on_in_the_session_of_the_gateway(tmp_path: Path) -> None:
    manifest = "steps: {fix: {agent: count, checks: [{expr: text == 'two'}], repair: {max: 1}}}"
    with FakeOpenClaw([Reply(said=["one"]), Reply(said=["two"])]) as fake:
        run = project(tmp_path, manifest, claw={"preset": "openclaw", "url": fake.url, "token": "${MOLT_TOKEN}"}).run()
        first, second = [asked.body for asked in fake.asked]
    assert run.state == "succeeded", run
    assert first["user"] == second["user"]
    assert "not accepted" in second["messages"][-1]["content"]


def claude(script: Script, *args: str, **more: Any) -> Json:
    return {"preset": "claude-code", "args": [f"--command={script.command}", *args], **more}


def result(text: str = "done", **changes: object) -> Json:
    usage = {"input_tokens": 20, "output_tokens": 10}
    line = {
        "type": "result", "subtype": "success", "is_error": False, "num_turns": 2, "result": text, "session_id": SESSION,
        "total_cost_usd": 0.25, "usage": usage, "permission_denials": [],
    }  # fmt: skip
    return {"say": line | changes}


def test_claude_code_is_told_folder_tools_model_cap_and_schema_and_its_price_is_on_record(tmp_path: Path) -> None:
    script = Script(tmp_path, INIT, result(structured_output={"n": 7}))
    manifest = """
steps:
  fix:
    agent: {prompt: count, allowed_tools: [Read]}
    route: {models: [opus]}
    returns: {n: integer}
    budget: {usd: 0.5}
outputs: {n: "{{ steps.fix.output.n }}", cost: "{{ steps.fix.cost_usd }}", model: "{{ steps.fix.model }}"}
"""
    home = project(tmp_path, manifest, coder=claude(script, "--permission-mode=plan"))
    run = home.run()
    assert (run.state, run.outputs) == ("succeeded", {"n": 7, "cost": 0.25, "model": "opus"})
    (given,) = script.given
    assert given["cwd"] == str(home.folder) and given["stdin"] == "count"
    assert {"--permission-mode=plan", "--model=opus", "--max-budget-usd=0.500000000", "--allowedTools", "Read"} <= set(
        given["argv"]
    )
    assert any(arg.startswith("--json-schema={") for arg in given["argv"])


def test_a_missing_program_passes_to_the_next_and_a_missing_variable_too(tmp_path: Path) -> None:
    script = Script(tmp_path, INIT, result())
    gone = {"preset": "claude-code", "args": [f"--command={tmp_path / 'gone'}"]}
    unset = {"preset": "openclaw", "url": "http://127.0.0.1:1", "token": "${NEVER_SET_ANYWHERE}"}
    home = project(tmp_path, gone=gone, unset=unset, coder=claude(script))
    run = home.run()
    assert (run.state, run.steps["fix"].executor) == ("succeeded", "coder")
    record = home.record()
    rows = [(row.executor, row.error_class, row.cost) for row in record.attempts(run.run or "", "fix")]
    record.close()
    assert rows == [("gone", "unavailable", 0), ("coder", "", 250_000)]  # who lacks a variable is not even asked


def test_a_forgotten_conversation_costs_a_repair_round_nothing_but_its_memory(tmp_path: Path) -> None:
    script = Script(tmp_path, INIT, result("one"))
    forgotten = "No conversation found with session ID: x"
    marker = tmp_path / "asked"
    script.command.write_text(
        f"""#!/bin/sh
case "$*" in *--resume=*) echo '{json.dumps({"type": "result", "is_error": True, "errors": [forgotten], "session_id": SESSION})}'; exit 1;; esac
text=one; test -e {marker} && text=two; touch {marker}
echo '{json.dumps(INIT["say"])}'
echo '{json.dumps(result("TEXT")["say"])}' | sed "s/TEXT/$text/"
"""
    )
    manifest = "steps: {fix: {agent: count, checks: [{expr: text == 'two'}], repair: {max: 1}}}"
    home = project(tmp_path, manifest, coder=claude(script))
    run = home.run()
    assert (run.state, run.steps["fix"].attempts) == ("succeeded", 2)
    logs = "".join(file.read_text() for file in (home.folder / ".ares" / "logs").rglob("*.log"))
    assert f"coder does not know the conversation {SESSION} any more" in logs
