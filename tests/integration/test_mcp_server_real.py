"""`runner mcp` with the real `claude` and the real `openclaw` as its clients. `.ci/install-claude` and `.ci/install-openclaw` install
them; else these tests skip with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp_server_calls import ALL, GATE, HELLO, project
from servers.fake_anthropic import FakeAnthropic, Turn

pytestmark = pytest.mark.slow

SERVER = [sys.executable, "-P", "-m", "runner", "mcp"]
QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "ENABLE_TOOL_SEARCH": "false"}


class Home:
    """A client's home, and a project beside it."""

    def __init__(self, folder: Path, program: str, config: str = "") -> None:
        self.home, self.program = folder / "home", program
        self.home.mkdir()
        self.root = project(folder / "project", config, hello=HELLO, gate=GATE)

    def run(self, *argv: str, said: str = "", **env: str) -> str:
        done = subprocess.run(
            [self.program, *argv],
            input=said,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **QUIET, **env},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def session(self, api: FakeAnthropic, *allowed: str) -> list[dict[str, Any]]:
        """The tool results of a session of claude against `api`."""
        tools = ",".join(f"mcp__ares__{name}" for name in allowed)
        said = self.run(
            "-p",
            "--output-format",
            "stream-json",
            "--verbose",
            "--allowedTools",
            tools,
            said="go",
            ANTHROPIC_BASE_URL=api.url,
            ANTHROPIC_API_KEY="sk-test",
        )
        messages = [json.loads(line) for line in said.splitlines()]
        contents = [one["message"]["content"] for one in messages if one["type"] == "user"]
        return [block for content in contents for block in content if block.get("type") == "tool_result"]


def offered(api: FakeAnthropic) -> list[str]:
    """Our tools in the first request of the session."""
    names = [tool["name"] for tool in api.asked[0]["tools"]]
    return sorted(name.removeprefix("mcp__ares__") for name in names if name.startswith("mcp__ares__"))


def test_claude_is_set_up_as_the_recipe_says_and_is_offered_what_only_reads(claude: str, tmp_path: Path) -> None:
    home = Home(tmp_path, claude)
    home.run("mcp", "add", "ares", "--", *SERVER)
    assert "ares" in home.run("mcp", "list") and "✔ Connected" in home.run("mcp", "list")
    script = [Turn(tool="mcp__ares__plan", given={"paths": ["hello.yaml"]}), Turn(text="done")]
    with FakeAnthropic(script) as api:
        results = home.session(api, "plan")
        assert offered(api) == ["events", "logs", "plan", "route", "show", "status", "validate"]
    assert json.loads(results[0]["content"])["manifests"][0]["action"] == "create"


def test_claude_applies_where_the_operator_allows_it_and_cannot_pass_a_gate(claude: str, tmp_path: Path) -> None:
    home = Home(tmp_path, claude, "policy: {mcp: {allow: [apply, show]}}\n")
    home.run("mcp", "add", "ares", "--", *SERVER)
    script = [
        Turn(tool="mcp__ares__apply", given={"paths": ["gate.yaml"]}),
        Turn(tool="mcp__ares__approve", given={"run": "gate", "step": "ask"}),
        Turn(tool="mcp__ares__show", given={"run": "gate"}),
        Turn(text="done"),
    ]
    with FakeAnthropic(script) as api:
        applied, approved, shown = home.session(api, "apply", "approve", "show")
        assert offered(api) == ["apply", "show"]
    assert json.loads(applied["content"])["outcome"] == "suspended"
    assert approved["is_error"]
    assert json.loads(shown["content"])["waiting"][0]["reason"] == "approval"


def test_openclaw_is_set_up_as_the_recipe_says_and_finds_the_tools(openclaw: str, tmp_path: Path) -> None:
    home = Home(tmp_path, openclaw, f"policy: {{mcp: {{allow: {ALL}}}}}\n")
    arguments = [word for argument in [*SERVER[1:], str(home.root)] for word in ("--arg", argument)]
    said = home.run("mcp", "add", "ares", "--command", SERVER[0], *arguments)
    assert 'Saved MCP server "ares"' in said
    assert "ares: 13 tools" in home.run("mcp", "probe", "ares")
