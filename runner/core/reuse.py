"""The key of a step: what must be the same for an earlier result to stand in (manifest-language.md, "Reuse")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.core.graph import GraphStep, Json
from runner.core.messages import Item
from runner.digest import digest


def step_key(
    name: str, step: GraphStep, item: Item | None, rendered: Mapping[str, Json], files: str, producers: Sequence[str]
) -> str:
    """Digest of manifest name, step, item key, definition, rendered inputs (secrets by name), `files`, and the producers of the
    steps in `needs`: data counts by value (early cut-off), order by who really produced it."""
    return digest([name, step.id, item.key if item else None, step.definition, rendered, files, list(producers)])


def task_digest(name: str, inputs: Mapping[str, Json]) -> str:
    """A task = manifest name + inputs as given."""
    return digest([name, dict(inputs)])
