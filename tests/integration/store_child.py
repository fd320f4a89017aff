"""A process that writes to a state database until it is stopped. `store_child.py PATH RUN PLAN [ARG]`; see PLANS.

It prints one line for each thing that was acknowledged, and an error's class when it is refused.
"""

from __future__ import annotations

import os
import resource
import sys
import urllib.parse  # noqa: F401  Python 3.13 imports it late, when a user without rights cannot any more
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.clock import SystemClock
from runner.core.events import Event, Recorded
from runner.errors import StoreError
from runner.ports import NewManifest, NewRun, OwnerId, Unit
from runner.store.owners import this_process
from runner.store.sqlite import SqliteStore

MANIFEST = NewManifest("digest-1", "report", '{"steps":[{"id":"a"}]}', "")


def new_run(run: str, task: str = "task-1") -> NewRun:
    return NewRun(run, run, "report", MANIFEST.digest, task, {}, 1_000)


def line(run: str, seq: int, kind: str, node: str = "", **data: Any) -> Recorded:
    return Recorded(run, seq, 1_000 + seq, Event(kind, node, data))


def step(run: str, seq: int, index: int, padding: str = "") -> list[Recorded]:
    """Two events: attempt of step `index` starts and succeeds."""
    node = f"step{index}"
    return [
        line(run, seq, "attempt_started", node, n=1, effects="none", effect_key="e", key=f"{run}-{node}"),
        line(run, seq + 1, "attempt_succeeded", node, n=1, result={"value": {"output": index}}, cost=1, pad=padding),
    ]


def wait(answer: Any) -> Any:
    return answer.result(timeout=30)


def say(text: object) -> None:
    os.write(1, f"{text}\n".encode())


def commit_for_ever(store: SqliteStore, run: str, arg: str) -> None:
    """Acknowledge each committed seq; `arg` = bytes of padding in each unit."""
    epoch = wait(store.begin(new_run(run, task=run), MANIFEST, this_process()))
    wait(store.commit(Unit(run, epoch, [line(run, 1, "run_started")])))
    seq, padding = 2, "x" * int(arg or 0)
    while True:
        wait(store.commit(Unit(run, epoch, step(run, seq, seq, padding))))
        say(seq + 1)
        seq += 2


def until_the_disk_is_full(store: SqliteStore, run: str, arg: str) -> None:
    """No file may grow beyond `arg` bytes: as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(arg), int(arg)))
    try:
        commit_for_ever(store, run, "2000")
    except StoreError as error:
        say(type(error).__name__)
    for write in (lambda: store.heartbeat(this_process()), lambda: store.post(run, "cancel", {}, "me")):
        try:
            wait(write())
        except StoreError as error:
            say(type(error).__name__)


def begin_once(store: SqliteStore, run: str, arg: str) -> None:
    """Wait for a line on stdin, begin the task, hold the lease until stdin ends."""
    sys.stdin.readline()
    try:
        wait(store.begin(new_run(run), MANIFEST, this_process()))
        say("begun")
    except StoreError as error:
        say(type(error).__name__)
    sys.stdin.read()


def write_when_asked(store: SqliteStore, run: str, arg: str) -> None:
    """Begin as an owner of another host, then commit one event for each line on stdin."""
    epoch = wait(store.begin(new_run(run), MANIFEST, OwnerId("stale", "another-host", os.getpid(), 0)))
    say("begun")
    for seq, _ in enumerate(sys.stdin, start=1):
        try:
            wait(store.commit(Unit(run, epoch, [line(run, seq, "budget_raised", usd=1)])))
            say("committed")
        except StoreError as error:
            say(type(error).__name__)


PLANS: dict[str, Callable[[SqliteStore, str, str], None]] = {
    "commit": commit_for_ever,
    "commit-process": commit_for_ever,
    "fill": until_the_disk_is_full,
    "begin": begin_once,
    "write": write_when_asked,
}


def main(path: str, run: str, plan: str, arg: str = "") -> None:
    if plan == "as-nobody":
        os.setgid(65_534)
        os.setuid(65_534)
        plan = "begin"
    try:
        store = SqliteStore.open(
            Path(path),
            clock=SystemClock(),
            read_only=arg == "read-only",
            durability="process" if plan == "commit-process" else "full",
        )
    except StoreError as error:
        say(type(error).__name__)
        return
    if arg == "read-only":
        say(f"{[row.run for row in store.runs()]} {[row.seq for row in store.events(run)]}")
        return
    say("open")
    PLANS[plan](store, run, arg)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
