"""What a simulation is told: the manifest with its inputs and surroundings (`Case`), and what happens to it (`Scenario`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.core.assigning import Unpriced
from runner.core.circuits import Limits
from runner.core.days import Calendar
from runner.core.graph import Json, StepGraph
from runner.core.policy import OperatorPolicy
from runner.core.roster import Roster
from runner.core.router import Outlook
from runner.core.run_state import DEFAULT_CONCURRENCY
from runner.simulate.faults import Fault, ModeChange

NOW = 1_767_225_600_000
"""When every simulation begins, unless it is told otherwise: 2026-01-01T00:00:00Z. `wait: {until}` counts from here."""


@dataclass(frozen=True)
class Case:
    """A manifest, ready to run. `graphs`: itself and all that it may call, by name. `extra`: what its `run_started` records besides
    the inputs (time-out, caps). `servers`: MCP server → how many calls it takes at once. `process`: attempts at once, `concurrency`: of one run. `day_cap`: micro-USD that all runs of a day may spend. `rpm`: model → requests a minute."""

    name: str
    graphs: Mapping[str, StepGraph]
    inputs: Mapping[str, Json]
    extra: Mapping[str, Any] = field(default_factory=dict)
    servers: Mapping[str, int] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    policy: OperatorPolicy = field(default_factory=OperatorPolicy)
    roster: Roster = field(default_factory=Roster)
    outlook: Outlook = field(default_factory=lambda: Outlook(0))
    """What holds at the beginning, besides circuits and the mode."""
    limits: Limits = field(default_factory=Limits)
    min_dwell: int = 30_000
    unpriced: Unpriced = "allow"
    day_cap: int | None = None
    calendar: Calendar = field(default_factory=Calendar)
    rpm: Mapping[str, int] = field(default_factory=dict)
    process: int = 64
    concurrency: int = DEFAULT_CONCURRENCY
    now: int = NOW

    @property
    def graph(self) -> StepGraph:
        return self.graphs[self.name]


@dataclass(frozen=True)
class Scenario:
    """What happens. `seed`: random faults, values, deaths and people on top of what is scripted; None = only what is scripted.
    `kills`: commits after which the runner dies. `approve`, `reject`: steps for which somebody answers. `stubs`: STEP → output."""

    faults: tuple[Fault, ...] = ()
    modes: tuple[ModeChange, ...] = ()
    kills: frozenset[int] = frozenset()
    approve: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    stubs: Mapping[str, Json] = field(default_factory=dict)
    seed: int | None = None


Pick = Callable[[str, int], int]
"""(what is chosen, how many there are) → which one. The same question gives the same answer."""
