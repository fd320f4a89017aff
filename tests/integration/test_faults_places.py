"""A place where no state database can be: every verb says so, with what to do about it, and leaves the place alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from cli_project import HELLO, Project

RUNS = [["apply", "hello.yaml"], ["status"], ["plan", "hello.yaml"]]


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("hello.yaml", HELLO)
    return project


def bad_places(folder: Path) -> dict[str, Path]:
    """What it is called → a path that can never be our database."""
    (folder / "a-file").write_text("text")
    (folder / "a-folder").mkdir()
    (folder / "a-loop").symlink_to("a-loop")
    os.mkfifo(folder / "a-pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "a-socket"))
    return {
        "a folder": folder / "a-folder", "a device": Path("/dev/null"), "a pipe": folder / "a-pipe", "a socket": folder / "a-socket",
        "a loop": folder / "a-loop", "below a file": folder / "a-file" / "state.db", "in a folder that cannot be made": Path("/proc/x/state.db"),
        "a name that is too long": folder / ("x" * 300),
    }  # fmt: skip


@pytest.mark.parametrize(
    "place",
    ["a folder", "a device", "a pipe", "a socket", "a loop", "below a file", "in a folder that cannot be made", "a name that is too long"],
)  # fmt: skip
def test_apply_names_a_place_that_cannot_hold_the_state(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    path = bad_places(project.root)[place]
    monkeypatch.setenv("RUNNER_STATE__PATH", str(path))
    done = project.cli("apply", "hello.yaml")
    assert done.code == 7
    assert f"there can be no state database {path}" in done.err
    assert "RUNNER_STATE__PATH" in done.err and "system's log" not in done.err
    assert "greet" not in done.err, "no step starts"


@pytest.mark.parametrize("verb", RUNS, ids=lambda verb: verb[0])
@pytest.mark.parametrize("place", ["a folder", "a device", "a pipe", "a loop", "below a file"])
def test_what_only_reads_does_not_take_something_else_for_an_empty_record(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str, verb: list[str]
) -> None:
    monkeypatch.setenv("RUNNER_STATE__PATH", str(bad_places(project.root)[place]))
    done = project.cli(*verb)
    assert done.code == 7
    assert "no runs yet" not in done.err
    assert "there can be no state database" in done.err


def test_a_place_where_nothing_is_yet_reads_as_an_empty_record(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_STATE__PATH", str(project.root / "later" / "state.db"))
    done = project.cli("status")
    assert done.code == 0 and "no runs yet" in done.err
    assert not (project.root / "later").exists()
