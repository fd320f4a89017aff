"""Values into their scalars. The text with marks is read as YAML; each scalar that holds a mark is written anew, quoted, with the
value in it; the result is read again and must be, leaf by leaf, what was meant. So no value can end its scalar, and none is a
template for the runner: what would be one is written so that it is read literally.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yaml import (
    CBaseLoader,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    YAMLError,
)

from runner.diagnostics.model import Loc
from runner.generate.places import Treatment, treatment
from runner.generate.problem import GenerateError
from runner.generate.template import Rendered
from runner.syntax import read
from runner.templating import TemplateError
from runner.templating.scan import scan

_PROPERTIES: Final = re.compile(r"(?:[&!][^\s,\[\]{}]*[ \t\r\n]*)+")
_REFUSED: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ESCAPED: Final = re.compile("[\x85\u2028\u2029\ufeff\r\t\n]")
_BRACE: Final = re.compile(r"\{(?=[{%])|(?<=\{)\{")
_QUOTES: Final = str.maketrans({"\\": "\\\\", '"': '\\"'})
_LETTERS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_IN_BLOCK: Final = re.compile("[\r\x85\u2028\u2029\ufeff\t]")
_BY_VARS: Final = "give it to `vars` and name it there: vars: {x: [[ row.x ]]}"
_BY_ENV: Final = 'give it to `env` and write "$X" in the script: env: {X: "[[ row.x ]]"}'


@dataclass(frozen=True, slots=True)
class _Scalar:
    """A scalar with marks: its stretch of the text, its text, how it is written, and where it stands in the data."""

    start: int
    end: int
    text: str
    style: str
    loc: Loc
    key: bool


def fill(rendered: Rendered) -> str:
    """The text with its values. Raises GenerateError."""
    if not rendered.values:
        return rendered.text
    for value in rendered.values.values():
        _check(value)
    scalars = [scalar for scalar in _scalars(rendered.text) if rendered.mark.search(scalar.text)]
    out: list[str] = []
    at = 0
    for scalar in scalars:
        out += [_comments(rendered.text[at : scalar.start], rendered), _written(scalar, rendered)]
        at = scalar.end
    out.append(_comments(rendered.text[at:], rendered))
    text = "".join(out)
    _compare(rendered, text)
    return text


def _check(value: Any) -> None:
    if isinstance(value, str):
        if (found := _REFUSED.search(value)) is not None:
            raise GenerateError(
                f"a value holds U+{ord(found[0]):04X}, which no YAML file may hold", "remove it from the row"
            )
    elif isinstance(value, float) and value - value != 0:
        raise GenerateError("not-a-number and infinity are not allowed")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check(key)
            _check(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check(inner)


# ---------------------------------------------------------------- where the scalars are


def _scalars(text: str) -> Iterator[_Scalar]:
    """Every scalar, with its place in its document."""
    loader = CBaseLoader(text)
    path: list[Any] = []
    open_: list[list[Any]] = []  # of each open list or map: its kind, and the next index or the current key
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                path.append(_enter(open_))
                open_.append([type(event) is MappingStartEvent, 0 if type(event) is SequenceStartEvent else None])
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                open_.pop()
                path.pop()
                _leave(open_)
            elif isinstance(event, ScalarEvent):
                is_key = bool(open_) and open_[-1][0] and open_[-1][1] is None
                loc = tuple(path[1:]) if is_key else (*path[1:], *([open_[-1][1]] if open_ else []))
                yield _scalar(text, event, loc, is_key)
                if is_key:
                    open_[-1][1] = event.value
                else:
                    _leave(open_)
            elif hasattr(event, "anchor") and event.anchor is not None:  # an alias
                _leave_alias(open_)
    except (YAMLError, ValueError, RecursionError, AssertionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1} of the result: " if mark is not None else ""
        raise GenerateError(f"{where}{getattr(error, 'problem', None) or error}") from error


def _enter(open_: Sequence[list[Any]]) -> Any:
    return open_[-1][1] if open_ else None


def _leave(open_: Sequence[list[Any]]) -> None:
    """A value has ended: the next one is the next item, or stands under a key to come."""
    if open_:
        open_[-1][1] = None if open_[-1][0] else open_[-1][1] + 1


def _leave_alias(open_: Sequence[list[Any]]) -> None:
    if open_ and open_[-1][0] and open_[-1][1] is None:
        raise GenerateError("an alias cannot be a key")
    _leave(open_)


def _scalar(text: str, event: Any, loc: Loc, key: bool) -> _Scalar:
    start, end = event.start_mark.index, event.end_mark.index
    if event.anchor is not None or event.tag is not None:
        found = _PROPERTIES.match(text, start)
        start = found.end() if found else start
    return _Scalar(start, end, event.value, event.style or "", loc, key)


def _comments(text: str, rendered: Rendered) -> str:
    """What lies between scalars: a mark there stands in a comment, or where the second reading finds it."""
    return rendered.mark.sub(lambda mark: _in_comment(rendered.values[mark[0]]), text)


def _in_comment(value: Any) -> str:
    return json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value)


# ---------------------------------------------------------------- how they are written


def _written(scalar: _Scalar, rendered: Rendered) -> str:
    how: Treatment = "plain" if scalar.key else treatment(scalar.loc)
    if scalar.style == "" and rendered.mark.fullmatch(scalar.text):
        value = rendered.values[scalar.text]
        if scalar.key or not isinstance(value, str):
            return _quoted(_key(value)) if scalar.key else _typed(value, how, scalar.loc)
    text = _text(scalar, rendered, how)
    block = _block(scalar, rendered.text, text)
    return _quoted(text) + ("\n" if scalar.style in ("|", ">") else "") if block is None else block


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise GenerateError("a key is text")


def _typed(value: Any, how: Treatment, loc: Loc) -> str:
    """A value that is the whole scalar keeps its type."""
    meant = _meant(value, how, loc)
    if isinstance(meant, float):
        return repr(meant)
    return json.dumps(meant) if meant is None or isinstance(meant, (bool, int)) else _flow(meant)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _meant(value: Any, how: Treatment, loc: Loc) -> Any:
    """`value` as the data of the manifest is to hold it."""
    if isinstance(value, str):
        return _literal(value, how, loc)
    if isinstance(value, Mapping):
        return {key: _meant(inner, _below(how, loc, key), (*loc, key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_meant(inner, _below(how, loc, at), (*loc, at)) for at, inner in enumerate(value)]
    return value


def _below(how: Treatment, loc: Loc, part: Any) -> Treatment:
    return treatment((*loc, part)) if loc else how


def _literal(text: str, how: Treatment, loc: Loc) -> str:
    """A value of its own as text that the manifest language reads literally."""
    if how == "expression":
        raise GenerateError(f"{_shown(loc)}: a value cannot be part of an expression", _BY_VARS)
    if how == "script":
        raise GenerateError(f"{_shown(loc)}: a value cannot be part of a shell script", _BY_ENV)
    return _BRACE.sub("{{ '{' }}", text) if how == "template" else text


def _text(scalar: _Scalar, rendered: Rendered, how: Treatment) -> str:
    """The text of a scalar with its values, escaped where the manifest language would render them."""
    marks = rendered.mark
    values = {mark: _as_text(rendered.values[mark]) for mark in marks.findall(scalar.text)}
    if how in ("expression", "script"):
        for mark in values:
            if isinstance(rendered.values[mark], str):
                _literal("", how, scalar.loc)
    if how != "template":
        return marks.sub(lambda match: values[match[0]], scalar.text)
    out, at = [], 0
    for start, end in _regions(scalar):
        region = scalar.text[start:end]
        out.append(_run(scalar.text[at:start], values, marks, before_region=True))
        out.append(marks.sub(lambda match: values[match[0]], region))
        at = end
        for mark in marks.findall(region):
            if isinstance(rendered.values[mark], str):
                raise GenerateError(
                    f"{_shown(scalar.loc)}: a value cannot stand inside `{{{{ }}}}` or `{{% %}}`", _BY_VARS
                )
    out.append(_run(scalar.text[at:], values, marks, before_region=False))
    return "".join(out)


def _regions(scalar: _Scalar) -> list[tuple[int, int]]:
    """Where the author of the template wrote templates for the runner, as the runner reads them."""
    if "{{" not in scalar.text and "{%" not in scalar.text:
        return []
    try:
        tokens = scan(scalar.text, blocks=True)
    except TemplateError as error:
        raise GenerateError(f"{_shown(scalar.loc)}: {error}") from error
    starts = [token.offset for token in tokens if token.kind in ("variable_begin", "block_begin")]
    ends = [token.offset + len(token.value) for token in tokens if token.kind in ("variable_end", "block_end")]
    return list(zip(starts, ends, strict=True))


def _run(text: str, values: Mapping[str, str], marks: re.Pattern[str], *, before_region: bool) -> str:
    """A stretch without templates of its author's: whatever would open one is a literal brace."""
    if not marks.search(text):
        return text
    filled = marks.sub(lambda match: values[match[0]], text)
    literal = _BRACE.sub("{{ '{' }}", filled)
    return f"{literal[:-1]}{{{{ '{{' }}}}" if before_region and literal.endswith("{") else literal


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (Mapping, list, tuple)):
        what = "nothing" if value is None else "a list or map"
        raise GenerateError(f"{what} cannot be part of a text", "choose a text: | default(''), | join(', '), | tojson")
    return json.dumps(value)


