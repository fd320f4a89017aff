"""Values that cross the kernel's borders: tasks and outcomes (the wire), commands (what a driver must do), and what a host
prepares. All of it is plain JSON data in named tuples: they are made for every step, and a frozen dataclass takes five times as long
(`Hidden` and `NoCandidate`, which the router gives instead of a tuple, are none); times are integer milliseconds, money is integer
micro-USD."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, Protocol

from runner.core.graph import Json
from runner.core.item import Item as Item
from runner.manifest.vocabulary import Effects, Exhausted, Mode, Verb

EffectDoubt = Literal["none", "maybe"]
Claim = Literal["", "shared", "alone"]
"""How an attempt uses the workspace of its process: beside others that share it, alone (`changed` checks), or not at all."""
Stored = Mapping[str, Any]
"""A step's result as events hold it: {"value": RESULT} inline, or {"ref": digest, "size": bytes}. RESULT is
{"output": JSON, "text": str (only when it differs from the output's own text), "checks": [{kind, passed, message}]}."""

EMPTY: Final[Mapping[str, Any]] = {}
"""Where nothing is said. Shared, so nobody writes to it."""


# ---------------------------------------------------------------- the wire


class StepTask(NamedTuple):
    """One attempt, complete: all that a worker needs. `key` names the attempt; `effect_key` goes to the executor as idempotency
    key (the same after an unknown outcome). `secrets`: where in `inputs` secrets belong, as {"path/to/leaf": [text | {"secret":
    NAME}, …]}; `inputs` itself shows only the names. `spec` is what the worker needs of the definition: {"returns", "checks",
    "save", "env", "cwd", "workspace"} rendered as far as they can be."""

    run: str
    node: str
    attempt: int
    key: str
    effect_key: str
    label: str
    """The chosen entry of the chain: an MCP server, a model, or `local`."""
    verb: Verb
    inputs: Mapping[str, Json]
    spec: Mapping[str, Json] = EMPTY
    secrets: Mapping[str, Sequence[Json]] = EMPTY
    session: str | None = None
    feedback: str | None = None
    effects: Effects = "once"
    timeout_ms: int | None = None
    idle_ms: int | None = None
    max_micro_usd: int | None = None
    tried: Sequence[Mapping[str, Json]] = ()
    """For an agent that begins anew: what earlier attempts at this step came to, as `attempt_failed` recorded it: {"executor", "class",
    "message", "text"?, "diff"?, "kept"?}, one entry an executor."""
    v: int = 1


class Note(NamedTuple):
    """Something worth recording while an attempt runs: an agent's session, a child process (pid, start time)."""

    session: str | None = None
    pid: int | None = None
    pid_start: int | None = None


class Outcome(NamedTuple):
    """How an attempt ended. `error_class` is one of `ERROR_CLASSES` unless succeeded. `effect`: may the world have changed
    although it failed? `products`: {path: digest} of what `save`/`changed` produced. `cost` None = unknown, never free."""

    state: Literal["succeeded", "failed", "cancelled"]
    result: Stored | None = None
    error_class: str = ""
    message: str = ""
    effect: EffectDoubt = "none"
    status: int | None = None
    retry_after_ms: int | None = None
    cost: int | None = 0
    cost_source: str = ""
    tokens: Mapping[str, int] = EMPTY
    executor: str = ""
    model: str = ""
    session: str | None = None
    checks: Sequence[Mapping[str, Json]] = ()
    feedback: str | None = None
    products: Mapping[str, str] = EMPTY
    denials: Sequence[str] = ()
    log: str = ""
    tried: Mapping[str, Json] = EMPTY
    """Of an agent that failed, for the next one: its last words (`text`), what it changed (`diff`), and whether that is in the files of
    the workspace (`kept`)."""
    v: int = 1


# ---------------------------------------------------------------- commands: what the driver does once the turn is committed


class Start(NamedTuple):
    """Hand the attempt to the transport."""

    task: StepTask


class Cancel(NamedTuple):
    """Stop the attempt with this key."""

    run: str
    key: str


class Wake(NamedTuple):
    """Feed `("timer",)` to `run` at `at` (Unix milliseconds), or soon after."""

    run: str
    at: int


class Spawn(NamedTuple):
    """Open (or go on with) the sub-run of a `call` step. Handled inside the tree."""

    run: str
    callee: str
    inputs: Mapping[str, Json]
    node: str
    attempt: int
    extra: Mapping[str, Json] = EMPTY


class Finish(NamedTuple):
    """The run has ended its leg in `state`."""

    run: str
    state: str
    outputs: Json


Command = Start | Cancel | Wake | Spawn | Finish


# ---------------------------------------------------------------- what a host prepares, right before the intent


class Skip(NamedTuple):
    """`when` is false, or the mode's policy skips a label of this step."""

    reason: str


class Expand(NamedTuple):
    """The step is a fan-out of these items. At most `max_parallel` run at once; None = no own bound."""

    items: tuple[Item, ...]
    max_parallel: int | None


class Broken(NamedTuple):
    """The step cannot start: a template failed, a key clashed, something is not configured."""

    error_class: str
    message: str


class Reuse(NamedTuple):
    """An earlier run's result stands in."""

    key: str
    producer: str
    result: Stored
    products: Mapping[str, str] = EMPTY
    reason: str = ""


class Computed(NamedTuple):
    """`set`: the result is here already."""

    result: Stored


class Delay(NamedTuple):
    """`wait`: until this moment (Unix milliseconds)."""

    until: int


class Ask(NamedTuple):
    """`approve`: what to show, and what happens at `until` (None = never). `gate`: a step that does something itself once it is
    approved, because the operator's policy asks for a person."""

    message: str
    show: tuple[str, ...]
    until: int | None
    otherwise: Literal["reject", "approve", "fail"]
    gate: bool = False


class CallRun(NamedTuple):
    """`call`: the sub-run's manifest and inputs. `spec` ({"returns", "checks"} when there are any): what a worker verifies once the
    sub-run has succeeded. `extra`: what the sub-run's `run_started` records besides (`timeout_ms`). `steps`: how many it has. `day`: the
    day that pays for its judges; "" = it has none. `cap` (micro-USD), `token_cap`: the step's own budget, which its items share."""

    callee: str
    inputs: Mapping[str, Json]
    spec: Mapping[str, Json] = EMPTY
    extra: Mapping[str, Json] = EMPTY
    steps: int = 0
    day: str = ""
    cap: int | None = None
    token_cap: int | None = None


class Go(NamedTuple):
    """An attempt may start now: the kernel turns this into intent and task. `lane` is the slot that it takes besides the run's
    and the process's own (an MCP server, a model endpoint; "" = none). With a `claim` it starts when the workspace is its own."""

    label: str
    lane: str
    inputs: Mapping[str, Json]
    key: str | None
    effects: Effects
    estimate: int = 0
    timeout_ms: int | None = None
    idle_ms: int | None = None
    spec: Mapping[str, Json] = EMPTY
    secrets: Mapping[str, Sequence[Json]] = EMPTY
    reason: str = ""
    claim: Claim = ""
    tokens: int = 0
    """About how many tokens it uses."""
    cap: int | None = None
    """The step's own budget (micro-USD); its items share it."""
    token_cap: int | None = None
    """The step's own budget in tokens."""
    limit: int | None = None
    """What the executor may spend at most, for one that can be told (micro-USD)."""
    day: str = ""
    """The day that pays for it (`2026-11-22` in the config's time zone); "" = it costs nothing."""


@dataclass(frozen=True, slots=True)
class Over:
    """The day's budget has no room for it, whatever comes back. `until`: when the next day begins."""

    reason: str
    until: int | None = None


class NotNow(NamedTuple):
    """No free slot in `lane` (or its session is still opening): stays ready, asked again after a `slots` message. `also`: other
    lanes that would do."""

    lane: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hidden:
    """Entries are left, but none may be tried now: the mode, an open circuit or a cooling hides them. `until`: when one may be seen
    again, if time alone brings that. `cause`: `quota` when nothing else stands in the way."""

    reason: str
    until: int | None = None
    cause: Literal["mode", "quota"] = "mode"


UNSEEN = Hidden("an untried entry is hidden now")


@dataclass(frozen=True, slots=True)
class NoCandidate:
    """Nothing in the chain can ever do this (class `invalid`, or `unavailable` when a credential was refused)."""

    error_class: str
    message: str


Prepared = Skip | Expand | Broken | Reuse | Computed | Delay | Ask | CallRun | Go | Over | NotNow | Hidden | NoCandidate


# ---------------------------------------------------------------- what recovery needs to know, asked when an attempt has failed


class RetryPolicy(NamedTuple):
    """`max` rounds more; delay·backoff^(n-1), at most `max_delay`, ± `jitter` share. Milliseconds."""

    max: int = 2
    delay: int = 2_000
    backoff: float = 2.0
    max_delay: int = 60_000
    jitter: float = 0.2
    errors: frozenset[str] = frozenset({"rate_limit", "unavailable", "timeout", "crash"})


class Policy(NamedTuple):
    """The fault policy of one step in one mode."""

    retry: RetryPolicy = RetryPolicy()
    fallback: bool = True
    exhausted: Exhausted = "fail"
    patient: bool = False
    """Nobody has written `exhausted`: a used-up quota that says when it ends is waited for."""


class Candidate(NamedTuple):
    """One entry of the chain of the node's current body. `shown`: the mode and its circuit let it be tried now.
    `larger_context` marks entries that may take a `context_overflow`."""

    label: str
    shown: bool = True
    larger_context: bool = True
    reason: str = ""


class FallbackOption(NamedTuple):
    """A fallback entry whose `when` holds (or which has none). `errors` None = every class that may pass, and `tool_error`."""

    level: int
    errors: frozenset[str] | None = None


class Options(NamedTuple):
    """What is left for a node whose attempt failed, seen now."""

    policy: Policy = Policy()
    candidates: tuple[Candidate, ...] = ()
    fallbacks: tuple[FallbackOption, ...] = ()
    repair_max: int = 0
    consent: frozenset[str] = frozenset()
    """Classes after which the author agreed to repeat or pass on a `once` step whose effect is known not to have happened."""
    hidden: Hidden = UNSEEN
    """Why the candidates that are not shown are not."""
    most_attempts: int = 50
    """Attempts of one step in one leg (config `limits.attempts`)."""


class NodeView(Protocol):
    """What a host may read of a node. Never write to it."""

    id: str
    step: Any
    """Its `GraphStep`."""
    key: str | None
    approved: bool
    items: Any
    """The nodes of a fan-out's items once it is expanded, else None."""
    state: str
    attempt: int
    level: int
    """Which body is tried: 0 = the step itself, n = its n-th fallback entry."""
    failed: set[str]
    """Labels that failed in this round."""
    repair: int
    """Repair rounds used with the present entry."""
    result: Stored | None
    previous: Stored | None
    """Last round's result, while repairing."""
    feedback: str | None
    error: Mapping[str, Json] | None
    """{"class","message","status","executor"} of the last failure."""
    session: str | None
    child: str | None
    """The sub-run that a `call` has begun and may go on with."""
    label: str
    model: str
    producer: str
    index: int
    item: Item | None
    group: Any
    """The node of the fan-out that it is an item of, else None."""
    cost: int
    free_only: bool
    """The budget has room for what is free only."""


class RunView(Protocol):
    """What a host may read of a run."""

    run: str
    graph: Any
    inputs: Mapping[str, Json]
    mode: Mode
    state: str
    spent: int
    verdict: str | None
    refresh: Any
    """None, "all" (`--force`), or the step ids that must run again (`--from`)."""
    selected: Any
    """None, or the ids of the main steps that this run is about (`--select`)."""

    @property
    def nodes(self) -> Mapping[str, Any]: ...

    @property
    def room(self) -> int | None:
        """Micro-USD that the budget of the tree has left, reservations taken off; None = it has no cap."""
        ...

    @property
    def size(self) -> int:
        """Steps and items that the tree has so far."""
        ...


class Host(Protocol):
    """What a kernel asks. Every answer must come from recorded data, config and the mode alone."""

    def prepare(self, run: RunView, node: NodeView, now: int) -> Prepared:
        """What happens to a ready node. Called with run and process slots in hand, right before the intent is committed."""
        ...

    def intended(self, run: RunView, node: NodeView, go: Go, now: int) -> None:
        """This `Go` has become an intent: a half open circuit has its trial call, a rate its next request."""
        ...

    def options(self, run: RunView, node: NodeView, now: int) -> Options:
        """Policy and remaining ways of a node whose attempt has just failed."""
        ...

    def outputs(self, run: RunView) -> tuple[Json, str | None]:
        """The run's `outputs` (succeeded runs), and an error message when they cannot be computed."""
        ...

    def keep(self, result: Mapping[str, Any]) -> Stored:
        """How an event holds this RESULT. What is not inline is committed with the event that names it."""
        ...
