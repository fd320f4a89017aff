"""Preparing `model` and `agent` steps: what is asked, who may do it as things are now, and what that may cost.

Pure: what holds now comes through `Dispatch`. Not here: the rules of routing (`router`), reuse and the rest of preparing (`prepare`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from runner.core import bind
from runner.core.graph import Body, GraphStep, Json, StepGraph
from runner.core.messages import UNSEEN, Candidate, Go, Hidden, NoCandidate, NodeView, NotNow, Over, Prepared, RunView
from runner.core.rendered import number, positive
from runner.core.roster import Entry, Kind, Roster
from runner.core.router import NEEDS, Outlook, Routed, Verdict, Want, estimate_tokens, route, route_in
from runner.manifest.vocabulary import Effects, Mode
from runner.templating import parse, render, render_tree
from runner.templating.text import to_text

Room = Literal["ready", "full", "opening"]
Unpriced = Literal["allow", "warn", "deny"]

ROUTED = frozenset({"model", "agent"})
"""Verbs whose executor the router chooses."""
ANSWER_TOKENS = 1_000
"""Of an answer that nobody limits, for an estimate."""
UNKNOWN_PRICE = 10
"""Micro-USD a token that a model without a known price is reserved at: an unknown price is never 0."""
JUDGEMENT_TOKENS = 200
"""Of a judgement, for an estimate: a number and a reason."""
AGENT_GUESS = 250_000
"""Micro-USD that an agent's attempt is reserved at while nothing was learned of it and no cap of the step says more."""


class Dispatch(Protocol):
    """Who does `agent` and `model` steps, and with what money."""

    @property
    def roster(self) -> Roster: ...

    @property
    def unpriced(self) -> Unpriced:
        """The operator's word on prices that nobody knows."""
        ...

    def outlook(self, mode: Mode, now: int) -> Outlook:
        """What holds now, in this mode."""
        ...

    def room(self, entry: Entry, now: int) -> Room:
        """Is there a session, and a slot or a place in its rate? `opening` also begins to open it."""
        ...

    def typical(self, entry: Entry) -> int | None:
        """Micro-USD that a success has cost so far; None = not enough is known."""
        ...

    def today(self, now: int) -> str:
        """The day whose budget pays now."""
        ...

    def may_spend(self, attempt: str, amount: int, now: int) -> Literal["yes", "wait", "no"]:
        """Does the day's budget have room? `wait` = it is being asked, or reservations may come back; the lane `DAY` is poked then."""
        ...

    def day_ends(self, now: int) -> int:
        """When the next day begins."""
        ...

    def intended(self, verdict: Verdict, lasts_ms: int | None, now: int) -> None:
        """An attempt by this entry starts."""
        ...

    def unknown_price(self, entry: Entry) -> None:
        """An attempt by an entry without a known price starts, and somebody wants to be warned."""
        ...


DAY = "\0day"
"""The lane of those that wait for the day's budget."""


class Estimate(NamedTuple):
    """What an attempt is expected to use, and may. `limit`: what the executor is told to spend at most."""

    usd: int = 0
    tokens: int = 0
    limit: int | None = None
    known: bool = True


# ---------------------------------------------------------------- what is asked


def asked(body: Body, context: Mapping[str, Json], *, tolerant: bool) -> dict[str, Json]:
    """The inputs of an attempt: prompt, and what else the body says. Raises BindError, TemplateError."""
    given = {key: value for key, value in body.call.items() if key != "cwd"}
    for key in ("prompt", "system"):
        if key in given:
            given[key] = to_text(render(given[key], context, blocks=True, tolerant=tolerant))
    texts = {key: given[key] for key in ("prompt", "system") if key in given}
    inputs = {key: render_tree(value, context, tolerant=tolerant) for key, value in given.items()} | texts
    for key, read in _NUMBERS.items():
        if isinstance(given.get(key), str):
            inputs[key] = read(f"model.{key}", inputs[key])
    return inputs


