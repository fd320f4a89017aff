"""Who does an `agent` or `model` step: the chain, and for every entry of it why it is taken, hidden for now, or refused.

Pure: config (`Roster`), the step (`Want`) and what holds now (`Outlook`) are arguments. What happens after a failure is `recover`;
which slots are free is the caller's affair.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from runner import spelling
from runner.core.circuits import Admission, Cause, Circuit, admit
from runner.core.graph import Body, Json
from runner.core.learning import Rank
from runner.core.messages import Candidate, Hidden, NoCandidate
from runner.core.policy import OperatorPolicy
from runner.core.roster import Entry, Kind, Roster, Rule
from runner.manifest.vocabulary import Mode
from runner.patterns import PATIENCE, TooSlow, found

Stand = Literal["taken", "trial", "hidden", "refused"]
"""trial: taken, as the one real call that a half open circuit lets through. hidden: not now. refused: never as things are."""

BYTES_PER_TOKEN = 4
"""Of a prompt, roughly: more for other scripts than Latin, so an estimate is rather too low, and refuses nothing wrongly."""


# ---------------------------------------------------------------- what is asked


class Want(NamedTuple):
    """A step, as the router sees it. `hints`: its `route` in this mode (see `bind.route`). `prompt` None = not known yet (a plan).
    `tokens`: prompt and answer together, about; None = unknown. `free_only`: the budget has room for what is free only."""

    kind: Kind
    hints: Mapping[str, Json] = {}
    labels: Mapping[str, Json] = {}
    prompt: str | None = None
    tokens: int | None = None
    free_only: bool = False
    deny_unpriced: bool = False
    """`unpriced: deny`: a paid model must have a declared price."""
    tools: bool = False
    """The step names the tools that its agent may use."""


class Outlook(NamedTuple):
    """What holds now. `circuits`: by subject. `credentials`: fingerprint by endpoint or executor. `missing`: what an endpoint or
    executor still needs, in words, such as `LITELLM_PROXY_API_KEY is not set`.
    `ranks`: what was learned, see `learning`."""

    now: int
    mode: Mode = "normal"
    pinned: bool = False
    circuits: Mapping[str, Circuit] = {}
    credentials: Mapping[str, str] = {}
    missing: Mapping[str, str] = {}
    policy: OperatorPolicy = OperatorPolicy()
    ranks: Mapping[tuple[Kind, str], Mapping[str, Rank]] = {}
    """By (kind, word of `prefer`)."""


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


# ---------------------------------------------------------------- the answer


class Verdict(NamedTuple):
    """One entry of the chain. `until`: when a hidden one may be seen again (Unix milliseconds), if that is known."""

    label: str
    stand: Stand
    reason: str
    until: int | None = None
    entry: Entry | None = None
    """None = config has no such entry."""
    cause: Cause | None = None
    """Why it cools, when that is what hides it (`auth`: refuses it)."""

    @property
    def shown(self) -> bool:
        return self.stand in ("taken", "trial")


class Routed(NamedTuple):
    """The whole chain in its order. `source`: where it came from. `trouble`: why there is no chain at all. `model`: what an agent is
    asked to use. `notes`: what could not be judged yet."""

    kind: Kind
    verdicts: tuple[Verdict, ...] = ()
    source: str = ""
    trouble: str = ""
    model: str | None = None
    notes: tuple[str, ...] = ()

    def verdict(self, label: str) -> Verdict | None:
        return next((verdict for verdict in self.verdicts if verdict.label == label), None)

    def pick(self, failed: Collection[str] = ()) -> tuple[Verdict, ...] | Hidden | NoCandidate:
        """The entries that may start now, in order: whoever asks takes the first one with a free slot. Else why there is none.
        `failed`: entries that failed in this round already."""
        left = [verdict for verdict in self.verdicts if verdict.label not in failed]
        shown = tuple(verdict for verdict in left if verdict.shown)
        if shown:
            return shown
        hidden = [verdict for verdict in left if verdict.stand == "hidden"]
        if hidden:
            return Hidden(_listed(hidden), self.wake_at(failed), self.suspension(failed))
        return self._nobody(left)

    def wake_at(self, failed: Collection[str] = ()) -> int | None:
        """When the first hidden entry may be seen again by time alone."""
        moments = [v.until for v in self.verdicts if v.stand == "hidden" and v.label not in failed]
        return min((moment for moment in moments if moment is not None), default=None)

    def suspension(self, failed: Collection[str] = ()) -> Literal["mode", "quota"]:
        """What a step waits for when `pick` says Hidden: `quota` when nothing else stands in the way."""
        hidden = [v.cause for v in self.verdicts if v.stand == "hidden" and v.label not in failed]
        return "quota" if hidden and all(cause == "quota" for cause in hidden) else "mode"

    def candidates(self, failed: str = "") -> tuple[Candidate, ...]:
        """The chain as `recover` asks for it, what is refused left out. `failed`: the entry whose attempt has just failed; larger
        contexts are larger than its."""
        lost = self.verdict(failed)
        limit = lost.entry.context if lost is not None and lost.entry is not None else None
        return tuple(
            Candidate(verdict.label, verdict.shown, _is_larger(verdict.entry, limit), verdict.reason)
            for verdict in self.verdicts
            if verdict.stand != "refused" or verdict.label == failed
        )

    def _nobody(self, left: Sequence[Verdict]) -> NoCandidate:
        if self.trouble:
            return NoCandidate("invalid", self.trouble)
        if not left:
            return NoCandidate("unavailable", f"every {_NOUN[self.kind]} of the chain has failed already")
        error_class = "unavailable" if any(verdict.cause == "auth" for verdict in left) else "invalid"
        return NoCandidate(error_class, f"no {_NOUN[self.kind]} can do this: {_listed(left)}")


_NOUN: Mapping[Kind, str] = {"agent": "agent executor", "model": "model"}
_PLACE: Mapping[Kind, str] = {"agent": "mcp_servers", "model": "models.catalog"}
NEEDS: Mapping[Kind, str] = {
    "model": "needs a model endpoint, which is not configured",
    "agent": "needs an agent executor, which is not configured",
}


def _listed(verdicts: Sequence[Verdict]) -> str:
    """Each reason once, behind those that it is true of."""
    reasons: dict[str, list[str]] = {}
    for verdict in verdicts:
        reasons.setdefault(verdict.reason, []).append(verdict.label)
    return "; ".join(f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items())


def _is_larger(entry: Entry | None, limit: int | None) -> bool:
    """A context that nobody declared may be larger."""
    return entry is None or entry.context is None or limit is None or entry.context > limit


# ---------------------------------------------------------------- routing


def route(want: Want, roster: Roster, outlook: Outlook) -> Routed:
    """Every candidate of a step, each with its reason."""
    notes: list[str] = []
    chain = _chain(want, roster, notes)
    model = next(iter(want.hints.get("models", ())), None) if want.kind == "agent" else None
    if isinstance(chain, str):
        return Routed(want.kind, trouble=chain, model=model, notes=tuple(notes))
    known = roster.of(want.kind)
    ordered = chain.names if chain.given else _ordered(want, roster, outlook, chain.names)
    ranks = {} if chain.given else _ranks(want, roster, outlook)
    verdicts = []
    for place, name in enumerate(ordered, start=1):
        learned = f" ({ranks[name].text})" if name in ranks else ""
        reason = f"{chain.source}, {place} of {len(ordered)}{learned}"
        verdicts.append(_verdict(name, known, want, outlook, reason))
    return Routed(want.kind, tuple(verdicts), chain.source, model=model, notes=tuple(notes))


def route_in(want: Want, usual: Mapping[str, Json], roster: Roster, outlook: Outlook) -> Routed:
    """As `route`, for a step whose `usual` hints are those of the normal mode. When the hints of another mode leave nobody and the usual
    ones do leave somebody, it is the mode that stands in the way: they are hidden, and the step waits for a better one."""
    found = route(want, roster, outlook)
    if want.hints == usual or any(verdict.stand != "refused" for verdict in found.verdicts):
        return found
    normal = route(want._replace(hints=usual), roster, outlook._replace(mode="normal", pinned=False))
    able = {verdict.label: verdict for verdict in normal.verdicts if verdict.stand != "refused"}
    if not able:
        return found
    why = {verdict.label: verdict.reason for verdict in found.verdicts}
    hidden = tuple(
        verdict._replace(
            stand="hidden",
            reason=f"mode {outlook.mode}: {why.get(label, 'asks others')}",
            until=None,
            cause=None,
        )
        for label, verdict in able.items()
    )
    rest = tuple(verdict for verdict in found.verdicts if verdict.label not in able)
    return found._replace(verdicts=(*rest, *hidden), trouble="", source=found.source or normal.source)


class _Chain(NamedTuple):
    names: tuple[str, ...]
    source: str
    given: bool = True
    """False: nobody gave a chain, so tier and `prefer` order it."""


def _chain(want: Want, roster: Roster, notes: list[str]) -> _Chain | str:
    """The step's, else the first matching rule's, else the router's, else everybody. A text = why there is none."""
    known = roster.of(want.kind)
    own = want.hints.get("executors" if want.kind == "agent" else "models")
    if own is not None:
        return _named(tuple(own), roster, want.kind, "the step's chain")
    for place, rule in enumerate(roster.rules, start=1):
        names = rule.executors if want.kind == "agent" else rule.models
        if names is not None and _matches(rule, want, f"rule {place}", notes):
            return _named(names, roster, want.kind, f"rule {place}")
    default = roster.default_agents if want.kind == "agent" else roster.default_models
    if default:
        return _named(default, roster, want.kind, "router.agents" if want.kind == "agent" else "router.models")
    return _Chain(tuple(known), f"all {_NOUN[want.kind]}s", given=False) if known else NEEDS[want.kind]


