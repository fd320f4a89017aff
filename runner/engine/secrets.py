"""Putting secrets where they belong, at the moment of the call and in memory only. Not here: masking (redact) and where secrets
come from (the config)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.core.graph import Json
from runner.errors import RunnerError
from runner.templating.text import to_text


class Unready(Exception):
    """The attempt cannot begin; nothing has happened. The text says what it needs."""


def filled(
    tree: Mapping[str, Mapping[str, Json]], secrets: Mapping[str, Sequence[Json]], resolve: Callable[[str], str]
) -> dict[str, Any]:
    """`tree` ({"inputs", "env"}) with the leaves at these paths ("inputs/with/auth", "env/TOKEN") made of text and secrets.

    The paths are those of core.secret_leaves. What is on the way to a leaf is copied, so that the task stays without secrets.
    Raises Unready."""
    result: Any = dict(tree)
    for path, parts in secrets.items():
        result = _with_leaf(result, path, "".join(_piece(part, resolve) for part in parts))
    return dict(result)


def _piece(part: Json, resolve: Callable[[str], str]) -> str:
    if not isinstance(part, Mapping):
        return to_text(part)
    name = str(part["secret"])
    try:
        return resolve(name)
    except KeyError:
        raise Unready(f"needs secret {name}, which is not configured") from None
    except RunnerError as error:
        raise Unready(f"needs secret {name}: {error.message}") from error


def _with_leaf(node: Json, path: str, leaf: str) -> Json:
    if isinstance(node, list):
        index, _, rest = path.partition("/")
        return [_below(child, rest, leaf) if str(place) == index else child for place, child in enumerate(node)]
    key = _key_on(node, path)
    return {**node, key: _below(node[key], path[len(key) + 1 :], leaf)}


def _below(child: Json, rest: str, leaf: str) -> Json:
    return _with_leaf(child, rest, leaf) if rest else leaf


def _key_on(node: Json, path: str) -> str:
    """The key of `node` that `path` begins with; keys may hold "/" themselves."""
    if isinstance(node, Mapping):
        fitting = [str(key) for key in node if path == key or path.startswith(f"{key}/")]
        if fitting:
            return max(fitting, key=len)
    raise Unready(f"has no input {path} for a secret to go to")
