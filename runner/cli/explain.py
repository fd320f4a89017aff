"""What `plan --explain` adds: who would do a step, what happens when it fails (per mode, with origins), what may be repeated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.api.planning import PlannedManifest
from runner.api.routes import Way
from runner.cli.output import Paint, columns
from runner.cli.route_text import way_lines
from runner.core.graph import Body, GraphStep
from runner.core.plan import PlannedStep
from runner.core.prices import NOTHING, Price
from runner.manifest.types import duration_text
from runner.manifest.vocabulary import MODES, WORK_VERBS, Mode
from runner.reporters.words import one_line

_LENGTHS = frozenset({"delay", "max_delay"})
_EFFECTS = {
    "none": "free to repeat",
    "idempotent": "repeated after an unknown outcome",
    "once": "never repeated silently; tried again or passed on only after classes that the step itself names",
}
_DEFAULT_EFFECTS = {"run": "once", "agent": "idempotent"}


def explain_manifest(entry: PlannedManifest) -> Iterator[str]:
    """Inputs as bound, and what starts the manifest by itself."""
    graph = entry.graph
    rows = [("input", f"{name} = {one_line(repr(value), 80)}") for name, value in entry.inputs.items()]
    rows += [("trigger", f"{kind}: {_plain(value)}") for kind, value in graph.triggers.items() if value]
    rows += [("calls", name) for name in graph.callees]
    if graph.budget:
        rows.append(("budget", ", ".join(f"{key} {_plain(value)}" for key, value in graph.budget.items())))
    yield from columns(rows)


def explain_step(planned: PlannedStep, entry: PlannedManifest, paint: Paint) -> Iterator[str]:
    """Lines about one step. Routes are those of the mode that was planned for; fault policies are those of all modes."""
    step, mode = entry.graph.by_id[planned.id], entry.mode
    if planned.id in entry.ways and planned.action != "skip":
        rows = list(_routes(entry.ways[planned.id], entry.now, paint))
    else:
        rows = [
            ("route", f"{'→' if c.taken else '×'} {one_line(c.target, 80)}: {one_line(c.reason, 200)}")
            for c in planned.route
        ]
    if planned.price is not None:
        rows.append(("cost", price_text(planned.price)))
    rows += [("hint", text) for text in _policy(step, "route", step.bodies[0].route.get(mode, {}), mode)]
    rows += [("fallback", _way(body)) for body in step.bodies[1:]]
    if step.verb in WORK_VERBS:
        rows.append(("effects", _effects(step.bodies[0])))
    rows += _faults(step)
    if step.bodies[0].timeout is not None:
        rows.append(("timeout", _length(step.bodies[0].timeout)))
    if step.labels:
        rows.append(("labels", ", ".join(f"{one_line(key, 80)}={_plain(value)}" for key, value in step.labels.items())))
    yield from columns(rows)


def _routes(ways: Sequence[Way], now: int, paint: Paint) -> Iterator[tuple[str, str]]:
    """Every candidate of every way; the first word of each block says which way it is."""
    for way in ways:
        if way.routed is None:
            continue
        name = "route" if way.name == "step" else way.name
        for line in way_lines(way, now, paint):
            yield name, line
            name = ""


def price_text(price: Price) -> str:
    """A range of money for people."""
    if price == NOTHING:
        return "costs nothing"
    unknown = f"; not known: {', '.join(price.unknown)}" if price.unknown else ""
    if price.high is None:
        return (f"may cost {_usd(price.low)} or more" if price.low else "may cost something") + unknown
    if price.low == price.high:
        return f"costs about {_usd(price.low)}{unknown}"
    if not price.low:
        return f"may cost up to {_usd(price.high)}{unknown}"
    return f"may cost {_usd(price.low)} to {_usd(price.high)}{unknown}"


def _usd(micro: int) -> str:
    return f"${micro / 1_000_000:.4f}"


def _way(body: Body) -> str:
    on = f" on {', '.join(body.errors)}" if body.errors else ""
    return f"{body.verb}{on}" + (f" when {one_line(body.when, 80)}" if body.when else "")


def _effects(body: Body) -> str:
    if body.effects is not None:
        known = _EFFECTS.get(str(body.effects))
        return f"{body.effects}" + (f": {known}" if known else "")
    if body.verb == "tool":
        return "by the tool's annotations, else once"
    default = _DEFAULT_EFFECTS.get(body.verb, "none")
    return f"{default}: {_EFFECTS[default]} (default of `{body.verb}`)"


def _faults(step: GraphStep) -> list[tuple[str, str]]:
    """One row for all modes with the same policy. What no layer above the built-in one gave is not marked."""
    if step.verb not in WORK_VERBS and step.verb != "call":
        return []
    told: dict[str, list[str]] = {}
    for mode in MODES:
        policy = step.faults.get(mode, {})
        retry = _policy(step, "retry", policy.get("retry", {}), mode)
        rest = _policy(step, "", {key: value for key, value in policy.items() if key != "retry"}, mode)
        told.setdefault("; ".join([f"retry: {', '.join(retry)}", *rest]), []).append(mode)
    return [
        ("faults", f"{', '.join(modes) if len(modes) < len(MODES) else 'any mode'}: {text}")
        for text, modes in told.items()
    ]


def _policy(step: GraphStep, section: str, values: Mapping[str, Any], mode: Mode) -> list[str]:
    rows = []
    for key, value in values.items():
        if value in ([], (), None):
            continue
        origin = step.origins.get(f"{mode}.{section}.{key}" if section else f"{mode}.{key}", "")
        text = _length(value) if key in _LENGTHS else _plain(value)
        rows.append(f"{key} {text}" + (f" [{one_line(origin, 80)}]" if origin not in ("", "built-in") else ""))
    return rows


def _length(value: Any) -> str:
    return duration_text(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(_plain(one) for one in value)
    return one_line(value, 80)
