"""Text into tokens, each with its character offset (Jinja's own lexer keeps lines only). Knows braces, strings and brackets, and
which statements a prompt may hold; knows nothing of what an expression means."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from runner.spelling import did_you_mean
from runner.templating.model import TemplateError, brief

NESTING_LIMIT: Final = 24
"""Brackets within brackets, and statements within statements."""
TOKEN_LIMIT: Final = 20_000
STATEMENTS: Final = ("if", "elif", "else", "endif", "for", "endfor")

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<float>(?<![.\w])[0-9][0-9_]*(?:\.[0-9][0-9_]*(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))
    |(?P<integer>[0-9][0-9_]*)(?![A-Za-z])
    |(?P<name>[^\W\d]\w*)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<operator>//|\*\*|==|!=|>=|<=|[-+*/%~\[\](){}<>=.:|,])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}
_WORD: Final = re.compile(r"\s*(\w*)")


class Token(NamedTuple):
    """`kind`: data, variable_begin, variable_end, block_begin, block_end, name, string, integer, float, or operator (`value` says which).
    The value of a string has its quotes and escapes resolved."""

    offset: int
    kind: str
    value: str


def scan(text: str, *, blocks: bool) -> list[Token]:
    """The tokens of a template. Raises TemplateError for what is never closed, and for statements where none may stand."""
    tokens: list[Token] = []
    at = 0
    trim_next = False
    while (found := _next_opening(text, at)) is not None:
        start, kind = found
        if kind == "block" and not blocks:
            raise _no_statements(start)
        inner = list(_inside(text, start, "}}" if kind == "variable" else "%}"))
        end = inner[-1].offset + len(inner[-1].value)
        data_end, next_at = start, end
        if kind == "block":
            _check_statement(text, start)
            data_end, next_at = _own_line(text, at, start, end)
        data = text[at:data_end]
        tokens.append(Token(at, "data", _trimmed(data, left=trim_next, right=text.startswith("-", start + 2))))
        tokens += [Token(start, f"{kind}_begin", text[start : start + 2]), *inner[:-1]]
        tokens.append(Token(inner[-1].offset, f"{kind}_end", inner[-1].value))
        trim_next = inner[-1].value.startswith("-")
        at = next_at
        if len(tokens) > TOKEN_LIMIT:
            raise TemplateError(f"a template may have at most {TOKEN_LIMIT} words and signs", start, 2)
    tokens.append(Token(at, "data", _trimmed(text[at:], left=trim_next, right=False)))
    return tokens


def scan_expression(text: str) -> list[Token]:
    """The tokens of a bare expression."""
    tokens = list(_inside(text, None, ""))
    if len(tokens) > TOKEN_LIMIT:
        raise TemplateError(f"an expression may have at most {TOKEN_LIMIT} words and signs")
    return tokens


def is_whole(tokens: Sequence[Token]) -> bool:
    """Whether the tokens of a template are one `{{ }}` apart from white space."""
    outer = [token for token in tokens if token.kind != "data"]
    data = [token for token in tokens if token.kind == "data"]
    begins = sum(token.kind.endswith("_begin") for token in outer)
    return begins == 1 and outer[0].kind == "variable_begin" and not any(token.value.strip() for token in data)


def _next_opening(text: str, at: int) -> tuple[int, str] | None:
    variable, block = text.find("{{", at), text.find("{%", at)
    if variable < 0 and block < 0:
        return None
    if block < 0 or 0 <= variable < block:
        return variable, "variable"
    return block, "block"


def _inside(text: str, start: int | None, closing: str) -> Iterator[Token]:
    """The tokens from `start` (an opening brace, or None for the whole text) to `closing`, whose token is the last one."""
    at = 0 if start is None else start + 2 + text.startswith("-", start + 2)
    open_at: list[int] = []
    while at < len(text):
        if closing and not open_at:
            dash = text.startswith("-" + closing, at)
            if dash or text.startswith(closing, at):
                yield Token(at, "end", text[at : at + len(closing) + dash])
                return
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        kind = str(match.lastgroup)
        if kind == "operator":
            _balance(text, at, open_at)
        if kind != "space":
            yield Token(at, kind, _unescape(match) if kind == "string" else match[0])
        at = match.end()
    if open_at:
        raise TemplateError(f"`{text[open_at[-1]]}` is never closed", open_at[-1], 1)
    if start is not None:
        raise TemplateError(
            f"`{text[start : start + 2]}` is never closed", start, 2, "a literal `{{` is written `{{ '{{' }}`"
        )


def _balance(text: str, at: int, open_at: list[int]) -> None:
    sign = text[at]
    if sign in _PAIRS:
        open_at.append(at)
        if len(open_at) > NESTING_LIMIT:
            raise TemplateError(f"brackets may be nested {NESTING_LIMIT} deep at most", at, 1)
    elif sign in _PAIRS.values() and (not open_at or _PAIRS[text[open_at.pop()]] != sign):
        raise TemplateError(f"`{sign}` closes nothing here", at, 1)


def _unreadable(text: str, at: int) -> TemplateError:
    if text[at] in "'\"":
        return TemplateError("this text is never closed", at, 1, f"end it with {text[at]}")
    if text[at].isdigit():
        return TemplateError("this number cannot be read", at, 1)
    return TemplateError(f"`{text[at]}` is no part of an expression", at, 1)


def _unescape(match: re.Match[str]) -> str:
    body = match[0][1:-1]
    return _ESCAPE.sub(lambda found: _escaped(found, match.start()), body) if "\\" in body else body


def _escaped(match: re.Match[str], offset: int) -> str:
    code = match[1]
    if len(code) == 1:
        return _ESCAPED.get(code, code if code in "\\'\"" else match[0])
    number = int(code[1:], 16)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise TemplateError(f"`{match[0]}` is no character", offset, 1)
    return chr(number)


def _no_statements(start: int) -> TemplateError:
    return TemplateError(
        "`{%` may stand in prompts only",
        start,
        2,
        "use `{{ a if condition else b }}`; a literal `{%` is written `{{ '{%' }}`",
    )


def _check_statement(text: str, start: int) -> None:
    match = _WORD.match(text, start + 2 + text.startswith("-", start + 2))
    word = match[1] if match else ""
    if word not in STATEMENTS:
        at = match.start(1) if match else start
        fix = did_you_mean(word, STATEMENTS) or "prompts know `if`, `elif`, `else`, and `for x in list`"
        raise TemplateError(f"`{brief(word)}` is no statement of templates", at, len(word), fix)


def _own_line(text: str, at: int, start: int, end: int) -> tuple[int, int]:
    """A statement that is alone on its line takes the line with it: where the data before it ends, where what follows begins."""
    line_start = max(text.rfind("\n", at, start) + 1, at)
    after = re.compile(r"[ \t]*(?:\r?\n|\Z)").match(text, end)
    begins_line = line_start == 0 or text[line_start - 1] == "\n"
    if after is None or not begins_line or text[line_start:start].strip(" \t"):
        return start, end
    return line_start, after.end()


def _trimmed(data: str, *, left: bool, right: bool) -> str:
    data = data.lstrip() if left else data
    return data.rstrip() if right else data
