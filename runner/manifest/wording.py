"""Our words for Pydantic's kinds of errors and for the patterns of the language."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from runner.diagnostics.model import Loc
from runner.manifest.types import (
    ENV_PATTERN,
    ID_PATTERN,
    MOST_OF_A_NAME,
    NAME_BOUND,
    NAME_PATTERN,
    PROBE_PATTERN,
    SERVER_PATTERN,
    TOOL_PATTERN,
    shown,
)

TYPES: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "dict_type": "a map",
    "mapping_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "tuple_type": "a list",
    "list_type": "a list",
}

NUMBER_BOUNDS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


def bound(kind: str, context: Mapping[str, Any]) -> str | None:
    """What a value out of bounds should have been."""
    words = {
        "greater_than": ("more than {}", "gt"),
        "greater_than_equal": ("at least {}", "ge"),
        "less_than": ("less than {}", "lt"),
        "less_than_equal": ("at most {}", "le"),
        "string_too_short": ("some text", "min_length"),
        "too_short": ("at least one entry", "min_length"),
    }
    if kind not in words:
        return None
    text, name = words[kind]
    limit = context[name]
    return text.format(int(limit) if isinstance(limit, float) and limit.is_integer() else limit)


def counted(kind: str, value: Any) -> str:
    """The refused value of a bound."""
    if kind == "string_too_short":
        return "empty text"
    return "none" if kind == "too_short" else shown(value)


def options(expected: str) -> list[str]:
    """The words of a closed set, from Pydantic's `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", expected)


VERB_FORMS = {
    "tool": "`tool: SERVER.TOOL`, and `with: {…}` beside it",
    "call": "`call: MANIFEST`, and `with: {…}` beside it",
    "approve": "`approve: QUESTION`, and `show` and `otherwise` beside it",
    "fail": "`fail: MESSAGE`",
}
"""Verbs that are written as one text."""


def as_text(loc: Loc, value: Any) -> str | None:
    """How what is no text is written as one."""
    return VERB_FORMS.get(str(loc[-1])) if loc and isinstance(value, (dict, list)) else _quoted(value)


def _quoted(value: Any) -> str | None:
    """How a number or boolean is written as text."""
    if isinstance(value, bool):
        return f'quote it: "{str(value).lower()}"'
    return f'quote it: "{value}"' if isinstance(value, int | float) else None


class Form(NamedTuple):
    """A pattern's rule, what it expects in words, and how a near miss is repaired."""

    rule: str
    expected: str
    repair: Callable[[str], str | None] | None = None


def _underscored(text: str) -> str | None:
    fixed = text.replace("-", "_")
    return fixed if "-" in text and re.match(ID_PATTERN, fixed) else None


def _hyphened(text: str) -> str | None:
    fixed = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return fixed if re.match(NAME_PATTERN, fixed) else None


def too_long(pattern: str, text: str) -> str | None:
    """What is wrong with a name of good characters that has too many of them: its pattern alone would blame the characters."""
    endless = pattern.replace(NAME_BOUND, "*")
    if endless == pattern or re.match(pattern, text) or not re.match(endless, text):
        return None
    return f"expected at most {MOST_OF_A_NAME} characters, not {len(text)}: {shown(text)}"


PATTERNS: Mapping[str, Form] = {
    ID_PATTERN: Form("id-pattern", "an id of letters, digits and underscores, no digit first", _underscored),
    NAME_PATTERN: Form("name-pattern", "a name of small letters, digits and hyphens", _hyphened),
    TOOL_PATTERN: Form("pattern", "`server.tool`, such as github.get_issue"),
    ENV_PATTERN: Form("pattern", "the name of an environment variable: letters, digits and underscores"),
    PROBE_PATTERN: Form("pattern", "a path that begins with /, such as /health"),
    SERVER_PATTERN: Form("pattern", "a name of letters, digits, underscores and hyphens"),
}
