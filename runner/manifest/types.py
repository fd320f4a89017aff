"""The scalar types of the language: ids, durations, counts, paths, globs. Each refuses in words a user understands."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema
from pydantic_core import core_schema as cs

from runner.manifest.base import BOUND, Parsed, Templated, is_template, mistake, mistakes

MOST_OF_A_NAME = 63
NAME_BOUND = f"{{0,{MOST_OF_A_NAME - 1}}}"
"""How the patterns of names and ids say so, after the first character."""
ID_PATTERN = rf"^[A-Za-z_][A-Za-z0-9_]{NAME_BOUND}$"
FIELD_PATTERN = rf"^[A-Za-z_][A-Za-z0-9_]{NAME_BOUND}\??$"
NAME_PATTERN = rf"^[a-z0-9][a-z0-9-]{NAME_BOUND}$"
INNER_PATH_PATTERN = r"^(?![/~]|\.\.(/|$))"
TOOL_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_-]*\.[^\s{}]+$"
SERVER_PATTERN = rf"^[A-Za-z0-9_][A-Za-z0-9_-]{NAME_BOUND}$"
"""Names of servers, endpoints, models, chains: what config.yaml defines."""
PROBE_PATTERN = r"^/"
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"

Id = Annotated[str, Field(pattern=ID_PATTERN)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
ToolName = Annotated[str, Field(pattern=TOOL_PATTERN)]
Server = Annotated[str, Field(pattern=SERVER_PATTERN)]
EnvName = Annotated[str, Field(pattern=ENV_PATTERN)]
Text = Annotated[str, Field(min_length=1)]

Bool = Annotated[bool, Strict()]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
MOST_USD = 1e12
"""More than all there is; as micro-USD it fits into 64 bits."""
MOST_BACKOFF = 100
Amount = Annotated[float, Strict(), Field(ge=0, le=MOST_USD)]

Scalar = str | int | float | bool
Duration = int | str
"""Milliseconds, or the text of a template."""

_DURATION = re.compile(r"(?:\d{1,12}(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST = 36_500 * _UNITS["d"]
_COUNT = re.compile(r"(\d{1,15})([kM])")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")


def shown(value: object) -> str:
    """A value as it may stand in a message: short, on one line."""
    text = repr(value) if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()  # as YAML writes it
    if not isinstance(value, str | int | float):
        text = {"dict": "a map", "list": "a list", "NoneType": "nothing"}.get(type(value).__name__, "this value")
    return text if len(text) <= 40 else text[:37] + "…" + text[-1]


def read_duration(value: Any) -> int:
    """`1h30m` → milliseconds."""
    if isinstance(value, str) and _DURATION.fullmatch(value):
        ms = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(value))
        if ms <= _LONGEST:
            return ms
        raise mistake("duration", f"{shown(value)} is longer than 100 years")
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        number = int(value)
    fix = f"add a unit: {number}s" if number is not None else None
    raise mistake("duration", f"expected a duration such as 10m or 1h30m, not {shown(value)}", fix=fix)


def read_positive_duration(value: Any) -> int:
    """A duration longer than nothing."""
    ms = read_duration(value)
    if ms == 0:
        raise mistake("duration", f"expected a duration longer than nothing, not {shown(value)}")
    return ms


def read_count(minimum: int) -> Callable[[Any], int]:
    """A reader of whole numbers from `minimum` up that may end in k or M."""

    def read(value: Any) -> int:
        match = _COUNT.fullmatch(value) if isinstance(value, str) else None
        if match:
            value = int(match[1]) * (1_000 if match[2] == "k" else 1_000_000)
        if not isinstance(value, int) or isinstance(value, bool):
            raise mistake("count", f"expected a whole number such as 20, 200k or 2M, not {shown(value)}")
        if value < minimum:
            raise mistake(BOUND, f"expected at least {minimum}, not {shown(value)}")
        if value >= 1 << 53:
            raise mistake(BOUND, f"{shown(value)} is too large")
        return value

    return read


def _count_schema(minimum: int) -> dict[str, Any]:
    pattern = r"^\d+[kM]$" if minimum == 0 else r"^0*[1-9]\d*[kM]$"
    return {"anyOf": [{"type": "integer", "minimum": minimum}, {"type": "string", "pattern": pattern}]}


def read_scalar(value: Any) -> Scalar:
    """Text, a number, true or false."""
    if isinstance(value, str | int | float):
        return value
    raise mistake("wrong-type", f"expected text, a number, true or false, not {shown(value)}")


def _timestamp(value: str) -> str:
    if is_template(value):
        return value
    try:
        if _RFC3339.fullmatch(value):
            datetime.fromisoformat(value).astimezone(UTC)
            return value
    except (ValueError, OverflowError):
        pass  # such as the 31st of February, or a moment before the year 1: said below
    raise mistake("timestamp", f"expected a time with a zone such as 2026-12-01T06:00:00Z, not {shown(value)}")


def _relative(value: str) -> None:
    if value.startswith(("/", "~")):
        raise mistake("path-escape", f"expected a relative path, not {shown(value)}")


def _load_path(value: str) -> str:
    _relative(value)
    if is_template(value):
        raise mistake("template-place", "this file is read when the manifest is loaded: its path cannot be a template")
    return value


def _inside(value: str) -> str:
    _relative(value)
    depth = 0
    for part in value.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0 and not is_template(value):
            raise mistake("path-escape", f"{shown(value)} leaves the workspace")
    return value


def _glob(value: str) -> str:
    parts = value.split("/")
    if not value or value.startswith(("/", "~")) or ".." in parts:
        raise mistake("glob", f"expected a relative glob without `..`, not {shown(value)}")
    if any("**" in part and part != "**" for part in parts):
        raise mistake("glob", f"`**` must be a whole part of the path in {shown(value)}")
    return value


def _expression(value: str) -> str:
    if not value.strip():
        raise mistake("wrong-value", "expected an expression, not empty text")
    return value


def _as_expression(value: Any) -> Any:
    if isinstance(value, bool):  # YAML reads a bare `true` before we do
        return "true" if value else "false"
    return value


def _pattern(pattern: str) -> Any:
    """A pattern for editors only: the validator words the mistake."""
    return Field(json_schema_extra={"pattern": pattern})


DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^(\d+(ms|s|m|h|d))+$",
    "examples": ["30s", "10m", "1h30m"],
}
POSITIVE_DURATION_SCHEMA: dict[str, Any] = {**DURATION_SCHEMA, "pattern": r"^(?=.*[1-9])(\d+(ms|s|m|h|d))+$"}
TEMPLATED_DURATION_SCHEMA: dict[str, Any] = {**DURATION_SCHEMA, "pattern": r"^(\d+(ms|s|m|h|d))+$|\{\{"}

Milliseconds = Annotated[int, Parsed(read_duration, DURATION_SCHEMA)]
PositiveMilliseconds = Annotated[int, Parsed(read_positive_duration, POSITIVE_DURATION_SCHEMA)]
Limit = Templated[PositiveMilliseconds]
"""A duration longer than nothing, or a template of one."""
Delay = Templated[Milliseconds]
"""A duration, or a template of one."""

Count = Annotated[int, Parsed(read_count(0), _count_schema(0))]
Positive = Annotated[int, Parsed(read_count(1), _count_schema(1))]
Word = Annotated[Scalar, Parsed(read_scalar, {"type": ["string", "number", "boolean"]})]
Timestamp = Annotated[str, AfterValidator(_timestamp), _pattern(r"\{\{|^\d{4}-\d\d-\d\d[Tt ].*([Zz]|[+-]\d\d:\d\d)$")]
LoadPath = Annotated[str, Field(min_length=1), AfterValidator(_load_path), _pattern(r"^(?![/~])(?!.*\{\{)")]
InnerPath = Annotated[str, Field(min_length=1), AfterValidator(_inside), _pattern(INNER_PATH_PATTERN)]
Glob = Annotated[str, AfterValidator(_glob), _pattern(r"^(?![/~])(?!(.*/)?\.\.(/|$))")]
Expression = Annotated[
    str, WithJsonSchema({"type": ["string", "boolean"]}), BeforeValidator(_as_expression), AfterValidator(_expression)
]


class LabelList:
    """A list of words stands for `{word: true}`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return cs.no_info_before_validator_function(_labels, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "array", "items": {"type": "string", "minLength": 1}}]}


def _labels(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    found = [
        ((at,), mistake("wrong-type", f"expected a word, not {shown(word)}"))
        for at, word in enumerate(value)
        if not word or not isinstance(word, str)
    ]
    if found:
        raise mistakes("labels", found)
    return dict.fromkeys(value, True)


Labels = Annotated[dict[Text, Word], LabelList()]
Env = dict[EnvName, Word]


def duration_text(ms: int) -> str:
    """Milliseconds as they would be written: `1h30m`."""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        number, ms = divmod(ms, _UNITS[unit])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def is_duration_field(field: FieldInfo) -> bool:
    """Whether a model's field holds a duration."""
    notes = [
        *field.metadata,
        *(note for part in get_args(field.annotation) for note in getattr(part, "__metadata__", ())),
    ]
    return any(isinstance(note, Parsed) and note.read in (read_duration, read_positive_duration) for note in notes)
