"""The process between us and an MCP server: no descendant of the server outlives us, however we end.

Run by path (`python -I -S mcp_guard.py RUNNER_PID COMMAND ARG…`), so it imports the standard library only. It starts COMMAND with our
pipes, dies with the runner (parent-death signal), adopts what the server leaves behind (sub-reaper), and ends all of it when the
server has ended or when asked: SIGTERM = politely, then by force after `GRACE_S`; SIGQUIT = by force at once.
Not here: pipes and messages (`mcp_process`). Off Linux the parent is polled for and the process group is all that is ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

GRACE_S = 1.0
"""From SIGTERM to SIGKILL."""
POLL_S = 1.0
"""How often the parent is looked for where the kernel cannot tell us."""
CANNOT_RUN = 127
"""Exit status when COMMAND could not be started, as of a shell."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT, signal.SIGALRM)


def prctl(option: int, value: int) -> bool:
    """True when the kernel took the option: Linux only."""
    if sys.platform != "linux":
        return False
    import ctypes  # costs 5 ms, and not every build of Python has it

    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)


def children() -> list[int]:
    """Our children, adopted ones included; empty where /proc cannot tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:  # noqa: PTH123 (pathlib would double our start-up)
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def end_all() -> None:
    """Kill every descendant: killing a child makes its children ours, so this goes on until there are none but those that are another
    user's (`sudo`), which we may not kill."""
    beyond: set[int] = set()
    while pids := set(children()) - beyond:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except PermissionError:
                beyond.add(pid)
        for pid in pids - beyond:
            os.waitpid(pid, 0)


def become(command: Sequence[str]) -> NoReturn:
    """Turn this (forked) process into the server."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Python ignores these two and exec would pass that on.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execvp(command[0], list(command))
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    os._exit(CANNOT_RUN)


def reap(child: int) -> int | None:
    """Collect the dead; the server's exit status once it is among them."""
    status: int | None = None
    while True:
        try:
            pid, raw = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = os.waitstatus_to_exitcode(raw)


def watch(child: int, parent: int) -> int:
    """Until the server has ended or must: its exit status (negative = signal), -SIGKILL when it did not end by itself."""
    asked = False
    while True:
        seen = signal.sigwait(_WATCHED)
        if seen == signal.SIGCHLD:
            status = reap(child)
            if status is not None:
                return status
        elif seen == signal.SIGQUIT or (seen == signal.SIGALRM and asked):
            return -signal.SIGKILL
        elif not asked and (seen == signal.SIGTERM or os.getppid() != parent):
            asked = True  # our own SIGTERM comes back to us: we are in the group
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)
            os.kill(child, signal.SIGTERM)
            os.killpg(0, signal.SIGTERM)


def main(argv: Sequence[str]) -> int:
    parent, command = int(argv[0]), list(argv[1:])
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    if not prctl(_PR_SET_PDEATHSIG, signal.SIGTERM):
        signal.setitimer(signal.ITIMER_REAL, POLL_S, POLL_S)
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        return 1  # the runner died before the kernel knew that we want to be told
    child = os.fork()
    if child == 0:
        become(command)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (
        0,
        1,
        2,
    ):  # the pipes are the server's: they must close when it ends
        os.dup2(null, descriptor)
    status = watch(child, parent)
    end_all()
    if not sys.platform.startswith("linux"):
        os.killpg(0, signal.SIGKILL)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
