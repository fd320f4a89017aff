"""What apply would do and why, as a value. Pure: it asks the same `Preparer` as the kernel, with a world that starts nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from runner.core.graph import GraphStep, Json, StepGraph
from runner.core.messages import (
    Broken,
    CallRun,
    Computed,
    Expand,
    Hidden,
    Item,
    NoCandidate,
    Prepared,
    Reuse,
    Skip,
    Stored,
)
from runner.core.prepare import LOCAL, NEVER_REUSED, NOT_SELECTED, Preparer
from runner.core.prices import Price
from runner.core.recover import Fail, hidden
from runner.core.recover import Skip as SkipDecision
from runner.core.rendered import BindError
from runner.core.states import GOOD, SETTLED, stands
from runner.manifest.vocabulary import Mode
from runner.templating import TemplateError

Action = Literal["create", "update", "resume", "unchanged", "callable"]
Route = Callable[[], "tuple[RouteChoice, ...]"]
StepAction = Literal["run", "reuse", "resume", "skip", "unknown"]


class RouteChoice(NamedTuple):
    """One candidate: taken, or why not."""

    target: str
    taken: bool
    reason: str


class PlannedStep(NamedTuple):
    """What would happen to one step."""

    id: str
    verb: str
    action: StepAction
    reason: str
    route: tuple[RouteChoice, ...] = ()
    items: int | None = None
    """How many items of it would run; None = it has none, or they are not known yet."""
    price: Price | None = None
    """What that may cost; None = it can cost nothing."""


class Plan(NamedTuple):
    """What apply would do with one manifest. `run` is the run that would go on, or that stands as unchanged."""

    name: str
    file: str
    action: Action
    reason: str
    steps: tuple[PlannedStep, ...] = ()
    run: str | None = None
    supersedes: tuple[str, ...] = ()
    price: Price | None = None
    """What it may cost; None = nothing in it can."""


class Earlier(NamedTuple):
    """The newest run of the same task, and what has changed since."""

    run: str
    state: str
    manifest: str
    fingerprint: str
    owner_alive: bool = False
    changed_product: str | None = None
    """A saved file that is gone or was edited."""


UNFINISHED = frozenset({"pending", "running", "suspended"})
RESUMABLE = UNFINISHED | {"failed", "cancelled"}


def choose_action(graph: StepGraph, fingerprint: str, earlier: Earlier | None, *, force: bool = False) -> Plan:
    """The action for a manifest, without its steps."""
    plan = Plan(graph.name, graph.file, "create", "no earlier run of this task")
    if earlier is None:
        return plan
    stale = (earlier.run,) if earlier.state in UNFINISHED else ()
    if force:
        return plan._replace(action="update", reason="--force: nothing is reused", supersedes=stale)
    if change := _change(graph, fingerprint, earlier):
        return plan._replace(action="update", reason=change, supersedes=stale)
    if earlier.state == "succeeded":
        if earlier.changed_product is not None:
            return plan._replace(action="update", reason=f"{earlier.changed_product} is gone or was changed")
        return plan._replace(action="unchanged", reason=f"run {earlier.run} succeeded", run=earlier.run)
    if earlier.state == "pending":  # its runner died before anything was recorded of it
        return plan._replace(reason=f"run {earlier.run} never began", supersedes=stale)
    if earlier.state in RESUMABLE:
        return plan._replace(action="resume", reason=_resume_reason(earlier), run=earlier.run)
    return plan._replace(action="update", reason=f"run {earlier.run} {stands(earlier.state)}")


def _change(graph: StepGraph, fingerprint: str, earlier: Earlier) -> str | None:
    if earlier.manifest != graph.digest:
        return "the manifest changed"
    if earlier.fingerprint != fingerprint and earlier.state == "succeeded":
        return "the contents of `files` changed"
    return None


def _resume_reason(earlier: Earlier) -> str:
    if earlier.state == "running" and not earlier.owner_alive:
        return f"run {earlier.run} was interrupted"
    if earlier.state == "running":
        return f"run {earlier.run} is at work in another runner; apply would be told busy"
    return f"run {earlier.run} {stands(earlier.state)}"


# ---------------------------------------------------------------- steps


@dataclass(slots=True, eq=False)
class PlanNode:
    """A node as `Preparer` reads it."""

    id: str
    step: GraphStep
    state: str = "pending"
    attempt: int = 0
    level: int = 0
    failed: set[str] = field(default_factory=set)
    repair: int = 0
    result: Stored | None = None
    previous: Stored | None = None
    feedback: str | None = None
    error: Mapping[str, Json] | None = None
    session: str | None = None
    child: str | None = None
    label: str = ""
    executor: str = ""
    model: str = ""
    key: str | None = None
    producer: str = ""
    index: int = 0
    item: Item | None = None
    cost: int = 0
    free_only: bool = False
    approved: bool = False
    items: "list[PlanNode] | None" = None
    group: "PlanNode | None" = None


@dataclass(slots=True, eq=False, weakref_slot=True)
class PlanRun:
    """A run that does not happen."""

    graph: StepGraph
    inputs: Mapping[str, Json]
    mode: Mode
    nodes: dict[str, PlanNode]
    refresh: Any = None
    selected: Any = None
    run: str = "plan"
    state: str = "running"
    verdict: str | None = None
    spent: int = 0
    room: int | None = None
    size: int = 0
    """Steps and items so far."""
    looked_at: int = 0
    """Items of fan-outs so far."""


WOULD_FAIL = "would fail"
"""How the reason of a step begins that could not start."""
MOST_LOOKED_AT = 50_000
"""Items that a plan looks at one by one, over all fan-outs: each costs as much as a step."""


def plan_steps(
    graph: StepGraph,
    inputs: Mapping[str, Json],
    preparer: Preparer,
    *,
    now: int,
    mode: Mode = "normal",
    recorded: Mapping[str, PlanNode] | None = None,
    refresh: Any = None,
    selected: Any = None,
) -> tuple[PlannedStep, ...]:
    """One `PlannedStep` a step, in the manifest's order. `recorded`: nodes of the run that would be resumed."""
    run = PlanRun(graph, inputs, mode, {s.id: PlanNode(s.id, s) for s in graph.steps}, refresh, selected)
    run.nodes.update(recorded or {})
    run.size = len(run.nodes) + sum(len(node.items or ()) for node in run.nodes.values())
    planned = {step.id: _plan_step(run, step, preparer, now) for step in in_order(graph.steps)}
    return tuple(planned[step.id] for step in graph.steps)


