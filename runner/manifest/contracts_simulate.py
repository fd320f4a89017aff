"""The JSON document of `runner simulate`, version 1. As in contracts.py, these models are its contract."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runner.manifest.contracts import Contract, RunState, StepState
from runner.manifest.vocabulary import ErrorClass, SuspendReason, Verb


class SimulatedError(Contract):
    """Why a step failed."""

    class_: ErrorClass = Field(alias="class")
    """The class of the error."""
    message: str
    """What was wrong, in words."""


class SimulatedStep(Contract):
    """A step, or an item of one, as `runner apply` would leave it."""

    manifest: str
    """The manifest that it stands in."""
    verb: Verb
    """What it does."""
    state: StepState
    """Its state."""
    attempts: int
    """How many attempts were made."""
    lost: int
    """How many of them were lost, because the runner died."""
    executor: str | None
    """Who made the last attempt."""
    model: str | None
    """The model that made it."""
    error: SimulatedError | None
    """What failed last; null when nothing did."""
    reason: str
    """Why it is in this state."""
    until_ms: int | None
    """Until when it waits, from the beginning of the run; null when nothing but somebody's word ends it."""
    cost_usd: float
    """What its attempts cost."""
    item_key: str | None
    """An item's own key; null for a step."""


class SimulatedMoment(Contract):
    """Something that happens."""

    at_ms: int
    """When, in virtual milliseconds from the beginning of the run."""
    step: str
    """The step (`CALL/STEP` in a sub-run, `STEP[n]` for an item); empty for the run itself."""
    kind: str
    """The kind of the event, as in `runner events`; besides them `killed` (the runner dies, and is started again), `mode` and `circuit`."""
    state: str
    """The state that it leads to."""
    text: str
    """What happens, in words."""


class SimulatedWaiting(Contract):
    """A step that would be suspended."""

    step: str
    """The step."""
    reason: SuspendReason
    """What it waits for."""
    detail: str
    """More about it, in words."""
    until_ms: int | None
    """When it goes on by itself, from the beginning of the run; null when it does not."""
    help: str
    """What makes it go on."""


class SimulatedAssumption(Contract):
    """A branch that was taken on a value that nobody knows."""

    step: str
    """The step whose condition, or list, it is."""
    branch: str
    """The condition or list, as it is written."""
    reads: tuple[str, ...]
    """The steps whose output was made up, or computed from one that was; `--stub` gives them one."""
    took: str
    """What followed: `ran`, `skipped`, or how many items."""


class BrokenPromise(Contract):
    """A promise of the runner that was not kept: a defect of the runner, not of the manifest."""

    promise: str
    """Which one."""
    message: str
    """What happened."""
    seed: int | None
    """The seed of the simulation that shows it; null for one without."""
    kills: tuple[int, ...]
    """Commits after which the runner died in it."""
    replay: str
    """The command line that shows it again."""


class SimulatedFailure(Contract):
    """How often a step ended in a certain way."""

    step: str
    """The step."""
    how: str
    """The class of its error, or `suspended: REASON`."""
    times: int
    """In how many simulations."""


class ManySimulations(Contract):
    """All simulations of `--seeds` or `--kill all` together."""

    count: int
    """How many there were."""
    outcomes: dict[str, int]
    """Outcome → how often."""
    failures: tuple[SimulatedFailure, ...]
    """The most frequent failures and suspensions."""
    attempts: int
    """Attempts that were simulated."""
    deaths: int
    """How often the runner died."""
    compared: int
    """How many ends were compared with that of the same run without a death."""
    broken: int
    """In how many a promise was broken."""


class KeptPromise(Contract):
    """A promise that was watched."""

    id: str
    """Its name."""
    text: str
    """What is promised."""
    kept: bool
    """Whether it was kept."""


class SimulatedManifest(Contract):
    """What would become of a manifest."""

    name: str
    """Its name."""
    file: str
    """Its file, as it was named."""
    outcome: RunState
    """The run's state where `runner apply` would leave it."""
    reasons: tuple[SuspendReason, ...]
    """What it is suspended for."""
    takes_ms: int
    """How long it takes until then, on the virtual clock."""
    commits: int
    """How many commits its record takes: what `--kill` counts."""
    deaths: int
    """How often the runner died."""
    cost_usd: float
    """What it costs, as far as prices are known."""
    steps: dict[str, SimulatedStep]
    """Its steps, and those of its sub-runs, by their place."""
    suspended: tuple[SimulatedWaiting, ...]
    """Steps that would be suspended."""
    timeline: tuple[SimulatedMoment, ...]
    """What happens, in order."""
    assumptions: tuple[SimulatedAssumption, ...]
    """Branches that were taken on made-up values."""
    invented: tuple[str, ...]
    """Steps whose output was made up."""
    unused: tuple[str, ...]
    """Options that had no effect, because what they wait for never happened."""
    simulations: ManySimulations | None
    """All simulations together; null without `--seeds` and `--kill all`."""
    promises: tuple[KeptPromise, ...]
    """What was watched."""
    broken: tuple[BrokenPromise, ...]
    """Promises that were not kept, the first twenty."""


class SimulateDocument(Contract):
    """`runner simulate --format json`."""

    version: Literal[1]
    """The version of this document's form."""
    kept: bool
    """Whether every promise was kept: false means a defect of the runner."""
    manifests: tuple[SimulatedManifest, ...]
    """Every manifest that was simulated."""
