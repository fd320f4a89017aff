"""Named SQL: reads `queries.sql` into a mapping from name to statement. No statement is written anywhere else, the schema apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_HERE = Path(__file__).parent  # not importlib.resources: it costs 15 ms of start-up


def read_sql(name: str) -> str:
    """The text of one of our `.sql` files."""
    return (_HERE / name).read_text(encoding="utf-8")


def named(text: str) -> dict[str, str]:
    """`-- name: x`, a line or more of `-- description`, the statement: {x: statement}."""
    queries: dict[str, str] = {}
    for block in text.split("-- name: ")[1:]:
        name, *lines = block.splitlines()
        if name in queries:
            raise ValueError(f"two queries are named {name!r}")
        queries[name] = "\n".join(line for line in lines if not line.startswith("--")).strip()
    return queries


SQL: Mapping[str, str] = named(read_sql("queries.sql"))
HEALTH_SQL: Mapping[str, str] = named(read_sql("health.sql"))
