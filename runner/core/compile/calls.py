"""Manifests that call manifests: which must be compiled first, and whether a call fits its callee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.core.compile.edges import SHOWN
from runner.core.compile.state import Compiling, Draft, Where
from runner.core.graph import Json, StepGraph
from runner.core.inputs import mismatch
from runner.diagnostics.model import Loc
from runner.manifest.model import Manifest
from runner.templating import has_template

_KEPT = 100
"""Names of a circle that are kept for each manifest on it: of a ring of thousands each has thousands."""


def callee_names(manifest: Manifest) -> list[tuple[Loc, str]]:
    """Every manifest that a step or fallback entry calls, with its place."""
    found: list[tuple[Loc, str]] = []
    sections: tuple[tuple[str, Mapping[str, Any]], ...] = (("steps", manifest.steps), ("finally", manifest.finally_))
    for section, steps in sections:
        for id, step in steps.items():
            if step.verb == "call":
                found.append(((section, id, "call"), step.call))
            for index, entry in enumerate(getattr(step, "fallback", ())):
                if entry.verb == "call":
                    found.append(((section, id, "fallback", index, "call"), entry.call))
    return found


def call_order(calls: Mapping[str, Sequence[str]]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Manifest names so that callees come before their callers, and for each name that calls itself (through others, too) the names
    round to itself. `calls`: name → the names that it calls; names that are no keys are left out."""
    order: list[str] = []
    done: set[str] = set()
    circles: dict[str, tuple[str, ...]] = {}
    for start in calls:
        trail: list[tuple[str, list[str]]] = [] if start in done else [(start, _next(calls, start))]
        open_names = dict.fromkeys([start]) if trail else {}
        while trail:
            name, left = trail[-1]
            if not left:
                trail.pop()
                open_names.pop(name)
                done.add(name)
                order.append(name)
                continue
            callee = left.pop()
            if callee in open_names:
                names = list(open_names)
                _note_circle(circles, names[names.index(callee) :])
            elif callee not in done:
                trail.append((callee, _next(calls, callee)))
                open_names[callee] = None
    return order, circles


def _next(calls: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [callee for callee in reversed(calls[name]) if callee in calls]


def _note_circle(circles: dict[str, tuple[str, ...]], names: list[str]) -> None:
    for index, name in enumerate(names):
        if name not in circles:
            around = (*names[index : index + _KEPT], *names[: max(0, min(index, index + _KEPT - len(names)))])
            circles[name] = (*around, name) if len(names) <= _KEPT else (*around, "…", name)


def check_calls(c: Compiling) -> None:
    """Every `call` names a manifest that is there, is not its own caller, and takes what it is given."""
    for loc, name in callee_names(c.manifest):
        draft = c.drafts.get(str(loc[1]))
        if draft is None or draft.loc != loc[:2]:
            continue
        way = draft.raw if len(loc) == 3 else draft.raw["fallback"][loc[3]]
        _call(c, draft, loc, name, way.get("with") or {})


def _call(c: Compiling, draft: Draft, loc: Loc, name: str, given: Mapping[str, Json]) -> None:
    callees = c.callees
    circle = (name, name) if name == c.manifest.name else callees.cycles.get(c.manifest.name, ())
    if name in circle:
        if len(circle) > SHOWN + 1:
            circle = (*circle[:SHOWN], "…", circle[-1])
        c.report("recursion", Where(loc), f"a manifest cannot call itself: {' → '.join(circle)}")
    elif name in callees.graphs:
        _arguments(c, loc, callees.graphs[name], given)
    elif name not in callees.broken:
        message = f"there is no manifest `{name}` among those given, and no {name}.yaml beside this one"
        c.report("unknown-callee", Where(loc), message, _callee_meant(c, name))


def _callee_meant(c: Compiling, name: str) -> str | None:
    callees = c.callees
    return c.meant(name, {*callees.graphs, *callees.broken, *callees.known} - {c.manifest.name})


def _arguments(c: Compiling, loc: Loc, callee: StepGraph, given: Mapping[str, Json]) -> None:
    inside = (*loc[:-1], "with")
    for name, value in given.items():
        spec = callee.inputs.get(name)
        if spec is None:
            message = f"`{callee.name}` has no input `{name}`"
            c.report("call-inputs", Where((*inside, name)), message, c.meant(name, callee.inputs), key=True)
        elif not has_template(value) and (why := mismatch(spec.schema, value)):
            c.report("call-inputs", Where((*inside, name)), f"`{callee.name}` cannot take this: {why}")
    missing = [name for name, spec in callee.inputs.items() if spec.required and name not in given]
    if missing:
        where = Where(inside if given else loc)
        names = ", ".join(f"`{name}`" for name in missing)
        c.report("call-inputs", where, f"`{callee.name}` needs {names}", key=bool(given))
