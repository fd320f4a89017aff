"""The rows of the table: what each measures, against which anchor, and its goal (design: benchmarks.md)."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from anchors import HERE, Spent, child, pass_cpu

import manifests

RUNNER = [sys.executable, "-m", "runner"]
TMPFS = Path("/dev/shm")


@dataclass(frozen=True)
class Sample:
    """One measurement: the row's own figure, the anchor beside it, and what is compared with the goal.

    `note` is text for the last column, made of figures that come with it."""

    figure: float
    anchor: float
    ratio: float
    note: str = ""


Measure = Callable[[Path], Sample]
"""Takes a folder of the file system that is to be measured; makes folders of its own in it."""


@dataclass(frozen=True)
class Row:
    """`goal` holds for the ratio: at least or at most that much. `None` = no goal, for comparison only."""

    id: str
    title: str
    unit: str
    against: str
    sense: Literal["≥", "≤"]
    goal: float | None
    measure: Measure

    def met(self, ratio: float) -> bool | None:
        if self.goal is None:
            return None
        return ratio >= self.goal if self.sense == "≥" else ratio <= self.goal


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


@contextmanager
def fresh(base: Path) -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ares-bench-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cell(name: str, folder: Path, wrapper: list[str] | None = None) -> dict[str, float]:
    """The figures of one cell, measured in a process of its own."""
    env = {"PYTHONPATH": str(HERE.parent), "XDG_CACHE_HOME": str(folder / ".cache")}
    done = child([*(wrapper or []), sys.executable, str(HERE / "cells.py"), name, str(folder)], folder, env)
    if done.code:
        raise RuntimeError(f"cell {name} ended with {done.code}")
    return dict(json.loads(done.out))


# ---------------------------------------------------------------- how a row is measured


def command(text: str, args: list[str], *, before: list[list[str]] | None = None) -> Measure:
    """CPU of one command line in a folder that holds `manifest.yaml`, against `python -c pass`."""

    def measure(base: Path) -> Sample:
        with fresh(base) as folder:
            (folder / "manifest.yaml").write_text(text)
            for argv in before or []:
                _runner(folder, argv)
            anchor = pass_cpu(folder)
            spent = _runner(folder, args)
        note = f"{spent.wall * 1e3:.0f} ms wall, {spent.rss:.0f} MiB"
        return Sample(spent.cpu * 1e3, anchor * 1e3, spent.cpu / anchor, note)

    return measure


def _runner(folder: Path, args: list[str]) -> Spent:
    env = {"PYTHONPATH": str(HERE.parent), "XDG_CACHE_HOME": str(folder / ".cache"), "CI": "1"}
    spent = child([*RUNNER, *args], folder, env)
    if spent.code:
        raise RuntimeError(f"runner {' '.join(args)} ended with {spent.code}")
    return spent


def rate(name: str) -> Measure:
    """Steps a second against commits a second."""

    def measure(base: Path) -> Sample:
        with fresh(base) as folder:
            found = cell(name, folder)
        note = f"{found['cpu_us']:.0f} µs CPU a step, {found['rss']:.0f} MiB"
        return Sample(found["per_s"], found["a"], found["per_s"] / found["a"], note)

    return measure


def software(name: str) -> Measure:
    """CPU a step with the database in memory: what the disk cannot hide."""

    def measure(base: Path) -> Sample:
        with fresh(TMPFS if TMPFS.is_dir() else base) as folder:
            found = cell(name, folder)
        return Sample(found["cpu_us"], 0, found["cpu_us"], f"{found['per_s']:.0f} steps/s")

    return measure


def figure(name: str, key: str, note: str = "") -> Measure:
    """A figure of a cell that is compared with its goal as it is. `note` is a format over the other figures."""

    def measure(base: Path) -> Sample:
        with fresh(base) as folder:
            found = cell(name, folder)
        return Sample(found[key], 0, found[key], note.format(**found))

    return measure


def disk(what: Literal["syncs", "bytes"]) -> Measure:
    """Per step of a chain of 1,000, from a trace of the writing calls: those of a chain of 100 are taken off."""

    def measure(base: Path) -> Sample:
        if shutil.which("strace") is None:
            raise RuntimeError("needs strace")
        (few_syncs, few_bytes), (syncs, written) = _traced("chain-100", base), _traced("chain-1000", base)
        per_step = ((syncs - few_syncs) / 900, (written - few_bytes) / 900)
        value = per_step[0 if what == "syncs" else 1]
        return Sample(value, 0, value)

    return measure


CALL = re.compile(r"(fdatasync|fsync|pwrite64)\(.*= (\d+)")


def _traced(name: str, base: Path) -> tuple[int, int]:
    """Synchronisations and bytes written, of a cell with its anchors: these are the same for every chain."""
    with fresh(base) as folder:
        trace = folder / "trace"
        cell(name, folder, ["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=fdatasync,fsync,pwrite64"])
        calls = [found.groups() for line in trace.open(errors="replace") if (found := CALL.search(line))]
    return sum(n != "pwrite64" for n, _ in calls), sum(int(size) for n, size in calls if n == "pwrite64")


def converged_inside(base: Path) -> Sample:
    """Load and apply of 1,000 done steps, in a process that has its imports behind it."""
    with fresh(base) as folder:
        (folder / "manifest.yaml").write_text(manifests.commands(1_000))
        _runner(folder, ["-q", "apply", "manifest.yaml"])
        found = cell("converged", folder)
    return Sample(
        found["all_ms"], 0, found["all_ms"], f"recall {found['load_ms']:.0f}, converge {found['apply_ms']:.0f}"
    )


def status_of_large(base: Path) -> Sample:
    """`status` where 2,500 runs are on record."""
    found = cell("status", _large(base))
    return Sample(
        found["ms"], 0, found["ms"], f"the first {found['first_ms']:.0f} ms, imports among them; {found['mib']:.0f} MiB"
    )


@cache
def _large(base: Path) -> Path:
    """A folder whose state database takes 1 GiB: made once, and gone when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="ares-bench-", dir=base))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    cell("grow", folder)
    return folder


