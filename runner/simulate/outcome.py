"""What a simulation has shown, as values: how the run ended, each step of it, what is suspended and until when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.core.node import Node
from runner.core.states import OPEN_RUN
from runner.simulate.promises import BrokenPromise
from runner.simulate.simulation import ROOT, Simulation, Told


@dataclass(frozen=True, slots=True)
class StepEnd:
    """Where a step or item is. `place`: the way to it (`call/step`). Times count from the beginning, in milliseconds."""

    place: str
    manifest: str
    state: str
    verb: str
    attempts: int
    lost: int
    executor: str
    model: str
    error: Mapping[str, Any] | None
    reason: str
    until_ms: int | None
    cost: int
    item_key: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A suspended step: for what, and when it may go on (None = when somebody, or something, says so)."""

    place: str
    reason: str
    detail: str
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Assumption:
    """A branch that was taken on a value that nobody knows. `took`: what followed."""

    place: str
    branch: str
    reads: tuple[str, ...]
    took: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A run as `runner apply` would leave it. `takes_ms`: how long that took. `told`: what happened, with moments of the virtual clock."""

    state: str
    reasons: tuple[str, ...]
    takes_ms: int
    commits: int
    deaths: int
    cost: int
    steps: tuple[StepEnd, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    invented: tuple[str, ...] = ()
    """Steps whose output was made up."""
    told: tuple[Told, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    """Run → the way to it."""
    start: int = 0
    unused: tuple[str, ...] = ()
    """What was asked for and never happened."""

    @property
    def outcome(self) -> str:
        """`succeeded`, `failed`, `suspended: mode`."""
        return f"{self.state}: {', '.join(self.reasons)}" if self.reasons else self.state


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept."""

    promise: str
    message: str
    seed: int | None = None
    kills: tuple[int, ...] = ()


def broken_by(error: Exception, seed: int | None, kills: frozenset[int]) -> Broken:
    """What an error in a simulation means. Anything but a broken promise is a defect of the kernel, or ours."""
    if isinstance(error, BrokenPromise):
        return Broken(error.promise, error.message, seed, tuple(sorted(kills)))
    return Broken("no-defect", f"{type(error).__name__}: {error}", seed, tuple(sorted(kills)))


def ended(simulation: Simulation, *, whole: bool) -> Ended:
    """How it stands now. Without `whole` only what a summary of many counts."""
    root, start = simulation.root, simulation.case.now
    reasons = tuple(_reasons(simulation)) if root.state == "suspended" else ()
    short = Ended(
        root.state, reasons, simulation.now - start, simulation.stage.commits, simulation.deaths, simulation.tree.purse.spent,
        tuple(_steps(simulation, start)),
    )  # fmt: skip
    if not whole:
        return short
    return Ended(
        short.state, short.reasons, short.takes_ms, short.commits, short.deaths, short.cost, short.steps,
        tuple(_waiting(simulation, start)), tuple(_assumptions(simulation)), _invented(simulation), tuple(simulation.told),
        dict(simulation.stage.places), start, tuple(_unused(simulation)),
    )  # fmt: skip


def _reasons(simulation: Simulation) -> list[str]:
    """Why it is suspended; a sub-run's reason is its own."""
    open_kernels = [kernel for kernel in simulation.tree.kernels.values() if kernel.state in OPEN_RUN]
    return sorted({n.reason for kernel in open_kernels for n in kernel.suspended()})


def _steps(simulation: Simulation, start: int) -> list[StepEnd]:
    lost = Counter((told.run, told.event.node) for told in simulation.told if told.event.kind == "attempt_lost")
    return [
        _step(simulation.stage.places[run], kernel.graph.name, n, lost[run, n.id], start)
        for run, kernel in simulation.tree.kernels.items()
        for n in kernel.nodes.values()
    ]


def _step(way: str, manifest: str, n: Node, lost: int, start: int) -> StepEnd:
    return StepEnd(
        f"{way}{n.id}", manifest, n.state, n.verb, n.attempt, lost, n.executor or n.label, n.model,
        n.error if n.state in ("failed", "suspended", "waiting") else None, n.reason, None if n.until is None else n.until - start,
        n.cost, n.item.key if n.item is not None else None,
    )  # fmt: skip


def _waiting(simulation: Simulation, start: int) -> list[Waiting]:
    details = {
        (told.run, told.event.node): told.event.data.get("detail", "")
        for told in simulation.told
        if told.event.kind == "step_suspended"
    }
    open_kernels = [(run, kernel) for run, kernel in simulation.tree.kernels.items() if kernel.state in OPEN_RUN]
    return [
        Waiting(
            simulation.stage.places[run] + n.id,
            n.reason,
            details.get((run, n.id), ""),
            None if n.until is None else n.until - start,
        )
        for run, kernel in open_kernels
        for n in kernel.suspended()
    ]


# ---------------------------------------------------------------- what was made up


def _invented(simulation: Simulation) -> tuple[str, ...]:
    name = simulation.case.name
    return tuple(
        step if manifest == name else f"{manifest}.{step}" for manifest, step in sorted(simulation.executors.invented)
    )


def _assumptions(simulation: Simulation) -> list[Assumption]:
    """Branches whose condition or list read something that was made up, with what they took."""
    found = []
    for run, kernel in simulation.tree.kernels.items():
        reading = simulation.executors.reading(kernel.graph.name)
        made_up = simulation.executors.made_up(kernel.graph)
        for n in kernel.top:
            branch, reads = reading.branches.get(n.id, ("", ()))
            guessed = tuple(step for step in reads if step in made_up)
            if guessed and (took := _took(n)):
                found.append(Assumption(simulation.stage.places[run] + n.id, branch, guessed, took))
    return found


def _took(n: Node) -> str:
    if n.items is not None:
        return "one item" if len(n.items) == 1 else f"{len(n.items)} items"
    if n.state == "skipped" and n.reason.startswith("when:"):
        return "skipped"
    return "ran" if n.attempt or n.state in ("succeeded", "waiting", "suspended", "running") else ""


def _unused(simulation: Simulation) -> list[str]:
    scenario = simulation.scenario
    unused = [
        f"--fail {fault.text}" for fault in scenario.faults if fault not in simulation.used and scenario.seed is None
    ]
    unused += [f"--stub {name}" for name in scenario.stubs if name not in simulation.executors.stubbed]
    commits = simulation.stage.commits
    return unused + [f"--kill {number}" for number in sorted(scenario.kills) if number > commits]


__all__ = ["ROOT", "Assumption", "Broken", "Ended", "StepEnd", "Waiting", "broken_by", "ended"]
