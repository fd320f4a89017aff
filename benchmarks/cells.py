"""One measurement in a process of its own: `python benchmarks/cells.py CELL FOLDER` prints its figures as JSON.

The folder is new and empty. Anchor `a` is measured in it right before the workload and right after it, so that both meet the same disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import beside
from anchors import HERE, commits_per_second
from inprocess import app_at, compiled, drive, peak_mib, settings_at, workload

import manifests
from runner.__main__ import collect_seldom

Figures = dict[str, float]
Cell = Callable[[Path], Figures]


def steps(text: str, count: int, *, runs: int = 1, at_once: int = 16) -> Cell:
    """Steps a second through the engine, CPU and bytes a step."""

    def cell(root: Path) -> Figures:
        gc.collect()
        gc.freeze()  # as `runner apply` does
        cost = workload(text, root, runs=runs, at_once=at_once)
        return {
            "per_s": count / cost.wall,
            "cpu_us": cost.cpu / count * 1e6,
            "bytes": cost.written / count,
            "rss": peak_mib(),
        }

    return cell


def growth(root: Path) -> Figures:
    """Steps a second of a chain of 10,000 over that of a chain of 100, in one process, each with a database of its own.

    The short one is the best of several, so that its start does not flatter the long one."""
    settings = settings_at(root)
    rates = {}
    for count, times in ((100, 7), (10_000, 1)):
        graph = compiled(manifests.chain(count), root, settings)
        rates[count] = sorted(asyncio.run(_rate(root / f"{count}-{i}", graph, count)) for i in range(times))[times // 2]
    return {"per_s": rates[10_000], "ratio": rates[10_000] / rates[100], "rss": peak_mib()}


async def _rate(root: Path, graph: Any, count: int) -> float:
    root.mkdir()
    async with app_at(settings_at(root), 16) as app:
        return count / (await drive(app, graph, 1)).wall


def large(root: Path) -> Figures:
    """A manifest of 10,000 steps: read, check and compile; plan with an empty record; peak memory."""
    from runner.api.load import load
    from runner.api.planning import plan
    from runner.api.request import Request
    from runner.clock import SystemClock

    path = root / "large.yaml"
    path.write_text(manifests.chain(10_000, "large"))
    settings = settings_at(root)
    begun = time.process_time()
    loaded = load([path], settings)
    middle = time.process_time()
    planned = plan(loaded, settings, None, Request(), SystemClock())
    ended = time.process_time()
    assert len(planned[0].plan.steps) == 10_000
    return {"compile_s": middle - begun, "plan_s": ended - middle, "rss": peak_mib()}


def folder(root: Path) -> Figures:
    """A thousand manifests of sixty lines: read, check and compile, in CPU seconds after the imports."""
    from runner.api.load import load

    for number in range(1_000):
        (root / f"m{number}.yaml").write_text(manifests.ordinary(f"m{number}"))
    settings = settings_at(root)
    begun = time.process_time()
    loaded = load([root], settings)
    spent = time.process_time() - begun
    assert len(loaded.manifests) == 1_000 and not loaded.failed
    return {"cpu_s": spent, "rss": peak_mib()}


def converged(root: Path) -> Figures:
    """Apply a manifest of 1,000 steps again that `runner apply` has done here: milliseconds inside a warm process, and their parts:
    what the command line does, with what it remembers of the files."""
    from runner.api.checking import Memory, checked_of
    from runner.api.converged import converged as standing
    from runner.api.load import load

    settings = settings_at(root)
    path, env = str(root / "manifest.yaml"), {"XDG_CACHE_HOME": str(root / ".cache")}
    loaded = load([path], settings)
    Memory([path], None, root, env).keep(checked_of(loaded, settings), loaded.looks)
    begun = time.perf_counter()
    known = Memory([path], None, root, env).recall()
    middle = time.perf_counter()
    assert known is not None
    result = standing(known)
    ended = time.perf_counter()
    assert result is not None and result.runs[0].action == "unchanged"
    return {"all_ms": (ended - begun) * 1e3, "load_ms": (middle - begun) * 1e3, "apply_ms": (ended - middle) * 1e3}


def folder_again(root: Path) -> Figures:
    """The same thousand manifests once more, when nothing of them has changed, in CPU seconds."""
    from runner.api.checking import Memory, checked_of
    from runner.api.load import load

    env = {"XDG_CACHE_HOME": str(root.parent / f"{root.name}-cache")}
    for number in range(1_000):
        (root / f"m{number}.yaml").write_text(manifests.ordinary(f"m{number}"))
    settings = settings_at(root)
    loaded = load([root], settings)
    Memory([str(root)], None, root, env).keep(checked_of(loaded, settings), loaded.looks)
    begun = time.process_time()
    known = Memory([str(root)], None, root, env).recall()
    spent = time.process_time() - begun
    shutil.rmtree(env["XDG_CACHE_HOME"])
    assert known is not None and len(known.heads) == 1_000
    return {"cpu_s": spent, "rss": peak_mib()}


RUNS, STEPS, EVENTS = 2_500, 40, 400


def grow(root: Path) -> Figures:
    """Make the state database of `root` 1 GiB large: ended runs of 40 steps with 400 events of 1 KB each, and five that are suspended."""
    settings = settings_at(root)
    workload(manifests.chain(3), root)
    db = apsw.Connection(str(settings.state_path))
    for pragma in ("synchronous = off", "journal_mode = off", "cache_size = -200000"):
        db.execute(f"pragma {pragma}").fetchall()
    numbers = "with recursive c (i) as (select 1 union all select i + 1 from c where i < {})"
    with db:
        db.execute(
            numbers.format(RUNS)
            + "insert into runs (n, run, root, name, manifest, task, inputs, state, created, finished)"
            "select 10 + i, printf('%010x', i), printf('%010x', i), 'chain', (select manifest from runs), 'task' || i, '{}',"
            " iif(i > ?1 - 5, 'suspended', 'succeeded'), 1000000 + i, iif(i > ?1 - 5, null, 2000000 + i) from c",
            (RUNS,),
        )
        db.execute(
            numbers.format(EVENTS)
            + "insert into events select r.n << 32 | i, r.created + i, 'attempt_noted', 's1', 1, ?"
            " from runs r join c where r.n > 10",
            (json.dumps({"n": 1, "session": "x" * 950}),),
        )
        db.execute(
            numbers.format(STEPS)
            + "insert into steps select r.n << 32 | i, 's' || i, iif(i = 1, r.state, 'succeeded'), 1, 0, 1, 0,"
            " '[]', 'none', null, null, null, iif(i = 1 and r.state = 'suspended', 'approval', ''), null, null, 5, 1, 2, 'local', '',"
            " null, 0 from runs r join c where r.n > 10"
        )
    db.execute("pragma journal_mode = wal").fetchall()
    db.close()
    return {"mib": settings.state_path.stat().st_size / (1 << 20)}


def status(root: Path) -> Figures:
    """Milliseconds of `runner status` on the database of `root`, in a process that has its imports behind it."""
    from runner.cli.main import run

    os.chdir(root)
    spent = []
    for _ in range(6):
        begun = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as told:
            assert run(["status"]) == 0
        spent.append(time.perf_counter() - begun)
    assert told.getvalue().count("suspended") >= 5, told.getvalue()
    mib = settings_at(root).state_path.stat().st_size / (1 << 20)
    return {"ms": sorted(spent[1:])[2] * 1e3, "first_ms": spent[0] * 1e3, "mib": mib}


# ---------------------------------------------------------------- MCP

CALLS = 300
AT_ONCE = 50


def simulated(root: Path) -> Figures:
    """Seeds a minute of CPU that `simulate` takes of a manifest of twenty steps, one core, and attempts in them."""
    from runner.api.load import load
    from runner.api.planning import plan
    from runner.api.request import Request
    from runner.api.simulating import case_of
    from runner.clock import SystemClock
    from runner.simulate.campaign import Summary, every_seed, study
    from runner.simulate.scenario import Scenario

    (root / "manifest.yaml").write_text(manifests.bad_days(20))
    settings = settings_at(root)
    loaded = load([root / "manifest.yaml"], settings)
    [entry] = plan(loaded, settings, None, Request(), SystemClock(), steps=False)
    known, summary = study(case_of(entry, loaded, settings)), Summary()
    begun = time.process_time()
    for one in every_seed(known, Scenario(), range(1, 1_001)):
        summary.add(one)
    spent = time.process_time() - begun
    assert summary.broken_count == 0, summary.broken
    return {"per_min": 60_000 / spent, "attempts": summary.attempts, "compared": summary.compared, "rss": peak_mib()}


def server_config(script: str) -> str:
    """A server as config.yaml names it."""
    command = json.dumps({"command": sys.executable, "args": [str(HERE / script)], "max_in_flight": AT_ONCE})
    return f"mcp_servers: {{bench: {command}}}\nconcurrency: {{steps: {AT_ONCE}}}\n"


def tool(script: str) -> Cell:
    """A durable tool step against the SDK's own call on the same server: latency one by one, throughput at 50 in flight."""

    def cell(root: Path) -> Figures:
        (root / "config.yaml").write_text(server_config(script))
        bare_ms, bare_rate = asyncio.run(_bare(script))
        ours_ms = asyncio.run(_tool_run(root, manifests.tools(CALLS))) / CALLS * 1e3
        ours_rate = CALLS * 4 / asyncio.run(_tool_run(root, manifests.tools_at_once(CALLS * 4, AT_ONCE)))
        return {
            "bare_ms": bare_ms,
            "ours_ms": ours_ms,
            "latency": ours_ms / bare_ms,
            "bare_rate": bare_rate,
            "ours_rate": ours_rate,
            "throughput": ours_rate / bare_rate,
        }

    return cell


