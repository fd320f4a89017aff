"""The rows that compare with other engines: `run.py --peers`.

A sample is a pair: our cell, then the peers' equivalents (`*_bench.py`), each in a process and a folder of its own, with anchor `a` measured
right before and right after each. The ratio is that of the two figures as they are; the note has both divided by their `a`, which tells
whether the disk changed its mind between them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anchors import HERE, Spent, child, commits_per_second
from peers.venvs import install, python
from rows import APPLY, ONE, RUNNER, Measure, Row, Sample, cell, fresh

CHAIN = ("dbos", "langgraph", "huey")


@dataclass(frozen=True)
class Rate:
    """Steps a second of one engine, and commits a second of the disk beside it."""

    name: str
    per_s: float
    a: float

    def __str__(self) -> str:
        return f"{self.name} {self.per_s:,.0f}/s ({self.per_s / self.a:.2f} a)"


def against(ours: str, theirs: str, names: Sequence[str]) -> Measure:
    """Our cell against the fastest of the named engines; the note has them all, and who is not installed."""

    def measure(base: Path) -> Sample:
        with fresh(base) as folder:
            found = cell(ours, folder)
        us = Rate("ours", found["per_s"], found["a"])
        reasons = {name: reason for name in names if (reason := install(name))}
        rates = [_rate(name, theirs, base) for name in names if name not in reasons]
        if not rates:
            raise RuntimeError("; ".join(f"{name}: {why}" for name, why in reasons.items()))
        best = max(rates, key=lambda rate: rate.per_s)
        note = ", ".join([*map(str, (us, *rates)), *(f"{name} not installed" for name in reasons)])
        return Sample(us.per_s, best.per_s, us.per_s / best.per_s, note)

    return measure


def _rate(name: str, what: str, base: Path) -> Rate:
    with fresh(base) as folder:
        before = commits_per_second(folder)
        per_s = float(json.loads(_run(name, what, folder).out)["per_s"])
        return Rate(name, per_s, (before + commits_per_second(folder)) / 2)


def _run(name: str, what: str, folder: Path) -> Spent:
    """The script of an engine, in its own environment."""
    script = HERE / "peers" / f"{name}_bench.py"
    spent = child([str(python(name)), str(script), what, str(folder)], folder, {"PYTHONPATH": ""})
    if spent.code:
        raise RuntimeError(f"{name} {what} ended with {spent.code}")
    return spent


def cold_step(base: Path) -> Sample:
    """Wall clock of a new process that runs one local command durably in an empty folder: LangGraph's over ours."""
    if reason := install("langgraph"):
        raise RuntimeError(reason)
    with fresh(base) as folder:
        (folder / "manifest.yaml").write_text(ONE)
        env = {"PYTHONPATH": str(HERE.parent), "XDG_CACHE_HOME": str(folder / ".cache"), "CI": "1"}
        ours = child([*RUNNER, *APPLY], folder, env)
        if ours.code:
            raise RuntimeError(f"runner ended with {ours.code}")
    with fresh(base) as folder:
        theirs = _run("langgraph", "one", folder)
    note = f"CPU {ours.cpu * 1e3:.0f} over {theirs.cpu * 1e3:.0f} ms, {ours.rss:.0f} over {theirs.rss:.0f} MiB"
    return Sample(ours.wall * 1e3, theirs.wall * 1e3, theirs.wall / ours.wall, f"{note}, load {os.getloadavg()[0]:.1f}")


PEER_ROWS = (
    Row("peer-chain", "chain of 100 steps that do nothing, against the fastest durable peer", "steps/s", "fastest", "≥", 4,
        against("chain-100", "chain-100", CHAIN)),
    Row("peer-set", "chain of 100 `set` steps, against the same", "steps/s", "fastest", "≥", 4, against("set-100", "chain-100", CHAIN)),
    Row("peer-fan", "fan-out of 1,000 + join, 16 at once", "steps/s", "LangGraph", "≥", 8,
        against("fan-1000", "fan-1000-16", ("langgraph",))),
    Row("peer-fan-wide", "the same, all at once", "steps/s", "LangGraph", "≥", 8,
        against("fan-1000-wide", "fan-1000", ("langgraph",))),
    Row("peer-runs", "1,000 runs × 3 steps, all at once", "steps/s", "huey", "≥", 8, against("runs-1000", "runs-1000", ("huey",))),
    Row("peer-runs-64", "the same, 64 steps at once (the default)", "steps/s", "huey", "≥", 8, against("runs-1000-64", "runs-1000", ("huey",))),
    Row("peer-one-step", "cold durable run of one local command, LangGraph's time over ours", "ms", "LangGraph", "≥", 3, cold_step),
)  # fmt: skip
