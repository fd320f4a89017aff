"""The key of a step: what must be the same for an earlier result to stand in (manifest-language.md, "Reuse")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from runner.core.graph import GraphStep, Json
from runner.core.messages import Item
from runner.digest import digest
from runner.templating import Ref, TemplateError, parse, parse_expression


def step_key(
    name: str, step: GraphStep, item: Item | None, rendered: Mapping[str, Json], files: str, producers: Sequence[str]
) -> str:
    """Digest of manifest name, step, item key, definition, rendered inputs (secrets by name), `files`, and the producers of the
    steps in `needs`: data counts by value (early cut-off), order by who really produced it."""
    return digest([name, step.id, item.key if item else None, step.definition, rendered, files, list(producers)])


Names = tuple[Ref, ...]
_READ_BY_VALUE = frozenset({"inputs", "vars", "steps", "matrix", "item", "index", "key"})


@lru_cache(4096)
def _named(text: str, kind: Literal["template", "expression"]) -> Names:
    try:
        parsed = parse_expression(text) if kind == "expression" else parse(text, blocks=True)
    except TemplateError:
        return ()
    return tuple(ref for ref in parsed.refs if ref.root in _READ_BY_VALUE)


def read_later(step: GraphStep, context: Mapping[str, Json]) -> list[Json]:
    """What a step reads besides the inputs of its first attempt, each name once with its value (none where it is absent): in checks,
    in what `save` writes, and in `fallback` entries. A result may depend on it as well."""
    first, *others = step.bodies
    if not others and not first.checks and not (step.save and step.save.get("from")):
        return []
    names: dict[tuple[str, tuple[str | int, ...]], None] = {}
    parts: list[Json] = [check.spec for body in step.bodies for check in body.checks]
    parts += [body.call for body in others] + [step.env] * any(body.verb == "run" for body in others)
    parts.append((step.save or {}).get("from"))
    for ref in (*_refs(parts), *(ref for body in others if body.when for ref in _named(body.when, "expression"))):
        names[ref.root, ref.path] = None
    return [[root, list(path), _value(root, path, context)] for root, path in names]


def _refs(value: Json) -> Iterator[Ref]:
    if isinstance(value, str):
        if "{{" in value or "{%" in value:
            yield from _named(value, "template")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "expr":
                yield from _named(inner, "expression")
            elif key not in ("script", "route", "timeout"):  # not rendered, or not what makes the result
                yield from _refs(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _refs(inner)


def _value(root: str, path: Sequence[str | int], context: Mapping[str, Json]) -> Json:
    value: Any = context
    try:
        for key in (root, *path):
            value = value[key]
    except (LookupError, TypeError):
        return None
    return value


def task_digest(name: str, inputs: Mapping[str, Json]) -> str:
    """A task = manifest name + inputs as given."""
    return digest([name, dict(inputs)])
