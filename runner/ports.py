"""The seams: Protocols only, each with a fake or an in-memory twin that passes the same contract tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from runner.core.circuits import Circuit
from runner.core.events import Event, Recorded
from runner.core.learning import Sample
from runner.core.messages import EMPTY, Note, Outcome, StepTask
from runner.core.modes import ModeState

# ---------------------------------------------------------------- store: values


class OwnerId(NamedTuple):
    """A process that drives runs. `pid_start` (clock ticks since boot, field 22 of /proc/PID/stat; 0 when unknown) tells a pid from its reuse."""

    owner: str
    host: str
    pid: int
    pid_start: int


class NewRun(NamedTuple):
    """The row of a run that is about to start. `task` names the work: digest of manifest name and inputs as given."""

    run: str
    root: str
    name: str
    manifest: str
    """Digest of its graph; see `NewManifest`."""
    task: str
    inputs: Mapping[str, Any]
    created: int
    fingerprint: str = ""
    """Digest of the contents of the `files` globs when the run was made."""
    parent: str | None = None
    parent_node: str | None = None
    forked_from: str | None = None
    reason: str = ""


class NewManifest(NamedTuple):
    """A compiled manifest, stored once by digest. `graph` is JSON, `source` the text as the user wrote it."""

    digest: str
    name: str
    graph: str
    source: str


class Unit(NamedTuple):
    """What one turn of one tree decided: committed whole or not at all, before any of its consequences.

    `events` carry their run and seq. `blobs`: {digest: bytes} that `result.ref` names. `taken`: inbox rows that led to this turn."""

    root: str
    epoch: int
    events: Sequence[Recorded] = ()
    runs: Sequence[NewRun] = ()
    manifests: Sequence[NewManifest] = ()
    blobs: Mapping[str, bytes] = EMPTY
    taken: Sequence[int] = ()


Told = Callable[[Exception | None], None]
"""Is told how a unit's commit ended: None = it is on record."""


class RunRow(NamedTuple):
    """One line of `runs`, with what `status` shows. `state` is the recorded one; `interrupted` = running or suspended-in-flight
    with a dead owner is derived: see `owner_alive`."""

    run: str
    root: str
    parent: str | None
    parent_node: str | None
    name: str
    manifest: str
    task: str
    inputs: Mapping[str, Any]
    state: str
    verdict: str | None
    leg: int
    reason: str
    fingerprint: str
    forked_from: str | None
    superseded_by: str | None
    created: int
    finished: int | None
    cost: int
    steps_done: int
    steps_total: int
    owner_alive: bool


class StepRow(NamedTuple):
    """Projection of a step (or item): never read by the kernel."""

    run: str
    node: str
    state: str
    attempt: int
    tries: int
    lost: int
    key: str | None
    producer: str | None
    result: Mapping[str, Any] | None
    reason: str
    until: int | None
    item_key: str | None
    cost: int
    started: int | None
    ended: int | None
    products: Mapping[str, str]
    executor: str = ""
    model: str = ""
    error: Mapping[str, Any] | None = None
    reused: bool = False


class AttemptRow(NamedTuple):
    """Projection of an attempt."""

    run: str
    node: str
    n: int
    executor: str
    model: str
    mode: str
    session: str | None
    effect_key: str
    started: int
    ended: int | None
    state: str
    error_class: str
    message: str
    effect: str
    cost: int
    cost_source: str
    tokens: Mapping[str, int]
    log: str
    reason: str


class Reusable(NamedTuple):
    """A recorded success that another run may take over."""

    key: str
    producer: str
    result: Mapping[str, Any]
    products: Mapping[str, str]
    at: int


class InboxRow(NamedTuple):
    """A message from another terminal: kind `cancel|resolve|redo|approve|reject|raise`."""

    id: int
    root: str
    kind: str
    body: Mapping[str, Any]
    by: str
    at: int


class RunRecord(NamedTuple):
    """All that a kernel is rebuilt from."""

    row: RunRow
    graph: str
    events: Sequence[Event]