def in_order(steps: Sequence[GraphStep]) -> Iterable[GraphStep]:
    """Steps after everything that they read, otherwise as written; `finally` last."""
    waits = {step.id: {edge.to for edge in step.edges} for step in steps}
    readers: dict[str, list[str]] = {}
    for step in steps:
        for to in waits[step.id]:
            readers.setdefault(to, []).append(step.id)
    by_id = {step.id: step for step in steps}
    ready = [step.id for step in steps if not waits[step.id] and not step.final]
    ready += [step.id for step in steps if not waits[step.id] and step.final]
    for id in ready:
        yield by_id[id]
        for reader in readers.get(id, ()):
            waits[reader].discard(id)
            if not waits[reader]:
                ready.append(reader)


def _plan_step(run: PlanRun, step: GraphStep, preparer: Preparer, now: int) -> PlannedStep:
    node = run.nodes[step.id]

    def route() -> tuple[RouteChoice, ...]:
        return _route(run, node, step, preparer, now)

    if node.state in GOOD and not step.final:
        return PlannedStep(step.id, step.verb, "reuse", "succeeded in this run")
    if node.state in ("suspended", "waiting", "running"):
        return PlannedStep(step.id, step.verb, "resume", f"is {node.state}", route())
    node.state = "pending"
    if step.final:
        return PlannedStep(step.id, step.verb, "run", "finally", route())
    if run.selected is not None and step.id not in run.selected:
        node.state = "skipped"
        return PlannedStep(step.id, step.verb, "skip", NOT_SELECTED)
    if early := _from_dependencies(run, step, route):
        return early
    prepared = preparer.prepare(run, node, now)
    return _planned(run, node, step, prepared, preparer, now)


def _from_dependencies(run: PlanRun, step: GraphStep, route: Route) -> PlannedStep | None:
    strict = [edge for edge in step.edges if edge.kind == "data"]
    for edge in strict:
        if run.nodes[edge.to].state == "skipped":
            run.nodes[step.id].state = "skipped"
            return PlannedStep(step.id, step.verb, "skip", f"reads {edge.to}, which is skipped")
    unsettled = [edge.to for edge in step.edges if run.nodes[edge.to].state not in SETTLED]
    if not unsettled:
        return None
    run.nodes[step.id].state = "unknown"
    which = ", ".join(dict.fromkeys(unsettled))
    data = any(edge.to in unsettled and edge.kind != "order" for edge in step.edges)
    if step.when is not None and data:
        return PlannedStep(step.id, step.verb, "unknown", f"depends on the result of {which}", route())
    reusable = data and step.verb not in NEVER_REUSED and not step.volatile and step.reuse != "never"
    reason = f"reads {which}: reused if that ends as before" if reusable else f"runs after {which}"
    return PlannedStep(step.id, step.verb, "run", reason, route())