_NUMBERS: Mapping[str, Callable[[str, Json], Json]] = {
    "max_tokens": positive,
    "temperature": lambda what, value: number(what, value, 0, 2),
}
"""What a template may give, and nobody has looked at yet."""


def names_feedback(body: Body) -> bool:
    """Does its prompt say itself where the feedback goes?"""
    return any(
        ref.root == "feedback"
        for key in ("prompt", "system")
        if isinstance(text := body.call.get(key), str)
        for ref in parse(text, blocks=True).refs
    )


# ---------------------------------------------------------------- who does it


class Way(NamedTuple):
    """A model or agent step that could start now: the way that is tried, what is asked (`inputs`, rendered), and what the worker needs
    besides. `values`: inputs, vars and matrix."""

    run: RunView
    node: NodeView
    body: Body
    values: Mapping[str, Any]
    inputs: dict[str, Json]
    spec: dict[str, Json]
    key: str
    reason: str


class Assigner:
    """Gives each step to an entry of its chain. Without `dispatch` nothing is configured that could do it."""

    def __init__(self, dispatch: Dispatch | None) -> None:
        self._dispatch = dispatch

    def routed(
        self, run: RunView, node: NodeView, body: Body, values: Mapping[str, Any], inputs: Mapping[str, Json] | None, now: int
    ) -> Routed:  # fmt: skip
        """The whole chain with its reasons. `inputs` None = not known yet. Raises BindError, TemplateError."""
        kind: Kind = "agent" if body.verb == "agent" else "model"
        if self._dispatch is None:
            return Routed(kind, trouble=NEEDS[kind])
        own = caps(run.graph, node.step, values, self._dispatch.unpriced)
        prompt = None if inputs is None else str(inputs["prompt"])
        tokens = None if inputs is None or kind == "agent" else _tokens_in(inputs) + int(inputs.get("max_tokens") or 0)
        want = Want(
            kind, bind.route(body, run.mode, values), node.step.labels, prompt, tokens,
            free_only=node.free_only, deny_unpriced=own.unpriced == "deny", tools=bool(body.call.get("allowed_tools")),
        )  # fmt: skip
        usual = bind.route(body, "normal", values)
        return route_in(want, usual, self._dispatch.roster, self._dispatch.outlook(run.mode, now))

    def prepared(self, way: Way, now: int) -> Prepared:
        """An attempt by the first entry that is free, or why there is none now."""
        routed = self.routed(way.run, way.node, way.body, way.values, way.inputs, now)
        picked = routed.pick(way.node.failed)
        if not isinstance(picked, tuple):
            return picked
        assert self._dispatch is not None
        free = _first(
            self._dispatch, [(verdict, verdict.entry) for verdict in picked if verdict.entry is not None], now
        )
        if isinstance(free, NotNow):
            return free
        refused = self.judges(way.run, way.node, way.values, way.spec, now)
        if refused is not None:
            return refused
        inputs = way.inputs if routed.model is None else {**way.inputs, "model": routed.model}
        return self._go(self._dispatch, way._replace(inputs=inputs), *free, now)

    def _go(self, dispatch: Dispatch, way: Way, verdict: Verdict, entry: Entry, now: int) -> Prepared:
        run, node, body = way.run, way.node, way.body
        own = caps(run.graph, node.step, way.values, dispatch.unpriced)
        expected = estimate(entry, way.inputs, own, run, node, dispatch.typical(entry))
        if not expected.known and own.unpriced == "warn":
            dispatch.unknown_price(entry)
        go = Go(
            label=verdict.label,
            lane=entry.lane,
            inputs=way.inputs,
            key=way.key,
            effects=bind.effects(body, way.values) or _EFFECTS[entry.kind],
            estimate=expected.usd,
            timeout_ms=bind.timeout_ms(body, way.values),
            idle_ms=bind.idle_ms(body, way.values),
            spec=way.spec,
            reason=f"{way.reason}: {verdict.reason}",
            claim=bind.claim(node.step, body),
            tokens=expected.tokens,
            limit=expected.limit,
        )
        return self._funded(dispatch, run, node, way.values, go, now)

    def judged(self, run: RunView, node: NodeView, values: Mapping[str, Any], go: Go, now: int) -> Prepared:
        """An attempt that costs nothing itself; its judges (see `judges`) may."""
        if self._dispatch is None or not _has_judges(go.spec):
            return go
        return self._funded(self._dispatch, run, node, values, go, now)

    def _funded(
        self, dispatch: Dispatch, run: RunView, node: NodeView, values: Mapping[str, Any], go: Go, now: int
    ) -> Prepared:
        """`go` with what it and its judges may cost, if the day has room for that."""
        own = caps(run.graph, node.step, values, dispatch.unpriced)
        judging = [judgement(dispatch, said["judge"]) for said in go.spec.get("checks", ()) if said["kind"] == "judge"]
        usd = go.estimate + sum(each.usd for each in judging)
        if usd and not node.step.final:
            match dispatch.may_spend(f"{run.run}/{node.id}/{node.attempt + 1}", usd, now):
                case "wait":
                    return NotNow(DAY)
                case "no":
                    return Over(f"the budget of {dispatch.today(now)} has no room", dispatch.day_ends(now))
        return go._replace(
            estimate=usd,
            tokens=go.tokens + sum(each.tokens for each in judging),
            cap=own.usd,
            token_cap=own.tokens,
            day=dispatch.today(now),
        )

    def own_caps(self, run: RunView, node: NodeView, values: Mapping[str, Any]) -> "Caps":
        """What a `call` may use, its sub-runs included. Raises BindError, TemplateError."""
        return caps(run.graph, node.step, values, "allow" if self._dispatch is None else self._dispatch.unpriced)

    def judging_day(self, spec: Mapping[str, Any], now: int) -> str:
        """The day that pays for the judges of a `call`; "" = it has none. Nothing is reserved for them (see docs/models.md)."""
        if self._dispatch is None or not _has_judges(spec):
            return ""
        return self._dispatch.today(now)

    def judges(
        self, run: RunView, node: NodeView, values: Mapping[str, Any], spec: Mapping[str, Any], now: int
    ) -> Hidden | NoCandidate | None:
        """Put into the checks of `spec` which models may judge; else why none may, before anything is done that they would judge."""
        dispatch = self._dispatch
        for said in spec.get("checks", ()):
            if said["kind"] == "judge":
                if dispatch is None:
                    return NoCandidate("invalid", f"nobody can judge it: {NEEDS['model']}")
                hints = dict(said["judge"]["route"] or {})
                denied = caps(run.graph, node.step, values, dispatch.unpriced).unpriced == "deny"
                want = Want("model", hints, node.step.labels, free_only=node.free_only, deny_unpriced=denied)
                picked = route(want, dispatch.roster, dispatch.outlook(run.mode, now)).pick()
                if not isinstance(picked, tuple):
                    return picked
                said["judge"] = {"prompt": said["judge"]["prompt"], "models": [verdict.label for verdict in picked]}
        return None

    def intended(self, routed: Routed, go: Go, now: int) -> None:
        """A `Go` of ours has become an intent."""
        verdict = routed.verdict(go.label)
        if self._dispatch is not None and verdict is not None:
            self._dispatch.intended(verdict, go.timeout_ms, now)


