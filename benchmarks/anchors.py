"""The two anchors that every figure is divided by, and how a child process is measured. Standard library and apsw only.

This module stays light on purpose: the peak memory of a child is never below that of the process that forked it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMITS = 1_000
SETTINGS = ("RUNNER_", "DAGSTER_", "DBOS_", "LANGCHAIN_", "LANGSMITH_", "LUIGI_", "PREFECT_", "SNAKEMAKE_", "TEMPORAL_")
"""How the names of variables begin that configure what is measured."""


def commits_per_second(folder: Path, count: int = COMMITS) -> float:
    """Anchor `a`: single-row commits a second, SQLite in WAL mode with `synchronous=FULL`, on the file system of `folder`."""
    import apsw

    path = folder / "anchor.db"
    db = apsw.Connection(str(path))
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("create table t(a, b, c, d)")
    begun = time.perf_counter()
    for _ in range(count):
        db.execute("begin immediate")
        db.execute("insert into t values(?, ?, ?, ?)", ("r", "s", "k", "x" * 150))
        db.execute("commit")
    spent = time.perf_counter() - begun
    db.close()
    for left in folder.glob("anchor.db*"):
        left.unlink()
    return count / spent


@dataclass(frozen=True)
class Spent:
    """What a child process cost, its own children included. Seconds; `rss` is its peak in MiB."""

    cpu: float
    wall: float
    rss: float
    code: int
    out: str


def child(argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None, limit: float | None = None) -> Spent:
    """Run a program to its end. Its stdout is kept, its stderr thrown away.

    With a `limit` in seconds it is a process group of its own, which is killed when that time is over, and at the end: no server stays."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=clean(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=limit is not None,
    )
    assert process.stdout is not None
    with _bounded(process.pid, limit) if limit is not None else nullcontext():
        out = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Spent(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024, process.returncode, out)


@contextmanager
def _bounded(group: int, limit: float) -> Iterator[None]:
    timer = threading.Timer(limit, _end, [group])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _end(group)


def _end(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def clean(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what would change a measurement: unwritten bytecode, and settings of the runner and of other engines."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE" and not k.startswith(SETTINGS)}
    return kept | dict(env or {})


def pass_cpu(cwd: Path, times: int = 7) -> float:
    """Anchor `pass`: CPU seconds of `python -c pass`, the median of a few."""
    return sorted(child([sys.executable, "-c", "pass"], cwd).cpu for _ in range(times))[times // 2]