class Store(Protocol):
    """The record. Writes go through one writer with group commit and are answered after COMMIT; reads are synchronous and cheap.

    Every write method may raise (or its awaitable may raise) the StoreError family; a lease that was taken over raises Fenced.
    """

    @property
    def health(self) -> Health: ...

    @property
    def ledger(self) -> Ledger: ...

    def begin(
        self, run: NewRun, manifest: NewManifest, owner: OwnerId, *, supersede: Sequence[str] = ()
    ) -> Awaitable[int]:
        """Create a root run, take its lease, and end the unfinished runs `supersede` of the same task as `superseded`, in one
        transaction. Returns the epoch. Raises StoreBusy when a live owner drives an unfinished run of the same task, NeedsPerson
        when one of those holds an unknown `once` step."""
        ...

    def acquire(self, root: str, owner: OwnerId) -> Awaitable[int]:
        """Take the lease of `root`: the new epoch. Raises StoreBusy when its owner is alive and not us."""
        ...

    def release(self, root: str, epoch: int) -> Awaitable[None]:
        """Give the lease back (a no-op when it is no longer ours)."""
        ...

    def heartbeat(self, owner: OwnerId) -> Awaitable[None]:
        """Say that we live."""
        ...

    def commit(self, unit: Unit) -> Awaitable[None]:
        """Append the unit's events and update the projections. The coroutine may be awaited late; order of calls = order of commits."""
        ...

    def record(self, entries: Sequence[tuple[Unit, Told]]) -> None:
        """`commit` of several units in one transaction, each for itself: one that is refused fails alone. From a running loop, in which
        each is told, after COMMIT and in order: before this returns, where that takes no time, or later. Never raises."""
        ...

    def post(self, root: str, kind: str, body: Mapping[str, Any], by: str) -> Awaitable[int]:
        """Leave a message for the owner of `root`."""
        ...

    def forget(self, roots: Sequence[str]) -> Awaitable[Sequence[str]]:
        """Remove whole trees from the record, what others might reuse of them included. Returns the runs that are gone, sub-runs
        among them. Passed over: a tree that `apply` may still take up or compares with, that somebody drives, or whose results a run that
        is being driven right now may be about to reuse (store/leases.py, `may_forget`)."""
        ...

    def sweep(self) -> Awaitable[int]:
        """Remove large results and manifests that no run names any more. Returns the bytes of the results."""
        ...

    def inbox(self, root: str | None = None) -> Sequence[InboxRow]:
        """What waits for whoever drives `root`; None = in all inboxes. Oldest first."""
        ...

    def changed(self) -> bool:
        """True when another connection committed since the last call (PRAGMA data_version: microseconds)."""
        ...

    def load(self, root: str) -> Sequence[RunRecord]:
        """The runs of a tree, root first, each with its events in order."""
        ...

    def runs(self, *, name: str | None = None, task: str | None = None, limit: int = 100) -> Sequence[RunRow]:
        """Root runs, newest first."""
        ...

    def run(self, run: str) -> RunRow | None: ...

    def knows(self, run: str) -> bool:
        """Is there a run of this id? Cheaper than its row."""
        ...

    def find(self, prefix: str, limit: int = 3) -> Sequence[RunRow]:
        """Runs whose id starts with `prefix`."""
        ...

    def children(self, run: str) -> Sequence[RunRow]: ...

    def steps(self, run: str) -> Sequence[StepRow]: ...

    def attempts(self, run: str, node: str | None = None) -> Sequence[AttemptRow]: ...

    def events(self, run: str, after: int = 0) -> Sequence[Recorded]: ...

    def newest(self, run: str, kind: str) -> Recorded | None:
        """The newest event of this kind; no other one is decoded."""
        ...

    def manifest(self, digest: str) -> NewManifest | None: ...

    def written(self, digest: str) -> Sequence[tuple[str, bool]]:
        """The steps of a manifest, in its order: (id, is it optional?); none when it is not known. The graph itself takes
        longer to read."""
        ...

    def reusable(self, name: str, key: str) -> Reusable | None:
        """The newest recorded success of this key under this manifest name."""
        ...

    def has_reusable(self, name: str) -> bool:
        """False = no look-up of this name can hit: saves one query a step."""
        ...

    def blob(self, digest: str) -> bytes: ...

    def close(self) -> None: ...