def less_one_commit(base: Path) -> Sample:
    """The latency of a tool step without its own synchronisation: anchor `a` says what one takes."""
    with fresh(base) as folder:
        found = cell("tool", folder)
    commit_ms = 1e3 / found["a"]
    ratio = (found["ours_ms"] - commit_ms) / found["bare_ms"]
    return Sample(ratio, 0, ratio, f"{found['ours_ms']:.2f} ms less {commit_ms:.2f} over {found['bare_ms']:.2f} ms")


def imports_of_running(base: Path) -> Sample:
    """Peak memory of a durable run of local commands: no MCP session, no model."""
    with fresh(base) as folder:
        (folder / "manifest.yaml").write_text(manifests.commands(3))
        spent = _runner(folder, ["-q", "apply", "manifest.yaml"])
    return Sample(spent.rss, 0, spent.rss)


ONE = "ares: v1\nname: one\nsteps:\n  a: {run: ['true'], effects: none}\n"
USUAL = manifests.ordinary("usual")
VALIDATE = ["validate", "manifest.yaml"]
APPLY = ["-q", "apply", "manifest.yaml"]
TOOL_MS = "{ours_ms:.2f} ms over {bare_ms:.2f} ms"
MODEL = "{ours_cpu:.2f} over {bare_cpu:.2f} ms CPU; {ours_ms:.1f} over {bare_ms:.1f} ms"
TOOL_RATE = "{ours_rate:.0f} over {bare_rate:.0f} calls/s"

