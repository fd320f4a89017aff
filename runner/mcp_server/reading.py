"""The tools that read the record: status, show, events. (`logs` has a file of its own.)"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from runner.api.follow import LOOK_S, goes_on
from runner.api.modes import standing
from runner.api.queries import (
    attempt_json,
    find_run,
    questions,
    result_of,
    run_reason,
    run_result,
    status_json,
)
from runner.bridges.stdio import Call
from runner.clock import SystemClock
from runner.errors import UsageError
from runner.mcp_server.desk import Desk, Json, Reply
from runner.ports import RunRow, StepRow, Store
from runner.reporters.lines import event_line


def status(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    with desk.reading() as store:
        rows = store.runs(limit=given.get("limit", 20))
        mode = standing(desk.settings, os.environ, store.health, SystemClock().now()).state.mode
        return Reply(status_json(rows, mode, lambda row: run_reason(store, row)))


def show(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    with desk.reading() as store:
        row = _settled(store, given["run"], given.get("wait_s", 0), call)
        steps = meant_steps(store, row, given.get("step"))
        result = run_result(store, row.run, "show", steps)
        attempts = [one for node in _nodes(steps, given) for one in store.attempts(row.run, node)]
        most = given.get("attempts", 50)
        data = result.to_json() | {
            "version": 1,
            "attempts": [attempt_json(one) for one in attempts[-most:]] if most else [],
            "attempts_total": len(attempts),
            "waiting": _waiting(store, row, steps),
            "output": _output(store, steps) if "step" in given else None,
            "sub_runs": [child.run for child in store.children(row.run)],
        }
        return Reply(data)


def _nodes(steps: Sequence[StepRow], given: Mapping[str, Any]) -> Sequence[str | None]:
    """Whose attempts are told: of the whole run, or of the step that is asked for."""
    return [step.node for step in steps] if "step" in given else [None]


def _settled(store: Store, reference: str, seconds: float, call: Call) -> RunRow:
    """The run, once nobody drives it any more or the time is over."""
    row, end = find_run(store, reference), time.monotonic() + seconds
    while goes_on(row) and time.monotonic() < end and not call.cancelled:
        time.sleep(LOOK_S)
        row = store.run(row.run) or row
    return row


def meant_steps(store: Store, row: RunRow, step: str | None) -> Sequence[StepRow]:
    """All steps, or one with its items. Raises UsageError."""
    steps = store.steps(row.run)
    if step is None:
        return steps
    found = [one for one in steps if one.node == step or one.node.startswith(f"{step}[")]
    if found:
        return found
    if step in dict(store.written(row.manifest)):
        raise UsageError(f"step {step} of run {row.run} has not begun")
    names = ", ".join(one.node for one in steps if "[" not in one.node)
    raise UsageError(f"run {row.run} has no step {step!r}", hint=f"steps that have begun: {names or 'none'}")


def _waiting(store: Store, row: RunRow, steps: Sequence[StepRow]) -> list[Json]:
    """What suspended steps wait for, and what a person is asked."""
    asked = questions(store, row.run, steps)
    return [
        {"step": one.node, "reason": one.reason, "until": one.until, "asks": asked.get(one.node)}
        for one in steps
        if one.state == "suspended"
    ]


def _output(store: Store, steps: Sequence[StepRow]) -> Any:
    result = result_of(store, steps[0])
    return None if result is None else result.get("output")


# ---------------------------------------------------------------- events


def events(desk: Desk, given: Mapping[str, Any], call: Call) -> Reply:
    most = given.get("limit", 100)
    with desk.reading() as store:
        row = find_run(store, given["run"])
        found = store.events(row.run, after=given.get("after", 0))
        shown = [json.loads(event_line(recorded, row.name)) for recorded in found[:most]]
        data = {
            "run": row.run,
            "events": shown,
            "next": shown[-1]["seq"] if shown else given.get("after", 0),
            "more": len(found) > most,
            "sub_runs": [child.run for child in store.children(row.run)],
        }
        return Reply(data)
