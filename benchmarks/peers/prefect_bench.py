"""Prefect 3 with its own server on loopback and SQLite: `python prefect_bench.py CELL FOLDER` prints steps a second as JSON.

Runs in a venv of its own; `run.py` puts its home into FOLDER and switches its telemetry off by environment. Each task keeps its result
(`persist_result`) in a file, where a retry of the flow finds it (each has its number among its inputs, or the second would be a cache hit). States
of flows are recorded by the server before they hold; those of tasks are sent as events and recorded later. Nothing is synchronised a step (WAL,
`synchronous=NORMAL`). Starting the server lies before the clock.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from prefect import flow, task
from prefect.client.orchestration import get_client

AT_ONCE = 8
"""Runs: the heartbeat of a flow, on by default, holds up its end by as much as a second, so that one after the other would be slower."""


@task(persist_result=True)
def step(number: int, before: str = "") -> str:
    """Does nothing with the result of the one before; its own is stored."""
    return "x" * 40


@task(persist_result=True)
def join(outputs: list[str]) -> int:
    """Counts what the items have given."""
    return len(outputs)


@task(persist_result=True)
def command() -> None:
    """Runs a local command."""
    subprocess.run(["true"], check=True)


@flow
def chain(count: int) -> None:
    """Tasks that each take what the one before gave."""
    value = ""
    for number in range(count):
        value = step(number, value)


@flow
def fan(count: int) -> None:
    """A task for each item, in the threads of the default runner, and one that joins them."""
    assert join(step.map(range(count))) == count


@flow
def one() -> None:
    """One local command."""
    command()


def many(count: int) -> None:
    """Runs of three tasks, a few at once."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(chain, [3] * count))


def main() -> None:
    """`chain-N`, `fan-N` (with a join), `runs-N` (N runs of three) and `one`."""
    kind, *numbers = sys.argv[1].split("-")
    count = int(numbers[0]) if numbers else 1
    steps, run = {
        "chain": (count, lambda: chain(count)),
        "fan": (count + 1, lambda: fan(count)),
        "runs": (count * 3, lambda: many(count)),
        "one": (1, one),
    }[kind]
    with get_client(sync_client=True) as client:
        client.hello()
    begun = time.perf_counter()
    run()
    spent = time.perf_counter() - begun
    print(json.dumps({"per_s": steps / spent}))


if __name__ == "__main__":
    main()
