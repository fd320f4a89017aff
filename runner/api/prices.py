"""The price range of a plan: of each step that would run, and of the whole manifest, under the caps that hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.api.routes import Way
from runner.core import bind, prices
from runner.core.graph import GraphStep, Json, StepGraph
from runner.core.plan import Plan, PlannedStep
from runner.core.prices import Price, Typical
from runner.templating import TemplateError

SPENDS = frozenset({"run", "resume", "unknown"})
"""What is planned for a step that may cost something."""
MICRO = 1_000_000


def priced(
    plan: Plan, graph: StepGraph, ways: Mapping[str, Sequence[Way]], inputs: Mapping[str, Json], typical: Typical,
    per_run: int | None,
) -> Plan:  # fmt: skip
    """The plan with prices. `ways`: of the steps that a model or agent does or judges, by id. `per_run`: config's cap, micro-USD."""
    values = {"inputs": inputs, "vars": bind.bind_vars(graph, inputs)}
    found = {
        step.id: _step(step, graph.by_id[step.id], ways.get(step.id, ()), values, typical)
        for step in plan.steps
        if step.action in SPENDS
    }
    prices_ = [price for price in found.values() if price is not None]
    if not prices_:
        return plan
    own = bind.budget(graph.budget, values).get("usd")
    caps = [cap for cap in (own, per_run) if cap is not None]
    total = prices.together(prices_).at_most(min(caps, default=None))
    return replace(plan, steps=tuple(replace(step, price=found.get(step.id)) for step in plan.steps), price=total)


def _step(
    planned: PlannedStep, step: GraphStep, ways: Sequence[Way], values: Mapping[str, Any], typical: Typical
) -> Price | None:
    """The step itself and its judges; None = nothing that could cost."""
    if step.verb == "call":
        return Price(0, None, (f"what {step.bodies[0].call['manifest']} costs (plan it by itself)",))
    first = [
        way
        for way in ways
        if way.routed is not None and not way.name.startswith("fallback") and " of fallback" not in way.name
    ]
    if not first:
        return None
    price = prices.together(_way(way, typical) for way in first)
    if step.fan is not None and planned.items is None:
        price = Price(0, 0 if price == prices.NOTHING else None, (*price.unknown, f"how many items {step.id} has"))
    elif step.fan is not None:
        price = price.times(planned.items or 0)
    return price.at_most(_cap(step, values))


def _cap(step: GraphStep, values: Mapping[str, Any]) -> int | None:
    """The step's own; None also when it depends on what is not known yet."""
    try:
        cap: int | None = bind.budget(step.budget, values).get("usd")
    except (bind.BindError, TemplateError):
        return None
    return cap


def _way(way: Way, typical: Typical) -> Price:
    assert way.routed is not None
    shown = [verdict.entry for verdict in way.routed.verdicts if verdict.shown and verdict.entry is not None]
    return prices.one_of(prices.of_entry(entry, way.sent, way.most, typical(entry)) for entry in shown)


def price_json(price: Price) -> dict[str, Any]:
    """As `plan --format json` tells it."""
    high = None if price.high is None else price.high / MICRO
    return {"low_usd": price.low / MICRO, "high_usd": high, "unknown": list(price.unknown)}
