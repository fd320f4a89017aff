"""doit with its results in a JSON file (quicker than its default, dbm): `python doit_bench.py CELL FOLDER` prints steps a second as JSON. Runs in a venv of its own.

Not durable: what a task gave is held in memory and written, without a synchronisation, when the whole run ends. A process that dies before
that has nothing to resume from. Tasks are Python functions in the process of `doit run`, one at a time; each run has a file of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.tools import run_once

FOLDER = Path(sys.argv[2])
Task = dict[str, Any]


def step(before: str = "") -> dict[str, str]:
    """Does nothing with the result of the one before; its own is kept at the end of the run."""
    return {"output": "x" * 40}


def join(outputs: dict[str, str]) -> dict[str, int]:
    """Counts what the items have given."""
    return {"count": len(outputs)}


def command() -> None:
    """Runs a local command."""
    subprocess.run(["true"], check=True)


def chain(count: int) -> list[Task]:
    """Tasks that each take what the one before gave."""
    before = [{}, *({"getargs": {"before": (f"chain:{i}", "output")}} for i in range(count - 1))]
    return [task(str(number), step, **taken) for number, taken in enumerate(before)]


def fan(count: int) -> list[Task]:
    """Tasks that wait for nothing, and one that takes what all of them gave."""
    return [task(str(number), step) for number in range(count)]


def task(name: str, action: Callable[..., Any], **more: Any) -> Task:
    """A task that is done once."""
    return {"basename": "chain", "name": name, "actions": [action], "uptodate": [run_once], **more}


def run(name: str, *tasks: Task) -> None:
    """One run: what `doit run` does with these tasks."""
    config = {"dep_file": str(FOLDER / name), "backend": "json", "verbosity": 0, "reporter": "zero"}
    made = {"DOIT_CONFIG": config, "task_all": lambda: (one for one in tasks)}
    assert DoitMain(ModuleTaskLoader(made), config_filenames=()).run(["run"]) == 0
    assert len(json.loads((FOLDER / name).read_text())) >= len(tasks)


def main() -> None:
    """`chain-N`, `fan-N` (with a join), `runs-N` (N runs of three, one after the other) and `one`."""
    kind, *numbers = sys.argv[1].split("-")
    count = int(numbers[0]) if numbers else 1
    last = {"basename": "join", "actions": [join], "uptodate": [run_once], "getargs": {"outputs": ("chain", "output")}}
    steps, runs = {
        "chain": lambda: (count, [chain(count)]),
        "fan": lambda: (count + 1, [[*fan(count), last]]),
        "runs": lambda: (count * 3, [chain(3) for _ in range(count)]),
        "one": lambda: (1, [[task("one", command)]]),
    }[kind]()
    begun = time.perf_counter()
    for number, tasks in enumerate(runs):
        run(f"run{number}", *tasks)
    spent = time.perf_counter() - begun
    print(json.dumps({"per_s": steps / spent}))


if __name__ == "__main__":
    main()
