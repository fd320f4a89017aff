"""`agent` steps of manifests with the real `claude` and the real OpenClaw, in front of a loopback API that plays a script. They are
installed by `.ci/install-claude` and `.ci/install-openclaw`; else these tests skip with the reason."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from apply_project import Project
from servers.fake_anthropic import FakeAnthropic, Turn
from test_agent_kill import ORPHANS_S, PATIENCE, gone, noted, run, runner, wait_until
from test_bridge_openclaw_real import gateway, settings

pytestmark = pytest.mark.slow

WRITE = Turn(tool="Write", given={"file_path": "note.txt", "content": "hello\n"})
HANGS = "setsid sleep 600 & echo $! > pids; echo $$ >> pids; sleep 601"
HANG = Turn(tool="Bash", given={"command": HANGS, "description": "wait"})
Json = dict[str, Any]


def coder(claude: str, api: FakeAnthropic, root: Path) -> Json:
    """The entry of a `claude` with a home of its own, in front of `api`."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    env = {"HOME": str(home), "ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "sk-test"}
    return {"preset": "claude-code", "args": [f"--command={claude}"], "env": env}


def project(root: Path, manifest: str, *, models: Json | None = None, **servers: Json) -> Project:
    given = {"state": {"durability": "process"}, "mcp_servers": servers, "router": {"agents": list(servers)}}
    home = Project(root / "project", json.dumps(given | ({"models": models} if models else {})))
    home.manifest(manifest)
    return home


def steps(agent: str, more: str = "") -> str:
    return f"steps: {{fix: {{agent: {agent}, timeout: 2m, faults: {{retry: {{max: 0}}}}{more}}}}}\noutputs: {{said: '{{{{ steps.fix.text }}}}'}}"


def applied(home: Project) -> tuple[int, Json]:
    with runner(home, "apply", "--json", "m.yaml") as child:
        out, err = child.communicate(timeout=4 * PATIENCE)
        assert out, err
        return child.returncode, json.loads(out)["runs"][0]


def rows(home: Project) -> list[Any]:
    record = home.record()
    try:
        [row] = record.runs()
        return list(record.attempts(row.run, "fix"))
    finally:
        record.close()


def pids(home: Project) -> list[int]:
    """The processes of `HANG`, once it runs."""
    file = home.folder / "pids"
    wait_until(lambda: file.exists() and len(file.read_text().split()) == 2)
    return [int(pid) for pid in file.read_text().split()]


# ---------------------------------------------------------------- Claude Code


