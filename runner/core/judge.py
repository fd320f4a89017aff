"""How an attempt ended: recorded, then judged with `recover.decide`, then carried out. Late and duplicate messages
do nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.core.fold import emit, fit
from runner.core.messages import Note, Outcome
from runner.core.node import Node
from runner.core.recover import (
    Again,
    Cancelled,
    Decision,
    Fail,
    Failure,
    Fallback,
    Next,
    Repair,
    Retry,
    Skip,
    Standing,
    Suspend,
    Unknown,
    decide,
)  # fmt: skip
from runner.core.run_state import RunState


def attempt_of(k: RunState, node: str, attempt: int) -> Node | None:
    """The node, when exactly this attempt of it runs; None for what is late, a duplicate, or not ours."""
    n = k.nodes.get(node)
    return n if n is not None and n.state == "running" and n.attempt == attempt else None


def on_outcome(k: RunState, node: str, attempt: int, o: Outcome, child: str = "") -> None:
    """An attempt has ended. `child`: the sub-run that failed it (a `call` whose checks failed has none)."""
    n = attempt_of(k, node, attempt)
    if n is None:
        return
    if o.state == "succeeded":
        _succeeded(k, n, o)
        return
    error_class = o.error_class or "cancelled" if o.state == "cancelled" else o.error_class or "crash"
    if k.timed_out and not n.step.final and o.state == "cancelled":
        error_class, o = "timeout", o._replace(message="the run's timeout is over")
    _record_failure(k, n, o, error_class, child)
    _judge(k, n, Failure(error_class, o.effect, o.retry_after_ms))


def on_note(k: RunState, node: str, attempt: int, note: Note) -> None:
    n = attempt_of(k, node, attempt)
    if n is not None:
        data = {"n": attempt, "session": note.session, "pid": note.pid, "pid_start": note.pid_start}
        emit(k, "attempt_noted", n, fit(data))


def on_lost(k: RunState, node: str, attempt: int) -> None:
    """Nobody knows how it ended, or what it cost: the estimate stands."""
    n = attempt_of(k, node, attempt)
    if n is not None:
        emit(k, "attempt_lost", n, {"n": attempt, "assumed_cost": n.reserved} | _clocks(k, n))
        _judge(k, n, Failure("crash", "maybe", lost=True))


def never_started(k: RunState, n: Node, error_class: str, message: str) -> None:
    """Nothing in the chain can do this step: another way, or the end."""
    decision = _decide(k, n, Failure(error_class), started=False)
    match decision:
        case Fallback(level, reason):
            emit(k, "choice_advanced", n, {"level": level, "reason": reason})
            k.dirty.append(n)
        case Suspend() | Skip() if not n.step.final:
            CARRY_OUT[type(decision)](k, n, decision)
        case _:
            emit(k, "step_failed", n, {"class": error_class, "message": message, "reason": "no candidate"})


# ---------------------------------------------------------------- recording


def _clocks(k: RunState, n: Node) -> dict[str, Any]:
    """The run's own clock, and the day that pays, where either counts."""
    told: dict[str, Any] = {} if k.timeout_ms is None else {"busy": k.busy}
    return told | {"day": n.day} if n.day else told


def _cost(n: Node, o: Outcome) -> dict[str, Any]:
    """An unknown price is never 0: what was reserved stands for it. Where nothing was, and no day pays, there is no price."""
    if o.cost is None and not (n.reserved or n.day):
        return {"cost": 0}
    if o.cost is None:
        return {"cost": n.reserved, "cost_source": "assumed"}
    return {"cost": o.cost, "cost_source": o.cost_source} if o.cost_source else {"cost": o.cost}


def _succeeded(k: RunState, n: Node, o: Outcome) -> None:
    data = {"n": n.attempt, "result": o.result} | _cost(n, o) | _clocks(k, n)
    if o.tokens or o.executor or o.model or o.session or o.checks or o.products or o.log:
        data |= fit({
            "tokens": dict(o.tokens), "executor": o.executor, "model": o.model, "session": o.session,
            "checks": list(o.checks), "products": dict(o.products), "log": o.log,
        })  # fmt: skip
    emit(k, "attempt_succeeded", n, data)


def _record_failure(k: RunState, n: Node, o: Outcome, error_class: str, child: str) -> None:
    data = {"n": n.attempt, "class": error_class, "effect": o.effect, "mode": k.mode} | _cost(n, o) | _clocks(k, n)
    data |= fit({
        "message": o.message, "status": o.status, "tokens": dict(o.tokens), "retry_after_ms": o.retry_after_ms,
        "checks": list(o.checks), "feedback": o.feedback, "result": o.result, "session": o.session,
        "executor": o.executor,
        "model": o.model, "log": o.log, "denials": list(o.denials), "child": child,
        "tried": dict(o.tried),
    })  # fmt: skip
    emit(k, "attempt_failed", n, data)


