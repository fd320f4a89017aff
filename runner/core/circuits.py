"""The circuit of an endpoint or executor, and the cooling of a single model, executor or credential: values in, values out.

A *subject* is what fails on its own: `endpoint:proxy`, `executor:claude-code`, `model:smart`, `credential:proxy`. Endpoints and
executors have a circuit; models, executors and credentials cool. Nothing here calls, stores or decides the system's mode (that is
`modes`); which failures count is read from `recover.CLASSES`.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from runner.core.recover import CLASSES
from runner.digest import digest_bytes

State = Literal["closed", "open", "half_open"]
SignKind = Literal["failed", "answered", "dropped", "probe_failed", "probe_passed", "asked"]
Cause = Literal["rate_limit", "quota", "auth"]

CIRCUIT_MOVES: Mapping[State, Mapping[State, str]] = {
    "closed": {"open": "`failure_threshold` failures inside `window`"},
    "open": {"half_open": "`open_for` is over, or a person asked"},
    "half_open": {
        "open": "a real call failed",
        "closed": "a probe passed, a real call was answered, and both together `recover_after` times",
    },
}
"""Every move of a circuit: from → to → cause. The SQL CHECK agrees."""

URGENT_MS = 200
"""After a refused connection or a failed probe: how soon to probe again while the circuit is still closed."""
QUOTA_MS = 4 * 3_600_000
"""How long a used-up quota cools when nobody said until when."""
AUTH_MS = 600_000
"""How long a refused credential stays disabled, unless another one takes its place: what refused it may have been repaired."""


class Limits(NamedTuple):
    """The numbers of `fault_handler`; milliseconds."""

    failure_threshold: int = 3
    window: int = 60_000
    open_for: int = 30_000
    recover_after: int = 2
    probe_interval: int = 15_000


class Circuit(NamedTuple):
    """What is known of a subject. All moments are Unix milliseconds; `Circuit()` = nothing ever happened."""

    state: State = "closed"
    failures: tuple[int, ...] = ()
    """Moments of the failures inside the window, while closed."""
    opened: int | None = None
    """When it last opened; None while closed."""
    until: int | None = None
    """open: half open from then on. half_open: since then."""
    suspect: bool = False
    """Closed, but the last that was heard is a refused connection or a failed probe."""
    probe_at: int | None = None
    """When a probe is wanted; None = none is."""
    passed: int = 0
    """half_open: probes that passed."""
    answered: int = 0
    """half_open: real calls that were answered."""
    trial_until: int | None = None
    """half_open: a real call is under way, at most until then (whoever makes it may die)."""
    well_since: int | None = None
    """Closed: since when it was half open before that; None = it was never open. Calls from before tell of that time."""
    cool_until: int | None = None
    cause: Cause | None = None
    """Why it cools."""
    credential: str = ""
    """auth: the fingerprint of what was refused; another one lifts the cooling."""
    reason: str = ""
    """Of the last change, for people."""


class Sign(NamedTuple):
    """Something that was learned of a subject. failed: a real call failed in a way that counts. answered: the other side gave any
    answer, a refusal included. dropped: a real call ended and nobody knows how. probe_failed, probe_passed. asked: a person wants
    to know now. `began`: when the call started. `unreached`: no connection could be made, or it was reset."""

    kind: SignKind
    now: int
    reason: str = ""
    began: int | None = None
    unreached: bool = False


# ---------------------------------------------------------------- the table


def _same(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    return c


def _count(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    """One more failure of a closed circuit; the last one that it takes opens it."""
    if sign.began is not None and c.well_since is not None and sign.began < c.well_since:
        return c
    recent = (*(at for at in c.failures if sign.now - at < limits.window), sign.now)
    if len(recent) >= limits.failure_threshold:
        why = f"{len(recent)} failures inside {_seconds(limits.window)}: {sign.reason}"
        return _opened(c, sign.now, limits, why)
    suspect = sign.unreached or sign.kind == "probe_failed"
    probe_at = sign.now + URGENT_MS if sign.kind == "probe_failed" else sign.now if suspect else c.probe_at
    return c._replace(failures=recent, suspect=suspect or c.suspect, probe_at=probe_at, reason=sign.reason)


def _well(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    """A closed circuit heard an answer. Failures stay in the window: one that answers every other call is not well."""
    recent = tuple(at for at in c.failures if sign.now - at < limits.window)
    if recent == c.failures and not c.suspect:
        return c
    return c._replace(failures=recent, suspect=False, probe_at=None)


def _ask(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    return c._replace(state="half_open", until=sign.now, probe_at=sign.now, reason=sign.reason or "asked by a person")


def _ask_again(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    return c._replace(probe_at=sign.now)


def _relapse(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    return c if _stale(c, sign) else _opened(c, sign.now, limits, f"failed again while half open: {sign.reason}")


def _answer(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    if _stale(c, sign):
        return c
    return _closed_if_well(c._replace(answered=c.answered + 1, trial_until=None), limits)


def _drop(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    return c if _stale(c, sign) else c._replace(trial_until=None)


def _pass(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    passed = c._replace(passed=c.passed + 1, probe_at=sign.now + limits.probe_interval, reason="a probe passed")
    return _closed_if_well(passed, limits)


def _miss(c: Circuit, sign: Sign, limits: Limits) -> Circuit:
    """Stays half open: no real call is let through before a probe has passed, so another probe is all it costs."""
    reason = f"a probe failed: {sign.reason}" if sign.reason else "a probe failed"
    return c._replace(passed=0, answered=0, probe_at=sign.now + limits.probe_interval, reason=reason)


Row = Callable[[Circuit, Sign, Limits], Circuit]

TABLE: Mapping[State, Mapping[SignKind, Row]] = {
    "closed": {
        "failed": _count, "answered": _well, "dropped": _same, "probe_failed": _count, "probe_passed": _well, "asked": _same,
    },
    "open": {  # what was under way when it opened says nothing new, and `open_for` is a rest for the other side
        "failed": _same, "answered": _same, "dropped": _same, "probe_failed": _same, "probe_passed": _same, "asked": _ask,
    },
    "half_open": {
        "failed": _relapse, "answered": _answer, "dropped": _drop, "probe_failed": _miss, "probe_passed": _pass,
        "asked": _ask_again,
    },
}  # fmt: skip


def feed(circuit: Circuit, sign: Sign, limits: Limits) -> Circuit:
    """The circuit after a sign; the very same value when it changes nothing (then there is nothing to write)."""
    seen = as_of(circuit, sign.now)
    changed = TABLE[seen.state][sign.kind](seen, sign, limits)
    return circuit if changed == circuit else changed


def as_of(circuit: Circuit, now: int) -> Circuit:
    """Time alone turns an open circuit into a half open one. Nobody needs to write that down."""
    if circuit.state != "open" or circuit.until is None or now < circuit.until:
        return circuit
    return circuit._replace(state="half_open", probe_at=circuit.until)


def _opened(c: Circuit, now: int, limits: Limits, reason: str) -> Circuit:
    until = now + limits.open_for
    return _keep_cool(Circuit("open", opened=now, until=until, probe_at=until, reason=reason), c)


def _closed_if_well(c: Circuit, limits: Limits) -> Circuit:
    if not (c.passed and c.answered and c.passed + c.answered >= limits.recover_after):
        return c
    return _keep_cool(Circuit(well_since=c.until, reason=f"recovered: {c.passed} probes, {c.answered} calls"), c)


def _keep_cool(fresh: Circuit, c: Circuit) -> Circuit:
    return fresh._replace(cool_until=c.cool_until, cause=c.cause, credential=c.credential)


def _stale(c: Circuit, sign: Sign) -> bool:
    """Did the call begin before the circuit was half open? Then it tells of the time before."""
    return sign.began is not None and c.until is not None and sign.began < c.until


# ---------------------------------------------------------------- may it be asked?


class Admission(NamedTuple):
    """`trial`: yes, once; say so with `begin_trial` before the call. `until`: when a no may become a yes by time alone.
    `cause`: why it cools, if it does; after `auth` waiting is no use."""

    answer: Literal["yes", "trial", "no"]
    reason: str = ""
    until: int | None = None
    cause: Cause | None = None


YES = Admission("yes")


def admit(circuit: Circuit, now: int, credential: str = "") -> Admission:
    """May a real call be made now? `credential`: the fingerprint of the one that it would carry."""
    c = as_of(circuit, now)
    if (cooling := _cooling(c, now, credential)) is not None:
        return cooling
    match c.state:
        case "closed":
            return YES
        case "open":
            return Admission("no", f"circuit open ({c.reason})", c.until)
        case _ if c.trial_until is not None and now < c.trial_until:
            return Admission("no", "half open: a trial call is under way")
        case _ if c.passed == 0:
            return Admission("no", "half open: no probe has passed yet")
        case _:
            return Admission("trial", "half open: one real call to see whether it is back")


def _cooling(c: Circuit, now: int, credential: str) -> Admission | None:
    if c.cool_until is None or now >= c.cool_until:
        return None
    if c.cause != "auth":
        return Admission("no", f"cools after {c.cause}", c.cool_until, c.cause)
    if credential != c.credential:
        return None
    return Admission("no", f"its credential was refused ({c.reason})", c.cool_until, c.cause)


def fingerprint(secret: str) -> str:
    """Tells one credential from another: 32 bits of a digest, too few to say what it was."""
    return digest_bytes(f"credential\0{secret}".encode())[:8] if secret else ""


def begin_trial(circuit: Circuit, now: int, lasts: int) -> Circuit:
    """A real call is about to be made, `lasts` milliseconds at most. Write it first: only one process gets the place."""
    c = as_of(circuit, now)
    return c._replace(trial_until=now + lasts) if c.state == "half_open" else circuit


def cool(circuit: Circuit, cause: Cause, until: int, reason: str, credential: str = "") -> Circuit:
    """Not to be asked before `until`. A longer cooling stands, whatever its cause: calls that were under way end later. A refused
    credential always counts anew."""
    if circuit.cool_until is not None and circuit.cool_until >= until and "auth" not in (cause, circuit.cause):
        return circuit
    return circuit._replace(cool_until=until, cause=cause, credential=credential, reason=reason)


def warm(circuit: Circuit) -> Circuit:
    """A person says that it can be asked again (`runner resume`, `runner mode probe`)."""
    return circuit if circuit.cool_until is None else circuit._replace(cool_until=None, cause=None, credential="")


# ---------------------------------------------------------------- what an attempt tells


class CallEnd(NamedTuple):
    """How a real call ended, as far as circuits care. `error_class` "" = succeeded. `hollow`: the answer was empty, or a page of
    HTML. `answered`: somebody was there and said no, whatever the class (a redirect, an unknown model). `lost`: the runner died. `target`: the model or executor; `endpoint`: the model's ("" for an executor)."""

    target: str
    endpoint: str = ""
    error_class: str = ""
    message: str = ""
    began: int | None = None
    retry_after_ms: int | None = None
    hollow: bool = False
    unreached: bool = False
    answered: bool = False
    lost: bool = False
    credential: str = ""

    @property
    def place(self) -> str:
        """The subject that has the circuit."""
        return f"endpoint:{self.endpoint}" if self.endpoint else f"executor:{self.target}"

    @property
    def single(self) -> str:
        """The subject that cools."""
        return f"model:{self.target}" if self.endpoint else f"executor:{self.target}"

    @property
    def key(self) -> str:
        """The subject whose credential is refused."""
        return f"credential:{self.endpoint or self.target}"


