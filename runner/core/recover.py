"""What follows when an attempt has failed: one pure table, the first row that applies (faults-and-modes, "Order").

Nothing here knows of nodes, events or queues; `judge` asks and carries out.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from runner.core.messages import Candidate, EffectDoubt, FallbackOption, Hidden, Options, Policy
from runner.digest import digest_bytes
from runner.manifest.vocabulary import ERROR_CLASSES, ErrorClass, Mode

MAX_LOST = 5
"""Losses of one step: more look as if the step itself kills its runner."""


# ---------------------------------------------------------------- what each class allows


class ClassRule(NamedTuple):
    """`again`: on the same entry by default (`policy`: when `retry.errors` names it). `next`: may it pass to the
    next entry of the chain. `circuit`: what the endpoint's circuit makes of it."""

    again: Literal["policy", "repair", "no"]
    next: Literal["yes", "larger", "fallback", "named", "no"]
    circuit: Literal["cool", "cool_long", "disable", "count", "count_empty", "none"]


CLASSES: Mapping[ErrorClass, ClassRule] = {
    "rate_limit": ClassRule("policy", "yes", "cool"),
    "quota": ClassRule("no", "yes", "cool_long"),
    "auth": ClassRule("no", "yes", "disable"),
    "unavailable": ClassRule("policy", "yes", "count"),
    "timeout": ClassRule("policy", "yes", "count"),
    "crash": ClassRule("policy", "yes", "count"),
    "context_overflow": ClassRule("no", "larger", "none"),
    "bad_output": ClassRule("repair", "yes", "count_empty"),
    "check_failed": ClassRule("repair", "yes", "none"),
    "tool_error": ClassRule("policy", "fallback", "none"),
    "denied": ClassRule("no", "named", "none"),
    "invalid": ClassRule("no", "no", "none"),
    "cancelled": ClassRule("no", "no", "none"),
}


def passes_on(error_class: str) -> bool:
    """May the next entry of a chain be asked after this?"""
    rule = CLASSES.get(error_class)  # type: ignore[call-overload]
    return rule is not None and rule.next in ("yes", "larger")


def class_table() -> str:
    """`CLASSES` as a Markdown table."""
    rows = [
        f"| `{name}` | {CLASSES[name].again} | {CLASSES[name].next} | {CLASSES[name].circuit} |"
        for name in ERROR_CLASSES
    ]
    return "\n".join(["| class | same again | next in chain | circuit |", "|---|---|---|---|", *rows])


# ---------------------------------------------------------------- what is asked, and the answers


class Failure(NamedTuple):
    """How the attempt ended. `lost`: the runner died, nobody knows. `effect`: may the world have changed all the
    same?"""

    error_class: str
    effect: EffectDoubt = "none"
    retry_after_ms: int | None = None
    lost: bool = False


class Standing(NamedTuple):
    """What the node has used up. `lost` and `attempts` count this one too; `rounds`, `repair` are those used before.
    `own_repair`: the author wrote `repair` on this way (consent to run a `once` step again). `seed` names the
    attempt."""

    effects: str
    label: str = ""
    failed: frozenset[str] = frozenset()
    level: int = 0
    repair: int = 0
    own_repair: bool = False
    rounds: int = 0
    attempts: int = 1
    lost: int = 0
    stopping: bool = False
    started: bool = True
    """False: nothing could be tried at all, so only another way or the end is left."""
    seed: str = ""


class Again(NamedTuple):
    """The same entry once more; uses nothing up."""

    reason: str


class Unknown(NamedTuple):
    """Nobody may repeat it: a person decides (`failed: unknown` in `finally` and during a cancel)."""

    reason: str


class Cancelled(NamedTuple):
    reason: str


class Repair(NamedTuple):
    """The same entry, told what was wrong."""

    reason: str


class Next(NamedTuple):
    """The next untried entry of the chain, at once. `label` is the one that will be asked first."""

    label: str
    reason: str


class Retry(NamedTuple):
    """Another round over the whole chain at `at` (Unix milliseconds)."""

    at: int
    reason: str


class Fallback(NamedTuple):
    """The `level`-th fallback entry."""

    level: int
    reason: str


class Suspend(NamedTuple):
    reason: Literal["mode", "quota", "exhausted"]
    detail: str
    until: int | None = None


class Skip(NamedTuple):
    reason: str


class Fail(NamedTuple):
    reason: str


Decision = Again | Unknown | Cancelled | Repair | Next | Retry | Fallback | Suspend | Skip | Fail


class Case(NamedTuple):
    """All that a row may look at."""

    failure: Failure
    standing: Standing
    options: Options
    mode: Mode
    now: int

    @property
    def once(self) -> bool:
        return self.standing.effects == "once"

    @property
    def spent(self) -> bool:
        return self.standing.attempts >= self.options.most_attempts

    @property
    def consented(self) -> bool:
        """May it be repeated or passed on at all, the effect being known not to have happened?"""
        return not self.once or self.failure.error_class in self.options.consent


# ---------------------------------------------------------------- the rows


def _unknown_loss(c: Case) -> Decision | None:
    if c.failure.lost and c.once:
        return Unknown("lost: its effect may have happened")
    return None


def _lost(c: Case) -> Decision | None:
    if not c.failure.lost or c.standing.stopping:
        return None
    if c.standing.lost >= MAX_LOST:
        return Unknown(f"lost {c.standing.lost} times: it may be what stops the runner")
    return Again("lost: the runner died")


def _unknown(c: Case) -> Decision | None:
    if c.once and c.failure.effect == "maybe":
        return Unknown(f"{c.failure.error_class}: its effect may have happened")
    return None


