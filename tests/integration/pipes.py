"""Programs that wait for each other through named pipes, never by time: the step `wait` says `began`, and ends with `go`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cli_project import Project


def pipes(folder: Path) -> None:
    """Make them."""
    for name in ("began", "go"):
        os.mkfifo(folder / name)


def meet(path: Path, act: Callable[[], str | int]) -> str:
    """Open a named pipe, which waits for its other end, and act; with a bound, should the program have died."""
    with ThreadPoolExecutor(1) as pool:
        met = pool.submit(act)
        try:
            return str(met.result(timeout=30))
        except TimeoutError:
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))  # gives the thread its other end
            raise AssertionError(f"nobody came to {path.name}") from None


def begun(project: Project) -> int:
    """Wait until the step `wait` runs; its process."""
    path = project.root / "began"
    return int(meet(path, path.read_text))


def let_go(project: Project) -> None:
    """Let the step `wait` end."""
    path = project.root / "go"
    meet(path, lambda: path.write_text(""))


@contextmanager
def reading_of(path: Path, process: subprocess.Popen[str]) -> Iterator[None]:
    """The process is reading the pipe, and waits for what we never write. That it has opened it is not enough: a signal that comes in the
    microseconds before the system call waits is seen by Python only after the call (here: never)."""
    ends: list[int] = []
    meet(path, lambda: ends.append(os.open(path, os.O_WRONLY)) or "")
    while _state(process.pid) == "R":
        os.sched_yield()
    yield
    os.close(ends[0])


def _state(pid: int) -> str:
    """Of the main thread, as ps tells it: R runs, S waits, Z has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def ledger(project: Project) -> list[str]:
    return (project.root / "ledger").read_text().split()


def until(process: subprocess.Popen[str], text: str) -> None:
    """Read the progress up to a line that holds `text`."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"ended without {text!r}")


@contextmanager
def a_terminal_that_may_hang_up() -> Iterator[None]:
    """What we start is told of a closed terminal, even if we were started by `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def alive(pid: int) -> bool:
    try:
        return _state(pid) != "Z"
    except FileNotFoundError:
        return False