async def _bare(script: str) -> tuple[float, float]:
    """Milliseconds of one call, and calls a second at 50 in flight, of the SDK alone."""
    from mcp import Client, StdioServerParameters, stdio_client

    server = StdioServerParameters(command=sys.executable, args=[str(HERE / script)])
    async with Client(stdio_client(server), cache=None) as client:
        await client.call_tool("echo", {"text": "first"})
        begun = time.perf_counter()
        for i in range(CALLS):
            await client.call_tool("echo", {"text": f"t{i}"})
        each = (time.perf_counter() - begun) / CALLS
        begun = time.perf_counter()
        await _at_once(lambda i: client.call_tool("echo", {"text": f"u{i}"}), CALLS * 4)
        return each * 1e3, CALLS * 4 / (time.perf_counter() - begun)


async def _at_once(call: Callable[[int], Awaitable[Any]], count: int) -> None:
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*[lane() for _ in range(AT_ONCE)])


async def _tool_run(root: Path, text: str) -> float:
    """Seconds of a run of tool steps, from its creation to its end, with the session open: a first run has opened it."""
    from runner.api.settings import load_config
    from runner.api.wiring import open_app
    from runner.clock import SystemClock
    from runner.ports import NewRun

    settings = load_config(root / "config.yaml", start=root, env={})
    graph, first = compiled(text, root, settings), compiled(manifests.tools(1), root, settings)
    async with open_app(settings, sinks=(), clock=SystemClock()) as app:
        for each in (first, graph):
            run = app.new_run_id()
            row = NewRun(run, run, each.name, each.digest, run, {}, app.clock.now())
            begun = time.perf_counter()
            end = await app.start(row, each, {}, "", refresh="all", supersede=())
            assert end.state == "succeeded", end
        return time.perf_counter() - begun


