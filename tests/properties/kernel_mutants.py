"""Each rule of the kernel turned the other way. The crash test must notice every one of them, else it proves
nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runner.core import begin, ending, fold, judge, kernel, recover, schedule
from runner.core.node import Node
from runner.core.purse import Purse
from runner.core.run_state import RunState
from runner.core.slots import Slots
from runner.core.tree import Tree

Patch = pytest.MonkeyPatch


def dependents_decide_early(patch: Patch) -> None:
    """…as soon as one dependency has ended, not all."""
    settled = RunState._settled

    def eager(self: RunState, n: Node) -> None:
        if n.group is None:
            for reader in self.readers.get(n.id, ()):
                if not reader.step.final and reader.waits > 1:
                    reader.waits = 1
        settled(self, n)

    patch.setattr(RunState, "_settled", eager)


def a_loss_uses_a_retry(patch: Patch) -> None:
    lost = fold.STEP_FOLD["attempt_lost"]

    def counted(k: RunState, n: Node, d: Any) -> None:
        lost(k, n, d)
        n.rounds += 1

    patch.setitem(fold.STEP_FOLD, "attempt_lost", counted)  # type: ignore[arg-type]


def an_unknown_outcome_is_repeated(patch: Patch) -> None:
    rows = tuple(row for row in recover.ROWS if row not in (recover._unknown, recover._unknown_loss))
    patch.setattr(recover, "ROWS", rows)


def a_chain_is_an_index(patch: Patch) -> None:
    """Only entries after the present one count as untried, so one that a mode has hidden is never tried."""
    untried = recover.untried

    def after(c: recover.Case) -> list[Any]:
        labels = [candidate.label for candidate in c.options.candidates]
        at = labels.index(c.standing.label) if c.standing.label in labels else -1
        return [candidate for candidate in untried(c) if labels.index(candidate.label) > at]

    patch.setattr(recover, "untried", after)


def a_hidden_entry_is_exhausted(patch: Patch) -> None:
    def give_up(policy: Any, mode: Any, detail: str) -> recover.Decision:
        return recover.Fail(detail)

    for module in (recover, begin, kernel):
        patch.setattr(module, "hidden", give_up)


def intents_without_a_slot(patch: Patch) -> None:
    patch.setattr(schedule, "_room", lambda k: True)


def a_call_holds_a_slot(patch: Patch) -> None:
    started = fold.STEP_FOLD["attempt_started"]

    def held(k: RunState, n: Node, d: Any) -> None:
        started(k, n, d)
        if n.holding == "call":
            n.holding = "slot"
            k.calls -= 1
            k.occupy(n)

    patch.setitem(fold.STEP_FOLD, "attempt_started", held)  # type: ignore[arg-type]


def a_leg_starts_all_over(patch: Patch) -> None:
    """…with what had succeeded, too."""

    def everything(k: RunState) -> None:
        for n in k.nodes.values():
            if n.state in ("succeeded", "reused", "skipped"):
                n.state = "failed"
        reset = [n.id for n in k.nodes.values() if n.group is None]
        fold.emit(k, "leg_started", None, {"leg": k.leg + 1, "reset": reset, "suspend": []})

    patch.setattr(ending, "next_leg", everything)


def an_unknown_is_pending_in_the_next_leg(patch: Patch) -> None:
    patch.setattr(ending, "_unknown", lambda n: False)


def a_new_key_after_an_unknown_outcome(patch: Patch) -> None:
    lost = fold.STEP_FOLD["attempt_lost"]

    def fresh(k: RunState, n: Node, d: Any) -> None:
        lost(k, n, d)
        n.effect_key = None

    patch.setitem(fold.STEP_FOLD, "attempt_lost", fresh)  # type: ignore[arg-type]


def the_same_key_after_a_known_outcome(patch: Patch) -> None:
    failed = fold.STEP_FOLD["attempt_failed"]
    patch.setitem(fold.STEP_FOLD, "attempt_failed", lambda k, n, d: failed(k, n, {**d, "effect": "maybe"}))  # type: ignore[arg-type]


def only_the_root_is_resumed(patch: Patch) -> None:
    def root_only(self: Tree, message: Any, now: int) -> Any:
        return self.feed(self.root, message, now)

    patch.setattr(Tree, "broadcast", root_only)


def timers_are_not_armed_again(patch: Patch) -> None:
    arm = kernel.RunKernel._arm
    patch.setattr(kernel.RunKernel, "_arm", lambda self, *, rearm: arm(self, rearm=False))


def money_in_flight_counts_as_gone(patch: Patch) -> None:
    fits = Purse.fits
    patch.setattr(Purse, "fits", lambda *a: "over" if fits(*a) == "wait" else fits(*a))


def money_in_flight_is_not_counted(patch: Patch) -> None:
    fits = Purse.fits
    patch.setattr(Purse, "fits", lambda *a: "go" if fits(*a) == "wait" else fits(*a))


def late_outcomes_count(patch: Patch) -> None:
    def any_attempt(k: RunState, node: str, attempt: int) -> Node | None:
        n = k.nodes.get(node)
        return n if n is not None and n.state in ("running", "pending", "succeeded") else None

    patch.setattr(judge, "attempt_of", any_attempt)


def a_sequence_overtakes(patch: Patch) -> None:
    """The next item starts while the one before waits for its retry."""
    patch.setattr(RunState, "_leave", RunState._vacate)


def finally_is_suspended(patch: Patch) -> None:
    def suspend(k: RunState, n: Node, d: Any) -> None:
        fold.emit(k, "step_suspended", n, {"reason": d.reason, "detail": d.detail})

    patch.setitem(judge.CARRY_OUT, recover.Suspend, suspend)  # type: ignore[arg-type]


def items_are_derived_at_the_next_start(patch: Patch) -> None:
    """A fan-out is not recorded, but made again from today's data by whoever folds: here, in another order."""
    expanded = fold.STEP_FOLD["items_expanded"]
    patch.setitem(  # type: ignore[misc]
        fold.STEP_FOLD,
        "items_expanded",
        lambda k, n, d: expanded(k, n, {**d, "items": d["items"][:: 1 if k.live else -1]}),
    )


