"""huey on SQLite with fsync on: `python huey_bench.py CELL FOLDER` prints steps a second as JSON. Runs in a venv of its own.

A chain is a pipeline. One thread takes tasks and executes them in turn, without the consumer's polling and pauses: its best figure.
A task that was taken is gone from the queue before it runs: a crash loses it, where the runner would resume.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from huey import SqliteHuey

STORE = SqliteHuey(filename=str(Path(sys.argv[2]) / "huey.db"), fsync=True)


@STORE.task()
def step(before: str = "") -> str:
    """Does nothing with the result of the one before; its own is stored."""
    return "x" * 40


def main() -> None:
    """`chain-N`: one pipeline of N tasks. `runs-N`: N pipelines of three."""
    kind, count = sys.argv[1].split("-")
    runs, length = {"chain": (1, int(count)), "runs": (int(count), 3)}[kind]
    begun = time.perf_counter()
    for _ in range(runs):
        pipeline = step.s()
        for _ in range(length - 1):
            pipeline = pipeline.then(step)
        STORE.enqueue(pipeline)
    done = 0
    while (task := STORE.dequeue()) is not None:
        STORE.execute(task)
        done += 1
    spent = time.perf_counter() - begun
    assert done == STORE.result_count() == runs * length, done
    print(json.dumps({"per_s": done / spent}))


if __name__ == "__main__":
    main()
