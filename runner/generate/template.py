"""Templates of manifests: `[[ expr ]]`, `[% if %]`, `[% for %]`, `[% set %]`, `[# comment #]` over the data of one row.

A rendering never puts a value into the text. It puts a mark there, a word of letters and digits, so that the text's YAML structure
is the template's alone, whatever the data; `fill` then writes the values. Expressions run in the sandbox of the manifest language:
plain data, no calls, no attributes, the same filters and tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.runtime import Context, Undefined
from jinja2.utils import pass_context

from runner.generate.problem import GenerateError
from runner.templating import TemplateError
from runner.templating.absent import AbsentRead
from runner.templating.environments import STRICT

RESULT_LIMIT: Final = 1024 * 1024
"""Characters of one generated file, before its values are filled in."""
_NAMES: Final = frozenset({"row", "number"})
_MARKS: Final = "marks of this rendering"
_ALLOWED: Final = (nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Expr, nodes.Helper)
_REMEDY: Final = "a column by its name: [[ row.name ]] or [[ row['Name of it'] ]]"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text with marks, the values that they stand for (mark → JSON value), and how a mark is found."""

    text: str
    values: Mapping[str, Any]
    mark: re.Pattern[str]


class _Marks:
    """Marks given out in one rendering."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.values: dict[str, Any] = {}

    def add(self, value: Any) -> str:
        mark = f"{self.prefix}{len(self.values)}z"
        self.values[mark] = value
        return mark


@pass_context
def _mark(scope: Context, value: Any) -> str:
    """What Jinja puts out for an expression: never the value."""
    if isinstance(value, Undefined):
        raise AbsentRead(value)
    if not isinstance(value, (str, int, float, list, dict, NoneType)):
        raise TemplateError(f"{type(value).__name__} is no value: choose one of its parts")
    marks = scope.parent[_MARKS]
    return str(marks.add(value))


_ENVIRONMENT: Final = STRICT.overlay(
    variable_start_string="[[", variable_end_string="]]", block_start_string="[%", block_end_string="%]",
    comment_start_string="[#", comment_end_string="#]", trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    finalize=_mark,
)  # fmt: skip


class Template:
    """A template, checked and compiled once. Raises GenerateError."""

    def __init__(self, text: str) -> None:
        try:
            tree = _ENVIRONMENT.parse(text)
            _check(tree)
            self._compiled = _ENVIRONMENT.from_string(tree)
        except TemplateSyntaxError as error:
            raise GenerateError(f"line {error.lineno}: {error.message}") from error
        except RecursionError as error:
            raise GenerateError("the template is nested too deeply") from error
        self._text = text

    def render(self, row: Mapping[str, Any], number: int) -> Rendered:
        """The text for one row, with marks. `number`: of the row, from 1. Raises GenerateError."""
        marks = _Marks(_prefix(self._text, json.dumps(row, ensure_ascii=False)))
        pieces = self._compiled.generate({"row": row, "number": number, _MARKS: marks})
        return Rendered("".join(_limited(_explained(pieces))), marks.values, re.compile(rf"{marks.prefix}\d+z"))


def _prefix(*texts: str) -> str:
    """The begin of all marks: a word that neither the template nor the row holds."""
    number = 0
    while any(f"zq{number}q" in text for text in texts):
        number += 1
    return f"zq{number}q"


def _check(tree: nodes.Template) -> None:
    defined = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    for node in tree.find_all(nodes.Node):
        if isinstance(node, nodes.Call):
            raise GenerateError(f"line {node.lineno}: templates have no calls", "a filter is written `value | filter`")
        if not isinstance(node, _ALLOWED):
            word = type(node).__name__.lower()
            raise GenerateError(f"line {node.lineno}: `{word}` is not part of templates", "there are if, for and set")
        if isinstance(node, nodes.Name) and node.ctx == "load" and node.name not in defined | _NAMES | {"loop"}:
            raise GenerateError(f"line {node.lineno}: nothing is named {node.name!r} here", _REMEDY)


def _explained(pieces: Iterator[str]) -> Iterator[str]:
    try:
        yield from pieces
    except AbsentRead as error:
        raise _missing(error.absent) from error
    except UndefinedError as error:
        raise GenerateError(str(error.message), _REMEDY) from error
    except TemplateError as error:
        raise GenerateError(str(error)) from error
    except (JinjaError, SecurityError) as error:
        raise GenerateError(str(error)) from error
    except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise GenerateError(f"the template cannot be computed: {error}") from error


def _missing(absent: Undefined) -> GenerateError:
    name, known = absent._undefined_name, absent._undefined_obj
    columns = f"; it has {', '.join(map(str, known))}" if isinstance(known, Mapping) else ""
    return GenerateError(f"there is no {name!r}{columns}", f"or give another value: [[ row.{name} | default('') ]]")


def _limited(pieces: Iterator[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > RESULT_LIMIT:
            raise GenerateError(f"the result would be longer than {RESULT_LIMIT // 1024} KiB, the limit")
        yield piece


_SAFE_PART: Final = re.compile(r"[^\x00-\x1f\x7f/\\]+")


def path_of(template: Template, row: Mapping[str, Any], number: int) -> str:
    """The path that a path template gives for a row. A value is a part of a name in it, never a folder. Raises GenerateError."""
    rendered = template.render(row, number)
    path = rendered.text
    for mark, value in rendered.values.items():
        text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
        if not _SAFE_PART.fullmatch(text):
            raise GenerateError(f"{value!r} cannot be part of a file name", "a text without / and \\, or a number")
        path = path.replace(mark, text, 1)
    return path