def _has_judges(spec: Mapping[str, Any]) -> bool:
    checks = spec.get("checks")
    return bool(checks) and any(said["kind"] == "judge" for said in checks or ())


def _first(dispatch: Dispatch, entries: Sequence[tuple[Verdict, Entry]], now: int) -> tuple[Verdict, Entry] | NotNow:
    """The first entry with room. One whose session is still opening is waited for, and those behind it are not opened: the order of
    the chain must not hang on which server starts faster."""
    full: list[str] = []
    for verdict, entry in entries:
        match dispatch.room(entry, now):
            case "ready":
                return verdict, entry
            case "opening":
                return NotNow(entry.lane, tuple(full))
            case _:
                full.append(entry.lane)
    return NotNow(full[0], tuple(full[1:]))


_EFFECTS: Mapping[Kind, Effects] = {"model": "none", "agent": "idempotent"}


def candidates(routed: Routed, node: NodeView) -> tuple[tuple[Candidate, ...], Hidden]:
    """The chain as recovery asks for it, and why what is not shown is not."""
    veil = routed.pick({*node.failed, node.label})
    return routed.candidates(node.label), veil if isinstance(veil, Hidden) else UNSEEN


# ---------------------------------------------------------------- what it may cost


class Caps(NamedTuple):
    """What a step may use: its own budget, and the strictest word on unknown prices."""

    usd: int | None
    tokens: int | None
    unpriced: Unpriced


