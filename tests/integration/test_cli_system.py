"""What the system refuses, and words that no file, number or document can be, are told as what they are: never as a defect of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_project import HELLO, Project

LONG = "x" * 300
NINES = "9" * 5000
DEEP = "[" * 30_000 + "]" * 30_000


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("m.yaml", HELLO)
    return project


@pytest.mark.parametrize(
    "words",
    [
        ("watch", LONG, "--once"),
        ("report", "hello", "--html", LONG),
        ("apply", "m.yaml", "--junit", f"{LONG}/x"),
        ("--config", LONG, "status"),
        ("schema", "--check", "--write", LONG),
        ("plan", "m.yaml", "--out", f"{LONG}.json"),
        ("graph", LONG),
        ("explain", NINES),
        ("logs", "hello", f"greet.{NINES}"),
        ("resolve", "hello", "greet", "--done", DEEP),
        ("simulate", "m.yaml", "--stub", f"greet={DEEP}"),
    ],
)
def test_a_word_that_can_be_nothing_is_a_mistake_of_usage(project: Project, words: tuple[str, ...]) -> None:
    found = project.cli(*words)
    assert (found.code, "internal error" in found.err) == (2, False), found.err


def test_an_output_that_is_too_long_for_a_file_name_is_still_an_output(project: Project) -> None:
    found = project.cli("simulate", "m.yaml", "--stub", f"greet={LONG}")
    assert found.code == 0, found.err


@pytest.mark.parametrize(
    "words", [("--version",), ("--help",), ("events", "hello"), ("logs", "hello", "-f"), ("status",)]
)
def test_a_full_disk_under_the_output_is_named_by_every_verb(project: Project, words: tuple[str, ...]) -> None:
    project.cli("apply", "m.yaml")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "runner", *words], cwd=project.root, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert ended.returncode == 8
    assert ended.stderr.startswith("error: cannot write the result: No space left on device"), ended.stderr


def test_a_project_whose_path_is_no_text_is_told_so(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/od\xff"
    os.mkdir(folder)
    (Path(os.fsdecode(folder)) / "m.yaml").write_text(HELLO)
    ended = subprocess.run(
        [sys.executable, "-m", "runner", "apply", "m.yaml"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert ended.returncode == 7, ended.stderr
    assert "its path is no UTF-8 text" in ended.stderr
    assert "state.path" in ended.stderr
