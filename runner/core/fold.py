"""Folding: how each recorded event changes the state. Decides nothing, so that a later release folds older records.

Each function checks before it changes anything: an event that cannot follow raises IllegalMove and leaves the state
as it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from runner.core.events import Event
from runner.core.messages import Item
from runner.core.node import Node
from runner.core.purse import Purse
from runner.core.run_state import RunState
from runner.core.states import FINAL_LEG_MOVES, LEG_MOVES, RUN_MOVES, IllegalMove, check_move
from runner.digest import digest

Data = dict[str, Any]


def emit(k: RunState, kind: str, n: Node | None, data: Data) -> None:
    """Record a decision: fold it, and hand it to the driver with the rest of the turn."""
    event = Event(kind, n.id if n is not None else "", data)
    apply(k, event)
    k.events.append(event)


def apply(k: RunState, event: Event) -> None:
    """Fold one event."""
    if event.node:
        n = k.nodes.get(event.node)
        if n is None:
            raise IllegalMove(f"{k.run}/{event.node}: {event.kind} of a step that does not exist")
        STEP_FOLD[event.kind](k, n, event.data)
    else:
        RUN_FOLD[event.kind](k, event.data)


def fit(data: Data) -> Data:
    """`data` without what says nothing (None, "", empty): readers take absence for it."""
    return {key: value for key, value in data.items() if value or isinstance(value, int | float)}


# ---------------------------------------------------------------- the run


def _run_moves(k: RunState, state: str) -> None:
    check_move(RUN_MOVES, k.state, state, k.run)
    k.state = state


def _run_started(k: RunState, d: Data) -> None:
    _run_moves(k, "running")
    refresh = d.get("refresh")
    k.inputs, k.extra = d["inputs"], d
    k.refresh = "all" if refresh == "all" else frozenset(refresh) if refresh else None
    k.selected = frozenset(d["select"]) if "select" in d else None
    k.timeout_ms = d.get("timeout_ms")
    if "cap" in d:
        k.purse.cap, k.purse.reserve = d["cap"], d.get("finally_cap", 0)
    k.purse.token_cap = d.get("token_cap", k.purse.token_cap)
    k.purse.exceed = d.get("exceed", k.purse.exceed)


def _run_timed_out(k: RunState, d: Data) -> None:
    k.timed_out = True


def _run_suspended(k: RunState, d: Data) -> None:
    if k.state != "suspended":
        _run_moves(k, "suspended")
    k.reasons = tuple(d["reasons"])
    _clock(k, d)


def _run_woken(k: RunState, d: Data) -> None:
    _run_moves(k, "running")
    k.reasons = ()


def _cancel_requested(k: RunState, d: Data) -> None:
    if k.verdict is None:
        k.cancelling = True
    else:
        k.final_cancelling = True
    k.cancel_reason = d.get("reason", "")


def _budget_raised(k: RunState, d: Data) -> None:
    if k.purse.cap is not None:
        k.purse.cap += d["usd"]


def _main_finished(k: RunState, d: Data) -> None:
    k.verdict = d["verdict"]
    for n in k.top:
        if n.step.final:
            n.waits -= 1
            if n.waits == 0:
                k.dirty.append(n)


def _run_finished(k: RunState, d: Data) -> None:
    _run_moves(k, d["state"])
    k.outputs = d.get("outputs")


def _leg_started(k: RunState, d: Data) -> None:
    reset, suspend = [k.nodes[i] for i in d.get("reset", ())], [k.nodes[i] for i in d.get("suspend", ())]
    for n in reset:
        check_move(FINAL_LEG_MOVES if n.step.final else LEG_MOVES, n.state, "pending", f"{k.run}/{n.id}")
    for n in suspend:
        check_move(LEG_MOVES, n.state, "suspended", f"{k.run}/{n.id}")
    _run_moves(k, "running")
    k.leg, k.verdict, k.busy = d["leg"], None, 0
    k.cancelling = k.final_cancelling = k.timed_out = False
    for n in reset:
        _restart(k, n)
    for n in suspend:
        n.state, n.reason, n.until = "suspended", "unknown", None
        k.asleep[n.id] = n
    k.recount()


def _restart(k: RunState, n: Node) -> None:
    n.restart()
    n.result = None
    if n.step.final and n.items is not None:  # it reads other things now: its items are made anew
        for item in n.items:
            n.former[item.id] = k.nodes.pop(item.id)
        k.purse.grow(-len(n.items))
        n.items = None
    n.state = "pending" if n.items is None else "group"


# ---------------------------------------------------------------- fan-out


def _items_expanded(k: RunState, n: Node, d: Data) -> None:
    k.require(n, "group")
    n.limit = d.get("max_parallel")
    n.queue = deque()
    n.busy = n.items_bad = 0
    n.items = [_item(k, n, index, Item(row["key"], row["value"])) for index, row in enumerate(d["items"])]
    n.open = len(n.items)
    k.purse.grow(n.open)
    k.move(n, "group")
    k.dirty.extend(n.items or (n,))


def _item(k: RunState, group: Node, index: int, item: Item) -> Node:
    id = f"{group.id}[{index}]"
    n = Node(id, group.step, group, index, item)
    former = group.former.pop(id, None)
    if former is not None:
        n.attempt, n.effect_key, n.cost = former.attempt, former.effect_key, former.cost
    k.nodes[id] = n
    return n


def _group_joined(k: RunState, n: Node, d: Data) -> None:
    k.move(n, d["state"])
    items = n.items or []
    n.reason = d.get("reason", "")
    n.producer = digest([item.producer for item in items])
    n.error = next((item.error for item in items if item.state == "failed"), None) if d["state"] == "failed" else None


# ---------------------------------------------------------------- decisions about a step


def _step_ended(state: str) -> Callable[[RunState, Node, Data], None]:
    def fold(k: RunState, n: Node, d: Data) -> None:
        k.move(n, state)
        n.reason = d.get("reason", "")

    return fold


def _step_failed(k: RunState, n: Node, d: Data) -> None:
    k.move(n, "failed")
    n.reason = d.get("reason", "")
    _error(n, d["class"], d.get("message", ""))


def _error(n: Node, error_class: str, message: str) -> None:
    """Keep what the attempt said (status, executor) when it is the same failure."""
    if n.error is None or n.error["class"] != error_class or n.error["message"] != message:
        n.error = {"class": error_class, "message": message, "status": None, "executor": ""}


def _step_reused(k: RunState, n: Node, d: Data) -> None:
    k.move(n, "reused")
    n.key, n.producer, n.result = d["key"], d["producer"], d["result"]
    n.products = d.get("products", {})
    n.reason, n.error = d.get("reason", ""), None


def _step_waiting(k: RunState, n: Node, d: Data) -> None:
    k.move(n, "waiting")
    n.until, n.reason = d["until"], d.get("reason", "")
    k.at(d["until"], n)


def _step_suspended(k: RunState, n: Node, d: Data) -> None:
    k.move(n, "suspended")
    n.reason, n.until, n.ask = d["reason"], d.get("until"), d.get("ask")
    if n.until is not None:
        k.at(n.until, n)


def _step_woken(k: RunState, n: Node, d: Data) -> None:
    was = n.state
    k.move(n, "pending")
    n.until, n.reason = None, ""
    n.free_only = False
    n.approved = n.approved or bool(d.get("approved"))
    if was == "suspended":
        n.lost = 0
    if d.get("restart"):
        n.restart()


def _step_resolved(k: RunState, n: Node, d: Data) -> None:
    k.move(n, d["state"])
    n.reason = d.get("reason", "")
    if d["state"] == "succeeded":
        n.result, n.producer = d["result"], f"{k.run}/{n.id}/{n.attempt}"
        n.error = n.effect_key = None
    elif d["state"] == "failed":
        _error(n, d["class"], d.get("message", ""))


def _choice_advanced(k: RunState, n: Node, d: Data) -> None:
    if d["level"] != n.level:
        n.child = n.effect_key = None  # another body is another request
    n.level, n.failed = d["level"], set(d.get("failed", ()))
    n.rounds, n.repair = d.get("round", 0), d.get("repair", 0)
    if n.repair == 0:
        n.previous = n.feedback = n.session = None


# ---------------------------------------------------------------- attempts


def _clock(k: RunState, d: Data) -> None:
    if "busy" in d:
        k.busy = d["busy"]


def _attempt_started(k: RunState, n: Node, d: Data) -> None:
    k.require(n, "running")
    n.attempt, n.label, n.lane = d["n"], d.get("label", ""), d.get("lane", "")
    n.used += 1
    n.effects, n.effect_key, n.key = d["effects"], d["effect_key"], d.get("key")
    n.child, n.spec = d.get("child"), d.get("spec", {})
    n.holding, n.claim = "call" if n.child else "slot", d.get("claim", "")
    n.reserved, n.day = d.get("reserved", 0), d.get("day", "")
    n.until = None
    if "cap" in d or "token_cap" in d:
        _give_budget(k, n.group or n, d)
    k.reserved += n.reserved
    if n.group is not None:
        n.group.reserved += n.reserved
    k.purse.hold(n.reserved, n.step.final)
    k.move(n, "running")
    k.occupy(n)
    _clock(k, d)


def _give_budget(k: RunState, owner: Node, d: Data) -> None:
    """The budget of a `call` step, which its items share."""
    if owner.purse is None:
        owner.purse = Purse(k.purse)
    owner.purse.cap, owner.purse.token_cap = d.get("cap"), d.get("token_cap")


def _running(k: RunState, n: Node, d: Data, what: str) -> None:
    if n.state != "running" or n.attempt != d["n"]:
        raise IllegalMove(f"{k.run}/{n.id}: {what} of attempt {d['n']}, but the step is {n.state} at {n.attempt}")


def _attempt_noted(k: RunState, n: Node, d: Data) -> None:
    _running(k, n, d, "attempt_noted")
    n.session = d.get("session") or n.session


def _attempt_succeeded(k: RunState, n: Node, d: Data) -> None:
    _running(k, n, d, "attempt_succeeded")
    _settle(k, n, d["cost"], d)
    n.result, n.producer = d["result"], f"{k.run}/{n.id}/{d['n']}"
    n.products = d.get("products", {})
    n.executor, n.model = d.get("executor", n.label), d.get("model", "")
    n.session = d.get("session") or n.session
    n.error = n.effect_key = None
    n.reason = ""
    k.move(n, "succeeded")


def _attempt_failed(k: RunState, n: Node, d: Data) -> None:
    """The state stays `running` until the decision that follows in the same transaction."""
    _running(k, n, d, "attempt_failed")
    _settle(k, n, d["cost"], d)
    n.executor, n.model = d.get("executor", n.label), d.get("model", "")
    n.session = d.get("session") or n.session
    n.error = {
        "class": d["class"], "message": d.get("message", ""), "status": d.get("status"), "executor": n.executor,
    }  # fmt: skip
    if n.verb == "agent":
        told = {"executor": n.executor, "class": d["class"], "message": d.get("message", "")} | d.get("tried", {})
        n.tried = (*(one for one in n.tried if one["executor"] != n.executor), told)
    if "feedback" in d or "result" in d:  # else a repair round that is repeated keeps what it was told
        n.previous, n.feedback = d.get("result"), d.get("feedback")
    if d.get("effect", "none") == "none":
        n.effect_key = None  # the outcome is known: the next attempt is a new request
    if n.child and not d.get("child"):
        n.child = None  # the sub-run had succeeded, its result was refused: the next round needs a new one


def _attempt_lost(k: RunState, n: Node, d: Data) -> None:
    _running(k, n, d, "attempt_lost")
    _settle(k, n, d["assumed_cost"], d)
    n.lost += 1


def _settle(k: RunState, n: Node, cost: int, d: Data) -> None:
    k.reserved -= n.reserved
    k.spent += cost
    tokens = sum(d["tokens"].values()) if "tokens" in d else 0
    n.tokens += tokens
    k.purse.settle(n.reserved, cost, n.step.final, tokens)
    if n.holding == "call" and (purse := (n.group or n).purse) is not None:
        purse.judged(cost, tokens)
    n.cost += cost
    if n.group is not None:
        n.group.reserved -= n.reserved
        n.group.cost += cost
        n.group.tokens += tokens
    n.reserved = 0
    _clock(k, d)


RUN_FOLD: Mapping[str, Callable[[RunState, Data], None]] = {
    "run_started": _run_started,
    "run_timed_out": _run_timed_out,
    "leg_started": _leg_started,
    "run_suspended": _run_suspended,
    "run_woken": _run_woken,
    "cancel_requested": _cancel_requested,
    "budget_raised": _budget_raised,
    "main_finished": _main_finished,
    "run_finished": _run_finished,
}

STEP_FOLD: Mapping[str, Callable[[RunState, Node, Data], None]] = {
    "items_expanded": _items_expanded,
    "group_joined": _group_joined,
    "step_skipped": _step_ended("skipped"),
    "step_blocked": _step_ended("blocked"),
    "step_cancelled": _step_ended("cancelled"),
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
