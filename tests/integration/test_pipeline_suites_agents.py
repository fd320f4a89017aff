"""`runner test` with an agent: what it did to files is recorded with its answers, and done again when it is gone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from agent_calls import FakeAgent
from cli_project import Project

FIX = """
ares: v1
name: fix
inputs: {bug: {type: string, default: the sum is wrong}}
steps:
  fix:
    agent: "Fix this: {{ inputs.bug }}"
    checks: [{changed: {only: ["src/**"], min_files: 1}}, {run: [grep, -q, "2 + 2", src/sum.txt]}]
    repair: {max: 2}
  show: {run: [cat, src/sum.txt], needs: [fix], effects: none}
outputs: {said: "{{ steps.fix.text }}", sum: "{{ steps.show.text }}"}
"""
SUITE = """
ares-test: v1
manifest: fix.yaml
cases:
  in two rounds:
    expect:
      steps: {fix: {attempts: 2, route: [coder, coder], executor: coder}}
      outputs: {said: fixed, sum: 2 + 2}
      cost_usd: {min: 0.02, max: 0.02}
      files: {src/sum.txt: 2 + 2}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [name for name in os.environ if name.startswith(("RUNNER_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    made = Project(root, capsys)
    made.write("fix.yaml", FIX)
    made.write("suite.yaml", SUITE)
    made.write("src/sum.txt", "1 + 1\n")
    return made


def test_what_an_agent_said_and_wrote_is_replayed_round_by_round_without_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = FakeAgent(
        tmp_path / "agent",
        [{"session": "s-1"}, {"write": {"src/sum.txt": "1 + 2\n"}}, {"answer": {"text": "done"}}],
        [{"session": "s-1"}, {"write": {"src/sum.txt": "2 + 2\n"}}, {"answer": {"text": "fixed"}}],
        name="coder",
    )
    project.write(
        "config.yaml", json.dumps({"mcp_servers": {"coder": agent.config()}, "router": {"agents": ["coder"]}})
    )
    recorded = project.cli("test", "suite.yaml", "--record")
    assert recorded.code == 0, recorded.out + recorded.err
    text = (project.root / "suite.recording.yaml").read_text()
    assert "to: agent coder" in text and "session: s-1" in text and "src/sum.txt: |" in text
    assert str(tmp_path) not in text
    assert (project.root / "src/sum.txt").read_text() == "1 + 1\n"  # it worked on a copy

    agent.script.unlink()
    monkeypatch.setenv("PATH", "")
    replayed = project.cli("test", "suite.yaml")
    assert replayed.code == 0, replayed.out + replayed.err
    assert len(agent.given) == 2

    project.write("fix.yaml", FIX.replace("Fix this:", "Please fix this:"))
    changed = project.cli("test", "suite.yaml")
    assert changed.code == 1
    assert '-prompt: "Fix this: the sum is wrong"' in changed.out


def test_a_stub_of_an_agent_writes_files_too(project: Project) -> None:
    project.write(
        "config.yaml", "mcp_servers: {coder: {command: nobody, agent: {tool: run_task}}}\nrouter: {agents: [coder]}\n"
    )
    project.write(
        "suite.yaml",
        "ares-test: v1\nmanifest: fix.yaml\nrun: real\ncases:\n"
        '  at once:\n    stubs: {fix: {text: fixed, files: {src/sum.txt: "2 + 2\\n"}}}\n    expect: {outputs: {said: fixed, sum: 2 + 2}}\n'
        "  elsewhere:\n    stubs: {fix: {text: fixed, files: {README.md: hm}}}\n    expect: {run: failed, steps: {fix: {attempts: 3, error: check_failed}}}\n",
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.out
    assert (project.root / "src/sum.txt").read_text() == "1 + 1\n"
