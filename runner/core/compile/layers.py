"""Fault policies and routing hints, per mode: built-in < config < extends < defaults < step (faults-and-modes.md, "Fault policy").

Each layer is first spread over the three modes (its common keys, then its mode keys); then layers merge per mode, key by key. A
layer is flat: {mode: {"retry.max": (value, origin)}}. Steps without `faults` and `route` of their own share one result.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from runner.core.compile.state import Compiling
from runner.core.graph import Json
from runner.diagnostics.model import Loc
from runner.manifest.vocabulary import MODES, PLAIN_VERBS, Mode, Verb

Layer = dict[Mode, dict[str, tuple[Json, str]]]
Flat = Mapping[str, tuple[Json, Loc]]

BUILT_IN: Mapping[str, Json] = {
    "retry.max": 2,
    "retry.delay": 2_000,
    "retry.backoff": 2.0,
    "retry.max_delay": 60_000,
    "retry.jitter": 0.2,
    "retry.errors": ["rate_limit", "unavailable", "timeout", "crash"],
    "fallback": True,
    "skip": [],
}
EXHAUSTED: Mapping[Mode, str] = {"normal": "fail", "degraded": "suspend", "brainstem": "suspend"}
UNTRIED: Mapping[str, Json] = {"retry.max": 0, "retry.errors": [], "fallback": True, "exhausted": "fail"}
"""Verbs that make no attempt have nothing to retry; of the policies only `skip` concerns them."""


class Merged(NamedTuple):
    """What a step has in the end: `faults` and `route` per mode, and the layer of each of their values."""

    faults: Mapping[Mode, Mapping[str, Json]]
    route: Mapping[Mode, Mapping[str, Json]]
    origins: Mapping[str, str]


class Layers:
    """The layers below the steps of one manifest, merged once for each kind of step."""

    def __init__(self, c: Compiling) -> None:
        self._facts = c.facts
        self._defaults = c.manifest.defaults
        self._origins = c.origins
        self._below: dict[tuple[bool, bool], Layer] = {}
        self._shared: dict[tuple[bool, bool], Merged] = {}

    def step(self, verb: Verb, server: str, faults: Any, route: Any) -> Merged:
        """The policies of a step. `faults`, `route` are its own models or None; `server` is a tool's."""
        kind = (verb in PLAIN_VERBS, verb == "run" or (verb == "tool" and server in self._facts.local))
        if faults is None and route is None:
            if kind not in self._shared:
                self._shared[kind] = _merged(self._base(kind))
            return self._shared[kind]
        return _merged(_over(self._base(kind), _layer(route, faults, lambda _: "step")))

    def entry(self, step_faults: Any, route: Any) -> Mapping[Mode, Mapping[str, Json]]:
        """The routing hints of a fallback entry: its own over those that the step's faults give in a mode, over all below."""
        base = self._base((False, False))
        if step_faults is not None:
            base = _over(base, _layer(None, step_faults, lambda _: "step"))
        if route is not None:
            base = _over(base, _layer(route, None, lambda _: "step"))
        return _merged(base).route

    def _base(self, kind: tuple[bool, bool]) -> Layer:
        if kind not in self._below:
            self._below[kind] = self._merge_base(*kind)
        return self._below[kind]

    def _merge_base(self, plain: bool, local: bool) -> Layer:
        built_in: Layer = {}
        for mode in MODES:
            # a local step does not get better by waiting for the cloud
            exhausted = "fail" if local and mode == "degraded" else EXHAUSTED[mode]
            built_in[mode] = {key: (value, "built-in") for key, value in {**BUILT_IN, "exhausted": exhausted}.items()}
        layer = _over(built_in, _spread(_flat_config(self._facts.policies), lambda _: "config"))
        for from_partial in (True, False):
            layer = _over(layer, self._defaults_layer(from_partial))
        if plain:
            for values in layer.values():
                skip = values["skip"]
                values.clear()
                values.update({key: (value, "built-in") for key, value in UNTRIED.items()}, skip=skip)
        return layer

    def _defaults_layer(self, from_partial: bool) -> Layer:
        """What `defaults` say, by where they come from: a partial's values are a layer below the manifest's own."""
        if self._defaults is None:
            return {}
        flat = {**_flat_route(self._defaults.route, ("defaults", "route"))}
        modes = _flat_faults(self._defaults.faults, ("defaults", "faults"))
        modes[""] = {**flat, **modes[""]}
        chosen = {
            mode: {key: (value, loc) for key, (value, loc) in values.items() if (loc in self._origins) == from_partial}
            for mode, values in modes.items()
        }
        return _spread(chosen, self._origin)

    def _origin(self, loc: Loc) -> str:
        return f"extends {self._origins[loc]}" if loc in self._origins else "defaults"