# ---------------------------------------------------------------- modes, circuits, money: shared by all processes on the database


class ModeRow(NamedTuple):
    """A mode that was entered. `epoch` counts from 1; 0 = none was ever recorded."""

    epoch: int
    state: ModeState


class CircuitRow(NamedTuple):
    """A subject's circuit. `epoch` counts its changes; 0 = none was ever recorded."""

    epoch: int
    circuit: Circuit


class Health(Protocol):
    """Mode and circuits. A write names the epoch that its writer had read: None as answer = somebody was faster, so read again,
    decide again, write again. Writes raise the StoreError family, like `Store`'s."""

    def mode(self) -> ModeRow: ...

    def mode_history(self, limit: int = 50) -> Sequence[ModeRow]:
        """Newest first."""
        ...

    def set_mode(self, state: ModeState, epoch: int) -> Awaitable[int | None]:
        """The new epoch, or None."""
        ...

    def circuits(self) -> Mapping[str, CircuitRow]:
        """By subject; one that nothing ever happened to is not among them."""
        ...

    def set_circuit(self, subject: str, circuit: Circuit, epoch: int) -> Awaitable[int | None]:
        """The new epoch, or None."""
        ...

    def samples(self, names: Sequence[str], since: int, limit: int = 2000) -> Sequence[Sample]:
        """The newest ended attempts by executors or models of these names, in runs made since then."""
        ...


class Scope(NamedTuple):
    """What may have a cap: a root run (`run`, its id), a step of it (`step`, `RUN/STEP`), a day (`day`, `2026-11-22` in the
    config's time zone). `cap` in micro-USD; None = no cap, money is only counted. Settle with the scopes of the reservation: an
    attempt belongs to the day on which it started."""

    kind: Literal["run", "step", "day"]
    id: str
    cap: int | None = None


class Standing(NamedTuple):
    """The money of a scope, micro-USD. `held`: reserved by attempts in flight."""

    cap: int | None
    held: int
    spent: int


class OverCap(NamedTuple):
    """A reservation that was refused. `waits`: there would be room if the reservations in flight came back."""

    scope: Scope
    standing: Standing
    waits: bool


class Spending(NamedTuple):
    """A line of `runner cost`, micro-USD. `assumed`: the part of `cost` that nobody billed (an unknown price, a lost attempt)."""

    key: str
    cost: int
    assumed: int
    attempts: int


