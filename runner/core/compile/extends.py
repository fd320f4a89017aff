"""`extends`: partial manifests merged below a manifest's own keys, on raw data, so that the result is validated once.

Reading the partials is the caller's work; which keys a partial may have is checked by its model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.diagnostics.model import Loc

PARTIAL_KEYS = ("defaults", "budget", "env")

Origins = Mapping[Loc, str]
"""Which partial (its path as written in `extends`) a value came from. Values that are the manifest's own have no entry."""


def merge_partials(
    manifest: Mapping[str, Any], partials: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[dict[str, Any], dict[Loc, str]]:
    """The manifest's data over its partials (path, data), later partials over earlier ones: maps merge at every depth, all else is
    replaced. Also the origin of every leaf that stems from a partial."""
    merged: dict[str, Any] = {}
    origins: dict[Loc, str] = {}
    for path, partial in partials:
        _merge(merged, {key: partial[key] for key in PARTIAL_KEYS if key in partial}, (), origins, path)
    _merge(merged, manifest, (), origins, None)
    return merged, origins


def _merge(into: dict[str, Any], above: Mapping[str, Any], loc: Loc, origins: dict[Loc, str], path: str | None) -> None:
    for key, value in above.items():
        here = (*loc, key)
        below = into.get(key)
        if isinstance(value, Mapping) and isinstance(below, dict):
            _merge(below, value, here, origins, path)
            continue
        if key in into:
            _forget(origins, here, below)
        if path is None:
            into[key] = value
        else:
            into[key] = _copy(value, here, origins, path)


def _copy(value: Any, loc: Loc, origins: dict[Loc, str], path: str) -> Any:
    """A value of a partial, its maps copied because later layers merge into them."""
    if isinstance(value, Mapping):
        return {key: _copy(inner, (*loc, key), origins, path) for key, inner in value.items()}
    origins[loc] = path
    return value


def _forget(origins: dict[Loc, str], loc: Loc, value: Any) -> None:
    """The origins of what was there before."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _forget(origins, (*loc, key), inner)
    origins.pop(loc, None)


def origin_of(origins: Origins, loc: Loc) -> str | None:
    """The partial that the value at `loc` stands in; None when it is the manifest's own."""
    for length in range(len(loc), 0, -1):
        path = origins.get(loc[:length])
        if path is not None:
            return path
    return None