# ---------------------------------------------------------------- judging


def stopping(k: RunState, n: Node) -> bool:
    """Is this step to end because its run (or its `finally`) is being stopped?"""
    return k.final_cancelling if n.step.final else k.cancelling or k.timed_out


def _decide(k: RunState, n: Node, failure: Failure, *, started: bool = True) -> Decision:
    standing = Standing(
        effects=n.effects, label=n.label if started else "", failed=frozenset(n.failed), level=n.level, repair=n.repair,
        own_repair=n.body.repair is not None, rounds=n.rounds, attempts=n.used, lost=n.lost, stopping=stopping(k, n),
        started=started, seed=f"{k.run}/{n.id}/{n.attempt}",
    )  # fmt: skip
    options = k.host.options(k, n, k.now)
    if n.holding == "call":
        options = options._replace(candidates=())  # a sub-run has no chain
    return decide(failure, standing, options, k.mode, k.now)


def _judge(k: RunState, n: Node, failure: Failure) -> None:
    decision = _decide(k, n, failure)
    CARRY_OUT[type(decision)](k, n, decision)


def _failed_as_it_did(n: Node, reason: str) -> dict[str, Any]:
    error = n.error or {"class": "crash", "message": "lost"}
    return {"class": error["class"], "message": error["message"], "reason": reason}


def _again(k: RunState, n: Node, d: Again) -> None:
    emit(k, "step_woken", n, {"reason": d.reason})


def _unknown(k: RunState, n: Node, d: Unknown) -> None:
    if n.step.final or stopping(k, n):
        emit(k, "step_failed", n, _failed_as_it_did(n, "unknown"))  # never a silent `cancelled`
    else:
        emit(k, "step_suspended", n, {"reason": "unknown", "detail": d.reason})


def _cancelled(k: RunState, n: Node, d: Cancelled) -> None:
    if k.timed_out and not n.step.final and n.error is not None and n.error["class"] == "timeout":
        emit(k, "step_failed", n, _failed_as_it_did(n, "the run's timeout is over"))
    else:
        emit(k, "step_cancelled", n, {"reason": d.reason})


def _advance(k: RunState, n: Node, reason: str, **change: Any) -> None:
    emit(k, "choice_advanced", n, fit({"failed": sorted(change.pop("failed", ()))} | change) | {
        "level": change.get("level", n.level), "reason": reason,
    })  # fmt: skip


def _repair(k: RunState, n: Node, d: Repair) -> None:
    _advance(k, n, d.reason, failed=n.failed, round=n.rounds, repair=n.repair + 1)
    emit(k, "step_woken", n, {"reason": d.reason})


def _next(k: RunState, n: Node, d: Next) -> None:
    _advance(k, n, d.reason, failed=n.failed | {n.label}, round=n.rounds)
    emit(k, "step_woken", n, {"reason": d.reason})


def _retry(k: RunState, n: Node, d: Retry) -> None:
    _advance(k, n, d.reason, round=n.rounds + 1)
    emit(k, "step_waiting", n, {"until": d.at, "reason": d.reason})


def _fallback(k: RunState, n: Node, d: Fallback) -> None:
    _advance(k, n, d.reason, level=d.level, round=n.rounds)
    emit(k, "step_woken", n, {"reason": d.reason})


def _suspend(k: RunState, n: Node, d: Suspend) -> None:
    if n.step.final:  # `finally` never waits for better times
        if d.reason == "mode":
            emit(k, "step_skipped", n, {"reason": f"mode: {d.detail}"})
        else:
            emit(k, "step_failed", n, _failed_as_it_did(n, d.detail))
        return
    if d.reason != "exhausted" and n.state == "running":
        _advance(k, n, d.detail, failed=n.failed | {n.label}, round=n.rounds)
    emit(k, "step_suspended", n, fit({"reason": d.reason, "detail": d.detail, "until": d.until}))


def _skip(k: RunState, n: Node, d: Skip) -> None:
    emit(k, "step_skipped", n, {"reason": d.reason})


def _fail(k: RunState, n: Node, d: Fail) -> None:
    emit(k, "step_failed", n, _failed_as_it_did(n, d.reason))


CARRY_OUT: Mapping[type, Callable[[RunState, Node, Any], None]] = {
    Again: _again, Unknown: _unknown, Cancelled: _cancelled, Repair: _repair, Next: _next, Retry: _retry,
    Fallback: _fallback,
    Suspend: _suspend, Skip: _skip, Fail: _fail,
}  # fmt: skip