def _shown(loc: Loc) -> str:
    return ".".join(map(str, loc)) or "the document"


def _quoted(text: str) -> str:
    """A double-quoted scalar on one line."""
    escaped = text.translate(_QUOTES)
    return '"' + _ESCAPED.sub(lambda match: _LETTERS.get(match[0]) or f"\\u{ord(match[0]):04x}", escaped) + '"'


def _block(scalar: _Scalar, source: str, text: str) -> str | None:
    """The scalar as `|`, as its author wrote it; None where quotes are the only safe way."""
    if scalar.style != "|" or not text.strip() or text[0] in " \n" or _NOT_IN_BLOCK.search(text):
        return None
    lines = [line for line in source[scalar.start : scalar.end].split("\n")[1:] if line.strip()]
    indent = min((len(line) - len(line.lstrip(" ")) for line in lines), default=0)
    if indent == 0:
        return None
    body = text.rstrip("\n")
    ends = len(text) - len(body)
    written = "\n".join(" " * indent + line if line else "" for line in body.split("\n"))
    return f"|{('-', '', '+')[min(ends, 2)]}\n{written}\n" + "\n" * max(ends - 1, 0)


# ---------------------------------------------------------------- the second reading


def _compare(rendered: Rendered, text: str) -> None:
    """The result holds the structure of the template, and in its scalars what was meant. Raises GenerateError when not."""
    before, wrong = read(rendered.text.encode(), "template")
    after, refused = read(text.encode(), "result")
    if wrong or refused:
        first = (wrong or refused)[0]
        where = f"line {first.span.line} of the result: " if first.span else ""
        raise GenerateError(f"{where}{first.message}", first.fix)
    meant = [_expected(document.data, (), rendered) for document in before]
    if meant != [document.data for document in after] or rendered.mark.search(text):
        raise GenerateError(
            "a value stands where only the template may write", "use [[ ]] in keys, values and comments"
        )


