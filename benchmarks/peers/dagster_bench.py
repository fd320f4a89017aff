"""Dagster with its SQLite storage: `python dagster_bench.py CELL FOLDER` prints steps a second as JSON. Runs in a venv of its own.

`run.py` puts its home into FOLDER by environment; telemetry is off. A step is an op; each run executes in this process, one op
after the other (its other executors start a process for each op). Events of every op go to SQLite as they happen, outputs to files: a run
that died is executed again from what had failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dagster import (
    DagsterInstance,
    DynamicOut,
    DynamicOutput,
    JobDefinition,
    execute_job,
    in_process_executor,
    job,
    op,
    reconstructable,
)

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@op
def first() -> str:
    """Does nothing."""
    return "x" * 40


@op
def step(before: str) -> str:
    """Does nothing with the result of the one before; its own is stored."""
    return "x" * 40


@op
def command() -> None:
    """Runs a local command."""
    subprocess.run(["true"], check=True)


def of_chain(count: int) -> JobDefinition:
    """Ops that each take what the one before gave."""

    @job(name=f"chain_{count}", executor_def=in_process_executor)
    def chain() -> None:
        value = first()
        for number in range(1, count):
            value = step.alias(f"step_{number}")(value)

    return chain


def of_fan(count: int) -> JobDefinition:
    """One op that gives so many items, one that runs for each, and one that joins them."""

    @op(out=DynamicOut())
    def items() -> Iterator[DynamicOutput[int]]:
        for number in range(count):
            yield DynamicOutput(number, mapping_key=str(number))

    @op
    def item(number: int) -> str:
        return "x" * 40

    @op
    def join(outputs: list[str]) -> int:
        assert len(outputs) == count
        return count

    @job(name=f"fan_{count}", executor_def=in_process_executor)
    def fan() -> None:
        join(items().map(item).collect())

    return fan


def of_one() -> JobDefinition:
    """One local command."""

    @job(executor_def=in_process_executor)
    def one() -> None:
        command()

    return one


def chosen() -> JobDefinition:
    """The job that the arguments name: Dagster finds it by this function."""
    kind, count = cell()
    return {"chain": lambda: of_chain(count), "fan": lambda: of_fan(count), "runs": lambda: of_chain(3), "one": of_one}[
        kind
    ]()


def cell() -> tuple[str, int]:
    kind, _, number = sys.argv[1].partition("-")
    return kind, int(number or 1)


def main() -> None:
    """`chain-N`, `fan-N` (with a join; the op that gives the items is no step), `runs-N` (N runs of three) and `one`."""
    kind, count = cell()
    runs, steps = {"chain": (1, count), "fan": (1, count + 1), "runs": (count, count * 3), "one": (1, 1)}[kind]
    (Path(sys.argv[2]) / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    instance = DagsterInstance.get()
    made = reconstructable(chosen)
    made.get_definition()
    begun = time.perf_counter()
    for _ in range(runs):
        assert execute_job(made, instance, run_config=QUIET).success
    spent = time.perf_counter() - begun
    assert instance.get_runs_count() == runs
    print(json.dumps({"per_s": steps / spent}))


if __name__ == "__main__":
    main()
