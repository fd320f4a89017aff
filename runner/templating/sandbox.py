"""Where template code runs: a Jinja sandbox over plain data. No globals, no calls, no Python attributes, closed lists of filters and
tests, and a budget of work (`fuel`) for every rendering, so that no template can take long or grow large."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2.exceptions import SecurityError
from jinja2.runtime import Context as JinjaContext
from jinja2.runtime import LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runner.templating.absent import Absent, Quiet, absorbed
from runner.templating.model import RESULT_LIMIT, TemplateError, exceeds
from runner.templating.text import kind_of
from runner.templating.words import LOOP_NAMES

FUEL: Final = 600_000
"""Steps of work in one rendering: a node evaluated, a list item touched, or a KiB of text read."""
INT_BITS: Final = 256
_POWER_LIMIT: Final = 64


class Scope(JinjaContext):
    """The names of one rendering, its fuel, and whether all of it is read tolerantly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fuel = FUEL
        self.tolerant = self.environment.undefined is Quiet

    def charge(self, units: int) -> None:
        """Takes `units` of work. Raises TemplateError when none is left."""
        self.fuel -= units
        if self.fuel < 0:
            raise TemplateError(f"this template takes too much work (the limit is {FUEL} steps)")

    def charge_value(self, value: Any) -> None:
        """Takes the work of going over `value` once, however deep it is."""
        self.charge(1)
        stack: list[Any] = [value]
        while stack:
            node = stack.pop()
            if isinstance(node, str):
                self.charge(len(node) >> 10)
            elif isinstance(node, (Mapping, list)):
                self.charge(len(node))
                stack.extend(node.values() if isinstance(node, Mapping) else node)


def lookup(value: Any, key: Any) -> Any:
    """An item of a map, list or text, and nothing else. Raises LookupError or TypeError when there is none."""
    if isinstance(value, Mapping):
        return value[key]
    if isinstance(value, (list, str)) and type(key) is int:
        return value[key]
    raise KeyError(key)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja, reduced to expressions over plain data."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))
    context_class = Scope

    def __init__(
        self,
        undefined: type[Absent],
        filters: Mapping[str, Callable[..., Any]],
        tests: Mapping[str, Callable[..., Any]],
    ) -> None:
        # `optimized` would fold constants while compiling, outside the fuel
        super().__init__(undefined=undefined, optimized=False, autoescape=False, cache_size=0)
        self.globals.clear()
        self.filters = dict(filters)
        self.tests = dict(tests)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute` is the item of that name; Python attributes do not exist here."""
        if isinstance(obj, LoopContext) and attribute in LOOP_NAMES:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`, or an absent value."""
        if isinstance(obj, Undefined):
            return obj
        if isinstance(argument, Undefined):
            return argument
        try:
            return lookup(obj, argument)
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """No attribute of a Python object is."""
        return False

    def is_safe_callable(self, obj: Any) -> bool:
        """Nothing is: templates have no calls."""
        return False

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` reaches attributes and pads without limit, so it is refused, not wrapped."""
        if super().wrap_str_format(value) is not None:
            raise SecurityError("str.format is no part of templates")
        return None

    def call_binop(self, context: JinjaContext, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; `+` also joins two texts, or two lists."""
        for value in (left, right):
            if isinstance(value, Undefined):
                return absorbed(value)
        if is_number(left) and is_number(right):
            if operator == "**" and abs(right) > _POWER_LIMIT:
                raise TemplateError(f"the exponent of `**` is {_POWER_LIMIT} at most")
            return checked_number(self.binop_table[operator](left, right))
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return joined(context, left, right)
        if operator == "+" and isinstance(left, list) and isinstance(right, list):
            charge(context, len(left) + len(right))
            return left + right
        raise TemplateError(f"`{operator}` cannot take {kind_of(left)} and {kind_of(right)}")

    def call_unop(self, context: JinjaContext, operator: str, arg: Any) -> Any:
        """The sign of a number."""
        if isinstance(arg, Undefined):
            return absorbed(arg)
        if not is_number(arg):
            raise TemplateError(f"`{operator}` cannot take {kind_of(arg)}")
        return self.unop_table[operator](arg)


def charge(context: JinjaContext, units: int) -> None:
    """Takes work from the scope of this rendering."""
    assert isinstance(context, Scope)
    context.charge(units)


def joined(context: JinjaContext, *texts: str) -> str:
    """The texts as one, within the result limit."""
    size = sum(map(len, texts))
    charge(context, 1 + (size >> 10))
    if size > RESULT_LIMIT:
        raise too_long()
    return short_enough("".join(texts))


def short_enough(text: str) -> str:
    """`text`, unless it is past the result limit."""
    if exceeds(text, RESULT_LIMIT):
        raise too_long()
    return text


def too_long() -> TemplateError:
    """A text that a template made is past the result limit."""
    return TemplateError(f"a text would be longer than {RESULT_LIMIT // 1024} KiB, the limit of a template's result")


def is_number(value: Any) -> bool:
    """Whether `value` is a number; true and false are none."""
    return type(value) is int or type(value) is float


def checked_number(value: Any) -> int | float:
    """`value`, unless it is too large, or no JSON number at all."""
    if isinstance(value, int) and value.bit_length() <= INT_BITS:
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    raise TemplateError("the result is no number, or too large for one")
