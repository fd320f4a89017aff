"""`simulate`: compiled manifests under faults, without a call. Starts nothing, writes nothing, reads no record, resolves no secret.

Here a manifest, config and options become a `Case` and a `Scenario`; what happens then is `runner.simulate`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.api import routing
from runner.api.app import caps_of
from runner.api.facts import operator_policy
from runner.api.load import Loaded
from runner.api.planning import PlannedManifest, plan
from runner.api.request import Request
from runner.api.settings import Settings
from runner.api.units import micro, zone
from runner.clock import SystemClock
from runner.core import bind
from runner.core.days import Calendar
from runner.core.graph import GraphStep, StepGraph
from runner.core.roster import roster
from runner.errors import UsageError
from runner.manifest.vocabulary import MODES, WORK_VERBS
from runner.simulate.campaign import Simulated, Study, Summary, every_death, every_seed, seeded, simulate, study
from runner.simulate.faults import ModeChange, names_step, parse
from runner.simulate.outcome import Broken
from runner.simulate.scenario import NOW, Case, Scenario
from runner.spelling import did_you_mean

ALL = "all"
"""`--kill all`."""
Progress = Callable[[str, int, int], None]
"""(manifest, how many simulations are done, of how many; 0 = not known)."""


@dataclass(frozen=True)
class Asked:
    """The options as they were given. `stubs`: STEP → output. `seeds`: how many; `seed`: only this one."""

    paths: tuple[str, ...] = ()
    fail: tuple[str, ...] = ()
    mode: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    stubs: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | None = None
    seed: int | None = None
    again: tuple[str, ...] = ()
    """Options that the command line of a replay needs besides, word by word."""


@dataclass(frozen=True)
class SimulatedManifest:
    """A manifest with its simulation, and all of them together when many were asked for."""

    entry: PlannedManifest
    one: Simulated
    many: Summary | None = None
    asked: Asked = Asked()

    @property
    def broken(self) -> tuple[Broken, ...]:
        found = () if self.one.broken is None else (self.one.broken,)
        return found + (tuple(self.many.broken) if self.many else ())

    def replay(self, broken: Broken) -> str:
        """The command line that shows a broken promise again."""
        return replay(self.asked, broken)


def simulations(
    loaded: Loaded, settings: Settings, request: Request, asked: Asked, progress: Progress = lambda *_: None
) -> tuple[SimulatedManifest, ...]:
    """Simulate every manifest that apply would run, as a first run. Raises UsageError, InvalidInput."""
    planned = plan(loaded, settings, None, request, SystemClock(), steps=False)
    scenario = scenario_of(asked, loaded, settings)
    return tuple(
        _simulated(entry, loaded, settings, scenario, asked, progress)
        for entry in planned
        if entry.plan.action != "callable"
    )


def _simulated(
    entry: PlannedManifest, loaded: Loaded, settings: Settings, scenario: Scenario, asked: Asked, progress: Progress
) -> SimulatedManifest:
    known = study(case_of(entry, loaded, settings))
    only = scenario if asked.seed is None else seeded(known, scenario, asked.seed)
    one = simulate(known, only)
    many = None
    if asked.seeds is not None or ALL in asked.kill:
        many = Summary()
        for simulated in _many(known, scenario, asked):
            many.add(simulated)
            progress(entry.graph.name, many.count, asked.seeds or 0)
    return SimulatedManifest(entry, one, many, asked)


def _many(known: Study, scenario: Scenario, asked: Asked) -> Iterator[Simulated]:
    if asked.seeds is None:
        return every_death(known, scenario)
    return every_seed(known, scenario, range(1, asked.seeds + 1))


def case_of(entry: PlannedManifest, loaded: Loaded, settings: Settings) -> Case:
    """A manifest with its inputs and what config says."""
    graph, config = entry.graph, settings.config
    values = {"inputs": entry.inputs, "vars": bind.bind_vars(graph, entry.inputs)}
    timeout = bind.run_timeout_ms(graph, values)
    extra = caps_of(bind.budget(graph.budget, values), config, None)
    outlook = routing.outlook(settings, {}, None, NOW)
    graphs = {name: called for name, called in loaded.graphs.items() if name in loaded.called}
    return Case(
        graph.name,
        {**graphs, graph.name: graph},
        entry.inputs,
        extra=extra | ({} if timeout is None else {"timeout_ms": timeout}),
        servers={name: server.max_in_flight for name, server in config.mcp_servers.items()},
        secrets=frozenset(config.secrets),
        policy=operator_policy(config),
        roster=roster(config),
        outlook=outlook._replace(missing={}, credentials={}),  # whatever is configured is there
        limits=routing.limits(config.fault_handler),
        min_dwell=config.fault_handler.min_dwell,
        unpriced=config.budget.unpriced,
        day_cap=micro(config.budget.per_day_usd),
        calendar=Calendar(zone(config)),
        rpm={name: model.rpm for name, model in config.models.catalog.items() if model.rpm},
        process=config.concurrency.runs * config.concurrency.steps,
        concurrency=config.concurrency.steps,
    )


# ---------------------------------------------------------------- options


def scenario_of(asked: Asked, loaded: Loaded, settings: Settings) -> Scenario:
    """The options as a scenario. Raises UsageError for a name that nothing has."""
    names = _Names(loaded, settings)
    faults = tuple(parse(text) for text in asked.fail)
    for fault in faults:
        names.check_target(f"--fail {fault.text}", fault.target)
        names.check_step(f"--fail {fault.text}", fault.step)
    for option, steps in (("--approve", asked.approve), ("--reject", asked.reject)):
        for step in steps:
            names.check_step(f"{option} {step}", step)
    for step, value in asked.stubs.items():
        names.check_stub(step, value)
    modes = tuple(_mode(text, names) for text in asked.mode)
    return Scenario(faults, modes, _kills(asked), asked.approve, asked.reject, dict(asked.stubs))


def _mode(text: str, names: _Names) -> ModeChange:
    mode, at, step = text.partition("@")
    if mode not in MODES or (at and not step):
        raise UsageError(f"--mode {text}: expected MODE or MODE@STEP", hint=f"modes: {', '.join(MODES)}")
    if step:
        names.check_step(f"--mode {text}", step)
    return ModeChange(mode, step)


def _kills(asked: Asked) -> frozenset[int]:
    kills = set()
    for text in asked.kill:
        if text == ALL:
            continue
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1_000_000):
            raise UsageError(f"--kill {text}: expected the number of a commit, or `all`", hint="such as --kill 7")
        kills.add(int(text))
    if ALL in asked.kill and (kills or asked.seeds is not None or asked.seed is not None):
        raise UsageError("--kill all is every death, one at a time: it goes with no other --kill, --seed or --seeds")
    return frozenset(kills)


class _Names:
    """What there is to name: steps of the manifests, and who does them."""

    def __init__(self, loaded: Loaded, settings: Settings) -> None:
        config = settings.config
        self._graphs = loaded.graphs
        bodies = [body for graph in loaded.graphs.values() for step in graph.steps for body in step.bodies]
        self._targets = {
            "local", *config.mcp_servers, *config.models.catalog, *config.models.endpoints,
            *(str(body.call["server"]) for body in bodies if body.verb == "tool"),
        }  # fmt: skip

    def check_target(self, option: str, target: str) -> None:
        if target != "*" and target not in self._targets:
            raise _unknown(option, "executor, model or endpoint", target, self._targets)

    def check_step(self, option: str, pattern: str) -> None:
        if pattern != "*" and not any(self._meant(pattern)):
            raise _unknown(
                option, "step", pattern, {step.id for graph in self._graphs.values() for step in graph.steps}
            )

    def _meant(self, pattern: str) -> Iterator[tuple[StepGraph, GraphStep]]:
        bare = pattern.partition("[")[0]
        for graph in self._graphs.values():
            for step in graph.steps:
                if names_step(bare, graph.name, step.id, step.id):
                    yield graph, step

    def check_stub(self, pattern: str, value: Any) -> None:
        self.check_step(f"--stub {pattern}", pattern)
        for graph, step in self._meant(pattern):
            if step.verb not in WORK_VERBS:
                raise UsageError(
                    f"--stub {pattern}: {step.id} of {graph.name} is a `{step.verb}`: it has no executor to answer for",
                    hint="use --approve or --reject" if step.verb == "approve" else "stub the steps that it reads",
                )
            if wrong := _unfit(step, value):
                raise UsageError(
                    f"--stub {pattern}: {wrong}", hint=f"see `returns` of {step.id} ({graph.file}:{step.line})"
                )


def _unfit(step: GraphStep, value: Any) -> str | None:
    """Why a step can never give this; None = it can."""
    if step.returns is not None:
        return bind.mismatch(step.returns, value)
    if step.verb != "tool" and not isinstance(value, str):
        return f"without `returns` the output of a `{step.verb}` is text"
    return None


def _unknown(option: str, what: str, name: str, known: Iterable[str]) -> UsageError:
    listed = sorted(known)
    shown = ", ".join(listed[:12]) + (f", and {len(listed) - 12} more" if len(listed) > 12 else "")
    return UsageError(
        f"{option}: there is no {what} {name!r}", hint=did_you_mean(name, listed) or f"there are: {shown}"
    )


def replay(asked: Asked, broken: Broken) -> str:
    """The command line of one simulation."""
    words = ["runner", "simulate", *asked.paths, *asked.again]
    for option, values in (
        ("--fail", asked.fail), ("--mode", asked.mode), ("--approve", asked.approve), ("--reject", asked.reject),
    ):  # fmt: skip
        words += [word for value in values for word in (option, value)]
    if broken.seed is not None:
        kills: Sequence[str] = [text for text in asked.kill if text != ALL]
        words += ["--seed", str(broken.seed)]
    else:
        kills = [str(number) for number in broken.kills]
    words += [word for value in kills for word in ("--kill", value)]
    return shlex.join(words)
