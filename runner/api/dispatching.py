"""Wiring of what `model` and `agent` steps need: who there is, how they are, and what money is left.

A part of `app`, which decides when all of it lives."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from typing import NamedTuple

from runner.api import routing
from runner.api.settings import Settings
from runner.api.units import micro, zone
from runner.clock import Clock
from runner.core.assigning import DAY, ROUTED
from runner.core.days import Calendar
from runner.core.graph import StepGraph
from runner.core.roster import Roster, roster
from runner.engine.dispatch import EngineDispatch, Rates, Sessions
from runner.engine.funds import DayFunds
from runner.engine.health import HealthKeeper, Probe, Terms
from runner.llms.spec import EndpointSpec, endpoints
from runner.manifest.vocabulary import Mode
from runner.ports import ServerPool, Store

SLACK = 1.5
"""Times `probe_timeout`: how long whoever wants to go on waits for probes."""


class Hooks(NamedTuple):
    """Where word of changes goes: `on_lane(lane)`, `on_mode(mode)` are the engine's; `warn` is for people."""

    on_lane: Callable[[str], None]
    on_mode: Callable[[Mode], None]
    warn: Callable[[str], None]


class Routing(NamedTuple):
    """What was wired."""

    roster: Roster
    keeper: HealthKeeper
    dispatch: EngineDispatch
    funds: DayFunds


async def enter_routing(
    stack: AsyncExitStack,
    settings: Settings,
    env: Mapping[str, str],
    store: Store,
    clock: Clock,
    *,
    servers: ServerPool,
    sessions: Sessions,
    pinned: Mode | None,
    hooks: Hooks,
    instead_of_probe: Callable[[Probe], Probe] = lambda probe: probe,
) -> Routing:
    """Everything wired, and alive until `stack` is left. `pinned`: the mode of this process, whatever circuits say. `instead_of_probe`:
    what stands in for the probes."""
    config, now = settings.config, clock.now()
    who, calendar = roster(config), Calendar(zone(config))
    keeper = HealthKeeper(
        store.health,
        who.cloud,
        routing.outlook(settings, env, store.health, now),
        probe=instead_of_probe(
            prober(endpoints(config.models, env), servers, config.fault_handler.probe_timeout / 1000)
        ),
        patience_s=config.fault_handler.probe_timeout * SLACK / 1000,
        clock=clock,
        terms=Terms(routing.limits(config.fault_handler), config.fault_handler.min_dwell),
        pinned=pinned,
        on_change=hooks.on_mode,
    )
    funds = DayFunds(store.ledger, micro(config.budget.per_day_usd), calendar, lambda: hooks.on_lane(DAY))
    rates = Rates({name: model.rpm for name, model in config.models.catalog.items() if model.rpm}, hooks.on_lane, clock)
    dispatch = EngineDispatch(
        who,
        keeper=keeper,
        sessions=sessions,
        funds=funds,
        calendar=calendar,
        rates=rates,
        learned=routing.Learned(who, store.health, now),
        unpriced=config.budget.unpriced,
        warn=hooks.warn,
    )
    stack.callback(rates.close)
    stack.push_async_callback(funds.close)
    await stack.enter_async_context(keeper)
    return Routing(who, keeper, dispatch, funds)


def prober(specs: Mapping[str, EndpointSpec], servers: ServerPool, timeout_s: float) -> Probe:
    """Endpoints are asked over HTTP, executors by opening their session."""

    async def probe(subject: str) -> str:
        kind, _, name = subject.partition(":")
        if kind == "executor":
            return await _session(servers, name) if servers.known(name) else "it is not configured any more"
        if name not in specs:
            return "it is not configured any more"
        found = await import_module("runner.llms.probe").probe(specs[name], timeout_s)  # late: it loads an HTTP client
        return "" if found.ok else str(found.reason)

    return probe


async def _session(servers: ServerPool, name: str) -> str:
    opened = asyncio.Event()
    if servers.status(name) != "open":
        servers.ensure(name, opened.set)
        await opened.wait()
    return "" if servers.status(name) == "open" else "its session does not open"


def needs_routing(graph: StepGraph) -> bool:
    """Has it a step that a model or an agent does, or that a model judges?"""
    return any(
        body.verb in ROUTED or any(check.kind == "judge" for check in body.checks)
        for step in graph.steps
        for body in step.bodies
    )
