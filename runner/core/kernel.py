"""Run semantics: `feed` decides, `fold` only changes state. No clock, disk, asyncio, templates or randomness in here.

A message arrives, `feed` decides in memory, the driver commits all its events at once, and only then carries out the
commands. If the commit fails, the kernel is thrown away (`release`) and rebuilt from its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from runner.core import ending
from runner.core.begin import NOTHING
from runner.core.events import Event
from runner.core.fold import apply, emit, fit
from runner.core.graph import Json, StepGraph
from runner.core.judge import on_lost, on_note, on_outcome
from runner.core.messages import Command, Host, Outcome, Stored, Wake
from runner.core.node import Node
from runner.core.purse import Purse
from runner.core.recover import Suspend, hidden
from runner.core.run_state import DEFAULT_CONCURRENCY, RunState
from runner.core.schedule import drain
from runner.core.slots import Slots
from runner.core.states import OPEN_RUN
from runner.manifest.vocabulary import Mode


class RunKernel(RunState):
    """One run: its state, and the decisions about it.

    `record` is folded first; then `feed` takes one message at a time. `purse` is shared by the runs of a tree. The
    messages are listed in `MESSAGES`; one that makes no sense now (late, duplicate, stale) produces nothing.
    """

    def __init__(
        self,
        run: str,
        graph: StepGraph,
        host: Host,
        slots: Slots,
        record: Iterable[Event] = (),
        mode: Mode = "normal",
        *,
        purse: Purse | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        super().__init__(run, graph, host, slots, purse or Purse(), mode, concurrency)
        self._armed: int | None = None
        self._busy_since: int | None = None
        for event in record:
            apply(self, event)
        self._take_slots()

    def feed(self, message: tuple[Any, ...], now: int) -> tuple[list[Event], list[Command]]:
        """One turn: the events to commit, and the commands that may follow once they are. `now`: Unix milliseconds."""
        self._tick(now)
        MESSAGES[message[0]](self, *message[1:])
        if self.state in OPEN_RUN:
            self._check_timeout()
            drain(self)
        self._busy_since = self.now if self.is_busy else None
        self._arm(rearm=message[0] == "timer")
        events, self.events = self.events, []
        commands, self.commands = self.commands, []
        return events, commands

    def _tick(self, now: int) -> None:
        """Time never goes backwards here: a clock that jumps back never un-happens a timer."""
        self.now = max(now, self.now)
        if self._busy_since is not None:
            self.busy += self.now - self._busy_since

    def _check_timeout(self) -> None:
        if self.timeout_ms is None or self.timed_out or self.verdict is not None or self.busy < self.timeout_ms:
            return
        emit(self, "run_timed_out", None, {"busy": self.busy})
        ending.stop(self, "the run's timeout is over")

    def _arm(self, *, rearm: bool) -> None:
        """Ask for a wake-up when the next one has changed, and again when a timer came: it may have fired early."""
        at = self.next_wake if self.state in OPEN_RUN else None
        if at is not None and (rearm or at != self._armed):
            self.commands.append(Wake(self.run, at))
        self._armed = at


# ---------------------------------------------------------------- messages


def _start(
    k: RunKernel, inputs: Mapping[str, Json], refresh: Any = None, extra: Mapping[str, Any] | None = None
) -> None:
    if k.state == "pending":
        again = refresh if refresh is None or refresh == "all" else sorted(refresh)
        emit(k, "run_started", None, {"inputs": inputs, "mode": k.mode} | fit({"refresh": again}) | dict(extra or {}))


def _retry(k: RunKernel, leg: bool = True) -> None:
    """A person (or the next apply) wants it to go on: a new leg, or another try of what is exhausted. Without `leg` a run that has
    ended stays so: it was suspended when that was said, and a timer or an answer came first."""
    if k.state in ("failed", "cancelled"):
        if leg:
            ending.next_leg(k)
    elif k.state in OPEN_RUN:
        for n in k.suspended():
            if n.reason in ("exhausted", "quota"):
                _wake(k, n, "tried again")
            elif n.reason == "mode" and (hope := _hope(k, n)):
                _wake(k, n, "a way is open again", restart=hope == "restart")


def _wake(k: RunKernel, n: Node, reason: str, *, restart: bool = False) -> None:
    """What is exhausted starts over with every entry untried."""
    again = {"restart": True} if restart or n.reason in ("exhausted", "quota") else {}
    emit(k, "step_woken", n, {"reason": reason} | again)


def _timer(k: RunKernel) -> None:
    while (n := k.due()) is not None:
        if n.state == "waiting" and n.verb == "wait":
            emit(k, "step_resolved", n, {"state": "succeeded", "result": NOTHING, "by": "timer"})
        elif n.state == "suspended" and n.reason == "approval":
            _approval_over(k, n, (n.ask or {}).get("otherwise", "reject"))
        else:
            _wake(k, n, "its time has come")


def _approval_over(k: RunKernel, n: Node, otherwise: str) -> None:
    """Nobody answered in time."""
    if otherwise == "approve":
        _approve(k, n, None, "timeout", "")
    elif otherwise == "fail":
        _resolve_failed(k, n, "timeout", "nobody answered in time", "timeout", "")
    else:
        _resolve_failed(k, n, "denied", "rejected: nobody answered in time", "timeout", "")


def _answer(k: RunKernel, node: str, state: str, result: Stored | None, by: str, comment: str = "") -> None:
    """A person approves, rejects or resolves. An answer to a step that is no longer suspended does nothing."""
    n = k.nodes.get(node)
    if n is None or n.state != "suspended":
        return
    approval = n.reason == "approval"
    if state == "succeeded":
        _approve(k, n, result if result is not None or approval else NOTHING, by, comment)
    elif state == "failed" and approval:
        _resolve_failed(k, n, "denied", f"rejected by {by}" + (f": {comment}" if comment else ""), by, comment)
    elif state == "failed":
        _resolve_failed(
            k, n, (n.error or {}).get("class", "crash"), comment or f"resolved as failed by {by}", by, comment
        )
    elif state == "skipped":
        emit(k, "step_resolved", n, fit({"state": "skipped", "by": by, "comment": comment, "reason": "resolved"}))


def _approve(k: RunKernel, n: Node, result: Stored | None, by: str, comment: str) -> None:
    if n.reason == "approval" and (n.ask or {}).get("gate"):
        emit(k, "step_woken", n, fit({"reason": f"approved by {by}", "approved": True, "by": by, "comment": comment}))
        return
    if result is None:
        at = datetime.fromtimestamp(k.now / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        result = {"value": {"output": {"by": by, "comment": comment, "at": at}}}
    emit(k, "step_resolved", n, {"state": "succeeded", "result": result} | fit({"by": by, "comment": comment}))


def _resolve_failed(k: RunKernel, n: Node, error_class: str, message: str, by: str, comment: str) -> None:
    data = {
        "state": "failed",
        "class": error_class,
        "message": message,
        "by": by,
        "comment": comment,
        "reason": "resolved",
    }
    emit(k, "step_resolved", n, fit(data))


def _redo(k: RunKernel, node: str, by: str) -> None:
    """A person says: run it again. With the same idempotency key when the outcome is unknown."""
    n = k.nodes.get(node)
    if n is not None and n.state == "suspended" and n.reason != "approval":
        _wake(k, n, f"redo by {by}")


def _cancel(k: RunKernel, by: str, reason: str = "") -> None:
    """The first cancel stops main steps; one that comes while `finally` runs stops that."""
    final = k.verdict is not None
    if k.state not in ("pending", *OPEN_RUN) or (k.final_cancelling if final else k.cancelling):
        return
    emit(k, "cancel_requested", None, fit({"by": by, "reason": reason}))
    if k.state == "pending":
        ending.cancel_unstarted(k)
    else:
        ending.stop(k, reason or f"cancelled by {by}", final=final)


def _mode(k: RunKernel, mode: Mode) -> None:
    """The mode or a circuit has changed: an input. Only what follows is recorded. Never stops what runs."""
    k.mode = mode
    for queue in k.parked.values():  # other entries may be first now, so other lanes
        k.ready.extend(n for n in queue.values() if n.queued)
    k.parked.clear()
    for n in k.suspended():
        if n.reason == "mode" and (hope := _hope(k, n)):
            _wake(k, n, f"mode {mode}", restart=hope == "restart")


def _hope(k: RunKernel, n: Node) -> Literal["", "wake", "restart"]:
    """May a step that the mode had hidden be looked at again? `restart`: whom it waited for is no candidate any more, and those who
    failed before may be asked anew, or it would wait for ever."""
    options = k.host.options(k, n, k.now)
    untried = [c for c in options.candidates if c.label not in n.failed]
    if not options.candidates or any(c.shown for c in untried):
        return "wake"
    if not untried:
        return "restart" if any(c.shown for c in options.candidates) else ""
    return "" if isinstance(hidden(options.policy, k.mode, options.hidden), Suspend) else "wake"


def _raise(k: RunKernel, micro_usd: int, by: str) -> None:
    emit(k, "budget_raised", None, {"usd": micro_usd, "by": by})
    _funds(k)


def _funds(k: RunKernel) -> None:
    """The tree's budget has grown."""
    for n in k.suspended():
        if n.reason == "budget":
            _wake(k, n, "the budget was raised")


