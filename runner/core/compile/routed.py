"""The check that asks the router itself: can anybody that config defines do this step at all?

What only a run can know (circuits, keys, the mode that holds) is left out, and so is whatever a template computes: what is reported here
fails on every machine with this config.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runner.core.compile.state import Compiling, Draft, Where
from runner.core.graph import Body, GraphStep, Json, StepGraph
from runner.core.messages import NoCandidate
from runner.core.policy import OperatorPolicy
from runner.core.roster import Kind, Roster
from runner.core.router import Outlook, Routed, Want, estimate_tokens, route, route_in
from runner.diagnostics.model import Loc
from runner.manifest.vocabulary import MODES, Mode
from runner.templating import has_template

_KINDS: Mapping[str, Kind] = {"agent": "agent", "model": "model"}
_CHAIN: Mapping[Kind, str] = {"agent": "executors", "model": "models"}


def check_routes(c: Compiling, graph: StepGraph) -> None:
    """Judge every way and every judge of every step, as the graph has them in the end."""
    roster = c.facts.roster
    if roster is None:
        return
    policy = OperatorPolicy(c.facts.allow_tools, c.facts.deny_tools, c.facts.run_allowed)
    for step in graph.steps:
        draft = c.drafts[step.id]
        for level, body in enumerate(step.bodies):
            loc: Loc = draft.loc if level == 0 else (*draft.loc, "fallback", level - 1)
            for mode in _modes(draft):
                _check(c, roster, Outlook(0, mode, policy=policy), step, body, loc)
            for place, judge in _judges(body):
                _check(c, roster, Outlook(0, policy=policy), step, judge, (*loc, *place))


def _modes(draft: Draft) -> Iterator[Mode]:
    """The normal one, and those that the step itself gives a route of their own."""
    faults = draft.raw.get("faults") or {}
    return (mode for mode in MODES if mode == "normal" or (faults.get(mode) or {}).get("route"))


def _judges(body: Body) -> Iterator[tuple[Loc, Body]]:
    for index, check in enumerate(body.checks):
        if check.kind == "judge":
            hints = check.spec["judge"].get("route") or {}
            yield ("checks", index, "judge"), Body("model", {"prompt": ""}, {"normal": hints})


def _check(c: Compiling, roster: Roster, outlook: Outlook, step: GraphStep, body: Body, loc: Loc) -> None:
    want = _want(step, body, outlook.mode)
    if want is None or not roster.of(want.kind):
        return  # nothing can be said yet, or "config defines no model" was
    usual = body.route.get("normal", {})
    routed = route_in(want, usual, roster, outlook) if not has_template(dict(usual)) else route(want, roster, outlook)
    nobody = routed.pick()
    if not isinstance(nobody, NoCandidate) or routed.notes or _names_nobody(want, roster):
        return
    mode = "" if outlook.mode == "normal" else f"in mode {outlook.mode} "
    where = _place(c, loc, want, routed)
    c.report("no-candidate", Where(where), f"{mode}{nobody.message}", _fix(want, roster, outlook))


def _want(step: GraphStep, body: Body, mode: Mode) -> Want | None:
    """What the router is asked; None when templates keep it open."""
    kind, hints = _KINDS.get(body.verb), body.route.get(mode, {})
    if kind is None or has_template(dict(hints)):
        return None
    texts = [str(body.call.get(key) or "") for key in ("prompt", "system")]
    known = not any(map(has_template, texts))
    answer = body.call.get("max_tokens")
    tokens = sum(map(estimate_tokens, texts)) + (answer if isinstance(answer, int) else 0)
    listed = {
        key: _list(value) if key in ("requires", "models", "executors") else value for key, value in hints.items()
    }
    tokens_known = tokens if known and kind == "model" else None
    tools = bool(body.call.get("allowed_tools"))
    return Want(kind, listed, step.labels, texts[0] if known else None, tokens_known, tools=tools)


def _names_nobody(want: Want, roster: Roster) -> bool:
    """Does the step name only what config does not define? That is reported where it stands (`not-configured`)."""
    own = want.hints.get(_CHAIN[want.kind])
    known = {*roster.of(want.kind), *(roster.chains if want.kind == "model" else ())}
    return own is not None and bool(own) and known.isdisjoint(own)


def _place(c: Compiling, loc: Loc, want: Want, routed: Routed) -> Loc:
    """The hint that leaves nobody, as far as the step itself has it; else the step's verb."""
    raw = _raw(c, loc)
    own = raw.get("route") if isinstance(raw, Mapping) else None
    if not isinstance(own, Mapping):
        return loc if "judge" in loc[-1:] else (*loc, want.kind)
    reasons = [verdict.reason for verdict in routed.verdicts]
    for key, words in (
        ("requires", "lacks the capability"),
        ("locality", "is not local"),
        ("tier", "only what is free"),
    ):
        if key in own and any(words in reason for reason in reasons):
            return (*loc, "route", key)
    return (*loc, "route", _CHAIN[want.kind]) if _CHAIN[want.kind] in own else (*loc, "route")


def _raw(c: Compiling, loc: Loc) -> Json:
    value: Json = c.data
    for key in loc:
        value = value[key]
    return value


def _fix(want: Want, roster: Roster, outlook: Outlook) -> str | None:
    """Who could, had the chain let them."""
    everybody = want._replace(hints={**want.hints, _CHAIN[want.kind]: list(roster.of(want.kind))})
    able = [verdict.label for verdict in route(everybody, roster, outlook).verdicts if verdict.shown]
    return (
        f"{' or '.join(f'`{name}`' for name in able[:3])} could: name it in route.{_CHAIN[want.kind]}" if able else None
    )


def _list(words: Json) -> Sequence[str]:
    return [words] if isinstance(words, str) else list(words or ())
