"""Which step is looked at next, and which one gets a free slot. Nothing here scans all steps: queues only."""

from __future__ import annotations

from collections import OrderedDict

from runner.core import ending
from runner.core.begin import begin, fits
from runner.core.fold import emit
from runner.core.gate import gate
from runner.core.judge import stopping
from runner.core.messages import Claim
from runner.core.node import Node
from runner.core.run_state import RunState
from runner.core.slots import PROCESS, WORKSPACE


def drain(k: RunState) -> None:
    """Decide all that can be decided now, up to the end of the run."""
    while True:
        while k.dirty:
            _consider(k, k.dirty.popleft())
        _start(k)
        if k.out_of_money:
            ending.give_up(k)
        if not k.dirty and not ending.end_main(k):
            break
    if not k.parked.get(WORKSPACE):
        k.parked.pop(WORKSPACE, None)
        k.slots.leave(WORKSPACE, k.run)
    if not ending.end_run(k):
        ending.pause_or_wake(k)


def _consider(k: RunState, n: Node) -> None:
    """Something about `n` has changed. Queues are derived, so `n` may have moved on since."""
    if n.state == "group":
        if n.open == 0:
            _join(k, n)
        return
    if n.state != "pending" or n.queued:
        return
    if stopping(k, n):
        emit(k, "step_cancelled", n, {"reason": k.cancel_reason or "the run is being stopped"})
    elif _may_go(k, n):
        if n.works:
            n.queued = True
            k.ready.append(n)
        else:
            begin(k, n)


def _may_go(k: RunState, n: Node) -> bool:
    """Has it all that it waits for? What is blocked or skipped is recorded here."""
    if n.group is not None:
        return _gets_place(k, n, n.group)
    if n.waits:
        return False
    verdict, why = gate(k, n)
    if verdict == "go":
        return True
    emit(k, "step_blocked" if verdict == "block" else "step_skipped", n, {"reason": why})
    return False


def _gets_place(k: RunState, n: Node, group: Node) -> bool:
    fan = group.step.fan
    if group.sequence and group.items_bad and fan is not None and fan.join == "all":
        emit(k, "step_blocked", n, {"reason": "an earlier item failed"})
        for item in group.queue:
            item.queued = False
        k.dirty.extend(group.queue)
        group.queue.clear()
        return False
    if n.placed:
        return True
    if group.limit is not None and group.busy >= group.limit:
        n.queued = True
        group.queue.append(n)
        return False
    n.placed = True
    group.busy += 1
    return True


def _join(k: RunState, group: Node) -> None:
    items = group.items or []
    states = [item.state for item in items]
    bad = states.count("failed") + states.count("blocked")
    fan = group.step.fan
    if bad and fan is not None and fan.join == "all":
        state = "failed"
    else:
        state = "cancelled" if "cancelled" in states else "succeeded"
    emit(k, "group_joined", group, {"state": state, "reason": f"{bad} of {len(items)} failed" if bad else ""})


# ---------------------------------------------------------------- free slots


def _start(k: RunState) -> None:
    """Hand out what is free: to those who wait for money or a lane first, they were ready before the others."""
    if WORKSPACE in k.parked:  # before all: a turn to claim it is over with the next slot that this run takes
        _unpark(k, WORKSPACE)
    if k.money:
        _start_paid(k)
    for lane in list(k.parked):
        _unpark(k, lane)
    while k.ready and _room(k):
        n = k.ready.popleft()
        n.queued = False
        if n.state == "pending":
            begin(k, n)


def _room(k: RunState) -> bool:
    """A slot of the run and one of the process."""
    if k.active >= k.concurrency or k.out_of_money:
        return False
    if k.slots.may(PROCESS, k.run):
        return True
    k.slots.wait(PROCESS, k.run)
    return False


def _start_paid(k: RunState) -> None:
    """In order: money that came back goes to the first that waits for it."""
    while k.money:
        n = k.money[0]
        if n.state == "pending":
            if fits(k, n) == "wait" or not _room(k):
                break
            k.money.popleft()
            n.queued = False
            begin(k, n)
            if n.queued and k.money and k.money[-1] is n:
                k.money.rotate(1)
                break
        else:
            k.money.popleft()
    if k.money:
        k.purse.waiting[k.run] = None


def _unpark(k: RunState, lane: str) -> None:
    """One look at the head of a lane that has room; a lane whose head cannot start stays as it is."""
    queue = k.parked[lane]
    while queue and k.slots.may(lane, k.run, _claim(lane, queue)) and _room(k):
        id, n = queue.popitem(last=False)
        if n.state != "pending" or not n.queued:
            continue
        n.queued = False
        k.claimant = n if lane == WORKSPACE else None
        begin(k, n)
        k.claimant = None
        if id in queue:
            queue.move_to_end(id, last=False)
            break
    if queue:
        k.slots.wait(lane, k.run, _claim(lane, queue))
    else:
        del k.parked[lane]


def _claim(lane: str, queue: OrderedDict[str, Node]) -> Claim:
    """What the first in line claims."""
    return next(iter(queue.values())).claim if lane == WORKSPACE else ""
