"""The runner without its executors: manifest text → graph → the real kernel, engine and store, with a step function that does nothing.

Wired by `runner.api.wiring.open_app`, so that every policy, event, key and projection is paid for.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.api.app import App
from runner.api.load import load
from runner.api.settings import Settings, load_config
from runner.api.wiring import open_app
from runner.clock import SystemClock
from runner.core.graph import StepGraph
from runner.core.messages import Note, Outcome, StepTask
from runner.ports import NewRun

PAYLOAD = {"value": {"output": "x" * 40}}


@dataclass(frozen=True)
class Cost:
    """Of the middle part of a workload: from the first run's creation to the last run's end."""

    wall: float
    cpu: float
    written: int
    """Bytes handed to write calls by this process, the database's above all."""


async def nothing(task: StepTask, note: Callable[[Note], None]) -> Outcome:
    """A step that succeeds at once."""
    return Outcome("succeeded", PAYLOAD, executor="local")


def settings_at(root: Path, steps: int = 16) -> Settings:
    """The default config in a folder, for `steps` running steps a run."""
    (root / ".ares").mkdir(mode=0o700, exist_ok=True)  # else a folder above that has one would be the project
    return load_config(None, start=root, env={"RUNNER_CONCURRENCY__STEPS": str(steps)})


def compiled(text: str, root: Path, settings: Settings) -> StepGraph:
    """The graph of a manifest that has no mistakes."""
    path = root / "manifest.yaml"
    path.write_text(text)
    loaded = load([path], settings)
    assert not loaded.failed, loaded.diagnostics
    return loaded.manifests[0].graph


@asynccontextmanager
async def app_at(settings: Settings, at_once: int) -> AsyncIterator[App]:
    """The application around the step function that does nothing."""
    async with open_app(settings, sinks=(), clock=SystemClock(), jobs=at_once, env={}, step=lambda _: nothing) as app:
        yield app


async def drive(app: App, graph: StepGraph, runs: int) -> Cost:
    """Start that many runs of a graph at once and wait for all."""
    begun, cpu, written = time.perf_counter(), time.process_time(), written_bytes()
    ends = await asyncio.gather(*[_run(app, graph, number) for number in range(runs)])
    cost = Cost(time.perf_counter() - begun, time.process_time() - cpu, written_bytes() - written)
    assert all(end == "succeeded" for end in ends), set(ends)
    return cost


async def _run(app: App, graph: StepGraph, number: int) -> str:
    run = app.new_run_id()
    row = NewRun(run, run, graph.name, graph.digest, f"task-{number}", {}, app.clock.now())
    return (await app.start(row, graph, {}, "", refresh=None, supersede=())).state


def workload(text: str, root: Path, *, runs: int = 1, at_once: int = 16) -> Cost:
    """Compile, open a new database in `root`, drive, close."""
    settings = settings_at(root, min(at_once, 1_000))

    async def whole() -> Cost:
        async with app_at(settings, at_once) as app:
            return await drive(app, graph, runs)

    graph = compiled(text, root, settings)
    return asyncio.run(whole())


def written_bytes() -> int:
    """What this process has handed to write calls so far (`wchar` of /proc/self/io); 0 where that is not told."""
    path = Path("/proc/self/io")
    if not path.exists():
        return 0
    return int(path.read_text().split("wchar: ")[1].split()[0])


def peak_mib() -> float:
    """The largest resident set of this process so far (VmHWM): unlike `ru_maxrss` it owes nothing to the process that forked us."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if os.uname().sysname == "Linux" else 1 << 20)