def test_claude_changes_a_file_with_a_tool_and_its_price_is_on_record(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([WRITE, Turn(text="it is written")]) as api:
        checks = ", checks: [{changed: {only: [note.txt]}}, {run: [grep, -q, hello, note.txt]}]"
        home = project(
            tmp_path,
            steps("{prompt: write a note, allowed_tools: [Write]}", checks),
            coder=coder(claude, api, tmp_path),
        )
        code, told = applied(home)
    assert (code, told["outputs"]) == (0, {"said": "it is written"}), told
    assert home.read("note.txt") == "hello\n"
    [row] = rows(home)
    assert (row.executor, row.cost_source, row.cost > 0, bool(row.session)) == ("coder", "billed", True, True)


def test_a_tool_that_is_not_allowed_is_denied(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([WRITE, Turn(text="all done!")]) as api:
        home = project(tmp_path, steps("write a note"), coder=coder(claude, api, tmp_path))
        code, told = applied(home)
    assert (code, told["steps"]["fix"]["error"]["class"]) == (1, "denied"), told
    assert not (home.folder / "note.txt").exists()


@pytest.mark.parametrize(("status", "error_class"), [(401, "auth"), (429, "rate_limit"), (529, "unavailable")])
def test_a_refusal_of_the_api_has_its_class(status: int, error_class: str, claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([Turn(status=status)]) as api:
        home = project(tmp_path, steps("write a note"), coder=coder(claude, api, tmp_path))
        applied(home)
    row = rows(home)[0]
    assert (row.error_class, row.effect, row.cost) == (error_class, "none", 0)


def test_a_cancel_ends_claude_and_all_that_it_started(claude: str, tmp_path: Path) -> None:
    with FakeAnthropic([HANG, Turn(text="x")]) as api:
        home = project(tmp_path, steps("{prompt: wait, allowed_tools: [Bash]}"), coder=coder(claude, api, tmp_path))
        with runner(home, "apply", "m.yaml") as child:
            started = pids(home)
            record = home.record()
            [row] = record.runs()
            record.close()
            assert run(home, "cancel", row.run)[0] == 0
            child.wait(PATIENCE)
            wait_until(lambda: all(map(gone, started)), ORPHANS_S)
    assert [row.state for row in rows(home)] == ["cancelled"]


def test_after_kill_9_claude_goes_on_in_its_session_and_nothing_outlived_the_runner(
    claude: str, tmp_path: Path
) -> None:
    with FakeAnthropic([WRITE, HANG]) as api:
        home = project(
            tmp_path, steps("{prompt: write a note, allowed_tools: [Write, Bash]}"), coder=coder(claude, api, tmp_path)
        )
        with runner(home, "apply", "m.yaml") as child:
            started = pids(home)
            assert noted(home)
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE)
            wait_until(lambda: all(map(gone, started)), ORPHANS_S)
        api.script = (Turn(text="it was written before"),)
        code, told = applied(home)
        said = json.dumps(api.asked[-1]["messages"])
    assert (code, told["outputs"]) == (0, {"said": "it was written before"}), told
    assert "write a note" in said and "File created" in said and "You were interrupted" in said
    first, second = rows(home)
    assert first.session == second.session and first.effect_key == second.effect_key


# ---------------------------------------------------------------- OpenClaw, and the chain of all


def claw_exec(openclaw: str, api: FakeAnthropic, root: Path) -> Json:
    (root / "claw").mkdir()
    config = settings(api, root / "claw")
    return {
        "preset": "openclaw",
        "args": [f"--command={openclaw}", f"--config={config}"],
        "env": {"HOME": str(root / "claw")},
    }


def test_openclaw_changes_a_file_of_the_workspace(openclaw: str, tmp_path: Path) -> None:
    with FakeAnthropic(
        [Turn(tool="write", given={"path": "note.txt", "content": "hello\n"}), Turn(text="written")]
    ) as api:
        home = project(
            tmp_path,
            steps("write a note", ", checks: [{changed: {only: [note.txt]}}]"),
            claw=claw_exec(openclaw, api, tmp_path),
        )
        code, told = applied(home)
    assert (code, told["outputs"]) == (0, {"said": "written"}), told
    assert home.read("note.txt") == "hello\n"


def test_a_gateway_is_repaired_in_its_session_a_cancel_hangs_up_and_after_kill_9_it_goes_on_there(
    openclaw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAW_TOKEN", "tok-of-the-gateway")
    turns = [Turn(text="one"), Turn(text="two"), Turn(hold=True)]
    with FakeAnthropic(turns) as api, gateway(openclaw, api, tmp_path, token="tok-of-the-gateway") as url:
        claw = {"preset": "openclaw", "url": url, "token": "${CLAW_TOKEN}"}
        home = project(tmp_path, steps("count", ", checks: [{expr: text == 'two'}], repair: {max: 1}"), claw=claw)
        code, told = applied(home)
        assert (code, told["outputs"]) == (0, {"said": "two"}), told
        assert "count" in json.dumps(api.asked[-1]["messages"][:-1])
        home.manifest(steps("think long"))
        with runner(home, "apply", "m.yaml") as child:
            assert api.reached.wait(4 * PATIENCE)
            record = home.record()
            row = record.runs()[0]
            record.close()
            assert run(home, "cancel", row.run)[0] == 0
            child.wait(PATIENCE)
            assert api.gone.wait(30)
        api.reached.clear()
        api.gone.clear()
        api.script = (Turn(hold=True),)
        home.manifest(steps("think longer"))
        with runner(home, "apply", "m.yaml") as child:
            assert api.reached.wait(4 * PATIENCE)
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE)
            assert api.gone.wait(30)
        api.script = (Turn(text="thought"),)
        code, told = applied(home)
        assert (code, told["outputs"]) == (0, {"said": "thought"}), told
        said = json.dumps(api.asked[-1]["messages"])  # without the turn that was cut off: a gateway forgets those
        assert "think longer" in said and "You were interrupted" in said
        record = home.record()
        sessions = [row.session for row in record.attempts(record.runs()[0].run, "fix")]
        record.close()
        assert len(sessions) == 2 and sessions[0] == sessions[1]


BUSY = Turn(status=529)
BUSY_FOR_LONG = Turn(status=529, headers={"retry-after": "3600"})
"""OpenClaw asks again for 90 s, unless it is told that this is of no use."""
PENNILESS = Turn(status=400, message="Your credit balance is too low to access the Anthropic API.")


@pytest.mark.parametrize(
    ("turns", "error_class"),
    [([BUSY, BUSY, BUSY_FOR_LONG], "unavailable"), ([PENNILESS], "quota")],
    ids=["unavailable", "quota"],
)
async def test_a_chain_of_claude_openclaw_and_a_model_falls_through(
    turns: list[Turn], error_class: str, claude: str, openclaw: str, tmp_path: Path
) -> None:
    import asyncio

    from servers.fake_llm import FakeLlm

    with FakeAnthropic(turns) as api:
        async with FakeLlm(says={"small": ["a patch"]}) as upstream:
            models: Mapping[str, Any] = {
                "endpoints": {"there": {"kind": "openai", "url": upstream.url}},
                "catalog": {"small": {"endpoint": "there", "model": "small", "tier": "free"}},
            }
            fallback = (
                ", fallback: [{model: 'Write a patch. Before: {{ error.message }}', errors: [quota, unavailable]}]"
            )
            home = project(
                tmp_path, steps("write a note", fallback), models=dict(models),
                coder=coder(claude, api, tmp_path), claw=claw_exec(openclaw, api, tmp_path),
            )  # fmt: skip
            code, told = await asyncio.to_thread(applied, home)
    assert (code, told["outputs"]) == (0, {"said": "a patch"}), told
    seen = [(row.executor, row.error_class) for row in rows(home)]
    assert seen == [("coder", error_class), ("claw", error_class), ("there", "")], [row.message for row in rows(home)]
    assert (told["steps"]["fix"]["executor"], told["steps"]["fix"]["model"]) == ("there", "small")