def _named(names: tuple[str, ...], roster: Roster, kind: Kind, source: str) -> _Chain | str:
    """Names of entries; for models one word may be the name of a chain."""
    if kind == "model" and len(names) == 1 and names[0] in roster.chains:
        source = f"{source} `{names[0]}`"
        names = roster.chains[names[0]]
    if not names:
        return f"{source} is empty: name at least one {_NOUN[kind]}"
    known = roster.of(kind)
    if not any(name in known for name in names):
        return "; ".join(_unknown(name, roster, kind, alone=len(names) == 1) for name in names)
    return _Chain(tuple(dict.fromkeys(names)), source)


def _unknown(name: str, roster: Roster, kind: Kind, *, alone: bool) -> str:
    """`needs model x, which …`: what is missing, and what may have been meant."""
    known = sorted({*roster.of(kind), *(roster.chains if kind == "model" and alone else ())})
    near = spelling.near(name, known)
    meant = f"; did you mean {near}?" if near else ""
    noun = "model or chain" if kind == "model" and alone else _NOUN[kind]
    return f"needs {noun} {name}, which is not configured ({_PLACE[kind]}){meant}"


def _matches(rule: Rule, want: Want, place: str, notes: list[str]) -> bool:
    labels = all(
        key in want.labels and type(want.labels[key]) is type(value) and want.labels[key] == value
        for key, value in rule.labels.items()
    )
    if not labels or not rule.requires <= set(want.hints.get("requires", ())):
        return False
    if rule.prompt is None:
        return True
    if want.prompt is None:
        notes.append(f"{place} depends on the prompt, which is not known yet")
        return False
    try:
        with PATIENCE.within(_A_RULE_S):
            return found(rule.prompt, want.prompt)
    except TooSlow as slow:  # the prompt may be a stranger's text
        notes.append(f"{place} is passed over: {slow}")
        return False