def _planned(
    run: PlanRun, node: PlanNode, step: GraphStep, prepared: Prepared, preparer: Preparer, now: int
) -> PlannedStep:
    match prepared:
        case Skip(reason):
            node.state = "skipped"
            return PlannedStep(step.id, step.verb, "skip", reason)
        case Reuse(key, producer, result):
            node.state, node.key, node.producer, node.result = "reused", key, producer, result
            return PlannedStep(step.id, step.verb, "reuse", prepared.reason or f"same key as {producer}")
        case Computed(result):
            node.state, node.result = "succeeded", result
            return PlannedStep(step.id, step.verb, "run", "computed from known values")
        case Expand(items):
            run.size += len(items)
            return _plan_items(run, node, step, items, preparer, now)
        case Broken(error_class, message) | NoCandidate(error_class, message):
            node.state = "unknown"
            return PlannedStep(
                step.id,
                step.verb,
                "run",
                f"{WOULD_FAIL} ({error_class}): {message}",
                _route(run, node, step, preparer, now),
            )
        case Hidden():
            node.state = "unknown"
            return _waits(run, node, step, prepared, preparer, now)
        case CallRun():
            run.size += prepared.steps
            node.state = "unknown"
            return PlannedStep(step.id, step.verb, "run", _run_reason(run, step))
        case _:
            node.state = "unknown"
            return PlannedStep(
                step.id, step.verb, "run", _run_reason(run, step), _route(run, node, step, preparer, now)
            )


def _waits(run: PlanRun, node: PlanNode, step: GraphStep, veil: Hidden, preparer: Preparer, now: int) -> PlannedStep:
    """Nobody may do it now: what its policy in this mode says of that."""
    route = _route(run, node, step, preparer, now)
    match hidden(preparer.options(run, node, now).policy, run.mode, veil):
        case SkipDecision(reason):
            node.state = "skipped"
            return PlannedStep(step.id, step.verb, "skip", f"exhausted: skip; {reason}", route)
        case Fail(reason):
            return PlannedStep(step.id, step.verb, "run", f"{WOULD_FAIL}: {reason}", route)
        case _:
            return PlannedStep(step.id, step.verb, "run", f"would be suspended ({veil.cause}): {veil.reason}", route)


def _plan_items(
    run: PlanRun, node: PlanNode, step: GraphStep, items: Sequence[Item], preparer: Preparer, now: int
) -> PlannedStep:
    node.items = []
    run.looked_at += len(items)
    if run.looked_at > MOST_LOOKED_AT:
        node.state = "unknown"
        reason = f"{len(items)} items, too many in this plan to look at each"
        return PlannedStep(step.id, step.verb, "run", reason, _route(run, node, step, preparer, now), len(items))
    trouble = ""
    for index, item in enumerate(items):
        child = PlanNode(f"{step.id}[{index}]", step, item=item, index=index, group=node)
        node.items.append(child)
        said = _planned(run, child, step, preparer.prepare(run, child, now), preparer, now).reason
        if not trouble and said.startswith(WOULD_FAIL):
            trouble = f"; the item {item.key} {said}"
    kept = sum(child.state in SETTLED for child in node.items)
    total = len(node.items)
    if kept == total:
        node.state = "succeeded"
        if all(child.state == "skipped" for child in node.items):
            return PlannedStep(step.id, step.verb, "skip", "every item is skipped" if total else "there are no items")
        if computed := sum(child.state == "succeeded" for child in node.items):
            return PlannedStep(step.id, step.verb, "run", "computed from known values", items=computed)
        return PlannedStep(step.id, step.verb, "reuse", f"all {total} items are reused or skipped")
    node.state = "unknown"
    route = _route(run, node, step, preparer, now)
    return PlannedStep(step.id, step.verb, "run", f"{total - kept} of {total} items run{trouble}", route, total - kept)


def _run_reason(run: PlanRun, step: GraphStep) -> str:
    if run.refresh == "all" or (run.refresh and step.id in run.refresh):
        return "asked to run again"
    if step.reuse == "never":
        return "reuse: never"
    if step.volatile:
        return "names run.id or run.dir, so it is never reused"
    return "no recorded result with this key"


def _route(
    run: PlanRun, node: PlanNode, step: GraphStep, preparer: Preparer, now: int
) -> tuple[RouteChoice, ...]:  # fmt: skip
    body = step.bodies[0]
    match body.verb:
        case "tool":
            return (RouteChoice(str(body.call["server"]), True, "the server that the step names"),)
        case "run":
            return (RouteChoice(LOCAL, True, "a local command"),)
        case "model" | "agent":
            return _chain(run, node, preparer, now)
        case _:
            return ()


def _chain(run: PlanRun, node: PlanNode, preparer: Preparer, now: int) -> tuple[RouteChoice, ...]:
    """Everybody who could do it, the first that may is taken."""
    try:
        routed = preparer.routed(run, node, now)
    except (BindError, TemplateError) as error:
        return (RouteChoice("", False, f"its route cannot be known yet: {error.message}"),)
    if routed is None or routed.trouble:
        return (RouteChoice("", False, routed.trouble),) if routed else ()
    first = next((verdict.label for verdict in routed.verdicts if verdict.shown), None)
    return tuple(RouteChoice(verdict.label, verdict.label == first, verdict.reason) for verdict in routed.verdicts)
