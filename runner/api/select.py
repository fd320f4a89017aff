"""`--select`: which manifests of an apply are meant, and which steps of them. Pure. The grammar is documented in docs/selectors.md.

    SELECT = TERM ("," TERM)*      TERM = ["+"] ATOM ["+"]
    ATOM   = NAME | NAME "/" STEP | "label:" KEY ["=" VALUE] | "state:" STATE | "changed"

A part of a manifest always includes all that its steps wait for: then each step computes what it would compute in a whole run, and
what it does is reused there.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from runner.core.graph import GraphStep, StepGraph
from runner.core.plan import UNFINISHED, Earlier, Plan, choose_action
from runner.digest import digest
from runner.errors import UsageError

STATES = ("new", "pending", "running", "interrupted", "suspended", "succeeded", "failed", "cancelled")
"""What `state:` may name: that of a task's latest run, as `runner status` shows it; `new` = there is none."""

Part = frozenset[str] | None
"""Ids of the steps that may run (`finally` steps always do); None = all of them."""

_NAME = r"(?P<name>[A-Za-z0-9_][A-Za-z0-9_-]*)(?:/(?P<step>[A-Za-z_][A-Za-z0-9_]*))?"
_HINT = "such as NAME, MANIFEST/STEP, STEP+, label:KEY, label:KEY=VALUE, state:failed or changed (docs/selectors.md)"


class Term(NamedTuple):
    """One term. `text` is the name, label key or state; `more` the step or the label's value. `after`: with what comes after."""

    kind: Literal["name", "label", "state", "changed"]
    text: str
    more: str | None = None
    after: bool = False


class Standing(NamedTuple):
    """How a manifest stands: the state of its task's latest run, and whether apply would begin a new one."""

    state: str
    changed: bool


def parse(selections: Iterable[str]) -> tuple[Term, ...]:
    """The terms of all `--select` options. Raises UsageError."""
    return tuple(_term(text.strip()) for selection in selections for text in selection.split(","))


def _term(text: str) -> Term:
    # `+x`: what a step waits for, and what a manifest calls, is always part of it. Saying so is allowed.
    bare = text.removeprefix("+")
    after = bare.endswith("+")
    bare = bare.removesuffix("+")
    kind, colon, rest = bare.partition(":")
    if colon:
        return _qualified(text, kind, rest)._replace(after=after)
    if bare == "changed":
        return Term("changed", "", after=after)
    match = re.fullmatch(_NAME, bare)
    if match is None:
        raise UsageError(f"--select {text!r}: expected a name, label:…, state:… or changed", hint=_HINT)
    return Term("name", match["name"], match["step"], after)


def _qualified(text: str, kind: str, rest: str) -> Term:
    if kind == "label" and rest:
        key, sign, value = rest.partition("=")
        return Term("label", key, value if sign else None)
    if kind == "state" and rest in STATES:
        return Term("state", rest)
    if kind == "state":
        raise UsageError(f"--select {text!r}: no state {rest!r}", hint=f"states: {', '.join(STATES)}")
    raise UsageError(f"--select {text!r}: nothing is selected by {kind!r}", hint=_HINT)


def needs_standing(terms: Iterable[Term]) -> bool:
    """Does the selection depend on how manifests stand?"""
    return any(term.kind in ("state", "changed") for term in terms)


# ---------------------------------------------------------------- what is meant


def choose(
    terms: Sequence[Term],
    graphs: Mapping[str, StepGraph],
    top: Collection[str],
    standing: Mapping[str, Standing],
) -> dict[str, Part]:
    """Manifest name → the part of it that is meant, for those of `top` (the manifests that run by themselves) of which anything is.

    Raises UsageError for a name that nothing has; labels, states and `changed` may mean nothing."""
    found: dict[str, Part] = {}
    for term in terms:
        for name, part in _meant(term, graphs, top, standing).items():
            known = found.get(name, frozenset())
            found[name] = None if part is None or known is None else known | part
    return {name: whole(graphs[name], part) for name, part in found.items() if name in top}


def whole(graph: StepGraph, part: Part) -> Part:
    """None for a part that is all of it."""
    everything = {step.id for step in graph.steps if not step.final}
    return None if part is None or part >= everything else part


def _meant(
    term: Term, graphs: Mapping[str, StepGraph], top: Collection[str], standing: Mapping[str, Standing]
) -> dict[str, Part]:
    if term.kind == "label":
        return _steps(term, graphs, lambda step: _has_label(step, term.text, term.more))
    if term.kind == "name" and (term.more is not None or term.text not in graphs):
        return _named_steps(term, graphs)
    names = _manifests(term, graphs, top, standing)
    return dict.fromkeys([*names, *(callers(graphs, names) if term.after else ())])


