"""What filters and tests take: checked before anything runs, so that a wrong argument is a mistake with a place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import nodes

from runner.spelling import did_you_mean
from runner.templating.model import TemplateError, brief
from runner.templating.words import TESTS


def closed(name: str, known: Iterable[str]) -> str:
    """A fix for a word that is not on a closed list: the nearest one, or the whole list."""
    return did_you_mean(name, known) or f"there are {', '.join(known)}"


def check_arguments(node: nodes.Filter, positional: Sequence[str], params: Sequence[str], required: int) -> None:
    """Refuses what a filter does not take: `positional` may stand without a name, `params` are all, the first `required` must be given."""
    at, length = node.lineno, len(node.name)
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateError("`*` and `**` arguments are no part of templates", at, length)
    if len(node.args) > len(positional):
        raise TemplateError(f"`{node.name}` takes {_takes(positional, params)}", at, length)
    given = list(positional[: len(node.args)])
    keywords: list[Any] = list(node.kwargs)  # Jinja declares pairs here; they are keywords
    for keyword in keywords:
        if keyword.key not in params or keyword.key in given:
            message = f"`{node.name}` has no argument `{brief(keyword.key)}`, or has it already"
            raise TemplateError(message, at, length, did_you_mean(keyword.key, params))
        given.append(keyword.key)
    if any(name not in given for name in params[:required]):
        raise TemplateError(f"`{node.name}` needs {' and '.join(params[:required])}", at, length)


def _takes(positional: Sequence[str], params: Sequence[str]) -> str:
    if positional:
        return f"at most {len(positional)} argument{'s'[: len(positional) > 1]}: {', '.join(positional)}"
    return f"named arguments only: {', '.join(params)}" if params else "no arguments"


def check_test_name(node: nodes.Filter, position: int) -> None:
    """The argument at `position` (or `test=`) must be the name of a test, as a literal."""
    given = [*node.args[position : position + 1], *(k.value for k in node.kwargs if k.key == "test")]
    for name in given:
        value = name.value if isinstance(name, nodes.Const) else None
        if value not in TESTS:
            message = f"`{node.name}` takes the name of a test in quotes"
            raise TemplateError(message, name.lineno or node.lineno, 1, closed(str(value), TESTS))
