"""DBOS on SQLite: `python dbos_bench.py CELL FOLDER` prints steps a second as JSON. Runs in a venv of its own.

Its database is made in WAL mode beforehand (DBOS leaves SQLite's rollback journal and `synchronous=FULL`), so that it has the same journal
as the others; a file keeps that mode. Launching it and its migrations lie before the clock starts.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

from dbos import DBOS


@DBOS.step()
def step(before: dict[str, str]) -> dict[str, str]:
    """Does nothing with the result of the one before; its own is stored."""
    return {"output": "x" * 40}


@DBOS.workflow()
def chain(count: int) -> dict[str, str]:
    """Steps that each take what the one before gave."""
    value: dict[str, str] = {}
    for _ in range(count):
        value = step(value)
    return value


def main() -> None:
    """`chain-N`: one workflow of N steps."""
    count = int(sys.argv[1].removeprefix("chain-"))
    path = Path(sys.argv[2]) / "dbos.db"
    with sqlite3.connect(path) as db:
        assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
    DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR"})
    DBOS.launch()
    begun = time.perf_counter()
    chain(count)
    spent = time.perf_counter() - begun
    DBOS.destroy()
    print(json.dumps({"per_s": count / spent}))


if __name__ == "__main__":
    main()
