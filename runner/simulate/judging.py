"""Models that judge in a simulation: who is asked, who answers, what they say.

The order is that of `llms.judge`: the models of the check one after the other, as far as their failures pass on; a model is asked
only once the other checks have passed. What they cost counts within what their attempt has reserved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.core.recover import passes_on
from runner.simulate.faults import Failing, Fault

Ask = Callable[[int, str], tuple[Fault | None, Failing] | None]
"""(number of the check, model) → how that call fails, and because of which scripted fault; None = it judges."""


@dataclass(frozen=True, slots=True)
class Call:
    """A question to a model. `failing` None = it has judged."""

    model: str
    failing: Failing | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of the judges of an attempt. `failing`: why its check fails; None = it passes."""

    calls: tuple[Call, ...] = ()
    failing: Failing | None = None
    fault: Fault | None = None


def judged(checks: list[Mapping[str, Any]], ask: Ask, passes: Callable[[int], bool]) -> Judged:
    """Every `judge` among `checks`. `passes(number)`: does who judges find it good enough?"""
    calls: list[Call] = []
    failing, fault = None, None
    for number, check in enumerate(checks):
        if check["kind"] != "judge":
            continue
        answered, why, scripted = _one(number, check["judge"]["models"], ask, calls)
        fault = fault or scripted
        if not answered:
            failing = failing or Failing("check_failed", f"judge: nobody could judge: {why}")
        elif not passes(number):
            failing = failing or Failing("check_failed", f"judge: simulated: not {check['min']:g}, which is needed")
    return Judged(tuple(calls), failing, fault)


def _one(number: int, models: list[str], ask: Ask, calls: list[Call]) -> tuple[bool, str, Fault | None]:
    """Has somebody judged, else why nobody; and the scripted fault that kept one from it."""
    why, fault = "no model may judge", None
    for model in models:
        found = ask(number, model)
        calls.append(Call(model, None if found is None else found[1]))
        if found is None:
            return True, "", fault
        fault = fault or found[0]
        why = f"{model}: {found[1].error_class}: {found[1].message}"
        if not passes_on(found[1].error_class):
            break
    return False, why, fault
