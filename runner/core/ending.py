"""How runs end or pause: stop (cancel, timeout, no money), the end of main steps, the end of the run, suspension,
next legs."""

from __future__ import annotations

from runner.core.fold import emit, fit
from runner.core.messages import Cancel, Finish
from runner.core.node import Node
from runner.core.run_state import RunState
from runner.core.states import SETTLED_RUN

# ---------------------------------------------------------------- stopping


def stop(k: RunState, reason: str, *, final: bool = False) -> None:
    """Cancel what runs, end what does not: main steps, or `finally` steps once they are the ones that run."""
    _forget_queues(k)
    for n in list(k.nodes.values()):
        if n.step.final is not final:
            continue
        if n.state == "running":
            k.commands.append(Cancel(k.run, f"{k.run}/{n.id}/{n.attempt}"))
        elif n.state == "suspended" and n.reason == "unknown":
            error = n.error or {"class": "crash", "message": "lost"}
            data = {"class": error["class"], "message": error["message"], "reason": "unknown"}
            emit(k, "step_failed", n, data)  # never a silent `cancelled`
        elif n.state in ("pending", "waiting", "suspended"):
            emit(k, "step_cancelled", n, {"reason": reason})


def give_up(k: RunState) -> None:
    """No money and `exceed: fail`: main steps that have not started end; what runs goes on."""
    k.out_of_money = False
    _forget_queues(k)
    for n in list(k.nodes.values()):
        if n.state == "pending" and not n.step.final:
            emit(k, "step_cancelled", n, {"reason": "budget"})


def _forget_queues(k: RunState) -> None:
    k.ready.clear()
    k.parked.clear()
    k.money.clear()


# ---------------------------------------------------------------- the end


def end_main(k: RunState) -> bool:
    """All main steps have ended: say how, and let `finally` begin."""
    if k.open_main or k.verdict is not None:
        return False
    verdict, reason = _verdict(k)
    emit(k, "main_finished", None, {"verdict": verdict, "reason": reason})
    return True


def _verdict(k: RunState) -> tuple[str, str]:
    if k.timed_out:
        return "failed", "the run's timeout is over"
    if k.cancelling:
        return "cancelled", k.cancel_reason or "cancelled"
    mains = [n for n in k.top if not n.step.final]
    for state, verdict in (("failed", "failed"), ("blocked", "failed"), ("cancelled", "cancelled")):
        first = next((n for n in mains if n.state == state and n.bad), None)
        if first is not None:
            return verdict, f"{first.id} {state}"
    return "succeeded", ""


def end_run(k: RunState) -> bool:
    """Everything has ended: record the outcome, once per leg."""
    if k.verdict is None or k.open_final or k.state in SETTLED_RUN:
        return False
    state, reason, outputs = _outcome(k, k.verdict)
    told = {} if outputs is None else {"outputs": outputs}  # an empty list is an output, too
    emit(k, "run_finished", None, fit({"state": state, "reason": reason}) | told)
    k.commands.append(Finish(k.run, state, outputs))
    return True


def _outcome(k: RunState, verdict: str) -> tuple[str, str, object]:
    if verdict != "succeeded":
        return verdict, "", None
    bad = next((n for n in k.top if n.step.final and n.bad), None)
    if bad is not None:
        return "cancelled" if k.final_cancelling else "failed", f"{bad.id} {bad.state}", None
    outputs, problem = k.host.outputs(k)
    if problem is not None:
        return "failed", f"outputs: {problem}", None
    return "succeeded", "", outputs


def cancel_unstarted(k: RunState) -> None:
    """A run that is cancelled before it started."""
    emit(k, "run_finished", None, {"state": "cancelled", "reason": k.cancel_reason or "cancelled"})
    k.commands.append(Finish(k.run, "cancelled", None))


# ---------------------------------------------------------------- suspension


def pause_or_wake(k: RunState) -> None:
    """A run with nothing running and something suspended is suspended; with anything else it is running."""
    busy = k.active or k.backing_off or k.sleeping or k.ready or k.parked or k.money or k.calls > len(k.idle_children)
    if busy or not (k.asleep or k.idle_children):
        if k.state == "suspended":
            emit(k, "run_woken", None, {})
        return
    reasons = {n.reason for n in k.asleep.values()}
    if k.idle_children:
        reasons.add("child")
    if k.state != "suspended" or reasons != set(k.reasons):
        data: dict[str, object] = {"reasons": sorted(reasons)}
        if k.timeout_ms is not None:
            data["busy"] = k.busy
        emit(k, "run_suspended", None, data)


# ---------------------------------------------------------------- legs


def next_leg(k: RunState) -> None:
    """A failed or cancelled run goes on: what ended badly is open again, what succeeded stays."""
    reset: list[str] = []
    suspend: list[str] = []
    for n in k.top:
        if n.step.final:
            reset.append(n.id)
        elif _unknown(n):
            suspend.append(n.id)
        elif n.state in ("blocked", "cancelled") or (n.state == "failed" and not n.step.optional):
            reset.append(n.id)
            for item in n.items or ():
                if _unknown(item):
                    suspend.append(item.id)
                elif item.state in ("failed", "blocked", "cancelled"):
                    reset.append(item.id)
    emit(k, "leg_started", None, {"leg": k.leg + 1, "reset": reset, "suspend": suspend})


def _unknown(n: Node) -> bool:
    """`failed: unknown`: only a person may say what happened, so it is never simply repeated."""
    return n.state == "failed" and n.reason == "unknown"