_A_RULE_S = 0.2
"""The longest that a rule's pattern is looked for in a prompt."""

_TIERS: Mapping[str, Mapping[str | None, int]] = {
    "free_first": {"free": 0, "local": 1, "paid": 2, None: 2},
    "free_only": {"free": 0, "local": 1, "paid": 2, None: 2},
    "paid_first": {"paid": 0, None: 0, "free": 1, "local": 2},
    "any": {},
}


def _ordered(want: Want, roster: Roster, outlook: Outlook, names: tuple[str, ...]) -> tuple[str, ...]:
    """By tier, then by what is preferred, then as declared."""
    known, tiers = roster.of(want.kind), _TIERS[want.hints.get("tier", "free_first")]
    ranks = _ranks(want, roster, outlook)

    def key(name: str) -> tuple[int, float]:
        return tiers.get(known[name].tier, 0), ranks[name].value if name in ranks else 0.0

    return tuple(sorted(names, key=key))


def _ranks(want: Want, roster: Roster, outlook: Outlook) -> Mapping[str, Rank]:
    return outlook.ranks.get((want.kind, want.hints.get("prefer", roster.prefer)), {})


# ---------------------------------------------------------------- one entry


def _verdict(name: str, known: Mapping[str, Entry], want: Want, outlook: Outlook, reason: str) -> Verdict:
    entry = known.get(name)
    if entry is None:
        return Verdict(name, "refused", f"not configured ({_PLACE[want.kind]})")
    for refuses in FILTERS:
        why = refuses(entry, want, outlook)
        if why is not None:
            return Verdict(name, "refused", why, entry=entry)
    return _sight(entry, outlook, reason)


