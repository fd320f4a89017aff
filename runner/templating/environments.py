"""The two sandboxes that templates run in, strict and tolerant: filters and tests as Jinja calls them, with the rules for absent
values and the fuel around each, and the inner filters (`_…`) that `rewrite` puts into the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jinja2.runtime import Undefined
from jinja2.utils import pass_context

from runner.templating.absent import Absent, Deferred, Passing, Quiet, absorbed, relaxed
from runner.templating.filters import WORK, default, items_of, text_of
from runner.templating.model import TemplateError
from runner.templating.predicates import PREDICATES
from runner.templating.sandbox import Sandbox, Scope, joined
from runner.templating.text import kind_of


class NoneInText(Exception):
    """An expression inside longer text gave none. `offset`, `length`: where it stands in the template."""

    def __init__(self, offset: int, length: int) -> None:
        super().__init__("none in text")
        self.offset = offset
        self.length = length


def _guarded(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` for present values: with an absent one among its arguments the result is absent, or an error."""

    @pass_context
    def call(scope: Scope, *args: Any, **named: Any) -> Any:
        scope.charge(1)
        for value in args:
            if isinstance(value, Undefined):
                return absorbed(value)
        for value in named.values():
            if isinstance(value, Undefined):
                return absorbed(value)
        return work(scope, *args, **named)

    return call


def _tested(name: str) -> Callable[..., Any]:
    predicate = PREDICATES[name]

    @pass_context
    def call(scope: Scope, *args: Any) -> Any:
        scope.charge(1)
        if name == "defined":
            return not isinstance(args[0], Undefined)
        present = [_operand(scope, value) for value in args]
        absent = next((value for value in present if isinstance(value, Undefined)), None)
        return predicate(*present) if absent is None else absent

    return call


def _operand(scope: Scope, value: Any) -> Any:
    """One side of a comparison. In tolerant reading an absent value is none."""
    if isinstance(value, Undefined):
        value = absorbed(value)
        return value if isinstance(value, Passing) else None
    scope.charge_value(value)
    return value


def _concat(scope: Scope, *values: Any) -> str:
    return joined(scope, *(text_of(scope, value) for value in values))


def _slice(scope: Scope, value: Any, start: Any, stop: Any, step: Any) -> Any:
    if not isinstance(value, (list, str)):
        raise TemplateError(f"a part is taken of a list or a text, not of {kind_of(value)}")
    scope.charge(1 + (len(value) >> (0 if isinstance(value, list) else 10)))
    return value[start:stop:step]


def _literal_list(scope: Scope, *items: Any) -> Any:
    return _collected(scope, items, lambda present: present)


def _literal_map(scope: Scope, *keys_and_values: Any) -> Any:
    keys = keys_and_values[::2]
    return _collected(scope, keys_and_values[1::2], lambda present: dict(zip(keys, present, strict=True)))


def _collected(scope: Scope, values: tuple[Any, ...], build: Callable[[list[Any]], Any]) -> Any:
    """A list or map of the values. An absent one is none in tolerant reading, and makes all absent left of a default."""
    scope.charge(1 + len(values))
    present = []
    for value in values:
        if isinstance(value, Undefined):
            value = absorbed(value)
            if isinstance(value, Passing):
                return value
            value = None
        present.append(value)
    return build(present)


def _loop(scope: Scope, value: Any, cost: int) -> Iterator[Any]:
    """The items of a loop whose body costs `cost` each time."""
    if isinstance(value, Undefined):
        absorbed(value)
        return
    if isinstance(value, str):
        raise TemplateError("a loop goes over a list, not over text")
    for item in items_of(scope, value):
        scope.charge(cost)
        yield item


def _text(scope: Scope, value: Any, offset: int, length: int) -> str:
    """What an expression in braces puts into the text."""
    scope.charge(1)
    if isinstance(value, Undefined):
        value = end(scope, value)
    if value is None and not scope.tolerant:
        raise NoneInText(offset, length)
    return text_of(scope, value)


def end(scope: Scope, value: Any) -> Any:
    """The value that a whole expression ends with. Absent: none in tolerant reading, else AbsentRead."""
    if not isinstance(value, Undefined):
        return value
    if not scope.tolerant:
        absorbed(relaxed(Absent, value))
    return None


def _relaxing(kind: type[Absent]) -> Callable[..., Any]:
    return lambda value: relaxed(kind, value)


_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: _guarded(work) for name, work in WORK.items()},
    "default": pass_context(default),
    "_operand": pass_context(_operand),
    "_concat": _guarded(_concat),
    "_slice": _guarded(_slice),
    "_list": pass_context(_literal_list),
    "_map": pass_context(_literal_map),
    "_loop": pass_context(_loop),
    "_text": pass_context(_text),
    "_end": pass_context(end),
    "_passing": _relaxing(Passing),
    "_deferred": _relaxing(Deferred),
}
_TESTS: Final = {name: _tested(name) for name in PREDICATES}

STRICT: Final = Sandbox(Absent, _FILTERS, _TESTS)
TOLERANT: Final = Sandbox(Quiet, _FILTERS, _TESTS)
