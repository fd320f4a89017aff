"""Values as text, and what is said when there is none: shared by the plain way and the Jinja way, so that both agree."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from runner.digest import canonical_json
from runner.spelling import did_you_mean
from runner.templating.model import RESULT_LIMIT, Context, Json, Ref, TemplateError, brief, exceeds, show

_SHOWN: Final = 8
_SEARCHED: Final = 500
_NUMBERS: Final = (int, float)


def to_text(value: Json) -> str:
    """A value inside longer text: true/false, numbers as JSON, lists and maps as canonical JSON. None is for the caller to decide."""
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, (bool, *_NUMBERS)):
            return canonical_json(value)
        weigh(value, RESULT_LIMIT)
        return bounded(canonical_json(value))
    except (ValueError, TypeError, RecursionError) as error:
        raise TemplateError(f"this value cannot be written as text: {error}") from error


def bounded(text: str) -> str:
    """`text`, unless it is past the result limit."""
    if exceeds(text, RESULT_LIMIT):
        raise TemplateError(f"the result is longer than {RESULT_LIMIT // 1024} KiB, the limit of a template's text")
    return text


def weigh(value: Json, limit: int, *, each: int = 1) -> int:
    """A lower bound of the characters that `value` takes as JSON, found without writing it; `each` is what a value counts besides its
    text. Raises TemplateError past `limit`."""
    total = 0
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        total += each
        if isinstance(node, str):
            total += len(node)
        elif isinstance(node, Mapping):
            stack.extend(node.values())
            total += sum(map(len, node))
        elif isinstance(node, list):
            stack.extend(node)
        if total > limit:
            raise TemplateError(f"a value is larger than {limit // 1024} KiB, the limit of a template's text")
    return total


def kind_of(value: Json) -> str:
    """What a value is, in the words of the language."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, _NUMBERS):
        return "a number"
    return "a map" if isinstance(value, Mapping) else "a list"


def none_error(expression: str, offset: int, length: int) -> TemplateError:
    """`expression` gave none inside longer text."""
    return TemplateError(
        f"`{brief(expression)}` is none, which has no text",
        offset,
        length,
        f"write `{{{{ {expression} | default('', true) }}}}`",
    )


def absent_error(ref: Ref, context: Context) -> TemplateError:
    """Says how far the path of `ref` leads, and what is there instead."""
    if ref.root not in context:
        return _absent(ref, show(ref.root, ()), "there is nothing of that name here")
    value: Json = context[ref.root]
    for depth, key in enumerate(ref.path):
        if not _has(value, key):
            at = show(ref.root, ref.path[:depth])
            return _absent(ref, show(ref.root, ref.path[: depth + 1]), *_what_is_there(f"`{at}`", value, key))
        value = value[key]
    return _absent(ref, show(ref.root, ref.path), "it was not there")


def missing_error(owner: Json, key: object, length: int) -> TemplateError:
    """`owner`, which a computed path led to, has no such key."""
    reason, fix = _what_is_there("the value there", owner, key if isinstance(key, int) else str(key))
    return TemplateError(f"`{brief(str(key))}` is absent: {reason}", 0, length, fix)


def _absent(ref: Ref, path: str, reason: str, fix: str | None = None) -> TemplateError:
    return TemplateError(f"`{path}` is absent: {reason}", ref.offset, ref.length, fix)


def _has(value: Json, key: str | int) -> bool:
    try:
        value[key]
    except (LookupError, TypeError):
        return False
    return True


def _what_is_there(at: str, value: Json, key: str | int) -> tuple[str, str | None]:
    if isinstance(value, Mapping):
        names = [brief(str(name)) for name in islice(value, _SEARCHED)]
        if not names:
            return f"{at} is empty", None
        more = f" and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
        return f"{at} has {', '.join(names[:_SHOWN])}{more}", did_you_mean(str(key), names)
    if isinstance(value, (list, str)) and isinstance(key, int):
        return f"{at} has {len(value)} {'items' if isinstance(value, list) else 'characters'}", None
    return f"{at} is {kind_of(value)}", None
