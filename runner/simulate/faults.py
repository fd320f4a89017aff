"""Scripted faults, as they are written on a command line: `X@STEP[:CLASS][*N]`.

A fault is a function of who is asked, at which step, and how often it failed there: a repeat after a death of the runner answers the
same. What a fault does to a run is the kernel's affair.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from runner.core.messages import EffectDoubt
from runner.errors import UsageError
from runner.manifest.vocabulary import ERROR_CLASSES, ErrorClass

_FAULT = re.compile(
    r"(?P<target>[^@]+)@(?P<step>\*|[^:*]+)(?::(?P<error>[A-Za-z_]+))?(?:\*(?P<times>[0-9]{1,6}))?", re.ASCII
)
FORM = "X@STEP[:CLASS][*N]"
DEFAULT: ErrorClass = "unavailable"
MAYBE: frozenset[str] = frozenset({"timeout", "crash"})
"""Classes after which the world may have changed: the answer never came."""
REACHES: frozenset[str] = frozenset({"unavailable", "timeout", "crash"})
"""Classes of one that cannot be reached, by a probe either."""
SCRIPTED: tuple[ErrorClass, ...] = tuple(name for name in ERROR_CLASSES if name != "cancelled")
"""What may be scripted; people cancel, executors do not."""


@dataclass(frozen=True, slots=True)
class Failing:
    """How one attempt fails."""

    error_class: ErrorClass
    message: str
    effect: EffectDoubt = "none"
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt is: manifest, step, and the step's node (`STEP[3]` for an item). `names`: who does it, by every name that a
    fault may use (executor, model, endpoint)."""

    manifest: str
    step: str
    node: str
    names: Collection[str]


@dataclass(frozen=True, slots=True)
class Fault:
    """`target`: an executor, model or endpoint, or `*`. `step`: STEP, `STEP[n]`, `MANIFEST.STEP`, or `*`. `times`: so many attempts
    of a way fail; None = all."""

    text: str
    target: str
    step: str
    error_class: ErrorClass = DEFAULT
    times: int | None = None

    def fits(self, place: Place) -> bool:
        return self.target in ("*", *place.names) and names_step(self.step, place.manifest, place.step, place.node)


def names_step(pattern: str, manifest: str, step: str, node: str) -> bool:
    """Does STEP, `STEP[n]`, `MANIFEST.STEP` or `*` mean this one?"""
    return pattern in ("*", step, node, f"{manifest}.{step}", f"{manifest}.{node}")


def parse(text: str) -> Fault:
    """The fault that is written so. Raises UsageError."""
    found = _FAULT.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"--fail {text}: expected {FORM}",
            hint="such as --fail github@fetch:rate_limit*2, or --fail '*@fix:timeout'",
        )
    error = found["error"] or DEFAULT
    if error not in SCRIPTED:
        raise UsageError(f"--fail {text}: there is no error class {error!r}", hint=f"one of {', '.join(SCRIPTED)}")
    times = None if found["times"] is None else int(found["times"])
    return Fault(text, found["target"], found["step"], cast("ErrorClass", error), times)


def failing(faults: Sequence[Fault], place: Place, known: int) -> tuple[Fault, Failing] | None:
    """What happens to an attempt when `known` attempts of the same way have failed; None = it succeeds. Faults that fit take turns,
    in the order in which they are written."""
    before = 0
    for fault in faults:
        if fault.fits(place):
            if fault.times is None or known < before + fault.times:
                return fault, Failing(fault.error_class, _message(fault, known - before), effect_of(fault.error_class))
            before += fault.times
    return None


def effect_of(error_class: str) -> EffectDoubt:
    return "maybe" if error_class in MAYBE else "none"


def _message(fault: Fault, before: int) -> str:
    return (
        f"simulated ({fault.text})"
        if fault.times is None
        else f"simulated ({fault.text}), {before + 1} of {fault.times}"
    )


@dataclass(frozen=True, slots=True)
class ModeChange:
    """`--mode`: the mode is another one from the start (`step` ""), or once a step has begun."""

    mode: Literal["normal", "degraded", "brainstem"]
    step: str = ""
