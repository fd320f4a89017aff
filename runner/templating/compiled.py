"""Templates that need Jinja: read once, compiled once, kept by their text. Every error that template code can raise ends here, as a
TemplateError."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jinja2.environment import Template
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.runtime import Undefined
from jinja2.utils import missing

from runner.templating.absent import AbsentRead
from runner.templating.environments import STRICT, TOLERANT, NoneInText
from runner.templating.grammar import Tree, read_expression, read_template
from runner.templating.model import RESULT_LIMIT, Context, Json, Parsed, TemplateError
from runner.templating.rewrite import RESULT, as_text, as_value, only_expression
from runner.templating.sandbox import Scope, short_enough, too_long
from runner.templating.text import absent_error, missing_error, none_error

_KEPT: Final = 2048
_Root = Callable[[Scope], Iterator[str]]


@dataclass(frozen=True, slots=True)
class _Program:
    """Compiled code, for each of the two ways of reading, and what it was made from."""

    parsed: Parsed
    strict: _Root
    tolerant: _Root


@lru_cache(_KEPT)
def template(text: str, *, blocks: bool) -> Tree:
    """The checked tree of a template."""
    return read_template(text, blocks=blocks)


@lru_cache(_KEPT)
def expression(text: str) -> Tree:
    """The checked tree of a bare expression."""
    return read_expression(text)


@lru_cache(_KEPT)
def _value_program(text: str, *, bare: bool) -> _Program:
    tree = expression(text) if bare else template(text, blocks=False)
    return _program(tree.parsed, as_value(tree.node if bare else only_expression(tree.node)))


@lru_cache(_KEPT)
def _text_program(text: str, *, blocks: bool) -> _Program:
    tree = template(text, blocks=blocks)
    return _program(tree.parsed, as_text(tree.node, tree.spans))


def _program(parsed: Parsed, node: Any) -> _Program:
    try:
        code = STRICT.compile(node.set_environment(STRICT))
    except (RecursionError, SyntaxError, MemoryError) as error:
        raise TemplateError("this template is nested too deeply", 0, len(parsed.text)) from error
    strict, tolerant = (Template.from_code(env, code, {}).root_render_func for env in (STRICT, TOLERANT))
    return _Program(parsed, strict, tolerant)


def whole(text: str, context: Context, *, bare: bool, tolerant: bool) -> Json:
    """The value of a template that is one whole expression, or of a `bare` expression."""
    program = _value_program(text, bare=bare)

    def run(root: _Root, scope: Scope) -> Json:
        for _ in root(scope):
            pass
        return scope.vars[RESULT]

    return _run(program, context, run, tolerant=tolerant)


def in_text(text: str, context: Context, *, blocks: bool, tolerant: bool) -> str:
    """The template as text."""

    def run(root: _Root, scope: Scope) -> str:
        out: list[str] = []
        size = 0
        for piece in root(scope):
            size += len(piece)
            if size > RESULT_LIMIT:
                raise too_long()
            out.append(piece)
        return short_enough("".join(out))

    result: str = _run(_text_program(text, blocks=blocks), context, run, tolerant=tolerant)
    return result


def _run(program: _Program, context: Context, work: Callable[[_Root, Scope], Any], *, tolerant: bool) -> Any:
    environment, root = (TOLERANT, program.tolerant) if tolerant else (STRICT, program.strict)
    text = program.parsed.text
    try:
        return work(root, Scope(environment, context, None, {}))
    except AbsentRead as error:
        raise _absence(program.parsed, error.absent, context) from error
    except NoneInText as error:
        expression = text[error.offset : error.offset + error.length]
        raise none_error(expression, error.offset, error.length) from error
    except TemplateError as error:
        raise TemplateError(error.message, 0, len(text), error.fix) from error
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
        raise TemplateError(f"this cannot be computed: {error}", 0, len(text)) from error


def _absence(parsed: Parsed, absent: Undefined, context: Context) -> TemplateError:
    """The error for an absent value: found again among the references, by the key that was missing and what it was missing in."""
    if absent._undefined_hint:
        return TemplateError(absent._undefined_hint, 0, len(parsed.text), "say what holds then: `| default(…)`")
    owner = context if absent._undefined_obj is missing else absent._undefined_obj
    for ref in parsed.refs:
        value: Any = context
        for key in (ref.root, *ref.path):
            if key == absent._undefined_name and value is owner:
                return absent_error(ref, context)
            try:
                value = value[key]
            except (LookupError, TypeError):
                break
    return missing_error(owner, absent._undefined_name, len(parsed.text))
