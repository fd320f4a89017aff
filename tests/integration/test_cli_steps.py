"""Steps as people and programs are told of them: in the order of the manifest, and what an optional one's failure means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_project import Project

WRITTEN = """
ares: v1
name: written
steps:
  zebra: {run: [echo, z], effects: none}
  many: {foreach: [1, 2, 10], run: [sh, -c, "test {{ item }} != 2"], effects: none, join: settled, optional: true}
  soft: {fail: not important, optional: true}
  behind: {run: [echo, b], needs: [soft], effects: none, optional: true}
  apple: {run: [echo, a], needs: [zebra], effects: none}
"""
ORDER = ["zebra", "many", "soft", "behind", "apple"]


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("written.yaml", WRITTEN)
    return project


def test_documents_list_steps_as_the_manifest_does(project: Project) -> None:
    done = project.cli("apply", "written.yaml", "--json")
    assert done.code == 0, done.err
    steps = json.loads(done.out)["runs"][0]["steps"]
    assert list(steps) == ORDER
    assert list(steps["many"]["items"]) == ["0", "1", "2"]
    assert list(project.cli("show", "written", "--json").json["steps"]) == ORDER
    assert list(project.cli("apply", "written.yaml", "--json").json["runs"][0]["steps"]) == ORDER


def test_the_failure_of_an_optional_step_is_told_apart(project: Project) -> None:
    summary = project.cli("apply", "written.yaml").out
    assert "✗ soft  failed (optional)" in summary
    assert "✗ many[1] (1)  failed (optional)" in summary
    shown = project.cli("show", "written").out
    assert "✗ failed (optional)  soft" in shown
    project.write("written.yaml", WRITTEN.replace("fail: not important, optional: true", "fail: important"))
    assert "✗ soft  tool_error: important" in project.cli("apply", "written.yaml").out
    assert "✗ failed             soft" in project.cli("show", "written").out
