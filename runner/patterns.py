"""Regular expressions of strangers, over texts of strangers: searched for no longer than we are willing to wait.

A pattern such as `^(a+)+$` takes Python's own `re` longer than the universe has, for forty characters. So these go through `regex`, which
has a time limit (and is quicker with such patterns). Which patterns are well-formed is for `re` to say, when they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from runner.patience import Patience

ONE_ANSWER_S = 2.0
"""For the patterns of a schema over one value."""
PATIENCE = Patience(ONE_ANSWER_S)
LONGEST = 2_000
"""Characters of a pattern."""
MOST_ATOMS = 50_000
"""Of a pattern with its counted repetitions written out, as `regex` does: `((a{999}){999}){999}` would take all memory."""
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)
_COUNT = re.compile(r"\{(\d{0,9})(?:,(\d{0,9}))?\}")


class TooSlow(Exception):
    """A search was given up, or not begun."""

    def __init__(self, pattern: str) -> None:
        shown = pattern if len(pattern) <= 80 else f"{pattern[:79]}…"
        super().__init__(f"the pattern {shown!r} takes too long")


def check(pattern: str) -> None:
    """Is it well-formed, as far as `re` can tell? Raises re.error, OverflowError, RecursionError, TooSlow."""
    if is_huge(pattern):
        raise TooSlow(pattern)
    with PATIENCE.spent() as left:
        if not left:
            raise TooSlow(pattern)
        re.compile(pattern)


def found(pattern: str, text: str) -> bool:
    """Is `pattern` found in `text`? Raises TooSlow."""
    import regex  # 20 ms, and only for schemas with a pattern

    if is_huge(pattern):
        raise TooSlow(pattern)
    with PATIENCE.spent() as left:
        try:
            if left:
                return regex.search(pattern, text, timeout=left) is not None
        except (TimeoutError, regex.error, MemoryError, RecursionError) as error:
            raise TooSlow(pattern) from error
    raise TooSlow(pattern)


def is_huge(pattern: str) -> bool:
    """Is it longer, or with its counted repetitions written out larger, than anybody needs?"""
    if len(pattern) > LONGEST:
        return True
    groups, last, at = [0], 0, 0  # the atoms of each open group, and of what a repetition would repeat
    while at < len(pattern):
        if (count := _COUNT.match(pattern, at)) is not None and count[0] != "{}":
            times = int(count[2] or count[1] or 1)
            groups[-1] += last * (times - 1)
            last *= times
            at = count.end()
        else:
            atom = _ATOM.match(pattern, at)
            sign = atom[0] if atom else pattern[at]
            last = groups.pop() if sign == ")" and len(groups) > 1 else 1
            groups[-1] += last
            at += len(sign)
            if sign == "(":
                groups.append(0)
        if groups[-1] > MOST_ATOMS:
            return True
    return sum(groups) > MOST_ATOMS


@cache
def bounded(kind: Any) -> Any:
    """A class of validators of `jsonschema`, with the keywords that search for patterns in it written anew, by `found`. (It has them
    also in what `additionalProperties` and `unevaluatedProperties` leave out, where it joins them to one, which may be none.)"""
    from jsonschema import validators

    ours = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties(kind.VALIDATORS.get("additionalProperties")),
        "unevaluatedProperties": _unevaluated_properties,
    }
    extend: Any = validators.extend  # its types say nothing
    return extend(kind, {name: ours[name] for name in ours if name in kind.VALIDATORS})


def _pattern(validator: Any, pattern: str, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not found(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], value: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for pattern, inner in patterns.items():
            for name, child in value.items():
                if found(pattern, name):
                    yield from validator.descend(child, inner, path=name, schema_path=pattern)


def _additional_properties(theirs: Any) -> Any:
    """`theirs`, asked about those names alone that no pattern takes."""

    def ours(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        if not isinstance(value, Mapping) or not schema.get("patternProperties"):
            yield from theirs(validator, wanted, value, schema)
            return
        named = schema.get("properties", {})
        rest = {name: child for name, child in value.items() if name not in named and not _taken(name, schema)}
        yield from theirs(validator, wanted, rest, {})

    return ours


def _taken(name: str, schema: Mapping[str, Any]) -> bool:
    return any(found(pattern, name) for pattern in schema.get("patternProperties", ()))


def _unevaluated_properties(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(value, Mapping):
        return
    seen = _evaluated(validator, value, schema)
    wrong = [name for name, child in value.items() if name not in seen and not _fits(validator, child, wanted)]
    if wrong:
        names, verb = ", ".join(map(repr, sorted(wrong))), "was" if len(wrong) == 1 else "were"
        if wanted is False:
            yield ValidationError(f"Unevaluated properties are not allowed ({names} {verb} unexpected)")
        else:
            yield ValidationError(
                f"Unevaluated properties are not valid under the given schema ({names} {verb} unevaluated and invalid)"
            )


def _evaluated(validator: Any, value: Mapping[str, Any], schema: Any) -> set[str]:
    """The names that `schema` says something about, and what is beside it about the same value."""
    if not isinstance(schema, Mapping):
        return set()
    if "$recursiveRef" in schema:  # draft 2019-09 only: where it leads is not ours to know, so nothing is refused
        return set(value)
    seen = {name for name in value if name in schema.get("properties", ()) or _taken(name, schema)}
    for key in ("additionalProperties", "unevaluatedProperties"):
        if key in schema:
            seen |= {name for name, child in value.items() if _fits(validator, child, schema[key])}
    for at, inner in _beside(validator, value, schema):
        seen |= _evaluated(at, value, inner)
    return seen


def _beside(validator: Any, value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The schemas that hold of the same value, each with who judges by it."""
    for key in ("$ref", "$dynamicRef"):
        if key in schema:
            there = validator._resolver.lookup(schema[key])
            yield validator.evolve(schema=there.contents, _resolver=there.resolver), there.contents
    for name, inner in schema.get("dependentSchemas", {}).items():
        if name in value:
            yield validator, inner
    for key in ("allOf", "oneOf", "anyOf"):
        yield from ((validator, inner) for inner in schema.get(key, ()) if _fits(validator, value, inner))
    if "if" in schema:
        fits = _fits(validator, value, schema["if"])
        yield from [(validator, schema["if"])] if fits else []
        if (then := "then" if fits else "else") in schema:
            yield validator, schema[then]


def _fits(validator: Any, value: Any, schema: Any) -> bool:
    return next(validator.descend(value, schema), None) is None
