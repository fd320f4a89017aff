"""What steps take over from `defaults` and from the manifest: timeouts, labels, env, budget, workspace. Maps merge key by key.

Policies and routes have layers of their own: `layers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from runner.core.graph import Json
from runner.manifest.model import Manifest
from runner.manifest.vocabulary import WORK_VERBS, Verb

MICRO = 1_000_000
MINUTE = 60_000
CHECK_TIMEOUT = 10 * MINUTE
TIMEOUTS: Mapping[str, int] = {"tool": 10 * MINUTE, "model": 10 * MINUTE, "run": 60 * MINUTE, "agent": 60 * MINUTE}
"""Milliseconds that one attempt of a verb may take unless somebody says otherwise; verbs that are not here may take for ever."""

FILE_VERBS = frozenset({"run", "agent"})
"""Verbs that work in a directory: `cwd` and `workspace` of `defaults` are for them. `env` is for `run` alone."""

Limit = int | str | None


def set_values(model: Any) -> dict[str, Json]:
    """The keys that a model was given, as plain JSON."""
    if model is None:
        return {}
    values: dict[str, Json] = {}
    for key in model.model_fields_set:
        value = getattr(model, key)
        values[key] = list(value) if isinstance(value, tuple) else value
    return values


class Inherited:
    """What the manifest gives to its steps."""

    def __init__(self, manifest: Manifest) -> None:
        defaults = manifest.defaults
        self._env: dict[str, Json] = {**manifest.env, **((defaults and defaults.env) or {})}
        self._labels: dict[str, Json] = {**manifest.labels, **((defaults and defaults.labels) or {})}
        self._timeout = set_values(defaults and defaults.timeout)
        self._budget = caps(defaults and defaults.budget)
        self._workspace = set_values(defaults and defaults.workspace)
        self._cwd = defaults.cwd if defaults else None
        self._reuse = (defaults and defaults.reuse) or "auto"

    def limits(self, verb: Verb, timeout: Any) -> tuple[Limit, Limit]:
        """Total and idle time of one attempt, in milliseconds or as templates. `timeout` is the step's or entry's own."""
        if timeout is None and not (self._timeout and verb in WORK_VERBS):
            return TIMEOUTS.get(verb), None
        own = set_values(timeout)
        if verb in WORK_VERBS:
            own = {**self._timeout, **own}
        return own.get("total", TIMEOUTS.get(verb)), own.get("idle")

    def labels(self, own: Mapping[str, Json]) -> Mapping[str, Json]:
        """A step's labels over those that it inherits."""
        return {**self._labels, **own} if own else self._labels

    def env(self, own: Mapping[str, Json], verbs: Set[str]) -> Mapping[str, Json]:
        """The environment of a step that has ways with these verbs: only commands take one over."""
        below = self._env if "run" in verbs else {}
        return {**below, **own} if own else below

    def cwd(self, own: str | None, verbs: Set[str]) -> str | None:
        """The working directory."""
        return self._cwd if own is None and not verbs.isdisjoint(FILE_VERBS) else own

    def reuse(self, own: str | None) -> Any:
        """`auto` or `never`."""
        return own or self._reuse

    def budget(self, own: Any) -> Mapping[str, Json] | None:
        """Caps of a step: `usd` is micro-USD, or a template that gives dollars."""
        return {**self._budget, **caps(own)} or None if own is not None else self._budget or None

    def workspace(self, own: Any, verbs: Set[str]) -> Mapping[str, Json] | None:
        """The worktree of a step, with the keys that nobody gave."""
        below = {} if verbs.isdisjoint(FILE_VERBS) else self._workspace
        merged = {**below, **set_values(own)}
        return {"keep": "on_failure", "apply": True, **merged} if merged else None


def caps(budget: Any) -> dict[str, Json]:
    """A budget as plain data; `usd` becomes micro-USD unless it is a template."""
    values = set_values(budget)
    if isinstance(values.get("usd"), int | float):
        values["usd"] = round(values["usd"] * MICRO)
    return values
