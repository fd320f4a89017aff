"""Who still lives: here by its process, elsewhere by its heartbeat, and another PID namespace is elsewhere."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from runner.ports import OwnerId
from runner.store.owners import INITIAL, LEASE_TTL_MS, host_name, is_alive, this_process

SAY = "import json, sys; from runner.store.owners import this_process; print(json.dumps(this_process())); sys.stdin.read()"
NOW = 1_800_000_000_000


def test_an_owner_here_lives_as_long_as_its_process_does() -> None:
    ours = this_process()
    assert is_alive(ours, 0, NOW)
    assert not is_alive(ours._replace(pid_start=ours.pid_start + 1), NOW, NOW)


def test_a_runner_in_another_container_of_the_same_host_name_lives_by_its_heartbeat() -> None:
    unshare = ("unshare", "--pid", "--fork", "--mount-proc")
    if subprocess.run([*unshare, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("no namespaces are to be had here")
    with subprocess.Popen(
        [*unshare, sys.executable, "-c", SAY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        there = OwnerId(*json.loads(child.stdout.readline()))
        assert there.host.startswith(socket.gethostname())
        assert is_alive(there, NOW - LEASE_TTL_MS + 1, NOW)
        assert not is_alive(there, NOW - LEASE_TTL_MS, NOW)
        child.stdin.close()


@pytest.mark.parametrize(
    ("namespace", "name"),
    [(INITIAL, "box"), ("", "box"), ("pid:[4026532178]", "box (pid:[4026532178])")],
)
def test_the_name_of_a_host_tells_pid_namespaces_apart_but_not_the_first(namespace: str, name: str) -> None:
    assert host_name("box", namespace) == name
