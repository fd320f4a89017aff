"""Server processes of a runner that was killed together with its guards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.executors.mcp_process import ProcessId, pid_start
from runner.executors.orphans import KEPT_MS, Orphans, reap
from runner.store.owners import host_name, this_process


@pytest.fixture
def server() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def identity(pid: int) -> ProcessId:
    return ProcessId(pid, pid_start(pid) or 0)


DEAD = ProcessId(2**22 + 1, 1)
HERE = "box"
THERE = host_name("box", "pid:[4026532178]")
NOW = time.time_ns() // 1_000_000


def test_what_a_dead_runner_left_is_ended_and_forgotten(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    Orphans(tmp_path, DEAD, HERE).note("files", identity(server.pid))
    assert reap(tmp_path, HERE, NOW) == 1
    assert server.wait(timeout=5) == -9
    assert list(tmp_path.iterdir()) == []


def test_servers_of_a_runner_that_lives_are_left_alone(tmp_path: Path, server: subprocess.Popen[bytes]) -> None:
    Orphans(tmp_path, identity(os.getpid()), HERE).note("files", identity(server.pid))
    assert reap(tmp_path, HERE, NOW) == 0
    assert server.poll() is None


def test_a_pid_that_was_given_to_another_process_is_not_touched(
    tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    Orphans(tmp_path, DEAD, HERE).note("files", ProcessId(server.pid, 1))
    assert reap(tmp_path, HERE, NOW) == 0
    assert server.poll() is None


def test_a_runner_that_ends_in_order_leaves_no_note(tmp_path: Path) -> None:
    orphans = Orphans(tmp_path, identity(os.getpid()), HERE)
    orphans.note("files", DEAD)
    orphans.forget()
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a-b").mkdir()
    assert reap(tmp_path, HERE, NOW) == 0
    assert reap(tmp_path / "missing", HERE, NOW) == 0


def test_a_folder_that_another_runner_has_just_removed_is_passed_over(
    tmp_path: Path, server: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = ProcessId(DEAD.pid, DEAD.start + 1)
    Orphans(tmp_path, gone, HERE).note("files", identity(server.pid))
    Orphans(tmp_path, DEAD, HERE).note("files", identity(server.pid))
    listed = Path.iterdir

    def faster(folder: Path) -> Iterator[Path]:
        if folder.name.startswith(f"{gone.pid}-{gone.start}-"):
            shutil.rmtree(folder)
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", faster)

    assert reap(tmp_path, HERE, NOW) == 1


def test_the_same_pid_and_start_time_in_another_container_are_another_process(
    tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    """What a runner in a container notes of its own processes means nothing to us, though we share the folder with it."""
    Orphans(tmp_path, DEAD, THERE).note("files", identity(server.pid))
    (tmp_path / f"{DEAD.pid}-{DEAD.start}").mkdir()  # of a version that did not say where
    (tmp_path / f"{DEAD.pid}-{DEAD.start}" / f"{server.pid}-{pid_start(server.pid)}").touch()
    assert reap(tmp_path, HERE, NOW) == 0
    assert server.poll() is None
    assert len(list(tmp_path.iterdir())) == 2
    assert reap(tmp_path, THERE, NOW) == 1  # its own next runner ends it


def test_old_notes_of_containers_that_never_came_back_are_thrown_away_unread(
    tmp_path: Path, server: subprocess.Popen[bytes]
) -> None:
    Orphans(tmp_path, DEAD, THERE).note("files", identity(server.pid))
    [left] = tmp_path.iterdir()
    noted = round(left.stat().st_mtime * 1000)
    assert reap(tmp_path, HERE, noted + KEPT_MS - 1_000) == 0
    assert left.exists()
    assert reap(tmp_path, HERE, noted + KEPT_MS + 1_000) == 0
    assert server.poll() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrapped", [(), ("unshare", "--pid", "--fork", "--mount-proc")])
def test_a_runner_ends_what_was_left_on_its_own_host_and_leaves_the_notes_of_others(
    tmp_path: Path, server: subprocess.Popen[bytes], wrapped: tuple[str, ...]
) -> None:
    """The whole program: here, and as in a container of the same name that shares the folder, where all of us are gone."""
    if wrapped and subprocess.run([*wrapped, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("no namespaces are to be had here")
    (tmp_path / ".ares").mkdir(mode=0o700)
    (tmp_path / "m.yaml").write_text("ares: v1\nname: m\nsteps: {a: {set: {b: 1}}}\n")
    Orphans(tmp_path / ".ares" / "servers", DEAD, this_process().host).note("files", identity(server.pid))
    done = subprocess.run([*wrapped, sys.executable, "-m", "runner", "apply", "m.yaml"], cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    left = list((tmp_path / ".ares" / "servers").iterdir())
    if wrapped:
        assert server.poll() is None and len(left) == 1
    else:
        assert server.wait(5) == -9 and left == []
