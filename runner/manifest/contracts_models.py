"""JSON documents about models, modes and money, version 1: what `route`, `mode` and `cost` write. As in contracts.py, these are their
contract."""

from __future__ import annotations

from typing import Literal

from runner.manifest.contracts import Contract
from runner.manifest.vocabulary import Mode, Verb


class CandidateJson(Contract):
    """A model or executor that might do it."""

    target: str
    """Its name."""
    taken: bool
    """Whether it is asked first."""
    reason: str
    """Why, or why not."""
    stand: Literal["taken", "trial", "hidden", "refused"]
    """taken: may start. trial: as the one call that shows whether it is back. hidden: not now. refused: not as things are."""
    until: int | None
    """When a hidden one may be seen again, in Unix milliseconds; null when nobody knows."""


class WayJson(Contract):
    """One way to do the step."""

    way: str
    """`step`, `fallback N`, `judge of check N`."""
    verb: Verb
    """What it does."""
    source: str | None
    """Where the chain comes from; null when there is none."""
    trouble: str | None
    """Why there is no chain, or why nobody may do this."""
    model: str | None
    """The model that an agent is asked to use."""
    prompt: str | None
    """Why the prompt is not known yet; null when it is."""
    tokens: int | None
    """About how many tokens prompt and answer need; null when that is not known."""
    notes: tuple[str, ...]
    """What could not be judged yet."""
    candidates: tuple[CandidateJson, ...]
    """Everybody in the chain, in its order."""


class RouteDocument(Contract):
    """`runner route --json`."""

    version: Literal[1]
    """The version of this document's form."""
    manifest: str
    """The manifest's name."""
    file: str
    """Its file, as it was named."""
    step: str
    """The step's id."""
    mode: Mode
    """The system mode that was routed for."""
    ways: tuple[WayJson, ...]
    """The step itself, its fallbacks, and their judges."""


class EndpointJson(Contract):
    """An endpoint or executor and its circuit."""

    name: str
    """Its name."""
    role: Literal["lead", "backup", "cloud", "local", "executor"]
    """lead: it decides whether the mode is normal."""
    state: Literal["closed", "open", "half_open"]
    """closed: it is trusted. open: it is left alone. half_open: a probe and one real call decide."""
    reason: str
    """Of the last change."""
    opened: int | None
    """When the circuit opened, in Unix milliseconds."""
    until: int | None
    """open: when it is half open; half_open: since when."""
    next_probe: int | None
    """When an apply would probe it."""
    needs: str | None
    """What it lacks before it can be asked at all."""


class CoolingJson(Contract):
    """Something that is not asked for a while."""

    kind: str
    """model, executor or credential."""
    name: str
    """Its name; a credential has the name of its endpoint or executor."""
    cause: str | None
    """rate_limit, quota or auth (its key was refused)."""
    until: int | None
    """Until when, in Unix milliseconds."""
    reason: str
    """What was said."""


class ModeState(Contract):
    """A mode as it was entered."""

    mode: Mode
    """The mode."""
    since: int | None
    """When it was entered, in Unix milliseconds; null when it has held from the first."""
    pinned_until: int | None
    """Until when a person's choice holds; null: without an end, or nobody chose."""
    reason: str
    """Why it was entered."""


class ModeFacts(ModeState):
    """How the system stands."""

    version: Literal[1]
    """The version of this document's form."""
    pinned: bool
    """Whether a person's choice holds."""
    wants: Mode
    """The mode that the circuits ask for."""
    because: str
    """Why they do."""
    endpoints: tuple[EndpointJson, ...]
    """Every model endpoint of the config."""
    executors: tuple[EndpointJson, ...]
    """Executors that failed lately."""
    cooling: tuple[CoolingJson, ...]
    """What is not asked for a while."""


class AskedJson(Contract):
    """What a probe of an endpoint gave."""

    name: str
    """The endpoint."""
    role: Literal["lead", "backup", "cloud", "local", "executor"]
    """lead: it decides whether the mode is normal."""
    ok: bool
    """Whether it is there; a key that is refused is an answer, too."""
    reason: str
    """What it said, or why it could not be asked."""
    ms: int
    """How long the last probe took."""
    status: int | None
    """The HTTP status of its answer."""
    probes: int
    """How often it was asked; 0 when something is missing."""
    state: Literal["closed", "open", "half_open"]
    """Its circuit afterwards."""


class ModeDocument(ModeFacts):
    """`runner mode --json` and `mode set --json`; with `before`, `asked`, `warmed`: `mode probe --json`."""

    before: Mode | None = None
    """The mode before the probes."""
    asked: tuple[AskedJson, ...] = ()
    """What each endpoint answered."""
    warmed: tuple[str, ...] = ()
    """What cooled, and may be asked again."""


class PastMode(ModeState):
    """A mode that held once."""

    epoch: int
    """Its number, from 1."""


class ModeHistoryDocument(Contract):
    """`runner mode history --json`."""

    version: Literal[1]
    """The version of this document's form."""
    history: tuple[PastMode, ...]
    """Modes that held, newest first."""


class SumJson(Contract):
    """What something cost, in US dollars."""

    cost_usd: float
    """All of it."""
    assumed_usd: float
    """The part that nobody billed: an unknown price, or an attempt that was lost."""
    attempts: int
    """How many attempts."""


class SpendingJson(SumJson):
    """One line of the sums."""

    key: str
    """MANIFEST/STEP, the executor, the model, or the day."""


class RoomJson(Contract):
    """A cap and what is left of it, in US dollars."""

    id: str
    """The day (in the config's time zone) or the run."""
    cap_usd: float | None
    """The cap; null when there is none."""
    held_usd: float
    """Reserved by attempts that are under way."""
    spent_usd: float
    """Spent so far."""
    left_usd: float | None
    """What is left; null when there is no cap."""


class CostDocument(Contract):
    """`runner cost --json`."""

    version: Literal[1]
    """The version of this document's form."""
    by: Literal["step", "executor", "model", "day"]
    """What the lines are sums of."""
    run: str | None
    """The run that is meant; null: all."""
    since: int | None
    """From when on, in Unix milliseconds; null: from the first."""
    total: SumJson
    """The sum of all lines."""
    rows: tuple[SpendingJson, ...]
    """The dearest first; days oldest first."""
    per_run_usd: float | None
    """The config's cap of a run."""
    per_day_usd: float | None
    """The config's cap of a day."""
    day: RoomJson
    """Today."""
    run_budget: RoomJson | None
    """The run's own budget; null without a run."""
