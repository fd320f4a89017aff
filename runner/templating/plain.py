"""Templates without Jinja: text with plain paths (`{{ steps.a.output.b[0] }}`), each with `| default(…)` at most. Nearly all
templates are such, so a manifest of them never imports Jinja. What is not of this form is left to `grammar` and `compiled`,
which give the same result for it."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from runner.templating.model import ROOTS, Context, Json, Parsed, Ref
from runner.templating.text import absent_error, bounded, none_error, to_text

_KEY: Final = r"""(?:\.[A-Za-z][A-Za-z0-9_]*|\[(?:-?(?:0|[1-9][0-9]{0,8})|'[^'\\\n]*'|"[^"\\\n]*")\])"""
_PATH: Final = rf"(?:{'|'.join(sorted(ROOTS, key=len, reverse=True))})(?![A-Za-z0-9_]){_KEY}*"
_LITERAL: Final = r"""none|true|false|-?(?:0|[1-9][0-9]{0,14})|'[^'\\\n]*'|"[^"\\\n]*"|\[\]|\{\}"""
_DEFAULT: Final = rf"\s*\|\s*default\(\s*(?:{_PATH}|{_LITERAL})\s*\)"
_WORDS: Final = {"none": None, "true": True, "false": False}


class Value(NamedTuple):
    """`{{ a | default(b) | default(literal) }}`: the first path that is there, else the literal (a one-tuple), else absent.
    `source` is the expression, `offset` its place in the template."""

    source: str
    offset: int
    refs: tuple[Ref, ...]
    otherwise: tuple[Json, ...] = ()


class Plain(NamedTuple):
    """A template of text and values, in order; empty pieces of text are left out."""

    parsed: Parsed
    pieces: tuple[str | Value, ...]


class _Forms(NamedTuple):
    open: re.Pattern[str]
    key: re.Pattern[str]
    option: re.Pattern[str]


@cache
def _forms() -> _Forms:
    """Compiled with the first template: a manifest may have none."""
    return _Forms(
        re.compile(rf"\{{\{{\s*({_PATH})((?:{_DEFAULT})*)\s*\}}\}}"),
        re.compile(_KEY),
        re.compile(rf"\|\s*default\(\s*(?:({_PATH})|({_LITERAL}))\s*\)"),
    )


def read(text: str) -> Plain | None:
    """`text` (which holds braces) as a plain template; None when it needs the full grammar. Never raises."""
    pieces: list[str | Value] = []
    at = 0
    while (start := text.find("{{", at)) >= 0:
        match = _forms().open.match(text, start)
        value = _value(match) if match else None
        if match is None or value is None:
            return None
        if start > at:
            pieces.append(text[at:start])
        pieces.append(value)
        at = match.end()
    if at < len(text):
        pieces.append(text[at:])
    return Plain(_parsed(text, pieces), tuple(pieces))


def _parsed(text: str, pieces: Sequence[str | Value]) -> Parsed:
    values = [piece for piece in pieces if isinstance(piece, Value)]
    whole = len(values) == 1 and all(piece.isspace() for piece in pieces if isinstance(piece, str))
    refs = tuple(ref for value in values for ref in value.refs)
    secrets = tuple(dict.fromkeys(str(ref.path[0]) for ref in refs if ref.root == "secrets"))
    return Parsed(text, literal=False, whole=whole, refs=refs, secrets=secrets)


def _value(match: re.Match[str]) -> Value | None:
    options = list(_forms().option.finditer(match.string, match.start(2), match.end(2)))
    refs: list[Ref] = []
    otherwise: tuple[Json, ...] = ()
    for position, (path, start) in enumerate(
        [(match[1], match.start(1)), *((option[1], option.start(1)) for option in options)]
    ):
        if otherwise:
            return None  # a default of a default that is never absent: rare, so left to the full grammar
        if path is None:
            otherwise = (_constant(options[position - 1][2]),)
            continue
        ref = _ref(path, start, tolerant=position < len(options))
        if not _known(ref, alone=not options):
            return None
        refs.append(ref)
    return Value(match.string[match.start(1) : match.end(2)], match.start(1), tuple(refs), otherwise)


def _known(ref: Ref, *, alone: bool) -> bool:
    """Whether the reference obeys the rules of its root; the full grammar tells which rule it breaks."""
    if ref.root == "steps":
        return bool(ref.path) and isinstance(ref.path[0], str)
    if ref.root == "secrets":
        return alone and len(ref.path) == 1 and isinstance(ref.path[0], str)
    return True


def _ref(path: str, offset: int, *, tolerant: bool) -> Ref:
    first = _forms().key.search(path)
    if first is None:
        return Ref(path, (), tolerant, offset, len(path))
    keys = tuple(_key(key) for key in _forms().key.findall(path, first.start()))
    return Ref(path[: first.start()], keys, tolerant, offset, len(path))


def _key(part: str) -> str | int:
    if part[0] == ".":
        return part[1:]
    return part[2:-2] if part[1] in "'\"" else int(part[1:-1])


def _constant(literal: str) -> Json:
    if literal in _WORDS:
        return _WORDS[literal]
    if literal[0] in "'\"":
        return literal[1:-1]
    if literal[0] in "[{":
        return [] if literal[0] == "[" else {}
    return int(literal)


_ABSENT: Final = object()


def _walk(ref: Ref, context: Context) -> Json:
    try:
        value = context[ref.root]
        for key in ref.path:
            value = value[key]
    except (LookupError, TypeError):
        return _ABSENT
    return value


def value_of(value: Value, context: Context, *, tolerant: bool) -> Json:
    """The value, uncopied. Raises TemplateError when it is absent, unless `tolerant`: then None."""
    for ref in value.refs:
        found = _walk(ref, context)
        if found is not _ABSENT:
            return found
    if value.otherwise:
        default = value.otherwise[0]
        return default.copy() if isinstance(default, (list, dict)) else default
    if tolerant:
        return None
    raise absent_error(value.refs[-1], context)


def render_whole(plain: Plain, context: Context, *, tolerant: bool) -> Json:
    """The value of a template that is one whole expression."""
    return value_of(next(piece for piece in plain.pieces if isinstance(piece, Value)), context, tolerant=tolerant)


def render_text(plain: Plain, context: Context, *, tolerant: bool) -> str:
    """The template as text. Raises TemplateError for an absent value or none (unless `tolerant`), and past the result limit."""
    out: list[str] = []
    for piece in plain.pieces:
        if isinstance(piece, str):
            out.append(piece)
            continue
        value = value_of(piece, context, tolerant=tolerant)
        if value is None:
            if not tolerant:
                raise none_error(piece.source, piece.offset, len(piece.source))
            continue
        out.append(value if isinstance(value, str) else to_text(value))
    return bounded("".join(out))
