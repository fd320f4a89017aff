"""Where templates stand: every template of a manifest with its place in the data and its scope. Nothing is judged here.

The data is walked as it was written (short forms and all), so that a mistake is shown exactly where it stands.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from runner.core.compile.scope import Scope, Spot, scope
from runner.core.compile.state import Compiling, Draft, verb_of
from runner.core.graph import Json
from runner.diagnostics.model import Loc

Form = Literal["text", "blocks", "expr", "script", "literal"]
"""text: `{{ }}`. blocks: also `{% %}`. expr: a bare expression. script: a shell script, and
literal: plain data, where no template may be."""


class Place(NamedTuple):
    """One template. `file`: its text is the content of this file, which `loc` names."""

    loc: Loc
    text: str
    form: Form
    scope: Scope
    part: str
    """The key of the step that it stands under."""
    file: str = ""


class Walk(NamedTuple):
    """Walking one step, or one entry of its `fallback`."""

    draft: Draft
    sources: Mapping[str, str]
    out: list[Place]
    repair: bool
    fallback: bool = False

    def scope(self, spot: Spot) -> Scope:
        """The names of a place in this way of doing the step."""
        draft = self.draft
        return scope(spot, draft.fan, repair=self.repair, fallback=self.fallback, final=draft.final)

    def leaves(self, value: Json, loc: Loc, spot: Spot, part: str, form: Form = "text") -> None:
        """Note every template among the strings in `value`."""
        found: list[tuple[Loc, str]] = []
        templates(value, loc, found)
        if found:
            names = self.scope(spot)
            self.out.extend(Place(place, text, form, names, part) for place, text in found)


def templates(value: Json, loc: Loc, out: list[tuple[Loc, str]]) -> None:
    """Every string in `value` that may be a template, with its place. Data is at most 50 levels deep."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            out.append((loc, value))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            templates(inner, (*loc, key), out)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            templates(inner, (*loc, index), out)


def step_places(c: Compiling, draft: Draft) -> list[Place]:
    """All templates of one step."""
    out: list[Place] = []
    repair = "repair" in draft.raw or draft.verb in ("agent", "model")  # those two have a round for `bad_output` anyway
    _way(Walk(draft, c.sources, out, repair), draft.raw, draft.loc)
    return out


def _way(walk: Walk, raw: Mapping[str, Json], loc: Loc) -> None:
    for key, value in raw.items():
        reader = _READERS.get(key)
        if reader is not None:
            reader(walk, value, (*loc, key), key)