_STRICT: tuple[Unpriced, ...] = ("allow", "warn", "deny")


def caps(graph: StepGraph, step: GraphStep, values: Mapping[str, Any], operator: Unpriced) -> Caps:
    """Raises BindError, TemplateError."""
    run, own = bind.budget(graph.budget, values), bind.budget(step.budget, values)
    words = [operator, *(budget["unpriced"] for budget in (run, own) if "unpriced" in budget)]
    return Caps(own.get("usd"), own.get("tokens"), max(words, key=_STRICT.index))


def estimate(
    entry: Entry, inputs: Mapping[str, Json], own: Caps, run: RunView, node: NodeView, typical: int | None
) -> Estimate:
    """By the declared price; else what a success has cost so far; else a guess, which no cap is too small for."""
    if entry.kind == "agent":
        return _agent(entry, own, run, node, typical)
    tokens_in, tokens_out = _tokens_in(inputs), int(inputs.get("max_tokens") or ANSWER_TOKENS)
    usd = entry.cost(tokens_in, tokens_out)
    if usd is None:
        guess = (tokens_in + tokens_out) * UNKNOWN_PRICE if typical is None else typical
        return Estimate(_at_most(guess, _left(own, run, node)), tokens_in + tokens_out, known=False)
    return Estimate(usd, tokens_in + tokens_out)


def assumed_judgement(tokens: Mapping[str, int]) -> int:
    """Micro-USD that stand for a question to a judge whose price nobody knows. `tokens`: as far as they were told."""
    return UNKNOWN_PRICE * (sum(tokens.values()) or ANSWER_TOKENS + JUDGEMENT_TOKENS)


def judgement(dispatch: Dispatch, judge: Mapping[str, Any]) -> Estimate:
    """Of one question to the first model that may judge; how long the result is that it reads, nobody knows yet."""
    entry = dispatch.roster.models[judge["models"][0]]
    tokens_in = estimate_tokens(str(judge["prompt"])) + ANSWER_TOKENS
    usd, tokens = entry.cost(tokens_in, JUDGEMENT_TOKENS), tokens_in + JUDGEMENT_TOKENS
    return Estimate(tokens * UNKNOWN_PRICE if usd is None else usd, tokens)


def _agent(entry: Entry, own: Caps, run: RunView, node: NodeView, typical: int | None) -> Estimate:
    if entry.tier in ("free", "local"):
        return Estimate(0, 1)
    left = _left(own, run, node)
    guess = typical if typical is not None else AGENT_GUESS
    return Estimate(_at_most(guess, left), 1, limit=left)


def _left(own: Caps, run: RunView, node: NodeView) -> int | None:
    """Micro-USD that the step's and the tree's budgets have left; None = neither has a cap."""
    owner = node.group or node
    rooms = [run.room, None if own.usd is None else max(0, own.usd - owner.cost)]
    return min((room for room in rooms if room is not None), default=None)


def _at_most(guess: int, left: int | None) -> int:
    """A guess alone suspends nothing; with nothing left it does."""
    return max(1, guess if left is None else min(guess, left))


def _tokens_in(inputs: Mapping[str, Json]) -> int:
    return sum(estimate_tokens(str(inputs[key])) for key in ("prompt", "system") if inputs.get(key))
