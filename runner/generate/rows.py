"""Rows of data from CSV, JSON, JSON lines and YAML. A row is a map from column to JSON value; of CSV all values are text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal

from runner.generate.problem import GenerateError
from runner.syntax import Limits, read

Row = Mapping[str, Any]
Form = Literal["csv", "json", "jsonl", "yaml"]

SUFFIXES: Final[Mapping[str, Form]] = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip
ROWS_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a file of rows."""
MOST_ROWS: Final = 10_000
_YAML_LIMITS: Final = Limits(ROWS_LIMIT, nodes=1_000_000)
_SEPARATORS: Final = ",;\t"


def parse(data: bytes, form: Form | None) -> list[Row]:
    """The rows in `data`. Without a form it is guessed by the first sign. Raises GenerateError."""
    if len(data) > ROWS_LIMIT:
        raise GenerateError(f"the rows are larger than {ROWS_LIMIT // 2**20} MiB, the limit")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise GenerateError(f"line {line}: not UTF-8 text", "save it as UTF-8 (in a spreadsheet: CSV UTF-8)") from error
    rows = _READERS[form or _guess(text)](text)
    if len(rows) > MOST_ROWS:
        raise GenerateError(f"{len(rows):,} rows; the limit is {MOST_ROWS:,}", "split them, each part with its own -o")
    return rows


def _guess(text: str) -> Form:
    start = text.lstrip()
    if start.startswith("["):
        return "json"
    if start.startswith("{"):
        return "jsonl"
    return "yaml" if start.startswith(("- ", "-\n", "---")) else "csv"


def _csv(text: str) -> list[Row]:
    head = text.split("\n", 1)[0]
    # A spreadsheet separates with what its country does not use in numbers: the sign that the heading has most of.
    separator = max(_SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    try:
        columns = _columns(next(reader, []))
        for cells in reader:
            if cells:
                rows.append(_cells(columns, cells, reader.line_num))
    except csv.Error as error:
        raise GenerateError(f"line {reader.line_num}: {error}") from error
    return rows


def _columns(names: list[str]) -> list[str]:
    columns = [name.strip() for name in names]
    if not columns or not all(columns):
        raise GenerateError("line 1: every column needs a name", "the first line holds the names of the columns")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise GenerateError(f"line 1: two columns are named {twice[0]!r}")
    return columns


def _cells(columns: list[str], cells: list[str], line: int) -> Row:
    if len(cells) != len(columns):
        raise GenerateError(f"line {line}: {len(cells)} cells under {len(columns)} columns")
    return dict(zip(columns, cells, strict=True))


def _json(text: str) -> list[Row]:
    value = _loaded(text, "")
    return _maps(value if isinstance(value, list) else [value])


def _json_lines(text: str) -> list[Row]:
    # not `splitlines`: U+2028 may stand in a JSON text
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return _maps([_loaded(line, f"line {number}: ") for number, line in lines])


def _loaded(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError as error:
        raise GenerateError(f"{where}nested too deeply") from error
    except json.JSONDecodeError as error:
        at = where or f"line {error.lineno}: "
        raise GenerateError(f"{at}not JSON: {error.msg} (column {error.colno})") from error
    except ValueError as error:
        raise GenerateError(f"{where}{error}") from error


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a JSON object has the same key twice")
    return found


def _yaml(text: str) -> list[Row]:
    documents, diagnostics = read(text.encode(), "rows", _YAML_LIMITS)
    if diagnostics:
        first = diagnostics[0]
        raise GenerateError(f"line {first.span.line if first.span else 1}: {first.message}", first.fix)
    values = [document.data for document in documents]
    return _maps(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _maps(values: list[Any]) -> list[Row]:
    return list(_checked(values))


def _checked(values: list[Any]) -> Iterator[Row]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise GenerateError(f"row {number} is no map", "each row gives its columns by name: {name: …, owner: …}")
        yield value


_READERS: Final[Mapping[Form, Callable[[str], list[Row]]]] = {
    "csv": _csv,
    "json": _json,
    "jsonl": _json_lines,
    "yaml": _yaml,
}