def lanes_are_not_counted(patch: Patch) -> None:
    free = Slots.free
    patch.setattr(Slots, "free", lambda self, lane="", claim="": free(self))


def claims_are_not_counted(patch: Patch) -> None:
    patch.setattr(Slots, "may_claim", lambda self, claim, run: True)


def claims_are_forgotten_by_a_crash(patch: Patch) -> None:
    """What ran when the process died may still run, but nobody knows that it had the workspace."""
    take = Slots.take
    taking = RunState._take_slots

    def forgetful(self: RunState) -> None:
        patch.setattr(Slots, "take", lambda slots, lane, claim="": take(slots, lane))
        taking(self)
        patch.setattr(Slots, "take", take)

    patch.setattr(RunState, "_take_slots", forgetful)


def a_claim_is_never_given_back(patch: Patch) -> None:
    give = Slots.give
    patch.setattr(Slots, "give", lambda self, lane, claim="": give(self, lane))


def an_approval_outlives_its_leg(patch: Patch) -> None:
    restart = Node.restart

    def kept(self: Node) -> None:
        approved = self.approved
        restart(self)
        self.approved = approved

    patch.setattr(Node, "restart", kept)


def an_approved_gate_is_asked_again(patch: Patch) -> None:
    woken = fold.STEP_FOLD["step_woken"]
    patch.setitem(fold.STEP_FOLD, "step_woken", lambda k, n, d: woken(k, n, {**d, "approved": False}))  # type: ignore[arg-type]


def silence_means_no(patch: Patch) -> None:
    """…whatever `otherwise` says."""
    over = kernel._approval_over
    patch.setattr(kernel, "_approval_over", lambda k, n, otherwise: over(k, n, "reject"))


def a_time_out_is_forgotten_by_a_crash(patch: Patch) -> None:
    suspended = fold.STEP_FOLD["step_suspended"]
    patch.setitem(  # type: ignore[misc]
        fold.STEP_FOLD,
        "step_suspended",
        lambda k, n, d: suspended(k, n, d if k.live else {**d, "until": None}),
    )


MUTANTS: dict[str, Callable[[Patch], None]] = {
    mutant.__name__: mutant
    for mutant in (
        dependents_decide_early,
        a_loss_uses_a_retry,
        an_unknown_outcome_is_repeated,
        a_chain_is_an_index,
        a_hidden_entry_is_exhausted,
        intents_without_a_slot,
        a_call_holds_a_slot,
        a_leg_starts_all_over,
        an_unknown_is_pending_in_the_next_leg,
        a_new_key_after_an_unknown_outcome,
        the_same_key_after_a_known_outcome,
        only_the_root_is_resumed,
        timers_are_not_armed_again,
        money_in_flight_counts_as_gone,
        money_in_flight_is_not_counted,
        late_outcomes_count,
        a_sequence_overtakes,
        finally_is_suspended,
        items_are_derived_at_the_next_start,
        lanes_are_not_counted,
        claims_are_not_counted,
        claims_are_forgotten_by_a_crash,
        a_claim_is_never_given_back,
        an_approval_outlives_its_leg,
        an_approved_gate_is_asked_again,
        silence_means_no,
        a_time_out_is_forgotten_by_a_crash,
    )
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The kernel with this rule turned the other way."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        yield
