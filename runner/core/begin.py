"""From ready to whatever the host prepared: an intent, a fan-out, a wait, a question, a skip, a place in a queue."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal

from runner.core.fold import emit, fit
from runner.core.judge import never_started
from runner.core.messages import (
    Ask,
    Broken,
    CallRun,
    Claim,
    Computed,
    Delay,
    Expand,
    Go,
    Hidden,
    NoCandidate,
    NotNow,
    Over,
    Reuse,
    Skip,
    Spawn,
    Start,
    StepTask,
    Stored,
)  # fmt: skip
from runner.core.node import Node
from runner.core.purse import OWN_BUDGET
from runner.core.recover import Fail, Suspend, hidden
from runner.core.recover import Skip as SkipDecision
from runner.core.run_state import RunState
from runner.core.slots import WORKSPACE


def begin(k: RunState, n: Node) -> None:
    """Ask the host and do what it says. For work, run and process slots are in hand."""
    prepared = k.host.prepare(k, n, k.now)
    BEGIN[type(prepared)](k, n, prepared)


# ---------------------------------------------------------------- work


def _go(k: RunState, n: Node, p: Go) -> None:
    """The intent: committed only with every slot in hand and the money reserved."""
    n.estimate, n.wants, n.cap, n.token_cap = p.estimate, p.tokens, p.cap, p.token_cap
    match fits(k, n):
        case "go" if not k.slots.may(p.lane, k.run):
            park(k, n, p.lane)
        case "go" if not _may_claim(k, n, p.claim):
            _queue_for_workspace(k, n, p.claim)
        case "go":
            _intend(k, n, p)
        case "wait":
            n.queued = True
            k.money.append(n)
            k.purse.waiting[k.run] = None
        case _:
            _over(k, n, _lack(k, n))


def _may_claim(k: RunState, n: Node, claim: Claim) -> bool:
    """Does the workspace have room for it, and is no other step, of this run or of another, before it?"""
    if not claim:
        return True
    line = k.parked.get(WORKSPACE)
    return (not line or k.claimant is n or next(iter(line)) == n.id) and k.slots.may_claim(claim, k.run)


def _queue_for_workspace(k: RunState, n: Node, claim: Claim) -> None:
    """It holds nothing while it waits, and is not intended: a kill leaves it as it was."""
    n.queued, n.claim = True, claim
    line = k.parked.setdefault(WORKSPACE, OrderedDict())
    line[n.id] = n
    k.slots.wait(WORKSPACE, k.run, next(iter(line.values())).claim)


def fits(k: RunState, n: Node) -> Literal["go", "wait", "over"]:
    """Is there room for it, as it was last prepared: in the step's own budget (its items share it), and in the tree's?"""
    owner = n.group or n
    if n.token_cap is not None and n.wants > 0 and owner.tokens + n.wants > n.token_cap:
        return "over"
    if n.cap is not None and n.estimate > 0:
        if owner.cost + n.estimate > n.cap:
            return "over"
        if owner.cost + owner.reserved + n.estimate > n.cap:
            return "wait"
    return k.purse.fits(n.estimate, n.step.final, n.wants)


def _lack(k: RunState, n: Node) -> str:
    """Which budget has no room for it (see `fits`): the one that a person has to look at."""
    owner = n.group or n
    if n.token_cap is not None and n.wants > 0 and owner.tokens + n.wants > n.token_cap:
        return f"{OWN_BUDGET} has {max(0, n.token_cap - owner.tokens)} tokens left, it needs about {n.wants}"
    if n.cap is not None and n.estimate > 0 and owner.cost + n.estimate > n.cap:
        return f"{OWN_BUDGET} has {max(0, n.cap - owner.cost)} micro-USD left, it needs {n.estimate}"
    return k.purse.lack(n.estimate, n.step.final, n.wants)


def _intend(k: RunState, n: Node, p: Go) -> None:
    attempt = n.attempt + 1
    key = f"{k.run}/{n.id}/{attempt}"
    data: dict[str, Any] = {
        "n": attempt, "label": p.label, "effects": p.effects, "effect_key": n.effect_key or key, "mode": k.mode,
        "inputs": p.inputs,
    }  # fmt: skip
    data |= fit({
        "lane": p.lane, "claim": p.claim, "level": n.level or None, "key": p.key, "reserved": p.estimate or None,
        "day": p.day, "timeout_ms": p.timeout_ms, "reason": p.reason, "busy": None if k.timeout_ms is None else k.busy,
    })  # fmt: skip
    if p.claim and (line := k.parked.get(WORKSPACE)):
        line.pop(n.id, None)  # it stood there, and another lane came first
    session = _session(n, p)
    emit(k, "attempt_started", n, data)
    k.host.intended(k, n, p, k.now)
    task = StepTask(
        k.run, n.id, attempt, key, data["effect_key"], p.label, n.body.verb, p.inputs, p.spec, p.secrets, session,
        n.feedback if n.repair else None, p.effects, p.timeout_ms, p.idle_ms, p.limit,
        n.tried if n.verb == "agent" and session is None and not n.repair else (),
    )  # fmt: skip
    k.commands.append(Start(task))


def _session(n: Node, p: Go) -> str | None:
    """The conversation to go on in: of the last repair round, or of an attempt that was lost; never that of another executor."""
    keep = n.body.repair is None or n.body.repair.session == "keep"
    goes_on = keep if n.repair else n.lost > 0
    return n.session if goes_on and p.label == n.label else None


def _day_over(k: RunState, n: Node, p: Over) -> None:
    _over(k, n, p.reason, p.until)


def _over(k: RunState, n: Node, detail: str, until: int | None = None) -> None:
    """The budget has no room, whatever comes back."""
    exceed = k.purse.exceed
    if n.step.final:
        emit(k, "step_skipped", n, {"reason": "budget"})
    elif exceed == "free_only" and not n.free_only:
        n.free_only = True
        begin(k, n)
    elif exceed == "fail":
        emit(k, "step_failed", n, {"class": "denied", "message": "the budget is used up", "reason": "budget"})
        k.out_of_money = True
    else:
        emit(k, "step_suspended", n, fit({"reason": "budget", "detail": detail, "until": until}))


def park(k: RunState, n: Node, *lanes: str) -> None:
    """Out of the way until one of `lanes` has room: it is not looked at before."""
    n.queued = True
    for lane in lanes:
        k.parked.setdefault(lane, OrderedDict())[n.id] = n
        k.slots.wait(lane, k.run)


def _not_now(k: RunState, n: Node, p: NotNow) -> None:
    park(k, n, p.lane, *p.also)


def _hidden(k: RunState, n: Node, p: Hidden) -> None:
    decision = hidden(k.host.options(k, n, k.now).policy, k.mode, p)
    match decision:
        case _ if n.step.final:
            emit(k, "step_skipped", n, {"reason": f"mode: {p.reason}"})
        case SkipDecision(reason):
            emit(k, "step_skipped", n, {"reason": reason})
        case Fail(reason):
            emit(k, "step_failed", n, {"class": "unavailable", "message": p.reason, "reason": reason})
        case Suspend(why, detail, until):
            emit(k, "step_suspended", n, fit({"reason": why, "detail": detail, "until": until}))


def _no_candidate(k: RunState, n: Node, p: NoCandidate) -> None:
    never_started(k, n, p.error_class, p.message)


# ---------------------------------------------------------------- what holds no slot


def _call(k: RunState, n: Node, p: CallRun) -> None:
    """A retried call goes on with the same sub-run; a repair round and another body get a new one."""
    attempt = n.attempt + 1
    key = f"{k.run}/{n.id}/{attempt}"
    child = n.child or (f"{k.run}.{n.id}" if attempt == 1 else f"{k.run}.{n.id}~{attempt}")
    data = fit({
        "n": attempt, "label": p.callee, "effects": "none", "effect_key": n.effect_key or key, "mode": k.mode,
        "level": n.level or None, "child": child, "spec": dict(p.spec), "day": p.day,
        "cap": p.cap, "token_cap": p.token_cap,
        "busy": None if k.timeout_ms is None else k.busy,
    })  # fmt: skip
    if n.child is None:
        k.purse.grow(p.steps)  # now, not when it opens: thousands of items may call in one turn
    emit(k, "attempt_started", n, data | {"inputs": p.inputs})
    k.commands.append(Spawn(child, p.callee, p.inputs, n.id, attempt, p.extra))


def check_task(k: RunState, n: Node, result: Stored) -> StepTask:
    """The checks of a `call`, once its sub-run has succeeded: done by a worker, as part of the same attempt."""
    key = f"{k.run}/{n.id}/{n.attempt}"
    return StepTask(
        k.run, n.id, n.attempt, key, n.effect_key or key, "local", "call", {"result": result}, n.spec, effects="none"
    )  # fmt: skip


def _expand(k: RunState, n: Node, p: Expand) -> None:
    items = [{"key": item.key, "value": item.value} for item in p.items]
    data: dict[str, Any] = {"items": items}
    if p.max_parallel is not None:
        data["max_parallel"] = p.max_parallel
    emit(k, "items_expanded", n, data)


def _skip(k: RunState, n: Node, p: Skip) -> None:
    emit(k, "step_skipped", n, {"reason": p.reason})


def _broken(k: RunState, n: Node, p: Broken) -> None:
    emit(k, "step_failed", n, {"class": p.error_class, "message": p.message, "reason": "prepare"})


def _reuse(k: RunState, n: Node, p: Reuse) -> None:
    data = {"key": p.key, "producer": p.producer, "result": p.result}
    emit(k, "step_reused", n, data | fit({"products": dict(p.products), "reason": p.reason}))


def _computed(k: RunState, n: Node, p: Computed) -> None:
    emit(k, "step_resolved", n, {"state": "succeeded", "result": p.result, "by": "set"})


def _delay(k: RunState, n: Node, p: Delay) -> None:
    if p.until <= k.now:
        emit(k, "step_resolved", n, {"state": "succeeded", "result": NOTHING, "by": "timer"})
    else:
        emit(k, "step_waiting", n, {"until": p.until, "reason": "wait"})


def _ask(k: RunState, n: Node, p: Ask) -> None:
    if n.step.final:
        emit(k, "step_skipped", n, {"reason": "approval"})
        return
    ask: dict[str, Any] = {"message": p.message, "show": list(p.show), "otherwise": p.otherwise}
    if p.gate:
        ask["gate"] = True
    emit(k, "step_suspended", n, fit({"reason": "approval", "detail": p.message, "until": p.until, "ask": ask}))


NOTHING: Stored = {"value": {"output": None}}

BEGIN: Mapping[type, Callable[[RunState, Node, Any], None]] = {
    Go: _go, Over: _day_over, NotNow: _not_now, Hidden: _hidden, NoCandidate: _no_candidate, CallRun: _call, Expand: _expand,
    Skip: _skip, Broken: _broken, Reuse: _reuse, Computed: _computed, Delay: _delay, Ask: _ask,
}  # fmt: skip
