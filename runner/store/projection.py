"""Projections: a table from event kind to what it changes in the rows of runs, steps and attempts. Pure; both stores use it.

Nothing is decided here and the kernel never reads these rows. A row is written whole, so `Live` (cells.py) keeps the rows of a
run as long as somebody writes to it; the lease makes sure that nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.core.events import Recorded
from runner.digest import digest
from runner.ports import Scope
from runner.store.cells import UNKNOWN, AttemptCells, Changes, Live, MoneyLine, StepCells, producer_of
from runner.store.encode import decode, encode


def project(live: Live, recorded: Recorded, changes: Changes) -> None:
    """Apply one event to the rows of its run. Kinds without a row in TABLE change nothing but the record."""
    live.last = recorded.seq
    change = TABLE.get(recorded.event.kind)
    if change is not None:
        change(live, recorded, changes)


# ---------------------------------------------------------------- runs


def _run_started(live: Live, recorded: Recorded, changes: Changes) -> None:
    live.row.state = "running"
    changes.runs[live.row] = None


def _run_suspended(live: Live, recorded: Recorded, changes: Changes) -> None:
    live.row.state = "suspended"
    live.row.reason = ", ".join(recorded.event.data.get("reasons", ()))
    changes.runs[live.row] = None


def _run_woken(live: Live, recorded: Recorded, changes: Changes) -> None:
    live.row.state, live.row.reason = "running", ""
    changes.runs[live.row] = None


def _main_finished(live: Live, recorded: Recorded, changes: Changes) -> None:
    live.row.verdict = recorded.event.data.get("verdict")
    changes.runs[live.row] = None


def _run_finished(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    row = live.row
    row.state, row.reason, row.finished = data["state"], data.get("reason", ""), recorded.at
    row.cost, row.steps_done = live.totals()
    changes.runs[row] = None


def _leg_started(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    row = live.row
    row.state, row.verdict, row.reason, row.finished, row.leg = "running", None, "", None, data["leg"]
    changes.runs[row] = None
    reset, suspend = data.get("reset", ()), data.get("suspend", ())
    groups = {
        node.partition("[")[0] for node in (*reset, *suspend) if "[" in node
    }  # they go on with the items they have
    for node in reset:
        _start_over(live.touch(node, changes), "group" if node in groups else "pending")
    for node in suspend:
        step = live.touch(node, changes)
        step.state, step.reason, step.until, step.ended = "suspended", UNKNOWN, None, None


def _start_over(step: StepCells, state: str) -> None:
    """All but what was spent and how often it was tried: attempts are numbered through."""
    step.state, step.reason, step.tried, step.error = state, "", "[]", None
    step.choice = step.tries = step.lost = step.reused = 0
    step.key = step.producer = None
    step.result_seq = step.until = step.started = step.ended = None


# ---------------------------------------------------------------- steps


def _items_expanded(live: Live, recorded: Recorded, changes: Changes) -> None:
    node = recorded.event.node
    group = live.touch(node, changes)
    group.state, group.started = "group", recorded.at
    items = recorded.event.data["items"]
    for index, item in enumerate(items):
        step = live.touch(f"{node}[{index}]", changes)
        if step.item_key is not None:
            _start_over(step, "pending")  # a `finally` fan-out is expanded anew in each leg
        step.item_key = item["key"]
    for step in live.items(node, len(items)):
        changes.steps[step] = None
        _settle(step, "skipped", "no item of this leg", recorded.at)


def _settle(step: StepCells, state: str, reason: str, at: int) -> None:
    step.state, step.reason, step.until, step.ended = state, reason, None, at


def _group_joined(live: Live, recorded: Recorded, changes: Changes) -> None:
    data, node = recorded.event.data, recorded.event.node
    step = live.touch(node, changes)
    _settle(step, data["state"], data.get("reason", ""), recorded.at)
    items = list(live.items(node))
    step.producer = digest(
        [producer_of(live.run, item.node, item.state, item.attempt, item.producer) for item in items]
    )
    step.error = None
    if data["state"] == "failed":
        step.error = next((item.error for item in items if item.state == "failed"), None)


def _settled_as(state: str) -> Callable[[Live, Recorded, Changes], None]:
    def change(live: Live, recorded: Recorded, changes: Changes) -> None:
        reason = recorded.event.data.get("reason", "")
        _settle(live.touch(recorded.event.node, changes), state, reason, recorded.at)

    return change


def _step_failed(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    _settle(step, "failed", data.get("reason", ""), recorded.at)
    _fail(step, data)


def _step_reused(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    _settle(step, "reused", data.get("reason", ""), recorded.at)
    step.key, step.producer, step.result_seq, step.reused = data["key"], data["producer"], recorded.seq, 1
    step.error = None
    if step.key:
        changes.reuse.append((live.name, step))


def _step_waiting(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    step.state, step.until, step.reason = "waiting", data.get("until"), data.get("reason", "")


def _step_suspended(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    step.state, step.until, step.reason = "suspended", data.get("until"), data["reason"]


def _step_woken(live: Live, recorded: Recorded, changes: Changes) -> None:
    step = live.touch(recorded.event.node, changes)
    if step.state == "suspended":
        step.lost = 0
    if recorded.event.data.get("restart"):
        step.choice, step.tries, step.tried = 0, 0, "[]"
    step.state, step.until, step.reason = "pending", None, ""


def _step_resolved(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    _settle(step, data["state"], data.get("reason", ""), recorded.at)
    if data["state"] == "succeeded":
        _succeed(live, step, recorded, changes)
    elif data["state"] == "failed":
        _fail(step, data)


def _succeed(live: Live, step: StepCells, recorded: Recorded, changes: Changes) -> None:
    step.error = None
    step.producer, step.result_seq = None, recorded.seq
    if step.key:
        changes.reuse.append((live.name, step))


def _choice_advanced(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    step.choice, step.tried = data.get("level", 0), encode(data.get("failed", ()))


def _fail(step: StepCells, data: dict[str, Any]) -> None:
    """Keep what the attempt said (status, executor) when it is the same failure."""
    said = decode(step.error) if step.error else {}
    if said.get("class") != data.get("class", "") or said.get("message") != data.get("message", ""):
        step.error = _error(data, "")


def _error(data: dict[str, Any], executor: str) -> str:
    said = {"class": data.get("class", ""), "message": data.get("message", "")}
    return encode({**said, "status": data.get("status"), "executor": data.get("executor") or executor})


# ---------------------------------------------------------------- attempts


def _attempt_started(live: Live, recorded: Recorded, changes: Changes) -> None:
    data = recorded.event.data
    step = live.touch(recorded.event.node, changes)
    step.state, step.until, step.reason, step.ended = "running", None, data.get("reason", ""), None
    step.attempt, step.effects, step.key = data["n"], data.get("effects", ""), data.get("key")
    step.executor, step.model = data.get("label", ""), ""
    if step.started is None:
        step.started = recorded.at
    attempt = live.attempts[step.node] = _attempt(live, step, recorded.at)
    attempt.executor, attempt.mode = step.executor, data.get("mode", "")
    attempt.effect_key, attempt.reason = data.get("effect_key", ""), step.reason
    changes.attempts[attempt] = None
    if data.get("reserved"):
        _book(live, recorded, changes, data["reserved"], "")


def _book(live: Live, recorded: Recorded, changes: Changes, amount: int, source: str) -> None:
    """The tree pays, and the day on which the attempt started."""
    data = recorded.event.data
    scopes = (Scope("run", live.root), *((Scope("day", data["day"]),) if data.get("day") else ()))
    changes.money.append(MoneyLine(f"{live.run}/{recorded.event.node}/{data['n']}", amount, source, scopes))


def _attempt(live: Live, step: StepCells, at: int) -> AttemptCells:
    live.tried += 1
    return AttemptCells(live.id(live.tried), step.node, step.attempt, started=at)


def _end(live: Live, recorded: Recorded, changes: Changes, state: str) -> tuple[StepCells, AttemptCells]:
    """The rows of an attempt that is over, with what every end has in common."""
    data, node = recorded.event.data, recorded.event.node
    step = live.touch(node, changes)
    attempt = live.attempts.pop(node)
    changes.attempts[attempt] = None
    attempt.state, attempt.ended = state, recorded.at
    attempt.cost, attempt.cost_source = data.get("cost") or 0, data.get("cost_source", "")
    if state == "lost":
        attempt.cost, attempt.cost_source = data.get("assumed_cost") or 0, "assumed"
    if tokens := data.get("tokens"):
        attempt.tokens = encode(tokens)
    attempt.executor = step.executor = data.get("executor") or step.executor
    attempt.model = step.model = data.get("model") or step.model
    attempt.session = data.get("session") or attempt.session
    attempt.log = data.get("log", "")
    step.cost += attempt.cost
    if data.get("day"):
        _book(live, recorded, changes, attempt.cost, attempt.cost_source or "free")
    return step, attempt


def _attempt_noted(live: Live, recorded: Recorded, changes: Changes) -> None:
    attempt = live.attempts.get(recorded.event.node)
    session = recorded.event.data.get("session")
    if attempt is not None and session:
        attempt.session = session
        changes.attempts[attempt] = None


def _attempt_succeeded(live: Live, recorded: Recorded, changes: Changes) -> None:
    step, _ = _end(live, recorded, changes, "succeeded")
    _settle(step, "succeeded", "", recorded.at)
    _succeed(live, step, recorded, changes)


def _attempt_failed(live: Live, recorded: Recorded, changes: Changes) -> None:
    """The step stays `running` until the next event of the same turn says what follows."""
    data = recorded.event.data
    error_class = data.get("class", "")
    step, attempt = _end(live, recorded, changes, "cancelled" if error_class == "cancelled" else "failed")
    attempt.error_class, attempt.message = error_class, data.get("message", "")
    attempt.effect = data.get("effect", "none")
    step.tries += 1
    step.error = _error(data, step.executor)


def _attempt_lost(live: Live, recorded: Recorded, changes: Changes) -> None:
    step, attempt = _end(live, recorded, changes, "lost")
    attempt.effect = "maybe"
    step.lost += 1


TABLE: dict[str, Callable[[Live, Recorded, Changes], None]] = {
    "run_started": _run_started,
    "leg_started": _leg_started,
    "run_suspended": _run_suspended,
    "run_woken": _run_woken,
    "main_finished": _main_finished,
    "run_finished": _run_finished,
    "items_expanded": _items_expanded,
    "group_joined": _group_joined,
    "step_skipped": _settled_as("skipped"),
    "step_blocked": _settled_as("blocked"),
    "step_cancelled": _settled_as("cancelled"),
    "step_failed": _step_failed,
    "step_reused": _step_reused,
    "step_waiting": _step_waiting,
    "step_suspended": _step_suspended,
    "step_woken": _step_woken,
    "step_resolved": _step_resolved,
    "choice_advanced": _choice_advanced,
    "attempt_started": _attempt_started,
    "attempt_noted": _attempt_noted,
    "attempt_succeeded": _attempt_succeeded,
    "attempt_failed": _attempt_failed,
    "attempt_lost": _attempt_lost,
}
UNPROJECTED = frozenset({"run_timed_out", "cancel_requested", "budget_raised"})
"""Kinds that no row shows: with TABLE they are all the kinds there are."""
