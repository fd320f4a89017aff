"""Which names a template may use in which place (manifest-language.md, "Templates"). A table; nothing is looked up here."""

from functools import cache
from typing import Literal, NamedTuple

Spot = Literal[
    "plan", "fan", "foreach", "key", "when", "body", "secret", "show", "check", "save", "outputs", "vars", "env", "cwd"
]
"""Kinds of places.

plan: route, timeout, budget, effects, faults, files. fan: `matrix` itself. foreach: the list of a fan-out; key: its items' keys.
when: a step's condition. body: what the verb does. secret: the same, where secrets may stand. show, check, save: as their keys.
outputs, vars, env (top level or defaults), cwd (of defaults): places outside steps.
"""

STEP_FIELDS = frozenset({"output", "text", "state", "error", "executor", "model", "cost_usd", "items", "checks"})
GROUP_FIELDS = STEP_FIELDS - {"executor", "model", "checks"}
ERROR_FIELDS = frozenset({"class", "message", "status", "executor"})
RUN_FIELDS = frozenset({"id", "name", "dir"})
ENDED_FIELDS = RUN_FIELDS | {"state", "mode", "cost_usd", "failed"}
REPAIR_NAMES = frozenset({"previous", "feedback", "round"})
FAN_NAMES = {
    "": frozenset[str](),
    "foreach": frozenset({"item", "index", "key"}),
    "matrix": frozenset({"matrix", "index", "key"}),
}

_KNOWN = frozenset({"inputs", "vars"})
_RUNNING = _KNOWN | {"steps", "run"}

PLACE_OF = {
    "steps": "where steps have run: not in vars, matrix, files, route, timeout, budget, effects or faults",
    "secrets": "in `env` of `run` and `with` of `tool`",
    "matrix": "in a step with `matrix`",
    "item": "in a step with `foreach`",
    "index": "in a step with `foreach` or `matrix`",
    "key": "in a step with `foreach` or `matrix`",
    "output": "in `checks` and `save`; elsewhere say `steps.<id>.output`",
    "text": "in `checks` and `save`; elsewhere say `steps.<id>.text`",
    "previous": "in a step with `repair`",
    "feedback": "in a step with `repair`",
    "round": "in a step with `repair`",
    "error": "in `fallback` entries; elsewhere say `steps.<id>.error`",
    "run": "where the run has begun: not in vars, matrix, files, route, timeout, budget, effects or faults",
    "vars": "after vars are computed: a var may use inputs only",
}
"""Where each name may be used, for messages."""


class Scope(NamedTuple):
    """The names that a place may use, and the fields of `run` there."""

    roots: frozenset[str]
    run: frozenset[str]


@cache
def scope(spot: Spot, fan: str = "", *, repair: bool = False, fallback: bool = False, final: bool = False) -> Scope:
    """The scope of a place in a step that fans out by `fan`, may be repaired, is a fallback entry, belongs to `finally`."""
    ended = final or spot in ("show", "outputs")
    return Scope(_roots(spot, fan, repair=repair, fallback=fallback), ENDED_FIELDS if ended else RUN_FIELDS)


def _roots(spot: Spot, fan: str, *, repair: bool, fallback: bool) -> frozenset[str]:
    fixed = _FIXED.get(spot)
    if fixed is not None:
        return fixed
    if spot == "plan":
        return _KNOWN | ({"matrix"} if fan == "matrix" else set())
    names = _RUNNING | FAN_NAMES[fan]
    if spot == "key":
        return names - {"key"}
    if fallback:
        names |= {"error"}
    if spot == "when":
        return names
    if repair:
        names |= REPAIR_NAMES
    return names | _EXTRA.get(spot, frozenset())


_FIXED: dict[str, frozenset[str]] = {
    "fan": _KNOWN,
    "foreach": _RUNNING,
    "outputs": _RUNNING,
    "vars": frozenset({"inputs"}),
    "env": _KNOWN | {"run", "secrets"},
    "cwd": _KNOWN | {"run"},
}
_EXTRA: dict[str, frozenset[str]] = {
    "secret": frozenset({"secrets"}),
    "check": frozenset({"output", "text"}),
    "save": frozenset({"output", "text"}),
}