def _expected(data: Any, loc: Loc, rendered: Rendered) -> Any:
    """The data of the text with marks, with the values in their places."""
    marks = rendered.mark
    if isinstance(data, dict):
        return {
            marks.sub(lambda m: _as_text(rendered.values[m[0]]), key): _expected(inner, (*loc, key), rendered)
            for key, inner in data.items()
        }
    if isinstance(data, list):
        return [_expected(inner, (*loc, at), rendered) for at, inner in enumerate(data)]
    if not isinstance(data, str) or not marks.search(data):
        return data
    if marks.fullmatch(data) and not isinstance(rendered.values[data], str):
        return _Either(_meant(rendered.values[data], treatment(loc), loc), rendered.values[data])
    return _text(_Scalar(0, 0, data, "", loc, False), rendered, treatment(loc))


class _Either:
    """Equal to a value, and to its text: it depends on whether the author quoted the mark."""

    def __init__(self, value: Any, raw: Any) -> None:
        self._choices = (
            [value] if value is None or isinstance(raw, (Mapping, list, tuple)) else [value, json.dumps(raw)]
        )

    def __eq__(self, other: object) -> bool:
        return any(choice == other and isinstance(choice, bool) == isinstance(other, bool) for choice in self._choices)

    __hash__ = None  # type: ignore[assignment]