def _over(below: Layer, above: Layer) -> Layer:
    return {mode: {**below.get(mode, {}), **above.get(mode, {})} for mode in MODES}


def _spread(modes: Mapping[str, Flat], origin: Callable[[Loc], str]) -> Layer:
    """The common keys (those of mode "") in every mode, then the mode's own."""
    return {
        mode: {key: (value, origin(loc)) for key, (value, loc) in {**modes.get("", {}), **modes.get(mode, {})}.items()}
        for mode in MODES
    }


def _layer(route: Any, faults: Any, origin: Callable[[Loc], str]) -> Layer:
    modes = _flat_faults(faults, ())
    modes[""] = {**_flat_route(route, ()), **modes[""]}
    return _spread(modes, origin)


def _flat_route(route: Any, loc: Loc) -> dict[str, tuple[Json, Loc]]:
    if route is None:
        return {}
    return {f"route.{key}": (_plain(getattr(route, key)), (*loc, key)) for key in route.model_fields_set}


def _flat_faults(faults: Any, loc: Loc) -> dict[str, dict[str, tuple[Json, Loc]]]:
    modes: dict[str, dict[str, tuple[Json, Loc]]] = {"": {}}
    if faults is None:
        return modes
    modes[""] = _flat_keys(faults, loc)
    for mode in MODES:
        own = getattr(faults, mode)
        if own is not None:
            modes[mode] = {**_flat_route(own.route, (*loc, mode, "route")), **_flat_keys(own, (*loc, mode))}
    return modes


def _flat_keys(faults: Any, loc: Loc) -> dict[str, tuple[Json, Loc]]:
    flat: dict[str, tuple[Json, Loc]] = {}
    for key in faults.model_fields_set:
        value = getattr(faults, key)
        if key == "retry":
            for name in value.model_fields_set:
                flat[f"retry.{name}"] = (_plain(getattr(value, name)), (*loc, "retry", name))
        elif key not in ("route", *MODES):
            flat[key] = (_plain(value), (*loc, key))
    return flat


def _flat_config(policies: Mapping[str, Json]) -> dict[str, dict[str, tuple[Json, Loc]]]:
    modes: dict[str, dict[str, tuple[Json, Loc]]] = {"": _flat_map(policies)}
    for mode in MODES:
        modes[mode] = _flat_map(policies.get(mode) or {})
    return modes


def _flat_map(faults: Mapping[str, Json]) -> dict[str, tuple[Json, Loc]]:
    flat: dict[str, tuple[Json, Loc]] = {}
    for key, value in faults.items():
        if value is None or key in MODES:
            continue
        inner = value if key in ("retry", "route") else None
        if inner is None:
            flat[key] = (_plain(value), ())
        else:
            flat.update({f"{key}.{name}": (_plain(one), ()) for name, one in inner.items() if one is not None})
    return flat


def _plain(value: Any) -> Json:
    return list(value) if isinstance(value, tuple) else value


def _merged(layer: Layer) -> Merged:
    faults: dict[Mode, dict[str, Json]] = {}
    routes: dict[Mode, dict[str, Json]] = {}
    origins: dict[str, str] = {}
    for mode in MODES:
        here: dict[str, Json] = {"retry": {}}
        hints: dict[str, Json] = {}
        for key, (value, origin) in layer[mode].items():
            origins[f"{mode}.{key}"] = origin
            group, _, name = key.partition(".")
            if group == "route":
                hints[name] = value
            elif name:
                here["retry"][name] = value
            else:
                here[key] = value
        faults[mode], routes[mode] = here, hints
    return Merged(faults, routes, origins)