def _cancelled(c: Case) -> Decision | None:
    if c.standing.stopping or c.failure.error_class == "cancelled":
        return Cancelled("the run is being stopped" if c.standing.stopping else "cancelled")
    return None


def _repair(c: Case) -> Decision | None:
    if (
        c.failure.error_class not in ("check_failed", "bad_output")
        or c.standing.repair >= c.options.repair_max
        or c.spent
    ):
        return None
    if not (c.consented or c.standing.own_repair):
        return None
    return Repair(f"repair round {c.standing.repair + 1} of {c.options.repair_max}: {c.failure.error_class}")


def _invalid(c: Case) -> Decision | None:
    return Fail("invalid: the same request cannot succeed") if c.failure.error_class == "invalid" else None


def _next(c: Case) -> Decision | None:
    if c.spent or not c.standing.started:
        return None
    label = next((candidate.label for candidate in untried(c) if candidate.shown), None)
    return None if label is None else Next(label, f"{c.failure.error_class}: passed on")


def _round(c: Case) -> Decision | None:
    retry = c.options.policy.retry
    if not c.standing.started or c.standing.level or c.standing.rounds >= retry.max or c.spent:
        return None  # a fallback entry is tried once, without rounds
    if c.failure.error_class not in retry.errors or not c.consented:
        return None
    at = c.now + delay(c.options.policy, c.standing.rounds, c.standing.seed)
    if c.failure.retry_after_ms is not None:
        at = max(at, c.now + c.failure.retry_after_ms)
    return Retry(at, f"round {c.standing.rounds + 1} of {retry.max}: {c.failure.error_class}")


def _fallback(c: Case) -> Decision | None:
    if not c.options.policy.fallback or c.spent:
        return None
    for option in c.options.fallbacks:
        if option.level > c.standing.level and fits(c, option):
            return Fallback(option.level, f"{c.failure.error_class}: fallback entry {option.level}")
    return None


def _hidden(c: Case) -> Decision | None:
    if c.spent or not c.standing.started or not any(not candidate.shown for candidate in untried(c)):
        return None
    return hidden(c.options.policy, c.mode, c.options.hidden)


def _exhausted(c: Case) -> Decision | None:
    why = f"{c.failure.error_class}: " + (
        f"{c.standing.attempts} attempts, all that limits.attempts allows" if c.spent else "no way is left"
    )
    match c.options.policy.exhausted:
        case "skip":
            return Skip(why)
        case "suspend" if c.failure.error_class == "quota":
            return Suspend("quota", why, _back_at(c))
        case "fail" if c.options.policy.patient and c.consented and c.failure.error_class == "quota" and _back_at(c):
            return Suspend("quota", why, _back_at(c))
        case "suspend":
            return Suspend("exhausted", why)
        case _:
            return Fail(why)


def _back_at(c: Case) -> int | None:
    """When the one who failed may be asked again, as far as it said."""
    return None if c.failure.retry_after_ms is None else c.now + c.failure.retry_after_ms


ROWS: tuple[Callable[[Case], Decision | None], ...] = (
    _unknown_loss, _lost, _unknown, _cancelled, _repair, _invalid, _next, _round, _fallback, _hidden, _exhausted,
)  # fmt: skip


def decide(failure: Failure, standing: Standing, options: Options, mode: Mode, now: int) -> Decision:
    """The first row that applies. Pure: the jitter is a digest of `standing.seed`."""
    case = Case(failure, standing, options, mode, now)
    for row in ROWS:
        decision = row(case)
        if decision is not None:
            return decision
    raise AssertionError("the last row always applies")


# ---------------------------------------------------------------- the parts that rows share


def untried(c: Case) -> list[Candidate]:
    """Entries of the present chain to which this failure may pass."""
    rule = CLASSES[c.failure.error_class].next if c.failure.error_class in CLASSES else "no"  # type: ignore[index]
    if rule not in ("yes", "larger") or not c.consented:
        return []
    tried = c.standing.failed | {c.standing.label}
    return [
        candidate
        for candidate in c.options.candidates
        if candidate.label not in tried and (rule == "yes" or candidate.larger_context)
    ]


def fits(c: Case, option: FallbackOption) -> bool:
    """Does a fallback entry take this failure? One that names the class does, also for a `once` step: that is the
    consent."""
    if option.errors is not None:
        return c.failure.error_class in option.errors
    rule = CLASSES[c.failure.error_class].next if c.failure.error_class in CLASSES else "no"  # type: ignore[index]
    return rule in ("yes", "larger", "fallback") and c.consented


def hidden(policy: Policy, mode: Mode, veil: Hidden) -> Decision:
    """Entries are left, but none may be tried now. The mode's policy may give up; in `normal` only a circuit hides,
    so it waits."""
    if policy.exhausted == "skip":
        return Skip(veil.reason)
    if policy.exhausted == "fail" and mode != "normal":
        return Fail(veil.reason)
    return Suspend(veil.cause, veil.reason, veil.until)


def delay(policy: Policy, rounds: int, seed: str) -> int:
    """Milliseconds before the next round: delay·backoff^rounds, capped, ± jitter (a digest of the attempt, so the
    same on replay)."""
    retry = policy.retry
    base: float = min(retry.delay * retry.backoff ** min(rounds, 64), retry.max_delay)
    share = int(digest_bytes(seed.encode())[:8], 16) / 0xFFFFFFFF  # 0..1
    return max(0, round(base * (1 + retry.jitter * (2 * share - 1))))
