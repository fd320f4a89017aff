"""A world for kernels: random manifests, a host, executors and a person, all scripted by a seed.

Nothing here knows who drives: the in-memory simulation uses it, and so may an engine with a real store. Every answer
is a function
of (where the step is, which entry is asked, how many known failures it had), so that a repeat after a crash answers
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from runner.core.graph import Body, Edge, Fan, GraphStep, Json, Repair, StepGraph
from runner.core.messages import (
    Ask,
    Broken,
    CallRun,
    Candidate,
    Computed,
    Delay,
    Expand,
    FallbackOption,
    Go,
    Hidden,
    Item,
    NodeView,
    NotNow,
    Options,
    Outcome,
    Policy,
    Prepared,
    RetryPolicy,
    Reuse,
    RunView,
    Skip,
    StepTask,
    Stored,
)  # fmt: skip
from runner.core.slots import Slots
from runner.digest import digest
from runner.manifest.vocabulary import WORK_VERBS

ESTIMATE = 1_000
"""Reserved for an attempt in a world with money; the bill is never higher."""
PATIENCE_MS = 60_000
"""How long an approval waits where nobody answers."""
MAYBE = frozenset({"timeout", "crash", "unavailable"})


@dataclass(frozen=True)
class Case:
    """One random manifest with its callees, and what its executors will say. `steady`: executors fail for ever or
    not at all, in
    one way, and only a person gives up, so that the result does not depend on which entries a mode hides for a
    while."""

    graphs: Mapping[str, StepGraph]
    salt: int
    process: int = 16
    lanes: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    steady: bool = False

    def slots(self) -> Slots:
        slots = Slots(self.process)
        for lane, limit in self.lanes.items():
            slots.limit(lane, limit)
        return slots


# ---------------------------------------------------------------- manifests


def make_case(seed: int, *, steady: bool = False) -> Case:
    """The case of this seed."""
    rng = Random(seed)
    graphs: dict[str, StepGraph] = {}
    _make_graph(rng, "main", graphs, 0, steady)
    extra: dict[str, Any] = {}
    if rng.random() < 0.3:
        extra = {"cap": rng.choice([2, 3, 5]) * ESTIMATE, "finally_cap": ESTIMATE * 2}
    lanes = {"x": rng.choice([1, 2]), "y": rng.choice([1, 3])}
    return Case(graphs, seed, rng.choice([1, 2, 16]), lanes, extra, steady)


def _make_graph(rng: Random, name: str, graphs: dict[str, StepGraph], depth: int, steady: bool) -> None:
    steps: list[GraphStep] = []
    for index in range(rng.randint(1 if depth else 2, 4 if depth else 8)):
        steps.append(_make_step(rng, name, index, steps, graphs, depth, steady))
    for index in range(rng.choice([0, 0, 1, 2])):
        edges = [Edge(rng.choice(steps).id, "tolerant")]
        if index:
            edges.append(Edge("f0", rng.choice(["order", "data"])))
        body = Body(
            "tool", {"lane": "", "local": ["a"]}, route={"normal": {"chain": ["a"]}}, effects="idempotent"
        )  # a lost `once` step of `finally` ends `failed: unknown`: not what an undisturbed run does
        steps.append(
            GraphStep(
                f"f{index}", (body,), tuple(edges), faults=_faults(rng, steady), optional=rng.random() < 0.3, final=True
            )
        )
    graphs[name] = StepGraph(name, f"digest-{name}", f"{name}.yaml", tuple(steps), concurrency=rng.choice([1, 2, 16]))


def _make_step(
    rng: Random, name: str, index: int, before: list[GraphStep], graphs: dict[str, StepGraph], depth: int, steady: bool
) -> GraphStep:
    ids = [step.id for step in before]
    chosen = rng.sample(ids, min(len(ids), rng.choice([0, 1, 1, 2, 3])))
    edges = tuple(Edge(to, rng.choice(["data", "data", "order", "tolerant", "state"])) for to in chosen)
    firm = [edge.to for edge in edges if edge.kind == "data"]
    verbs = ["tool"] * 6 + ["run", "approve", "wait", "set", "fail"] + (["call"] * 2 if depth < 2 else [])
    verb = rng.choice(verbs)
    bodies = [_body(rng, verb, f"{name}-{index}", steady)]
    if verb == "call":
        _make_graph(rng, f"{name}-{index}", graphs, depth + 1, steady)
    while verb in WORK_VERBS and not steady and len(bodies) < 3 and rng.random() < 0.2:
        errors = None if rng.random() < 0.6 else ("denied", "tool_error", "quota")
        bodies.append(_body(rng, rng.choice(["tool", "set"]), "", steady, errors))
    own = ("rate_limit", "unavailable", "check_failed", "quota") if rng.random() < 0.3 else ()
    fan = None
    if firm and verb not in ("fail",) and rng.random() < 0.3:
        fan = Fan("foreach", {"in": rng.choice(firm)}, rng.choice([None, 1, 1, 2]), rng.choice(["all", "settled"]))
    when = None
    if firm and rng.random() < 0.15:
        when = f"{rng.choice(firm)}={rng.choice(['x', 'y'])}"
    elif fan and rng.random() < 0.2:
        when = "item"
    return GraphStep(
        f"s{index}", tuple(bodies), edges, when, fan, faults=_faults(rng, steady), own_retry_errors=own,
        optional=rng.random() < 0.2,
    )  # fmt: skip


def _body(rng: Random, verb: Any, callee: str, steady: bool, errors: Any = None) -> Body:
    chain = list("abc"[: rng.choice([1, 1, 2, 3])])
    local = [label for label in chain if rng.random() < 0.4]
    call = {
        "lane": rng.choice(["", "x", "y"]), "local": local, "manifest": callee, "checked": rng.random() < 0.4,
        "claim": rng.choice(["", "shared", "shared", "alone"]),
    }  # fmt: skip
    effects = rng.choice(["none", "idempotent"] if steady else ["none", "idempotent", "once"])
    repair = Repair(rng.choice([1, 2])) if rng.random() < 0.3 and not steady else None
    return Body(verb, call, route={"normal": {"chain": chain}}, effects=effects, repair=repair, errors=errors)


def _faults(rng: Random, steady: bool) -> Any:
    faults = {
        "retry": {"max": rng.choice([0, 1, 2]), "delay": rng.choice([1_000, 5_000])},
        "exhausted": "suspend" if steady else rng.choice(["fail", "fail", "skip", "suspend"]),
    }
    return {"normal": faults, "brainstem": {**faults, "exhausted": "suspend"}}


# ---------------------------------------------------------------- the host


class WorldHost:
    """Answers a kernel from the case alone."""

    def __init__(self, case: Case, slots: Slots) -> None:
        self.case, self.slots = case, slots

    def prepare(self, run: RunView, node: NodeView, now: int) -> Prepared:
        n: Any = node
        step: GraphStep = n.step
        fans = step.fan is not None and n.item is None
        if not _holds(step, run, n):
            return Skip("when")
        if fans and step.fan is not None:
            value = _output(run, step.fan.spec["in"])
            values = value if isinstance(value, list) else [value]
            items = tuple(Item(str(index), item) for index, item in enumerate(values))
            return Expand(items, step.fan.max_parallel)
        return self._prepare_body(run, n, step.bodies[n.level], now)

    def _prepare_body(self, run: RunView, n: Any, body: Body, now: int) -> Prepared:
        place = f"{run.inputs.get('path', 'r')}.{n.id}"
        match body.verb:
            case "set":
                return Computed({"value": {"output": _rng(self.case, place, "set").choice(["x", ["p", "q"], []])}})
            case "fail":
                return Broken("tool_error", "fail")
            case "wait":
                return Delay(now + 60_000)
            case "approve":
                return ask(self.case, place, now)
            case "call":
                path = f"{place}#{n.repair}"
                spec = {"known": n.repair, "place": place} if body.call["checked"] else {}
                return CallRun(body.call["manifest"], {"path": path}, spec)
        return self._work(run, n, body, place, now)

    def _work(self, run: RunView, n: Any, body: Body, place: str, now: int) -> Prepared:
        inputs = {"place": place, "known": n.rounds + n.repair, "level": n.level}
        key = digest([place, run.graph.name])
        if n.attempt == 0 and _rng(self.case, place, "reuse").random() < 0.05:
            return Reuse(key, "old/x/1", {"value": {"output": "x"}})
        if gated(self.case, place) and not n.approved:
            return ask(self.case, place, now, gate=True)
        shown = [c for c in candidates(body, run.mode) if c.label not in n.failed]
        open_now = [c for c in shown if c.shown]
        if not open_now:
            return Hidden("the mode shows none")
        lane = body.call["lane"]
        if not self.slots.free(lane):
            return NotNow(lane)
        estimate = (
            ESTIMATE if self.case.extra and not n.step.final else 0
        )  # else a lost attempt may cost `finally` its turn
        return Go(
            open_now[0].label, lane, inputs, key, body.effects or "once", estimate, 60_000,  # type: ignore[arg-type]
            claim=body.call.get("claim", ""),
        )  # fmt: skip

    def intended(self, run: RunView, node: NodeView, go: Go, now: int) -> None:
        """Nothing is rationed here."""

    def options(self, run: RunView, node: NodeView, now: int) -> Options:
        n: Any = node
        step: GraphStep = n.step
        faults = step.faults[run.mode]
        body = step.bodies[n.level]
        retry = RetryPolicy(max=faults["retry"]["max"], delay=faults["retry"]["delay"])
        named = {name for other in step.bodies[1:] for name in other.errors or ()}
        return Options(
            policy=Policy(retry=retry, exhausted=faults["exhausted"]),
            candidates=candidates(body, run.mode),
            fallbacks=tuple(
                FallbackOption(level, frozenset(other.errors) if other.errors else None)
                for level, other in enumerate(step.bodies)
                if level > n.level
            ),
            repair_max=body.repair.max if body.repair else 0,
            consent=frozenset(step.own_retry_errors) | named,
        )

    def keep(self, result: Mapping[str, Any]) -> Stored:
        return {"value": dict(result)}

    def outputs(self, run: RunView) -> tuple[Json, str | None]:
        return {id: _output(run, id) for id in run.nodes if "[" not in id}, None


def candidates(body: Body, mode: str) -> tuple[Candidate, ...]:
    """In brainstem only local entries are shown."""
    if body.verb not in WORK_VERBS:
        return ()
    chain = body.route["normal"]["chain"]
    return tuple(Candidate(label, mode != "brainstem" or label in body.call["local"]) for label in chain)


def _holds(step: GraphStep, run: RunView, n: Any) -> bool:
    if step.when is None:
        return True
    if step.when == "item":
        return n.item is None or n.item.value != "q"
    to, _, value = step.when.partition("=")
    return n.item is not None or bool(_output(run, to) == value)


def _output(run: RunView, id: str) -> Json:
    n = run.nodes[id]
    if n.items is not None:
        return [_stored(item) for item in n.items]
    return _stored(n)


def _stored(n: Any) -> Json:
    output = n.result["value"]["output"] if n.result is not None else None
    return "approved" if isinstance(output, dict) and "by" in output else output  # without the time of the answer


def _rng(case: Case, *place: Any) -> Random:
    return Random("/".join(map(str, (case.salt, *place))))


# ---------------------------------------------------------------- executors and people


def work(case: Case, task: StepTask, *, healed: bool = False) -> Outcome:
    """What the executor answers. `healed`: whatever was wrong has been put right."""
    if task.verb == "call":
        return _check_call(case, task, healed)
    place, known, level = task.inputs["place"], task.inputs["known"], task.inputs["level"]
    rng = _rng(case, place, level, task.label)
    final = place.rsplit(".", 1)[-1].startswith("f")
    cost = rng.choice([0, ESTIMATE // 4, ESTIMATE]) if case.extra and not final else 0
    failures = rng.choice([0, 0, 9]) if case.steady else rng.choice([0, 0, 0, 0, 1, 2, 9])
    error_class = _rng(case, place, level, "class").choice(STEADY_CLASSES) if case.steady else rng.choice(CLASSES)
    if known < failures and not healed:
        effect = "maybe" if error_class in MAYBE else "none"
        return Outcome(
            "failed", None, error_class, "scripted", effect, cost=cost, feedback="try harder",
            retry_after_ms=rng.choice([None, 3_000])
        )  # fmt: skip
    return Outcome(
        "succeeded", {"value": {"output": done(case, place, healed)}}, cost=None if cost == ESTIMATE else cost
    )


CLASSES = (
    "rate_limit", "rate_limit", "unavailable", "timeout", "crash", "quota", "auth", "tool_error", "denied",
    "invalid", "bad_output",
    "check_failed", "check_failed",
)  # fmt: skip
STEADY_CLASSES = ("rate_limit", "quota", "auth", "bad_output")


def _check_call(case: Case, task: StepTask, healed: bool) -> Outcome:
    place, known = task.spec["place"], task.spec["known"]
    if known < _rng(case, place, "check").choice([0, 0, 1, 9]) and not healed:
        return Outcome("failed", task.inputs["result"], "check_failed", "not good enough", feedback="better")
    return Outcome("succeeded", task.inputs["result"])


def done(case: Case, place: str, healed: bool = False) -> Json:
    """What the step gives when it has succeeded, whoever did it."""
    return "x" if healed else _rng(case, place, "output").choice(["x", "x", None, ["p", "q"], ["p"], []])


def gated(case: Case, place: str) -> bool:
    """Does the operator's policy ask for a person before this step does anything?"""
    return _rng(case, place, "gate").random() < 0.15


def absent(case: Case, place: str) -> bool:
    """Does nobody answer when this step asks?"""
    return _rng(case, place, "absent").random() < 0.4


def otherwise(case: Case, place: str) -> Any:
    """What the manifest says about an approval that nobody gave in time."""
    return _rng(case, place, "otherwise").choice(["reject", "approve", "approve", "fail"])


def ask(case: Case, place: str, now: int, *, gate: bool = False) -> Ask:
    """The question of a step that waits for a person, or in vain."""
    until = now + PATIENCE_MS if absent(case, place) else _rng(case, place, "until").choice([None, now + 10**9])
    return Ask("may I?", (), until, otherwise(case, place), gate=gate)


def person(case: Case, place: str, reason: str) -> str:
    """What the person decides about a step that waits for one: succeeded, failed or skipped."""
    rng = _rng(case, place, "person", reason)
    return rng.choice(["succeeded", "succeeded", "failed"] + (["skipped"] if reason == "exhausted" else []))
