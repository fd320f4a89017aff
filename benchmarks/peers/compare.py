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
from rows import APPLY, ONE, RUNNER, Measure, Row, Sample, cell, fresh, number

CHAIN = ("dbos", "langgraph", "huey")

LIMIT = 180.0
"""Seconds that an engine may take for a sample."""

HOME = {
    "HOME": "{folder}",
    "XDG_CACHE_HOME": "{folder}/.cache",
    "XDG_CONFIG_HOME": "{folder}/.config",
    "XDG_DATA_HOME": "{folder}/.data",
    "XDG_STATE_HOME": "{folder}/.state",
    "PYTHONPATH": "",
    "DO_NOT_TRACK": "1",
    "DAGSTER_HOME": "{folder}",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "LANGSMITH_TRACING": "false",
    "PREFECT_HOME": "{folder}/prefect",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "TEMPORAL_VERSION_CHECK_DISABLED": "1",
}
"""The environment of an engine: all that it writes goes into the folder of its sample, and it reports to nobody."""


@dataclass(frozen=True)
class Rate:
    """Steps a second of one engine, and commits a second of the disk beside it."""

    name: str
    per_s: float
    a: float

    def __str__(self) -> str:
        return f"{self.name} {number(self.per_s)}/s ({self.per_s / self.a:.2g} a)"


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
    env = {key: value.format(folder=folder) for key, value in HOME.items()}
    spent = child([str(python(name)), str(script), what, str(folder)], folder, env, limit=LIMIT)
    if spent.code:
        raise RuntimeError(f"{name} {what} ended with {spent.code} after {spent.wall:.0f} s")
    return spent


def cold(name: str) -> Measure:
    """Wall clock of a new process that runs one local command in an empty folder: that of an engine over ours."""

    def measure(base: Path) -> Sample:
        if reason := install(name):
            raise RuntimeError(reason)
        with fresh(base) as folder:
            (folder / "manifest.yaml").write_text(ONE)
            env = {"PYTHONPATH": str(HERE.parent), "XDG_CACHE_HOME": str(folder / ".cache"), "CI": "1"}
            ours = child([*RUNNER, *APPLY], folder, env)
            if ours.code:
                raise RuntimeError(f"runner ended with {ours.code}")
        with fresh(base) as folder:
            theirs = _run(name, "one", folder)
        note = f"CPU {ours.cpu * 1e3:.0f} over {theirs.cpu * 1e3:.0f} ms, {ours.rss:.0f} over {theirs.rss:.0f} MiB"
        return Sample(
            ours.wall * 1e3, theirs.wall * 1e3, theirs.wall / ours.wall, f"{note}, load {os.getloadavg()[0]:.1f}"
        )

    return measure


@dataclass(frozen=True)
class Other:
    """An engine that no goal names: how large its cells are, by what it manages in some seconds. All print steps a second."""

    name: str
    title: str
    fan: int
    runs: int

    def rows(self) -> tuple[Row, ...]:
        return (
            Row(f"peer-chain-{self.name}", f"chain of 100, against {self.title}", "steps/s", self.title, "≥", None,
                against("chain-100", "chain-100", (self.name,))),
            Row(f"peer-fan-{self.name}", f"fan-out of 1,000 + join, 16 at once, against {self.title}'s of {self.fan:,}", "steps/s",
                self.title, "≥", None, against("fan-1000", f"fan-{self.fan}", (self.name,))),
            Row(f"peer-runs-{self.name}", f"1,000 runs × 3, 64 steps at once, against {self.title}'s {self.runs:,} runs", "steps/s",
                self.title, "≥", None, against("runs-1000-64", f"runs-{self.runs}", (self.name,))),
            Row(f"peer-one-step-{self.name}", f"cold run of one local command, {self.title}'s time over ours", "ms", self.title, "≥",
                None, cold(self.name)),
        )  # fmt: skip


OTHERS = (
    Other("luigi", "Luigi", 1_000, 100),
    Other("doit", "doit", 1_000, 100),
    Other("prefect", "Prefect", 100, 5),
    Other("dagster", "Dagster", 50, 5),
    Other("snakemake", "Snakemake", 100, 10),
    Other("temporal", "Temporal", 200, 20),
)

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
    Row("peer-one-step", "cold durable run of one local command, LangGraph's time over ours", "ms", "LangGraph", "≥", 3, cold("langgraph")),
    *(row for kind in zip(*(other.rows() for other in OTHERS), strict=True) for row in kind),
)  # fmt: skip
