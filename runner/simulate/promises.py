"""What must hold whatever fails: watched on every event and turn of a simulated run.

The watcher reads the events, and is told of what the simulated world did. It decides nothing, and knows no manifest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from runner.core.events import Event
from runner.core.node import Node
from runner.core.slots import WORKSPACE
from runner.core.states import SETTLED, SETTLED_RUN
from runner.core.tree import Tree

PROMISES: Mapping[str, str] = {
    "succeeded-stays": "no step that is recorded as succeeded runs again",
    "once": "no `once` effect happens twice without a person",
    "effect-key": "the idempotency key is the same after an unknown outcome, and new after a known one",
    "ledger": "what is recorded as spent is the sum of the bills that executors wrote",
    "one-outcome": "one outcome for each leg",
    "one-start": "no attempt is started twice",
    "ends": "every run ends, or is suspended with a reason: nothing hangs",
    "record": "the state is what its record says, after every death of the runner and at the end",
    "same-end": "a killed and resumed run ends as the uninterrupted one",
    "limits": "never more at once than there are slots, never more spent than the budget",
    "final": "a `finally` step is never suspended",
    "no-defect": "the kernel takes every message without an error",
}
"""Id → what is promised."""

At = tuple[str, str]
"""(run, node)."""


class BrokenPromise(Exception):
    """A defect of the kernel, or of whoever drives it. `promise` is one of PROMISES."""

    def __init__(self, promise: str, message: str) -> None:
        super().__init__(message)
        self.promise = promise
        self.message = message


class Promises:
    """The promises about one root run. `process` and `lanes`: how many attempts may run at once."""

    def __init__(self, process: int, lanes: Mapping[str, int] | None = None) -> None:
        self._process, self._lanes = process, dict(lanes or {})
        self.effects: Counter[At] = Counter()
        self.unrecorded: set[At] = set()
        """`once` steps whose effect has happened although the record does not say so."""
        self._succeeded: set[At] = set()
        self._keys: dict[At, tuple[str, int, bool]] = {}
        """The last key of a step, the level that it was for, and whether its outcome is unknown."""
        self._outcomes: Counter[str] = Counter()
        self._reserved: dict[str, int] = {}
        self._bills: dict[str, int | None] = {}
        self._spent: defaultdict[str, int] = defaultdict(int)
        self._caps = 0

    # ------------------------------------------------------------ what the world tells

    def effect(self, run: str, node: str, *, recorded: bool) -> None:
        """A `once` step has changed the world. `recorded`: its outcome is about to say so."""
        at = (run, node)
        if not recorded:
            self.unrecorded.add(at)
        self.effects[at] += 1
        _hold(self.effects[at] <= 1, "once", f"the effect of {node} in {run} happened twice")

    def billed(self, key: str, cost: int | None) -> None:
        """An executor wrote a bill for an attempt; None = it did not say."""
        self._bills[key] = cost

    # ------------------------------------------------------------ what the record tells

    def event(self, tree: Tree, run: str, event: Event) -> None:
        """A decision that is about to be committed."""
        watch = _WATCH.get(event.kind)
        if watch is not None:
            watch(self, tree, run, event.node, event.data)

    def _started(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        at = (run, node)
        _hold(
            at not in self._succeeded, "succeeded-stays", f"{node} in {run} ran again although its success is recorded"
        )
        self._reserved[f"{run}/{node}/{data['n']}"] = data.get("reserved", 0)
        self._watch_key(at, data)
        self._watch_sequence(tree.kernels[run].nodes[node])

    def _watch_key(self, at: At, data: Mapping[str, Any]) -> None:
        key, level, unknown = self._keys.get(at, ("", 0, False))
        same = unknown and level == data.get("level", 0)
        _hold((data["effect_key"] == key) is same, "effect-key", f"{at[1]} in {at[0]}: {_key_words(same)}")
        own = f"{at[0]}/{at[1]}/{data['n']}"
        _hold(same or data["effect_key"] == own, "effect-key", f"{at[1]} in {at[0]}: the key of another attempt")
        self._keys[at] = (data["effect_key"], data.get("level", 0), False)

    def _watch_sequence(self, n: Node) -> None:
        """An item that waits for its retry or for a person keeps its place."""
        group = n.group
        if group is not None and group.sequence:
            begun = {i.id for i in group.items or () if i.state in ("running", "waiting", "suspended")}
            _hold(begun <= {n.id}, "limits", f"items of a sequence overtake: {', '.join(sorted(begun))}")

    def _ended_well(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        self._settle(run, node, data["n"], data["cost"])
        if not tree.kernels[run].nodes[node].step.final:
            self._succeeded.add((run, node))

    def _failed(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        self._settle(run, node, data["n"], data["cost"])
        self._unknown((run, node), data["effect"] == "maybe")

    def _lost(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        key = f"{run}/{node}/{data['n']}"
        _hold(
            data["assumed_cost"] == self._reserved.get(key, 0), "ledger", f"{key} was lost: its estimate does not stand"
        )
        self._spent[run] += data["assumed_cost"]
        self._unknown((run, node), True)

    def _unknown(self, at: At, unknown: bool) -> None:
        self._keys[at] = (*self._keys[at][:2], unknown)

    def _settle(self, run: str, node: str, attempt: int, cost: int) -> None:
        key = f"{run}/{node}/{attempt}"
        bill = self._bills.get(key, 0)
        owed = self._reserved.get(key, 0) if bill is None else bill
        _hold(cost == owed, "ledger", f"{key} is recorded with {cost} micro-USD, its executor billed {owed}")
        self._spent[run] += cost

    def _advanced(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        if data["level"] != self._keys.get((run, node), ("", data["level"], False))[1]:
            self._keys.pop((run, node), None)  # another body is another request

    def _resolved(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        if data["state"] == "succeeded":
            self._keys.pop((run, node), None)

    def _suspended(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        n = tree.kernels[run].nodes[node]
        _hold(not n.step.final, "final", f"{node} in {run} was suspended: {data['reason']}")
        _hold(bool(data["reason"]), "ends", f"{node} in {run} was suspended without a reason")

    def _finished(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        self._outcomes[run] += 1
        leg = tree.kernels[run].leg
        _hold(self._outcomes[run] <= leg, "one-outcome", f"{run}: {self._outcomes[run]} outcomes in {leg} legs")

    def _new_leg(self, tree: Tree, run: str, node: str, data: Mapping[str, Any]) -> None:
        for id in data["reset"]:
            if tree.kernels[run].nodes[id].step.final:
                self.effects.pop((run, id), None)  # it cleans up after another leg

    # ------------------------------------------------------------ after each turn

    def turn(self, tree: Tree, number: int) -> None:
        """What holds between turns. Large trees are looked at now and then only: it would take longer than what it watches."""
        size = sum(len(kernel.nodes) for kernel in tree.kernels.values())
        if number % (1 + size // 200) == 0:
            self._watch_limits(tree)

    def _watch_limits(self, tree: Tree) -> None:
        purse = tree.purse
        if purse.cap is not None:
            room = purse.cap + purse.final_spent + purse.final_held
            _hold(
                purse.spent + purse.held <= room, "limits", f"{purse.spent + purse.held} of {room} micro-USD are used"
            )
        running, claims = 0, Counter[str]()
        for kernel in tree.kernels.values():
            claims.update(n.claim for n in kernel.nodes.values() if n.state == "running" and n.claim)
            _hold(kernel.active <= kernel.concurrency, "limits", f"{kernel.active} steps of {kernel.run} at once")
            running += kernel.active
            for n in kernel.top:
                if n.items and n.limit:
                    busy = sum(item.state == "running" for item in n.items)
                    _hold(busy <= n.limit, "limits", f"{busy} items of {n.id} at once")
        _hold(running <= self._process, "limits", f"{running} steps in the process at once")
        self._watch_slots(tree, claims)

    def _watch_slots(self, tree: Tree, claims: Mapping[str, int]) -> None:
        alone, shared = claims.get("alone", 0), claims.get("shared", 0)
        _hold(not alone or alone + shared == 1, "limits", "somebody works beside one who must have the workspace alone")
        slots = tree.slots
        counted = (slots.claimed("shared"), slots.claimed("alone"))
        _hold(counted == (shared, alone), "limits", "a claim to the workspace is not counted")
        for lane, limit in self._lanes.items():
            _hold(slots.used(lane) <= limit, "limits", f"{slots.used(lane)} attempts at once in {lane}")

    # ------------------------------------------------------------ at the end

    def end(self, tree: Tree) -> None:
        """Everything has ended."""
        for run, kernel in tree.kernels.items():
            _hold(kernel.state in SETTLED_RUN, "ends", f"{run} is {kernel.state}")
            _hold(
                self._outcomes[run] == kernel.leg,
                "one-outcome",
                f"{run}: {self._outcomes[run]} outcomes, {kernel.leg} legs",
            )
            for n in kernel.nodes.values():
                _hold(n.state in SETTLED, "ends", f"{n.id} in {run} is {n.state}")
            held = kernel.active or kernel.calls or kernel.reserved
            _hold(not held, "limits", f"{run} has ended, and still holds something")
        self.money(tree)
        _hold(tree.purse.held == 0, "ledger", "reservations are left over")
        _hold(tree.slots.used() == 0, "limits", "slots are left over")
        waiting = any(map(tree.slots.waiting, ("", WORKSPACE, *self._lanes)))
        _hold(not waiting, "limits", "a run that has ended waits for a slot")

    def money(self, tree: Tree) -> None:
        """The ledger as it stands."""
        for run, kernel in tree.kernels.items():
            owed = self._spent[run]
            _hold(kernel.spent == owed, "ledger", f"{run} has spent {kernel.spent} micro-USD, the bills say {owed}")
        owed = sum(self._spent.values())
        _hold(tree.purse.spent == owed, "ledger", f"{tree.purse.spent} micro-USD are spent, the bills say {owed}")


def _hold(holds: bool, promise: str, message: str) -> None:
    if not holds:
        raise BrokenPromise(promise, message)


def _key_words(same: bool) -> str:
    return "a new key after an unknown outcome" if same else "the same key after a known outcome"


_WATCH: Mapping[str, Callable[[Promises, Tree, str, str, Mapping[str, Any]], None]] = {
    "attempt_started": Promises._started,
    "attempt_succeeded": Promises._ended_well,
    "attempt_failed": Promises._failed,
    "attempt_lost": Promises._lost,
    "choice_advanced": Promises._advanced,
    "step_resolved": Promises._resolved,
    "step_suspended": Promises._suspended,
    "run_finished": Promises._finished,
    "leg_started": Promises._new_leg,
}
