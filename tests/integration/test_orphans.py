"""Server processes of a runner that was killed together with its guards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.executors.mcp_process import ProcessId, pid_start
from runner.executors.orphans import Orphans, reap


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def identity(pid: int) -> ProcessId:
    return ProcessId(pid, pid_start(pid) or 0)


DEAD = ProcessId(2**22 + 1, 1)


def test_what_a_dead_runner_left_is_ended_and_forgotten(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    Orphans(tmp_path, DEAD).note("files", identity(server.pid))
    assert reap(tmp_path) == 1
    assert server.wait(timeout=5) == -9
    assert list(tmp_path.iterdir()) == []


def test_servers_of_a_runner_that_lives_are_left_alone(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    Orphans(tmp_path, identity(os.getpid())).note("files", identity(server.pid))
    assert reap(tmp_path) == 0
    assert server.poll() is None


def test_a_pid_that_was_given_to_another_process_is_not_touched(
    tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    Orphans(tmp_path, DEAD).note("files", ProcessId(server.pid, 1))
    assert reap(tmp_path) == 0
    assert server.poll() is None


def test_a_runner_that_ends_in_order_leaves_no_note(tmp_path: Path) -> None:
    orphans = Orphans(tmp_path, identity(os.getpid()))
    orphans.note("files", DEAD)
    orphans.forget()
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a-b").mkdir()
    assert reap(tmp_path) == 0
    assert reap(tmp_path / "missing") == 0


def test_a_folder_that_another_runner_has_just_removed_is_passed_over(
    tmp_path: Path, server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ProcessId(DEAD.pid, DEAD.start + 1)
    Orphans(tmp_path, gone).note("files", identity(server.pid))
    Orphans(tmp_path, DEAD).note("files", identity(server.pid))
    listed = Path.iterdir

    def faster(folder: Path) -> Iterator[Path]:
        if folder.name == f"{gone.pid}-{gone.start}":
            shutil.rmtree(folder)
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", faster)

    assert reap(tmp_path) == 1
