"""Luigi with its local scheduler: `python luigi_bench.py CELL FOLDER` prints steps a second as JSON. Runs in a venv of its own.

Not durable: a task is done when its output file is there. That is written beside and renamed, and never synchronised; there is no record of
attempts, inputs or results, and the scheduler lives in memory. Tasks run in the process of the worker, one at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import luigi

FOLDER = Path(sys.argv[2])
DONE = "x" * 40


class Step(luigi.Task):  # type: ignore[misc]
    """Does nothing after the one before; its output is a file of 40 bytes."""

    run_name = luigi.Parameter()
    number = luigi.IntParameter()

    def requires(self) -> list[Step]:
        return [Step(self.run_name, self.number - 1)] if self.number else []

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(FOLDER / f"{self.run_name}-{self.number}")

    def run(self) -> None:
        with self.output().open("w") as file:
            file.write(DONE)


class Item(Step):
    """One of many that wait for nothing."""

    def requires(self) -> list[Step]:
        return []


class Join(Step):
    """Counts what the items have given."""

    def requires(self) -> list[Step]:
        return [Item(self.run_name, number) for number in range(self.number)]

    def run(self) -> None:
        texts = [Path(target.path).read_text() for target in self.input()]
        assert texts == [DONE] * self.number
        super().run()


class Command(Step):
    """Runs a local command."""

    def run(self) -> None:
        subprocess.run(["true"], check=True)
        super().run()


def build(task: Step) -> None:
    """One run: what `luigi --local-scheduler` does."""
    assert luigi.build([task], local_scheduler=True, log_level="CRITICAL")


def main() -> None:
    """`chain-N`, `fan-N` (with a join), `runs-N` (N runs of three, one after the other) and `one`."""
    warnings.simplefilter("ignore")
    kind, *numbers = sys.argv[1].split("-")
    count = int(numbers[0]) if numbers else 1
    steps, tasks = _tasks(kind, count)
    begun = time.perf_counter()
    for task in tasks:
        build(task)
    spent = time.perf_counter() - begun
    made = sum(path.read_text() == DONE for path in FOLDER.iterdir() if path.is_file())
    assert made == steps, made
    print(json.dumps({"per_s": steps / spent}))


def _tasks(kind: str, count: int) -> tuple[int, list[Any]]:
    """The number of steps in all, and the last task of each run."""
    return {
        "chain": lambda: (count, [Step("chain", count - 1)]),
        "fan": lambda: (count + 1, [Join("fan", count)]),
        "runs": lambda: (count * 3, [Step(f"run{run}", 2) for run in range(count)]),
        "one": lambda: (1, [Command("one", 0)]),
    }[kind]()


if __name__ == "__main__":
    main()
