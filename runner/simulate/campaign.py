"""One scenario with its promises checked, and many of them: every seed, every death."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.simulate.dice import Dice
from runner.simulate.faults import ModeChange, parse
from runner.simulate.outcome import Broken, Ended, broken_by, ended
from runner.simulate.promises import BrokenPromise
from runner.simulate.reading import Reading, reading
from runner.simulate.scenario import Case, Scenario
from runner.simulate.simulation import Simulation

SHOWN = 20
"""Broken promises of many simulations that are kept; all are counted."""


@dataclass(frozen=True)
class Study:
    """A case with what is known of it before anything is simulated, so that a thousand simulations need to look once."""

    case: Case
    readings: dict[str, Reading]
    commits: int
    """Of the run when nothing fails and everybody answers: what deaths are drawn from."""


def study(case: Case) -> Study:
    """Look at a case."""
    unknown = Study(case, {name: reading(graph) for name, graph in case.graphs.items()}, 1)
    return replace(unknown, commits=max(1, simulate(unknown, Scenario(), whole=False).commits))


@dataclass(frozen=True)
class Simulated:
    """One scenario. `compared`: its end was compared with that of the same run without a death; `why_not`: why it was not."""

    ended: Ended
    broken: Broken | None
    compared: bool = False
    why_not: str = ""
    commits: int = 0
    """Until everything had ended."""
    scenario: Scenario = field(default_factory=Scenario)


def simulate(study: Study, scenario: Scenario, *, whole: bool = True) -> Simulated:
    """Run a scenario to where an apply would leave it, then on to its end, and check every promise."""
    simulation = Simulation(study.case, scenario, study.readings)
    shown: Ended | None = None
    try:
        simulation.run()
        shown = ended(simulation, whole=whole)
        simulation.settle()
        why_not = _compare(study, scenario, simulation) if simulation.deaths else "nothing died"
        return Simulated(shown, None, not why_not, why_not, simulation.stage.commits, scenario)
    except Exception as error:  # noqa: BLE001  a defect of the kernel is what we look for: it is reported, with its seed
        broken = broken_by(error, scenario.seed, scenario.kills)
        shown = shown or ended(simulation, whole=whole)
        return Simulated(shown, broken, commits=simulation.stage.commits, scenario=scenario)


def _compare(study: Study, scenario: Scenario, killed: Simulation) -> str:
    """Raises BrokenPromise when an uninterrupted run ends otherwise. Else why they could not be compared, or ""."""
    if why_not := killed.incomparable:
        return why_not
    calm = Simulation(study.case, replace(scenario, kills=frozenset()), study.readings)
    calm.run()
    calm.settle()
    if why_not := calm.incomparable:
        return why_not
    if difference := _difference(calm.picture(), killed.picture()):
        raise BrokenPromise("same-end", difference)
    return ""


def _difference(calm: Mapping[str, Any], killed: Mapping[str, Any]) -> str:
    """The first difference of two ends, in words; "" = there is none."""
    if calm.keys() != killed.keys():
        other = ", ".join(sorted(calm.keys() ^ killed.keys()))
        return f"not the same sub-runs: {other}"
    for way, (state, verdict, nodes) in calm.items():
        others = killed[way][2]
        for id in nodes | others:
            one, other = nodes.get(id, ("absent", None)), others.get(id, ("absent", None))
            if one != other:
                return f"{way}{id} ends {_words(one)}, and {_words(other)} after a death"
        if (state, verdict) != killed[way][:2]:
            return f"the run {way or 'itself'} ends {state}, and {killed[way][0]} after a death"
    return ""


def _words(end: tuple[str, Any]) -> str:
    text = repr(end[1])
    return end[0] if end[1] is None else f"{end[0]} with {text[:80]}"


# ---------------------------------------------------------------- many


def seeded(study: Study, scenario: Scenario, seed: int) -> Scenario:
    """The scenario of a seed: what is scripted, and by chance deaths, changes of the mode, and endpoints that are away. Executors and
    people follow the seed themselves."""
    dice = Dice(seed)
    kills = set(scenario.kills)
    if dice.chance(0.6, "dies"):
        kills |= {1 + dice.number("kill", n) % (study.commits + 3) for n in range(1 + dice.number("kills") % 3)}
    modes = list(scenario.modes)
    if dice.chance(0.25, "modes"):
        steps = [step.id for step in study.case.graph.steps]
        for n in range(1 + dice.number("changes") % 2):
            mode = dice.one_of(("degraded", "brainstem", "normal"), "mode", n)
            modes.append(ModeChange(mode, dice.one_of(steps, "where", n)))  # type: ignore[arg-type]
    faults = scenario.faults + tuple(
        parse(f"{endpoint.name}@*:unavailable")
        for endpoint in study.case.roster.cloud
        if dice.chance(0.15, "down", endpoint.name)
    )
    return replace(scenario, seed=seed, kills=frozenset(kills), modes=tuple(modes), faults=faults)


@dataclass
class Summary:
    """Of many simulations."""

    count: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(step, how it ended: an error class, or what it is suspended for)."""
    examples: dict[str, Scenario] = field(default_factory=dict)
    """Outcome → the first scenario that ends so."""
    compared: int = 0
    deaths: int = 0
    attempts: int = 0
    broken: list[Broken] = field(default_factory=list)
    broken_count: int = 0

    def add(self, simulated: Simulated) -> None:
        shown = simulated.ended
        self.count += 1
        self.outcomes[shown.outcome] += 1
        self.examples.setdefault(shown.outcome, simulated.scenario)
        self.compared += simulated.compared
        self.deaths += shown.deaths
        for step in shown.steps:
            self.attempts += step.attempts
            if step.state == "failed":
                self.failures[step.place, str((step.error or {}).get("class", "failed"))] += 1
            elif step.state == "suspended":
                self.failures[step.place, f"suspended: {step.reason}"] += 1
        if simulated.broken is not None:
            self.broken_count += 1
            if len(self.broken) < SHOWN:
                self.broken.append(simulated.broken)


def every_seed(study: Study, scenario: Scenario, seeds: Iterable[int]) -> Iterator[Simulated]:
    """The scenario with each of these seeds."""
    for seed in seeds:
        yield simulate(study, seeded(study, scenario, seed), whole=False)


def every_death(study: Study, scenario: Scenario) -> Iterator[Simulated]:
    """The scenario once for each of its commits, the runner dying after it."""
    for number in range(1, simulate(study, scenario, whole=False).ended.commits + 1):
        yield simulate(study, replace(scenario, kills=scenario.kills | {number}), whole=False)