def _manifests(
    term: Term, graphs: Mapping[str, StepGraph], top: Collection[str], standing: Mapping[str, Standing]
) -> list[str]:
    if term.kind == "state":
        return [name for name, each in standing.items() if each.state == term.text]
    if term.kind == "changed":
        return [name for name, each in standing.items() if each.changed]
    if term.text not in top and not term.after:
        by = ", ".join(sorted(callers(graphs, [term.text])))
        raise UsageError(f"--select {term.text}: it is run by those that call it: {by}", hint=f"--select {term.text}+")
    return [term.text]


def callers(graphs: Mapping[str, StepGraph], names: Iterable[str]) -> set[str]:
    """The manifests that call one of `names`, however far."""
    reached = set(names)
    found: set[str] = set()
    while True:
        new = {name for name, graph in graphs.items() if reached & set(graph.callees)} - found
        if not new:
            return found
        found |= new
        reached |= new


def _named_steps(term: Term, graphs: Mapping[str, StepGraph]) -> dict[str, Part]:
    if term.more is not None and term.text not in graphs:
        raise UsageError(f"--select: no manifest {term.text!r}", hint=f"manifests: {', '.join(graphs)}")
    chosen = graphs if term.more is None else {term.text: graphs[term.text]}
    id = term.more or term.text
    found = _steps(term, chosen, lambda step: step.id == id)
    if not found:
        known = ", ".join(dict.fromkeys(step.id for graph in chosen.values() for step in graph.steps if not step.final))
        names = f"manifests: {', '.join(graphs)}; " if term.more is None else ""
        raise UsageError(
            f"--select: no manifest or step {id!r} (`finally` steps run in any case)", hint=f"{names}steps: {known}"
        )
    return found


def _steps(term: Term, graphs: Mapping[str, StepGraph], matches: Callable[[GraphStep], bool]) -> dict[str, Part]:
    found: dict[str, Part] = {}
    for name, graph in graphs.items():
        ids = {step.id for step in graph.steps if matches(step) and not step.final}
        if ids:
            found[name] = closed(graph, ids | (readers(graph, ids) if term.after else set()))
    return found


def _has_label(step: GraphStep, key: str, value: str | None) -> bool:
    if key not in step.labels or step.labels[key] is False:
        return False
    own = step.labels[key]
    return value is None or value == (str(own).lower() if isinstance(own, bool) else str(own))


def readers(graph: StepGraph, ids: Collection[str]) -> set[str]:
    """The main steps that wait for one of `ids`, however far."""
    found: set[str] = set()
    reached = set(ids)
    while True:
        new = {step.id for step in graph.steps if not step.final and any(e.to in reached for e in step.edges)} - found
        if not new:
            return found
        found |= new
        reached |= new


def closed(graph: StepGraph, ids: Iterable[str]) -> frozenset[str]:
    """The main steps among `ids`, with all that they wait for."""
    steps = graph.by_id
    found: set[str] = set()
    todo = list(ids)
    while todo:
        step = steps[todo.pop()]
        if step.id not in found and not step.final:
            found.add(step.id)
            todo += [edge.to for edge in step.edges]
    return frozenset(found)


# ---------------------------------------------------------------- what was done before


def fingerprint(files: str, part: Part) -> str:
    """What a run is compared by, besides its manifest and inputs: the contents of its `files`, and the part that it may run."""
    return files if part is None else f"{files}+{digest(sorted(part))}"


def action(graph: StepGraph, files: str, part: Part, earlier: Earlier | None, *, force: bool) -> Plan:
    """The action for a manifest of which a part is meant (or all of it), when its latest run may have done only a part.

    A run stays what it began as. Raises UsageError when a part would have to end an unfinished run that is about more than that."""
    wanted = fingerprint(files, part)
    same = earlier is None or earlier.fingerprint.partition("+")[2] == wanted.partition("+")[2]
    if earlier is None or same:
        return _told(choose_action(graph, wanted, earlier, force=force), part)
    partial = "+" in earlier.fingerprint
    if not partial and choose_action(graph, files, earlier, force=force).action == "unchanged":
        return choose_action(graph, files, earlier)
    unfinished = earlier.state in UNFINISHED - {"pending"}
    if part is not None and unfinished:
        raise UsageError(
            f"{graph.name}: run {earlier.run} is not finished, and it is about other steps than --select",
            hint=f"runner resume {earlier.run} goes on with it, runner cancel {earlier.run} ends it",
        )
    reason = f"run {earlier.run} was about a part of the steps" if part is None else _only(part)
    stale = (earlier.run,) if earlier.state in UNFINISHED else ()
    return Plan(graph.name, graph.file, "update", reason, supersedes=stale)


def _told(plan: Plan, part: Part) -> Plan:
    """A new run says what it is about."""
    if part is None or plan.action not in ("create", "update"):
        return plan
    return plan._replace(reason=f"{plan.reason}; {_only(part)}")


def _only(part: frozenset[str]) -> str:
    names = sorted(part)
    return f"only {', '.join(names[:6])}{', …' if len(names) > 6 else ''}"
