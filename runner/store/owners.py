"""Who drives runs, and whether he still lives. Reads /proc; writes nothing."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

from runner.clock import Millis
from runner.ports import OwnerId

LEASE_TTL_MS = 30_000
"""An owner on another host counts as dead when its heartbeat is older than this. Here, the process itself is looked up."""
INITIAL = "pid:[4026531836]"
"""The PID namespace that Linux begins with (PROC_PID_INIT_INO): the same on every machine, and after each of its starts."""


def this_process() -> OwnerId:
    """An owner for this process; each call makes another one."""
    pid = os.getpid()
    return OwnerId(os.urandom(8).hex(), _host(), pid, start_of(pid) or 0)


@cache
def _host() -> str:
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # no Linux, or nobody may look
        namespace = ""
    return host_name(socket.gethostname(), namespace)


def host_name(name: str, namespace: str) -> str:
    """What stands for a host: a PID namespace of its own (a container) is one, whatever it is called. Process ids mean nothing there."""
    return name if namespace in ("", INITIAL) else f"{name} ({namespace})"


def start_of(pid: int) -> int | None:
    """When `pid` started, in clock ticks since boot; 0 = it runs, but the system does not say; None = no such process.

    A zombie has ended: it only waits for its parent."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # the name before may hold anything
    except FileNotFoundError:
        return _runs(pid)
    except (ProcessLookupError, PermissionError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _runs(pid: int) -> int | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # somebody else's, and alive
    return 0


def is_alive(owner: OwnerId, heartbeat: Millis, now: Millis) -> bool:
    """On this host: a process of that id and start time runs. On another: it was heard of within LEASE_TTL_MS."""
    if owner.host != _host():
        return now - heartbeat < LEASE_TTL_MS
    start = start_of(owner.pid)
    return start is not None and (start == owner.pid_start or 0 in (start, owner.pid_start))