ROWS = (
    Row("version", "`--version`", "ms CPU", "pass", "≤", 3, command(ONE, ["--version"])),
    Row("help", "`--help`", "ms CPU", "pass", "≤", 6, command(ONE, ["--help"])),
    Row("validate", "first `validate` of one manifest (60 lines)", "ms CPU", "pass", "≤", 18, command(USUAL, VALIDATE)),
    Row("validate-again", "the same, unchanged", "ms CPU", "pass", "≤", 6, command(USUAL, VALIDATE, before=[VALIDATE])),
    Row("one-step", "cold durable run of one local command", "ms CPU", "pass", "≤", 25, command(ONE, APPLY)),
    Row("validate-1000", "validate 1,000 manifests of 60 lines", "s CPU", "", "≤", 1.5, figure("folder", "cpu_s", "{rss:.0f} MiB")),
    Row("validate-1000-again", "the same, unchanged", "s CPU", "", "≤", 0.2, figure("folder-again", "cpu_s", "{rss:.0f} MiB")),
    Row("chain-100", "chain of 100 steps that do nothing", "steps/s", "a", "≥", 0.6, rate("chain-100")),
    Row("chain-1000", "chain of 1,000", "steps/s", "a", "≥", 0.6, rate("chain-1000")),
    Row("set-100", "chain of 100 `set` steps", "steps/s", "a", "≥", 0.6, rate("set-100")),
    Row("set-1000", "chain of 1,000 `set` steps", "steps/s", "a", "≥", 0.6, rate("set-1000")),
    Row("fan", "fan-out of 1,000 items + join, 16 at once", "steps/s", "a", "≥", 2.5, rate("fan-1000")),
    Row("fan-wide", "the same, all at once", "steps/s", "a", "≥", 2.5, rate("fan-1000-wide")),
    Row("fan-steps", "1,000 steps + join by `needs`, 16 at once", "steps/s", "a", "≥", 2.5, rate("steps-1000")),
    Row("runs", "1,000 runs × 3 steps, all at once", "steps/s", "a", "≥", 2, rate("runs-1000")),
    Row("runs-64", "the same, 64 steps at once (the default)", "steps/s", "a", "≥", 2, rate("runs-1000-64")),
    Row("software", "software cost of a chain step (tmpfs)", "µs CPU", "", "≤", 100, software("chain-1000")),
    Row("software-fan", "software cost of a fan-out item (tmpfs)", "µs CPU", "", "≤", 100, software("fan-1000")),
    Row("syncs", "synchronisations a chain step", "calls", "", "≤", 1.05, disk("syncs")),
    Row("bytes", "bytes to disk a chain step", "bytes", "", "≤", 8_192, disk("bytes")),
    Row("converged-inside", "converged re-apply of 1,000 steps, inside", "ms", "", "≤", 20, converged_inside),
    Row("converged", "the same, the whole process", "ms CPU", "pass", "≤", 20, command(manifests.commands(1_000), APPLY, before=[APPLY])),
    Row("compile-10k", "10,000-step manifest: read, check, compile", "s CPU", "", "≤", 2, figure("large", "compile_s")),
    Row("plan-10k", "its plan", "s CPU", "", "≤", 1, figure("large", "plan_s")),
    Row("memory-10k", "its memory (compiled and planned)", "MiB", "", "≤", 150, figure("large", "rss")),
    Row("tool-latency", "MCP tool step over the bare SDK call, latency (server made with the SDK)", "×", "", "≤", 1.3, figure("tool", "latency", TOOL_MS)),
    Row("tool-less", "the same, less the time of one commit", "×", "", "≤", None, less_one_commit),
    Row("tool-rate", "the same, throughput at 50 in flight", "×", "", "≥", 0.8, figure("tool", "throughput", TOOL_RATE)),
    Row("tool-quick-latency", "the same with a server that answers at once, latency", "×", "", "≤", 1.3, figure("tool-quick", "latency", TOOL_MS)),
    Row("tool-quick-rate", "its throughput at 50 in flight", "×", "", "≥", 0.8, figure("tool-quick", "throughput", TOOL_RATE)),
    Row("simulate", "`simulate --seeds 1000` of 20 steps, one core", "seeds/min CPU", "", "≥", 1_000,
        figure("simulated", "per_min", "{attempts:.0f} attempts, {compared:.0f} deaths compared, {rss:.0f} MiB")),
    Row("watch", "`watch`: from a saved file to its run, settle 0.4 s", "s", "", "≤", 0.6,
        figure("watched", "run_s", "{least_s:.2f} to {most_s:.2f} s")),
    Row("model", "model step over bare httpx, same upstream: CPU", "ms CPU", "", "≤", 2.5, figure("model-http", "cpu_ms", MODEL)),
    Row("model-litellm", "the same through LiteLLM", "ms CPU", "", "≤", 6, figure("model-litellm", "cpu_ms", MODEL)),
    Row("model-over-litellm", "the same over a bare call of LiteLLM", "ms CPU", "", "≤", None,
        figure("model-litellm", "over_library_ms", "{ours_cpu:.2f} over {library_cpu:.2f} ms CPU")),
    Row("status", "`status` on a database of 1 GiB, inside", "ms", "", "≤", 50, status_of_large),
    Row("memory", "memory without mcp and litellm (three local commands)", "MiB", "", "≤", 60, imports_of_running),
    Row("growth", "steps/s of a chain of 10,000 over those of 100", "×", "", "≥", 0.8,
        figure("growth", "ratio", "{per_s:.0f} steps/s, {rss:.0f} MiB")),
)  # fmt: skip
