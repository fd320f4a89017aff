"""The filters of the language, each over plain data and within the fuel of its rendering. Names and parameters: `words`.

Two differences from Jinja, both against silent surprises: `int` and `float` fail on text that is no number unless a default is
given, and numbers, lists and maps become text as JSON, never as Python writes them. An absent value reaches `default` only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2.runtime import Undefined

from runner.digest import canonical_json
from runner.templating.model import RESULT_LIMIT, TemplateError
from runner.templating.predicates import PREDICATES
from runner.templating.sandbox import Scope, checked_number, is_number, lookup, short_enough, too_long
from runner.templating.text import kind_of, to_text

_DIGITS_LIMIT: Final = 100
_PRECISION_LIMIT: Final = 15
_MISSING: Final = object()


def text_of(scope: Scope, value: Any) -> str:
    """A value as text inside an expression. None is the empty text in tolerant reading, an error otherwise."""
    if isinstance(value, str):
        scope.charge(1 + (len(value) >> 10))
        return value
    if value is None:
        if scope.tolerant:
            return ""
        raise TemplateError("none has no text", fix="`| default('', true)` gives the empty text instead")
    scope.charge_value(value)
    return to_text(value)


def items_of(scope: Scope, value: Any) -> list[Any]:
    """The items of a list, the keys of a map, the characters of a text."""
    if isinstance(value, (list, str, Mapping)):
        scope.charge(1 + len(value))
        return value if isinstance(value, list) else list(value)
    raise TemplateError(f"a list is needed here, not {kind_of(value)}")


def _reader(scope: Scope, attribute: Any, default: Any = None, *, strict: bool = True) -> Callable[[Any], Any]:
    """What reads `attribute` (a dotted path, an index, or None for the item itself) of an item. Where it is absent: TemplateError, or
    `default` unless `strict`."""
    if attribute is None:
        return lambda item: item
    if not isinstance(attribute, str) and type(attribute) is not int:
        raise TemplateError(f"an attribute is named by a text, not {kind_of(attribute)}")
    keys = [int(key) if key.isdecimal() else key for key in str(attribute).split(".")]
    further = len(keys) - 1

    def read(item: Any) -> Any:
        scope.charge(further)
        try:
            for key in keys:
                item = lookup(item, key)
        except (LookupError, TypeError):
            if strict:
                raise TemplateError(f"an item of the list has no `{attribute}`") from None
            return default
        return item

    return read


def _order(scope: Scope, case_sensitive: Any, attribute: Any) -> Callable[[Any], Any]:
    """The key that `sort`, `min`, `max` and `unique` compare: text without regard to case, unless asked."""
    read = _reader(scope, attribute)

    def key(item: Any) -> Any:
        value = read(item)
        scope.charge_value(value)
        return value.lower() if isinstance(value, str) and not case_sensitive else value

    return key


def default(scope: Scope, value: Any, default_value: Any = "", boolean: Any = False) -> Any:
    return default_value if isinstance(value, Undefined) or (boolean and not value) else value


def _join(scope: Scope, value: Any, d: Any = "", attribute: Any = None) -> str:
    read = _reader(scope, attribute)
    between = text_of(scope, d)
    parts: list[str] = []
    room = RESULT_LIMIT + len(between)
    for item in items_of(scope, value):
        parts.append(text_of(scope, read(item)))
        room -= len(parts[-1]) + len(between)
        if room < 0:
            raise too_long()
    return short_enough(between.join(parts))


def _length(scope: Scope, value: Any) -> int:
    if isinstance(value, (str, list, Mapping)):
        return len(value)
    raise TemplateError(f"{kind_of(value)} has no length")


def _first(scope: Scope, value: Any) -> Any:
    return _item(scope, value, 0)


def _last(scope: Scope, value: Any) -> Any:
    return _item(scope, value, -1)


def _item(scope: Scope, value: Any, index: int) -> Any:
    if isinstance(value, (list, str)):
        return value[index] if value else _nothing(scope)
    raise TemplateError(f"a list or a text is needed here, not {kind_of(value)}")


def _nothing(scope: Scope) -> Undefined:
    return scope.environment.undefined("an empty list has no such item")


def _list(scope: Scope, value: Any) -> list[Any]:
    return list(items_of(scope, value))


def _map(scope: Scope, value: Any, attribute: Any = None, default: Any = _MISSING) -> list[Any]:
    if attribute is None:
        raise TemplateError("`map` needs `attribute`", fix="`map(attribute='name')`")
    strict = default is _MISSING and not scope.tolerant
    read = _reader(scope, attribute, None if default is _MISSING else default, strict=strict)
    return [read(item) for item in items_of(scope, value)]


def _passes(scope: Scope, test: str | None, args: tuple[Any, ...]) -> Callable[[Any], bool]:
    """Whether a value passes a named test, or is true when there is none. What is missing passes no test."""
    predicate = bool if test is None else PREDICATES[test]

    def passes(value: Any) -> bool:
        scope.charge_value(value)
        for arg in args:
            scope.charge_value(arg)
        return value is not _MISSING and predicate(value, *args)

    return passes


def _pick(
    scope: Scope, value: Any, read: Callable[[Any], Any], passes: Callable[[Any], bool], wanted: bool
) -> list[Any]:
    return [item for item in items_of(scope, value) if passes(read(item)) is wanted]


def _selecting(wanted: bool) -> Callable[..., list[Any]]:
    def select(scope: Scope, items: Any, test: str | None = None, *args: Any, **named: Any) -> list[Any]:
        return _pick(scope, items, _reader(scope, None), _passes(scope, test, (*args, *named.values())), wanted)

    return select


def _selecting_attribute(wanted: bool) -> Callable[..., list[Any]]:
    def select(
        scope: Scope, items: Any, attribute: Any, test: str | None = None, *args: Any, **named: Any
    ) -> list[Any]:
        read = _reader(scope, attribute, _MISSING, strict=False)
        return _pick(scope, items, read, _passes(scope, test, (*args, *named.values())), wanted)

    return select


def _sort(
    scope: Scope, value: Any, reverse: Any = False, case_sensitive: Any = False, attribute: Any = None
) -> list[Any]:
    items = items_of(scope, value)
    scope.charge(len(items) * len(items).bit_length())
    return sorted(items, key=_order(scope, case_sensitive, attribute), reverse=bool(reverse))


def _unique(scope: Scope, value: Any, case_sensitive: Any = False, attribute: Any = None) -> list[Any]:
    key = _order(scope, case_sensitive, attribute)
    found: dict[str, Any] = {}
    items = items_of(scope, value)
    scope.charge(2 * len(items))  # writing a key takes longer than comparing it
    for item in items:
        found.setdefault(canonical_json(key(item)), item)
    return list(found.values())


def _sum(scope: Scope, value: Any, attribute: Any = None, start: Any = 0) -> int | float:
    read = _reader(scope, attribute)
    total: int | float = 0
    for number in (start, *map(read, items_of(scope, value))):
        if not is_number(number):
            raise TemplateError(f"`sum` takes numbers, not {kind_of(number)}")
        total = checked_number(total + number)
    return total


def _min(scope: Scope, value: Any, case_sensitive: Any = False, attribute: Any = None) -> Any:
    items = items_of(scope, value)
    return min(items, key=_order(scope, case_sensitive, attribute)) if items else _nothing(scope)


def _max(scope: Scope, value: Any, case_sensitive: Any = False, attribute: Any = None) -> Any:
    items = items_of(scope, value)
    return max(items, key=_order(scope, case_sensitive, attribute)) if items else _nothing(scope)


def _round(scope: Scope, value: Any, precision: Any = 0, method: Any = "common") -> float:
    if not is_number(value):
        raise TemplateError(f"`round` takes a number, not {kind_of(value)}")
    if type(precision) is not int or abs(precision) > _PRECISION_LIMIT:
        raise TemplateError(f"the precision of `round` is a whole number, {_PRECISION_LIMIT} at most")
    if method == "common":
        return float(round(value, precision))
    if method not in ("ceil", "floor"):
        raise TemplateError("the method of `round` is 'common', 'ceil' or 'floor'")
    scale = 10**precision
    return float((math.ceil if method == "ceil" else math.floor)(value * scale) / scale)


def _int(scope: Scope, value: Any, default: Any = _MISSING, base: Any = 10) -> Any:
    try:
        if isinstance(value, str):
            return checked_number(_whole(value[: _DIGITS_LIMIT + 1].strip(), base))
        return checked_number(int(value))
    except (TypeError, ValueError, OverflowError, TemplateError):
        return _instead(default, value, "a whole number", "int")


def _whole(digits: str, base: Any) -> int:
    """`3.7` is 3, as in Jinja, where no base is given."""
    if len(digits) > _DIGITS_LIMIT:
        raise ValueError(digits)
    if base == 10 and "." in digits:
        return int(float(digits))
    return int(digits, base)


def _float(scope: Scope, value: Any, default: Any = _MISSING) -> Any:
    try:
        return checked_number(float(value))
    except (TypeError, ValueError, OverflowError, TemplateError):
        return _instead(default, value, "a number", "float")


def _instead(default: Any, value: Any, wanted: str, name: str) -> Any:
    if default is not _MISSING:
        return default
    raise TemplateError(f"{kind_of(value)} that is not {wanted}", fix=f"`| {name}(0)` gives 0 instead")


def _lower(scope: Scope, value: Any) -> str:
    return short_enough(text_of(scope, value).lower())


def _upper(scope: Scope, value: Any) -> str:
    return short_enough(text_of(scope, value).upper())


def _trim(scope: Scope, value: Any, chars: Any = None) -> str:
    text, stripped = text_of(scope, value), None if chars is None else text_of(scope, chars)
    scope.charge(len(text) * len(stripped or "") >> 10)  # each character is looked for among all of them
    return short_enough(text.strip(stripped))


def _replace(scope: Scope, value: Any, old: Any, new: Any, count: Any = -1) -> str:
    text, before, after = text_of(scope, value), text_of(scope, old), text_of(scope, new)
    if type(count) is not int:
        raise TemplateError("the count of `replace` is a whole number")
    times = text.count(before)
    if count >= 0:
        times = min(times, count)
    size = len(text) + times * (len(after) - len(before))
    if size > RESULT_LIMIT:
        raise too_long()
    scope.charge(1 + (size >> 10))
    return short_enough(text.replace(before, after, count))


def _split(scope: Scope, value: Any, sep: Any = None) -> list[Any]:
    """The parts of a text: at white space, or at `sep`. An empty text has none, so that no output means no items."""
    text = text_of(scope, value)
    if sep is not None and (not isinstance(sep, str) or not sep):
        raise TemplateError(
            "`split` takes a text to split at", fix="`split` splits at white space, `split('\\n')` at line ends"
        )
    scope.charge(1 + (len(text.split()) if sep is None else text.count(sep)))
    return text.split(sep) if text else []


def _truncate(
    scope: Scope, value: Any, length: Any = 255, killwords: Any = False, end: Any = "...", leeway: Any = 5
) -> str:
    text, ending = text_of(scope, value), text_of(scope, end)
    if type(length) is not int or type(leeway) is not int or length < len(ending) or leeway < 0:
        raise TemplateError("the length of `truncate` is a whole number, not below that of its `end`")
    if len(text) <= length + leeway:
        return short_enough(text)
    cut = text[: length - len(ending)]
    return short_enough((cut if killwords else cut.rsplit(" ", 1)[0]) + ending)


def _tojson(scope: Scope, value: Any) -> str:
    scope.charge_value(value)
    return short_enough(canonical_json(value))


WORK: Final[dict[str, Callable[..., Any]]] = {
    "join": _join,
    "length": _length,
    "first": _first,
    "last": _last,
    "list": _list,
    "map": _map,
    "select": _selecting(True),
    "reject": _selecting(False),
    "selectattr": _selecting_attribute(True),
    "rejectattr": _selecting_attribute(False),
    "sort": _sort,
    "unique": _unique,
    "sum": _sum,
    "min": _min,
    "max": _max,
    "round": _round,
    "int": _int,
    "float": _float,
    "string": text_of,
    "lower": _lower,
    "upper": _upper,
    "trim": _trim,
    "replace": _replace,
    "split": _split,
    "truncate": _truncate,
    "tojson": _tojson,
}
"""Filter → what it does with a present value. `default` alone also sees absent ones."""