def _plain(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    walk.leaves(value, loc, "body", key, "literal")


def _at(spot: Spot) -> Callable[[Walk, Json, Loc, str], None]:
    def read(walk: Walk, value: Json, loc: Loc, key: str) -> None:
        walk.leaves(value, loc, spot, key)

    return read


def _expression(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    text = value if isinstance(value, str) else str(value).lower()  # `when: true` is no text in YAML
    checks = key == "expr"
    walk.out.append(Place(loc, text, "expr", walk.scope("check" if checks else "when"), "checks" if checks else key))


def _foreach(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    if not isinstance(value, Mapping):
        walk.leaves(value, loc, "foreach", key)
        return
    walk.leaves(value.get("in"), (*loc, "in"), "foreach", key)
    walk.leaves(value.get("key"), (*loc, "key"), "key", key)


def _with(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    way = walk.draft.raw if len(loc) == 3 else walk.draft.raw["fallback"][loc[3]]
    walk.leaves(value, loc, "secret" if "tool" in way else "body", key)


def _env(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    raw = walk.draft.raw
    runs = "run" in raw or any("run" in entry for entry in raw.get("fallback", ()))
    walk.leaves(value, loc, "secret" if runs else "body", key)


def _prompt(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    if isinstance(value, str):
        walk.leaves(value, loc, "body", key, "blocks")
        return
    for name, inner in value.items():
        if name == "file":
            text = walk.sources.get(inner, "")
            if "{{" in text or "{%" in text:
                walk.out.append(Place((*loc, name), text, "blocks", walk.scope("body"), key, inner))
        else:
            walk.leaves(inner, (*loc, name), "body", key, "blocks" if name in ("prompt", "system") else "text")


def _command(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    spot: Spot = "check" if key == "checks" else "body"
    if isinstance(value, str):
        _script(walk, value, loc, spot, key)
    elif isinstance(value, list):
        walk.leaves(value, loc, spot, key)
    else:
        for name, inner in value.items():
            if name == "argv":
                walk.leaves(inner, (*loc, name), spot, key)
            elif name == "script":
                _script(walk, inner, (*loc, name), spot, key)
            elif name == "file":
                _script(walk, walk.sources.get(inner, ""), (*loc, name), spot, key, inner)


def _script(walk: Walk, text: str, loc: Loc, spot: Spot, key: str, file: str = "") -> None:
    walk.out.append(Place(loc, text, "script", walk.scope(spot), key, file))


def _message(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    walk.leaves(value, loc, "body", key, "blocks")


def _checks(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    for index, entry in enumerate(value):
        here = (*loc, index)
        for kind, inner in entry.items():
            place = (*here, kind)
            if kind == "expr":
                _expression(walk, inner, place, kind)
            elif kind == "run":
                _command(walk, inner, place, key)
            elif kind == "timeout":
                walk.leaves(inner, place, "plan", key)
            elif kind == "judge" and isinstance(inner, Mapping):
                walk.leaves(inner.get("prompt"), (*place, "prompt"), "check", key)
                walk.leaves(inner.get("route"), (*place, "route"), "plan", key)
            else:
                walk.leaves(inner, place, "check", key)


def _fallback(walk: Walk, value: Json, loc: Loc, key: str) -> None:
    for index, entry in enumerate(value):
        repair = "repair" in entry or verb_of(entry) in ("agent", "model")
        _way(walk._replace(repair=repair, fallback=True), entry, (*loc, index))


_READERS: Mapping[str, Callable[[Walk, Json, Loc, str], None]] = {
    "when": _expression,
    "foreach": _foreach,
    "matrix": _at("fan"),
    **dict.fromkeys(("route", "faults", "timeout", "budget", "effects", "files"), _at("plan")),
    "checks": _checks,
    "save": _at("save"),
    "env": _env,
    "cwd": _at("body"),
    "with": _with,
    "show": _at("show"),
    "run": _command,
    "agent": _prompt,
    "model": _prompt,
    "approve": _message,
    "wait": _at("body"),
    "set": _at("body"),
    "fail": _at("body"),
    "fallback": _fallback,
    "returns": _plain,
    "labels": _plain,
}


def outer_places(c: Compiling) -> list[Place]:
    """All templates outside steps: vars, outputs, env, defaults, and the run's own timeout and budget."""
    out: list[Place] = []
    for key, spot in _OUTER.items():
        _outer(c.data.get(key), (key,), spot, out)
    for key in ("inputs", "labels", "triggers"):
        _outer(c.data.get(key), (key,), "plan", out, "literal")
    for key, value in (c.data.get("defaults") or {}).items():
        _outer(value, ("defaults", key), _DEFAULTS.get(key, "plan"), out, "literal" if key == "labels" else "text")
    return out


_OUTER: Mapping[str, Spot] = {"vars": "vars", "outputs": "outputs", "env": "env", "timeout": "plan", "budget": "plan"}
_DEFAULTS: Mapping[str, Spot] = {"env": "env", "cwd": "cwd"}


def _outer(value: Json, loc: Loc, spot: Spot, out: list[Place], form: Form = "text") -> None:
    found: list[tuple[Loc, str]] = []
    templates(value, loc, found)
    names = scope(spot)
    out.extend(Place(place, text, form, names, str(loc[0])) for place, text in found)