def _slots(k: RunKernel) -> None:
    """A slot is free, or money came back: `drain` looks at who waits."""


def _child(k: RunKernel, node: str, attempt: int, outcome: Outcome, child: str) -> None:
    """A sub-run has ended (from the tree)."""
    on_outcome(k, node, attempt, outcome, child)


def _child_idle(k: RunKernel, node: str, idle: bool) -> None:
    """A sub-run was suspended, or goes on."""
    n = k.nodes.get(node)
    if idle and n is not None and n.state == "running" and n.holding == "call":
        k.idle_children.add(node)
    else:
        k.idle_children.discard(node)


MESSAGES: Mapping[str, Callable[..., None]] = {
    "start": _start,
    "retry": _retry,
    "outcome": on_outcome,
    "note": on_note,
    "lost": on_lost,
    "timer": _timer,
    "mode": _mode,
    "answer": _answer,
    "redo": _redo,
    "cancel": _cancel,
    "raise": _raise,
    "slots": _slots,
    "child_idle": _child_idle,
    "child": _child,
    "funds": _funds,
}
"""What a kernel may be fed:

    ("start", inputs, refresh, extra)  ("retry", leg)  ("cancel", by, reason)  ("raise", micro_usd, by)  ("mode", mode)
    ("outcome", node, attempt, Outcome)  ("note", node, attempt, Note)  ("lost", node, attempt)  ("timer",)  ("slots",)
    ("answer", node, state, result, by, comment)  ("redo", node, by)
    from the tree: ("child_idle", node, idle)  ("child", node, attempt, Outcome, child)  ("funds",)
"""
