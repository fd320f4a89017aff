"""What simulated people say: those who were announced (`--approve`, `--reject`), and those who bring a run to its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from runner.core.node import Node
from runner.simulate.dice import Dice
from runner.simulate.faults import names_step
from runner.simulate.scenario import Scenario

PATIENCE = 3
"""How often somebody puts right what a step is suspended for, before it is skipped."""


@dataclass(slots=True)
class Hand:
    """How often somebody did something for a place."""

    done: Counter[str] = field(default_factory=Counter)

    def again(self, place: str) -> bool:
        self.done[place] += 1
        return self.done[place] <= PATIENCE


def scripted_answer(scenario: Scenario, manifest: str, n: Node, dice: Dice, place: str) -> str | None:
    """What somebody says to a step that asks for approval, soon after it does; None = nobody comes."""
    for patterns, state in ((scenario.reject, "failed"), (scenario.approve, "succeeded")):
        if any(names_step(pattern, manifest, n.step.id, n.id) for pattern in patterns):
            return state
    if dice.seed is None:
        return None
    return dice.one_of(("succeeded", "succeeded", "succeeded", "failed", None), "person", place, n.id)


def decision(hand: Hand, scenario: Scenario, dice: Dice, manifest: str, place: str, n: Node) -> str | None:
    """What is done about a suspended step once nothing else happens: `truth` about an unknown outcome, mode `normal`, `raise` the
    budget, or the state that it is answered with. None = nobody says anything, and its time will come."""
    match n.reason:
        case "unknown":
            return "truth"
        case "approval" if n.until is not None and dice.chance(0.4, "absent", place):
            return None
        case "approval":
            rejected = any(names_step(pattern, manifest, n.step.id, n.id) for pattern in scenario.reject)
            return "failed" if rejected or dice.chance(0.25, "rejects", place) else "succeeded"
        case "mode" if hand.again(place):
            return "normal"
        case "budget" if n.until is not None and dice.chance(0.5, "midnight", place) and hand.again(f"{place} later"):
            return None
        case "budget" if hand.again(place):
            return "raise"
        case _:
            return "skipped"
