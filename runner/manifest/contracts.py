"""The JSON documents that commands write on stdout, version 1. They are made elsewhere from plain values; these models are their contract."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from runner.manifest.vocabulary import ErrorClass, Mode, Verb

RunState = Literal["pending", "running", "suspended", "succeeded", "failed", "cancelled", "superseded", "interrupted"]
StepState = Literal[
    "pending",
    "running",
    "group",
    "waiting",
    "suspended",
    "succeeded",
    "reused",
    "failed",
    "skipped",
    "blocked",
    "cancelled",
]


class Contract(BaseModel):
    """Part of a document that a command writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DiagnosticJson(Contract):
    """A mistake in its place."""

    file: str
    """The file, as it was named; for config also the variable or flag that the value came from."""
    line: int | None
    """The line, from 1; null when the mistake has no place in a file."""
    column: int | None
    """The column in characters, from 1."""
    severity: Literal["error", "warning", "note"]
    """How grave it is. Errors stop everything."""
    rule: str
    """The rule's id; see `runner explain RULE`."""
    path: str
    """The place in the data, such as `steps.fetch.with.number`."""
    message: str
    """What is wrong."""
    fix: str | None
    """What to do about it."""


class ValidateDocument(Contract):
    """`runner validate --format json`."""

    version: Literal[1]
    """The version of this document's form."""
    files: int
    """How many files were read."""
    diagnostics: tuple[DiagnosticJson, ...]
    """Every mistake, by file and place."""


class ChoiceJson(Contract):
    """A candidate for a step, taken or not."""

    target: str
    """The executor or model."""
    taken: bool
    """Whether it is in the chain."""
    reason: str
    """Why, or why not."""


class PriceJson(Contract):
    """What one try may cost, in US dollars: retries, repair rounds and fallbacks come on top."""

    low_usd: float
    """The least."""
    high_usd: float | None
    """The most, as far as prices and caps tell; null when nobody knows."""
    unknown: tuple[str, ...]
    """What is not known."""


class PlannedStep(Contract):
    """What apply would do with a step."""

    id: str
    """The step's id."""
    verb: Verb
    """What it does."""
    action: Literal["run", "reuse", "resume", "skip", "unknown"]
    """What apply would do; `unknown` when that depends on what earlier steps return."""
    reason: str
    """Why."""
    route: tuple[ChoiceJson, ...]
    """Who would do it, in the order of the chain."""
    cost: PriceJson | None = None
    """What it may cost; left out when it can cost nothing."""


class PlannedManifestJson(Contract):
    """What apply would do with a manifest."""

    name: str
    """The manifest's name."""
    file: str
    """Its file, as it was named."""
    action: Literal["create", "update", "resume", "unchanged", "callable"]
    """What apply would do."""
    reason: str
    """Why."""
    steps: tuple[PlannedStep, ...]
    """Its steps."""
    cost: PriceJson | None = None
    """What it may cost, under the caps of the config and the manifest; left out when nothing in it can."""


class PlanDocument(Contract):
    """`runner plan --format json`."""

    version: Literal[1]
    """The version of this document's form."""
    manifests: tuple[PlannedManifestJson, ...]
    """Every manifest, in the order of its file's path."""


class ErrorJson(Contract):
    """Why a step failed."""

    class_: ErrorClass | None = Field(alias="class")
    """The class of the error."""
    message: str | None
    """What happened."""


class StepJson(Contract):
    """A step, or an item of one, as it stands."""

    state: StepState
    """Its state."""
    attempts: int
    """How many attempts were started."""
    reused: bool
    """Whether its result comes from an earlier run."""
    executor: str | None
    """Who did it."""
    model: str | None
    """The model that did it."""
    error: ErrorJson | None
    """Why it failed."""
    items: dict[str, StepJson] = Field(default={})
    """The items of a fan-out, by key."""


class RunJson(Contract):
    """What was done with a manifest, and how it ended."""

    manifest: str
    """The manifest's name."""
    run: str | None
    """The run's id; null when none was started."""
    action: str
    """What was done: create, update, resume, unchanged, callable; by `runner watch` also wait."""
    state: str
    """The run's state; `callable` when its inputs are for a caller to give; `busy`, `refused`, `invalid`, `error` when it could not be driven."""
    reasons: tuple[str, ...]
    """Why it is suspended, or why this was done."""
    steps: dict[str, StepJson]
    """Its steps by id."""
    outputs: Any
    """The manifest's `outputs`; null until the run has succeeded."""
    cost_usd: float
    """What it cost, in US dollars."""
    error: str = ""
    """Why it could not be driven; missing when it could."""


class ApplyDocument(Contract):
    """`runner apply --json`, and the last line of `--events`."""

    version: Literal[1]
    """The version of this document's form."""
    outcome: Literal["succeeded", "failed", "suspended", "cancelled", "invalid", "busy", "error"]
    """The gravest end of all runs."""
    exit_code: int
    """The exit code of the command."""
    runs: tuple[RunJson, ...]
    """Every run."""


class StatusRun(Contract):
    """One line of `runner status`."""

    run: str
    """The run's id."""
    manifest: str
    """The manifest's name."""
    state: RunState
    """Its state; `interrupted` when its runner died."""
    reason: str
    """Why it is in this state."""
    steps_done: int
    """Steps that have ended."""
    steps_total: int
    """All steps, with the items of fan-outs."""
    started: int
    """When it was made, in Unix milliseconds."""
    ended: int | None
    """When it ended; null while it has not."""
    cost_usd: float
    """What it cost so far, in US dollars."""


class StatusDocument(Contract):
    """`runner status --json`."""

    version: Literal[1]
    """The version of this document's form."""
    mode: Mode
    """The system's mode."""
    runs: tuple[StatusRun, ...]
    """Runs, newest first."""


class EventLine(Contract):
    """One line of `runner apply --events` and `runner events`: something that was recorded. The last line of `--events` is an apply document."""

    run: str
    """The run's id."""
    manifest: str
    """The manifest's name."""
    seq: int
    """The event's number in its run, from 1."""
    at: int
    """When it was recorded, in Unix milliseconds."""
    kind: str
    """What happened, such as `attempt_succeeded`."""
    node: str
    """The step's id, `STEP[n]` for an item, empty for the run itself."""
    v: int
    """The version of the kinds' forms."""
    data: dict[str, Any]
    """What belongs to this kind of event."""
