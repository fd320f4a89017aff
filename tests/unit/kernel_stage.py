"""A stage for kernel tests: a few lines to write a graph, a host that does as it is told, and a driver of one run or
tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.events import Event
from runner.core.graph import Body, Edge, Fan, GraphStep, StepGraph
from runner.core.kernel import RunKernel
from runner.core.messages import Candidate, Go, NodeView, Options, Outcome, Prepared, RunView, Start, StepTask, Stored
from runner.core.slots import Slots

T0 = 1_000_000


def step(id: str, *edges: str, verb: Any = "tool", **more: Any) -> GraphStep:
    """`edges`: "a" (data), "order:a", "state:a", "tolerant:a"."""
    parsed = []
    for edge in edges:
        kind, _, to = edge.rpartition(":")
        parsed.append(Edge(to, kind or "data"))  # type: ignore[arg-type]
    bodies = more.pop("bodies", None) or (Body(verb, more.pop("call", {})),)
    return GraphStep(id, bodies, tuple(parsed), **more)


def fan(**more: Any) -> Fan:
    return Fan("foreach", {"in": []}, **more)


def graph(*steps: GraphStep, name: str = "m", **more: Any) -> StepGraph:
    return StepGraph(name, f"digest-{name}", f"{name}.yaml", steps, **more)


def ok(value: Any = 1, **more: Any) -> Outcome:
    return Outcome("succeeded", {"value": {"output": value}}, **more)


def failed(error_class: str = "unavailable", **more: Any) -> Outcome:
    return Outcome("failed", error_class=error_class, message=f"it was {error_class}", **more)


class StageHost:
    """Prepares as `plan` says (by node, then by step): a Prepared, a list of them taken one by one, or a function of
    (run, node)."""

    def __init__(self, plan: Mapping[str, Any] | None = None, options: Mapping[str, Options] | None = None) -> None:
        self.plan, self.ways = dict(plan or {}), dict(options or {})
        self.asked: list[str] = []
        self.intents: list[str] = []
        self.result: tuple[Any, str | None] = ({}, None)

    def prepare(self, run: RunView, node: NodeView, now: int) -> Prepared:
        self.asked.append(node.id)
        said = self.plan.get(node.id, self.plan.get(node.id.split("[")[0]))
        if callable(said):
            said = said(run, node)
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        return said if said is not None else go()

    def intended(self, run: RunView, node: NodeView, go: Go, now: int) -> None:
        self.intents.append(node.id)

    def options(self, run: RunView, node: NodeView, now: int) -> Options:
        return self.ways.get(node.id, self.ways.get(node.id.split("[")[0], Options(candidates=(Candidate("a"),))))

    def keep(self, result: Mapping[str, Any]) -> Stored:
        return {"value": dict(result)}

    def outputs(self, run: RunView) -> tuple[Any, str | None]:
        return self.result


def go(label: str = "a", **more: Any) -> Go:
    return Go(label, more.pop("lane", ""), {}, more.pop("key", None), more.pop("effects", "none"), **more)


class Stage:
    """One run of a graph, driven by hand."""

    def __init__(
        self, g: StepGraph, host: StageHost | None = None, slots: Slots | None = None, record: list[Event] | None = None
    ) -> None:
        self.graph, self.host, self.slots = g, host or StageHost(), slots or Slots(16)
        self.record: list[Event] = list(record or [])
        self.kernel = RunKernel("r", g, self.host, self.slots, self.record)
        self.commands: list[Any] = []
        self.now = T0

    def feed(self, *message: Any, after: int = 0) -> list[str]:
        """Feed a message; returns "kind node" of what was decided."""
        self.now += after
        events, self.commands = self.kernel.feed(message, self.now)
        self.record += events
        return [f"{event.kind} {event.node}".strip() for event in events]

    def start(self, **extra: Any) -> list[str]:
        return self.feed("start", {}, None, extra)

    def end(self, node: str, outcome: Outcome | None = None, after: int = 0) -> list[str]:
        """The running attempt of `node` ends."""
        return self.feed("outcome", node, self.kernel.nodes[node].attempt, outcome or ok(), after=after)

    @property
    def tasks(self) -> list[StepTask]:
        """What the last turn started."""
        return [command.task for command in self.commands if isinstance(command, Start)]

    def states(self) -> dict[str, str]:
        return {n.id: n.state for n in self.kernel.nodes.values()}

    def again(self) -> Stage:
        """The run after a crash: a new kernel from the record, in a new process."""
        stage = Stage(self.graph, self.host, Slots(16), self.record)
        stage.now = self.now
        return stage