def _lacks(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    lacking = [word for word in want.hints.get("requires", ()) if word not in entry.capabilities]
    return f"lacks the capability {', '.join(lacking)}" if lacking else None


def _is_far(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    return "is not local" if want.hints.get("locality") == "local" and not entry.local else None


def _costs(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    if entry.tier in ("free", "local") or not (want.free_only or want.hints.get("tier") == "free_only"):
        return None
    why = "only what is free may be used" if want.hints.get("tier") == "free_only" else "the budget is used up"
    return f"{why}, and its tier is {entry.tier or 'unknown'}"


def _is_unpriced(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    """Agents bill by themselves, so there is no price to declare."""
    if not want.deny_unpriced or entry.kind == "agent" or entry.cost(1, 1) is not None:
        return None
    return "its price is unknown, and the budget denies that (unpriced: deny)"


def _is_small(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    if entry.context is None or want.tokens is None or want.tokens <= entry.context:
        return None
    return f"the prompt needs about {want.tokens} tokens, its context holds {entry.context}"


def _exceeds(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    return "cannot keep to `allowed_tools`" if want.tools and not entry.keeps_tools else None


def _is_denied(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    if entry.kind == "model":
        return None  # the operator's policy is about tools and commands; a model has neither
    return outlook.policy.refusal(Body("tool", {"server": entry.name, "tool": entry.tool}))


def _is_incomplete(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    missing = outlook.missing.get(entry.holder)
    return None if missing is None else f"needs {missing}"


def _is_spare(entry: Entry, want: Want, outlook: Outlook) -> str | None:
    if entry.backup and outlook.mode == "normal":
        return "a backup, which is asked only in degraded mode"
    return None


Filter = Callable[[Entry, Want, Outlook], str | None]

FILTERS: tuple[Filter, ...] = (
    _lacks, _is_far, _costs, _is_unpriced, _is_small, _exceeds, _is_denied, _is_incomplete, _is_spare,
)  # fmt: skip
"""What refuses an entry whatever its circuit says, the first reason counts."""


def _sight(entry: Entry, outlook: Outlook, reason: str) -> Verdict:
    """May it be asked now, as far as credential, mode, cooling and circuit go?"""
    credential = outlook.credentials.get(entry.holder, "")
    subjects = dict.fromkeys((f"credential:{entry.holder}", entry.single, entry.place))
    answers = [admit(outlook.circuits.get(subject, Circuit()), outlook.now, credential) for subject in subjects]
    refused = next((answer for answer in answers if answer.cause == "auth"), None)
    if refused is not None:
        return Verdict(entry.name, "refused", refused.reason, refused.until, entry, refused.cause)
    no = next((answer for answer in answers if answer.answer == "no"), None)
    trial = no is None and any(answer.answer == "trial" for answer in answers)
    veiled = _veiled(entry, outlook, trial)
    if veiled is not None:
        return Verdict(entry.name, "hidden", veiled if no is None else f"{veiled}; {no.reason}", None, entry)
    if no is not None:
        return Verdict(entry.name, "hidden", no.reason, no.until, entry, no.cause)
    stand: Stand = "trial" if trial else "taken"
    return Verdict(entry.name, stand, f"{reason}; {_reason(answers)}" if trial else reason, entry=entry)


def _reason(answers: Sequence[Admission]) -> str:
    return next(answer.reason for answer in answers if answer.answer == "trial")


def _veiled(entry: Entry, outlook: Outlook, trial: bool) -> str | None:
    """What the mode hides. The trial call of a half open endpoint passes: without it no mode could ever recover."""
    if trial and entry.kind == "model" and not outlook.pinned:
        return None
    if outlook.mode == "brainstem" and not entry.local:
        return "mode brainstem: only local work"
    if outlook.mode == "degraded" and entry.lead and not entry.local:
        return f"mode degraded: {entry.endpoint} has not recovered"
    return None