Change = Callable[[Circuit], Circuit]


def consequences(end: CallEnd, limits: Limits, now: int) -> Mapping[str, Change]:
    """What a call's end changes: subject → a pure change, to be applied to the newest value (again, when somebody was faster)."""
    changes: dict[str, Change] = {end.place: lambda c: feed(c, sign_of(end, now), limits)}
    until, cause = _cools(end, now)
    if cause is None:
        return changes
    subject = end.key if cause == "auth" else end.single
    before = changes.get(subject, _unchanged)
    changes[subject] = lambda c: cool(before(c), cause, until, end.message, end.credential if cause == "auth" else "")
    return changes


def _unchanged(c: Circuit) -> Circuit:
    return c


def sign_of(end: CallEnd, now: int) -> Sign:
    """The sign that a call's end gives the circuit. Whoever refuses is there: any known answer is one."""
    rule = CLASSES[end.error_class].circuit if end.error_class in CLASSES else "none"  # type: ignore[index]
    kind: SignKind = "answered"
    if end.lost or end.error_class == "cancelled":
        kind = "dropped"
    elif end.answered:
        kind = "answered"
    elif rule == "count" or (rule == "count_empty" and end.hollow):
        kind = "failed"
    reason = f"{end.error_class}: {end.message}" if end.message else end.error_class
    return Sign(kind, now, reason, end.began, end.unreached)


def _cools(end: CallEnd, now: int) -> tuple[int, Cause | None]:
    """Until when, and why. A rate limit without a retry-after cools nothing: the retry's own delay is all there is to go by."""
    if end.lost:
        return 0, None
    match end.error_class:
        case "rate_limit" if end.retry_after_ms is not None:
            return now + end.retry_after_ms, "rate_limit"
        case "quota":
            return now + (QUOTA_MS if end.retry_after_ms is None else end.retry_after_ms), "quota"
        case "auth":
            return now + AUTH_MS, "auth"
        case _:
            return 0, None


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"
