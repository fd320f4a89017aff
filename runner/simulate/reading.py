"""What a manifest's templates and conditions expect of its steps' outputs: fields, lists, numbers, words.

From this an output that nobody knows yet is invented so that whoever reads it has something to read (`invent`); and it says which
branches depend on what was invented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runner.core.graph import GraphStep, Json, StepGraph
from runner.templating import Parsed, Ref, TemplateError, has_template, parse, parse_expression

_NUMBER = re.compile(r"\s*(?:<=|>=|==|!=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?)")
_LENGTH = re.compile(r"\s*\|\s*(?:length|first|last|join|map|select|sum|sort|unique)\b")
_ALONE_BEFORE = re.compile(r"(?:^|\band\b|\bor\b|\bnot\b|\()\s*$")
_ALONE_AFTER = re.compile(r"\s*(?:$|\band\b|\bor\b|\))")


@dataclass
class Expected:
    """Of one value: its fields, the texts that it is compared with, a number that it is compared with, and what else is known."""

    fields: dict[str, Expected] = field(default_factory=dict)
    words: dict[str, None] = field(default_factory=dict)
    number: float | int | None = None
    truth: bool = False
    items: Expected | None = None
    """It is a list; what its items are like."""

    def at(self, path: tuple[str | int, ...]) -> Expected:
        """The part at a path, made when it is not there. An index means an item."""
        here = self
        for key in path:
            if isinstance(key, int):
                here.items = here.items or Expected()
                here = here.items
            else:
                here = here.fields.setdefault(key, Expected())
        return here

    def listed(self) -> Expected:
        self.items = self.items or Expected()
        return self.items


@dataclass(frozen=True)
class Reading:
    """Of one manifest: what is expected of each step's output, and which steps each branch reads."""

    expected: dict[str, Expected]
    branches: dict[str, tuple[str, tuple[str, ...]]]
    """Step → (the condition or list, steps whose results decide it)."""
    volatile: bool
    """Something reads what a death of the runner may change: a cost, or the moment of an approval."""


def reading(graph: StepGraph) -> Reading:
    """What `graph` expects of its steps."""
    expected = {step.id: Expected() for step in graph.steps}
    branches: dict[str, tuple[str, tuple[str, ...]]] = {}
    volatile = False
    for step in graph.steps:
        for text, bare in _texts(step):
            for parsed in _parsed(text, bare):
                volatile = volatile or any(_is_volatile(ref) for ref in parsed.refs)
                _note(parsed, bare, expected, None)
        _note_fan(step, expected)
        if (branch := _branch(step)) is not None:
            branches[step.id] = branch
    for text in _strings(graph.outputs):
        for parsed in _parsed(text, False):
            _note(parsed, False, expected, None)
    return Reading(expected, branches, volatile)


def _is_volatile(ref: Ref) -> bool:
    if ref.root == "run":
        return ref.path[:1] in (("cost_usd",), ("mode",))
    return ref.root == "steps" and (ref.path[1:2] == ("cost_usd",) or ref.path[-1:] == ("at",))


# ---------------------------------------------------------------- where texts are


def _texts(step: GraphStep) -> Iterator[tuple[str, bool]]:
    """(text, is it a bare expression) of everything in a step that may read another one."""
    if step.when is not None:
        yield step.when, True
    for body in step.bodies:
        call = {key: value for key, value in body.call.items() if key != "script"}
        yield from ((text, False) for text in _strings([call, dict(step.env), step.save, step.cwd]))
        if body.when is not None:
            yield body.when, True
        for check in body.checks:
            if check.kind == "expr":
                yield str(check.spec["expr"]), True


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        if has_template(value):
            yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _parsed(text: str, bare: bool) -> Iterator[Parsed]:
    try:
        yield parse_expression(text) if bare else parse(text, blocks="{%" in text)
    except TemplateError:
        return  # compiling has said so, or nobody renders it


# ---------------------------------------------------------------- what they expect


def _note(parsed: Parsed, bare: bool, expected: dict[str, Expected], item: Expected | None) -> None:
    for ref in parsed.refs:
        part = _part(ref, expected, item)
        if part is not None:
            _use(part, parsed.text, ref, bare)
    for ref, word in parsed.comparisons:
        part = _part(ref, expected, item)
        if part is not None:
            part.words[word] = None


def _part(ref: Ref, expected: dict[str, Expected], item: Expected | None) -> Expected | None:
    """The part of an output that a reference means."""
    if ref.root == "item" and item is not None:
        return item.at(ref.path)
    if ref.root != "steps" or len(ref.path) < 2 or ref.path[0] not in expected:
        return None
    whole = expected[str(ref.path[0])]
    if ref.path[1] == "text":
        return whole
    return whole.at(ref.path[2:]) if ref.path[1] == "output" else None


def _use(part: Expected, text: str, ref: Ref, bare: bool) -> None:
    before, after = text[: ref.offset], text[ref.offset + ref.length :]
    if (found := _NUMBER.match(after)) is not None:
        number = found[1]
        part.number = float(number) if "." in number else int(number)
    elif _LENGTH.match(after) and ref.path[1:] != ("text",):
        part.listed()
    elif bare and ref.path[1:2] == ("output",) and _ALONE_BEFORE.search(before) and _ALONE_AFTER.match(after):
        part.truth = True


def _note_fan(step: GraphStep, expected: dict[str, Expected]) -> None:
    """A `foreach` reads a list, and the step reads its items."""
    if step.fan is None or step.fan.kind != "foreach":
        return
    items = [
        part.listed()
        for text in _strings(step.fan.spec["in"])
        for parsed in _parsed(text, False)
        for ref in parsed.refs
        if (part := _part(ref, expected, None)) is not None
    ]
    texts = [*_texts(step), *((text, False) for text in _strings(step.fan.spec.get("key")))]
    for item in items[:1]:
        for text, bare in texts:
            for parsed in _parsed(text, bare):
                _note(parsed, bare, {}, item)


# ---------------------------------------------------------------- branches


def _branch(step: GraphStep) -> tuple[str, tuple[str, ...]] | None:
    if step.when is not None:
        return f"when: {step.when}", _read_by(step.when, bare=True)
    if step.fan is not None and step.fan.kind == "foreach":
        source = step.fan.spec["in"]
        steps = [id for text in _strings(source) for id in _read_by(text, bare=False)]
        return (f"foreach: {source}", tuple(dict.fromkeys(steps))) if steps else None
    return None


def _read_by(text: str, *, bare: bool) -> tuple[str, ...]:
    found: list[Any] = [
        ref.path[0]
        for parsed in _parsed(text, bare)
        for ref in parsed.refs
        if ref.root == "steps" and ref.path and not ref.state_only
    ]
    return tuple(dict.fromkeys(map(str, found)))
