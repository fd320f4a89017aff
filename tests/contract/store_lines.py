"""Short ways to write runs, events and units in the tests of stores."""

from __future__ import annotations

import os
from typing import Any

from runner.core.events import Event, Recorded
from runner.ports import NewManifest, NewRun, OwnerId, Unit
from runner.store.owners import this_process

GRAPH = '{"steps":[{"id":"a","final":false},{"id":"b","final":false},{"id":"c","final":false},{"id":"z","final":true}]}'
MANIFEST = NewManifest("digest-1", "report", GRAPH, "ares: v1\n")
ME = this_process()
OTHER = OwnerId("other", ME.host, os.getppid(), 0)
"""Another process of this machine, alive as long as the tests run."""
DEAD = OwnerId("dead", ME.host, ME.pid, ME.pid_start + 1)
"""A process that is gone: its pid is in use again."""
ELSEWHERE = OwnerId("elsewhere", "another-host", 1, 1)


def new_run(run: str = "r1", **changes: Any) -> NewRun:
    values = {
        "root": run,
        "name": "report",
        "manifest": MANIFEST.digest,
        "task": "task-1",
        "inputs": {"who": "world"},
        "created": 1_000,
    }
    return NewRun(run=run, **{**values, **changes})


def line(run: str, seq: int, kind: str, node: str = "", **data: Any) -> Recorded:
    return Recorded(run, seq, 1_000 + seq, Event(kind, node, data))


def started(run: str, seq: int, node: str, n: int = 1, **data: Any) -> Recorded:
    values = {
        "n": n,
        "label": "local",
        "effects": "idempotent",
        "effect_key": f"effect-{node}",
        "key": f"key-{node}",
        "mode": "normal",
        "reason": "ready",
    }
    return line(run, seq, "attempt_started", node, **{**values, **data})


def succeeded(run: str, seq: int, node: str, n: int = 1, output: Any = "done", **data: Any) -> Recorded:
    values = {"n": n, "result": {"value": {"output": output}}, "cost": 5, "cost_source": "billed", "tokens": {"in": 3}}
    return line(run, seq, "attempt_succeeded", node, **{**values, **data})


def failed(run: str, seq: int, node: str, n: int = 1, **data: Any) -> Recorded:
    values = {"n": n, "class": "timeout", "message": "too slow", "effect": "maybe", "status": None, "cost": 2}
    return line(run, seq, "attempt_failed", node, **{**values, **data})


def begun(run: str = "r1") -> Recorded:
    return line(run, 1, "run_started", inputs={"who": "world"}, mode="normal")


def unit(epoch: int, *events: Recorded, root: str = "r1", **more: Any) -> Unit:
    return Unit(root, epoch, events, **more)
