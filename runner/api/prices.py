"""The price range of a plan: of each step that would run, and of the whole manifest, under the caps that hold."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner.api.results import MICRO
from runner.api.routes import Way, is_routed
from runner.core import bind, prices
from runner.core.graph import GraphStep, Json, StepGraph
from runner.core.plan import Plan, PlannedStep
from runner.core.prices import Price, Typical
from runner.templating import TemplateError

SPENDS = frozenset({"run", "resume", "unknown"})
"""What is planned for a step that may cost something."""


class Basis(NamedTuple):
    """What prices are computed from. `ways`: of the steps that a model or agent does or judges, by id. `per_run`: config's cap,
    micro-USD. `graphs`: what may be called, by name."""

    ways: Mapping[str, Sequence[Way]]
    typical: Typical
    per_run: int | None
    graphs: Mapping[str, StepGraph]


def priced(plan: Plan, graph: StepGraph, inputs: Mapping[str, Json], basis: Basis) -> Plan:
    """The plan with prices, of its steps and in all."""
    values = {"inputs": inputs, "vars": bind.bind_vars(graph, inputs)}
    steps = graph.by_id
    found = {step.id: _step(step, steps[step.id], values, basis) for step in plan.steps if step.action in SPENDS}
    known = [price for price in found.values() if price is not None]
    if not known:
        return plan
    own = bind.budget(graph.budget, values).get("usd")
    caps = [cap for cap in (own, basis.per_run) if cap is not None]
    total = prices.together(known).at_most(min(caps, default=None))
    return plan._replace(steps=tuple(step._replace(price=found.get(step.id)) for step in plan.steps), price=total)


def _step(planned: PlannedStep, step: GraphStep, values: Mapping[str, Any], basis: Basis) -> Price | None:
    """The step itself and its judges; None = nothing that could cost."""
    if step.verb == "call":
        name = str(step.bodies[0].call["manifest"])
        return Price(0, None, (f"what {name} costs (plan it by itself)",)) if _may_cost(name, basis.graphs) else None
    first = [way for way in basis.ways.get(step.id, ()) if way.routed is not None and "fallback" not in way.name]
    if not first:
        return None
    price = prices.together(_way(way, basis.typical) for way in first)
    if step.fan is not None and planned.items is None:
        price = Price(0, 0 if price == prices.NOTHING else None, (*price.unknown, f"how many items {step.id} has"))
    elif step.fan is not None:
        price = price.times(planned.items or 0)
    return price.at_most(_cap(step, values))


def _may_cost(name: str, graphs: Mapping[str, StepGraph]) -> bool:
    """Does it ask a model or an agent, or call somebody who does?"""
    graph = graphs.get(name)
    return (
        graph is None
        or any(is_routed(step) for step in graph.steps)
        or any(_may_cost(one, graphs) for one in graph.callees)
    )


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