CELLS: dict[str, Cell] = {
    "chain-100": steps(manifests.chain(100), 100),
    "chain-1000": steps(manifests.chain(1_000), 1_000),
    "set-100": steps(manifests.chain_of_set(100), 100),
    "set-1000": steps(manifests.chain_of_set(1_000), 1_000),
    "fan-1000": steps(manifests.fan(1_000, 16), 1_001, at_once=16),
    "fan-1000-wide": steps(manifests.fan(1_000, 1_000), 1_001, at_once=1_001),
    "steps-1000": steps(manifests.fan_of_steps(1_000, 16), 1_001, at_once=16),
    "runs-1000": steps(manifests.chain(3), 3_000, runs=1_000, at_once=1_000),
    "runs-1000-64": steps(manifests.chain(3), 3_000, runs=1_000, at_once=64),
    "growth": growth,
    "large": large,
    "folder": folder,
    "folder-again": folder_again,
    "converged": converged,
    "simulated": simulated,
    "model-http": beside.model("http"),
    "model-litellm": beside.model("litellm"),
    "watched": beside.watched,
    "grow": grow,
    "status": status,
    "tool": tool("sdk_server.py"),
    "tool-quick": tool("echo_server.py"),
}


def main() -> None:
    """Measure the anchor, the cell, and the anchor again: the disk may have changed its mind meanwhile."""
    name, folder_ = sys.argv[1], Path(sys.argv[2])
    collect_seldom()  # as the program does
    before = commits_per_second(folder_)
    figures = CELLS[name](folder_)
    print(json.dumps({"a": (before + commits_per_second(folder_)) / 2, **figures}))


if __name__ == "__main__":
    main()