class Ledger(Protocol):
    """Money: reserved before an attempt, settled after it. Each write is one transaction, and doing it twice is doing it once."""

    def reserve(self, attempt: str, amount: int, scopes: Sequence[Scope]) -> Awaitable[OverCap | None]:
        """Hold `amount` in all scopes, or in none: then the first one without room. Nothing at all always fits. Reserving
        anew replaces what the attempt held."""
        ...

    def settle(self, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        """The attempt has cost `spent`, whatever it had reserved. `source` says who knows (`billed`, `priced`, `assumed`)."""
        ...

    def release(self, attempt: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        """The attempt never started. What is settled stays."""
        ...

    def standing(self, scope: Scope) -> Standing: ...

    def spending(
        self, by: Literal["step", "executor", "model"], *, root: str | None = None, since: int | None = None
    ) -> Sequence[Spending]:
        """What recorded attempts have cost, the dearest first: of one tree, or started since then. A step's key is `MANIFEST/STEP`."""
        ...

    def days(self, first: str = "") -> Sequence[Spending]:
        """What was settled by day, oldest first, from a day on. Removed runs count on."""
        ...


# ---------------------------------------------------------------- transport, executors, sinks


class Transport(Protocol):
    """Carries attempts to where they run. `submit` is idempotent by `task.key` and never queues."""

    def listen(self, heard: Callable[[str, Note | Outcome], None]) -> None:
        """Say, before the first `submit`, who hears of each attempt (its key): notes, then one outcome. Called in the loop, never from
        within `submit`."""
        ...

    def submit(self, task: StepTask) -> None:
        """Returns at once; what goes wrong later is an outcome."""
        ...

    async def cancel(self, key: str) -> None: ...

    async def recover(self, keys: Sequence[str]) -> Mapping[str, Literal["attached", "lost"]]: ...

    async def close(self) -> None:
        """Stop everything that still runs; returns when no child is left."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One call of an executor. `inputs` are rendered, secrets filled in. `deadline_s` counts on the monotonic clock."""

    label: str
    verb: str
    inputs: Mapping[str, Any]
    env: Mapping[str, str]
    cwd: str
    idempotency_key: str
    deadline_s: float | None
    idle_s: float | None = None
    session: str | None = None
    feedback: str | None = None
    stdin: str | None = None
    log: Any = None
    """A `LogSink`: where stdout, stderr and progress go."""
    note: Any = None
    """Callable[[Note], None]."""
    progress: Callable[[str], None] | None = None
    """Told how far the call is (`3/10 message`, one line, safe for a terminal): for who watches, never recorded."""
    max_micro_usd: int | None = None
    """What the call may spend at most, for an executor that can be told."""
    returns: Mapping[str, Any] | None = None
    """JSON Schema of the answer, for who can ask for it (`model`, `agent`). Whether the answer keeps it is not the executor's to say."""
    tried: Sequence[Mapping[str, Any]] = ()
    """What earlier attempts at this task by agents came to: see `StepTask.tried`."""
    interrupted: bool = False
    """`session` is that of an attempt at this very task which was lost with its runner."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """What an executor answered. On failure `error_class`, `message` and `effect` are set; `output`/`text` may hold what there was."""

    output: Any = None
    text: str | None = None
    error_class: str = ""
    message: str = ""
    effect: Literal["none", "maybe"] = "none"
    status: int | None = None
    retry_after_ms: int | None = None
    cost: int | None = 0
    cost_source: str = ""
    tokens: Mapping[str, int] = field(default_factory=dict)
    executor: str = ""
    model: str = ""
    session: str | None = None
    denials: Sequence[str] = ()
    structured: bool = False
    """`output` is structured data already; else it is text, which `returns` may parse."""
    contact: Literal["", "unreached", "hollow", "answered"] = ""
    """What a failure says of the other side: no connection, or one that broke; an empty answer or a page; a refusal by somebody who is
    there. "" = what its class says."""


class LogSink(Protocol):
    """An attempt's capped log."""

    def write(self, stream: Literal["stdout", "stderr", "progress"], text: str) -> None: ...


class Executor(Protocol):
    """Anything that can do a call. Never raises for what the other side did: that is a CallResult. CancelledError passes."""

    async def call(self, request: Request) -> CallResult: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` None: nobody could judge, and `reason` says why. `calls`: every call made, for the ledger."""

    score: float | None
    reason: str
    calls: tuple[CallResult, ...] = ()


class Judge(Protocol):
    """Says to what degree a result meets a requirement."""

    async def judge(self, base: Request, models: Sequence[str], requirement: str, result: str) -> Judgement:
        """The first judgement that one of `models` gives, in their order. `base`: the request of the attempt."""
        ...


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """What a server says of a tool."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    read_only: bool
    idempotent: bool
    digest: str = ""
    """Of all that the server says of it which a model or a person may act on: name, description, schemas, annotations."""


class ServerPool(Protocol):
    """The MCP servers of the config: sessions are opened lazily, once, by an owner task each."""

    def known(self, server: str) -> bool: ...

    def status(self, server: str) -> Literal["closed", "opening", "open", "failed"]: ...

    def ensure(self, server: str, done: Any) -> None:
        """Begin to open the session unless it is open or opening; `done()` is called when that has ended either way."""
        ...

    def tool(self, server: str, name: str) -> ToolInfo | None:
        """What the open session says of the tool; None when closed or unknown."""
        ...

    def max_in_flight(self, server: str) -> int: ...


class Sink(Protocol):
    """A reporter: sees recorded events, decides nothing. Must not raise; a failing one is dropped with a warning."""

    def event(self, recorded: Recorded, name: str) -> None:
        """`name` is the manifest's."""
        ...

    def progress(self, run: str, node: str, text: str) -> None:
        """A running attempt says how far it is: one harmless line. Not recorded, and some of it may be lost."""
        ...

    def close(self) -> None: ...
