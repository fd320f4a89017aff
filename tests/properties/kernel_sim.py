"""Drives a tree of kernels in memory through a `Case`, with crashes after any commit, and watches the promises while
it goes.

A `Broken promise` is an AssertionError: the crash tests let it pass up, the mutant tests want to see it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kernel_world import Case, WorldHost, absent, done, gated, otherwise, person, work

from runner.core.events import Event
from runner.core.kernel import RunKernel
from runner.core.messages import Cancel, Command, Note, Outcome, Start, StepTask, Wake
from runner.core.slots import WORKSPACE
from runner.core.states import OPEN_RUN, SETTLED, SETTLED_RUN
from runner.core.tree import Member, Tree, Turn

ROOT = "r"
MAX_TURNS = 4_000
Attempt = tuple[str, str, int]


@dataclass
class Plan:
    """What happens to a run besides its own doing. `crashes`: commits after which the process dies."""

    seed: int = 1
    crashes: Collection[int] = ()
    modes: bool = False
    cancel_at: int | None = None
    heal: bool = False
    """Retry a failed or cancelled run once, its executors repaired."""
    noise: bool = True
    """Late, duplicate and stale messages; timers that fire early."""
    timeout_ms: int | None = None


@dataclass
class Book:
    """The record, and what the outside world knows: it survives crashes."""

    members: dict[str, tuple[Any, str, str]] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    unrecorded: set[tuple[str, str]] = field(default_factory=set)
    """`once` steps whose effect happened although the record does not say so."""
    succeeded: set[tuple[str, str]] = field(default_factory=set)
    keys: dict[tuple[str, str], tuple[str, int, bool]] = field(default_factory=dict)
    """Last effect key of a step, the body that it was for, and whether its outcome is unknown."""
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    approved: set[tuple[str, str]] = field(default_factory=set)
    """Steps whose gate a person, or the end of waiting for one, has opened in this leg."""


class Simulation:
    """One run of a case to its end."""

    def __init__(self, case: Case, plan: Plan) -> None:
        self.case, self.plan = case, plan
        self.rng = Random(plan.seed)
        self.book = Book()
        self.now = 1_000_000
        self.mode: Any = "normal"
        self.modes_left = 6 if plan.modes else 0
        self.commits = 0
        self.healed = False
        self.flying: list[StepTask] = []
        self.past: list[tuple[StepTask, Outcome]] = []
        self.wakes: dict[str, int] = {}
        self.tree = self._build()

    # ------------------------------------------------------------ building, committing, crashing

    def _build(self) -> Tree:
        slots = self.case.slots()
        members = [
            Member(run, graph, self.book.events.get(run, []), parent, node)
            for run, (graph, parent, node) in self.book.members.items()
        ]
        return Tree(ROOT, "main", self.case.graphs, WorldHost(self.case, slots), slots, members, self.mode)

    def feed(self, run: str, message: tuple[Any, ...]) -> None:
        if run in self.tree.kernels:
            self._commit(self.tree.feed(run, message, self.now))
            while (waiting := self.tree.slots.next()) is not None:
                self._commit(self.tree.feed(waiting, ("slots",), self.now))

    def broadcast(self, message: tuple[Any, ...]) -> None:
        self._commit(self.tree.broadcast(message, self.now))

    def _commit(self, turn: Turn) -> None:
        if turn.events:
            self.commits += 1
            if ROOT not in self.book.members:
                self.book.members[ROOT] = (self.case.graphs["main"], "", "")
            for child in turn.children:
                self.book.members[child.run] = (child.graph, child.parent, child.node)
            for run, event in turn.events:
                self._watch(run, event)
                self.book.events.setdefault(run, []).append(event)
            self._watch_limits()
            if self.commits in self.plan.crashes:
                self._crash()
                return
        for command in turn.commands:
            self._act(command)

    def _act(self, command: Command) -> None:
        match command:
            case Start(task):
                assert all(task.key != other.key for other in self.flying), "the same attempt was started twice"
                self.flying.append(task)
            case Cancel(_, key):
                for task in [task for task in self.flying if task.key == key]:
                    self.flying.remove(task)
                    effect = "maybe" if task.effects == "once" else "none"
                    if effect == "maybe" and self.rng.random() < 0.5:
                        self._effect(task, recorded=False)
                    self.feed(task.run, ("outcome", task.node, task.attempt, Outcome("cancelled", effect=effect)))
            case Wake(run, at):
                self.wakes[run] = at

    def _crash(self) -> None:
        """The process dies: of what flew, some had done its work, and nobody wrote it down."""
        for task in self.flying:
            if (
                task.verb != "call"
                and self.rng.random() < 0.5
                and _has_effect(work(self.case, task, healed=self.healed))
            ):
                self._effect(task, recorded=False)
        self.flying, self.wakes = [], {}
        before = self.picture()
        self.tree = self._build()
        assert self.picture() == before, "fold(record) is not the state"
        self._commit(self.tree.resume(self.now))
        for flight in self.tree.inflight():
            if not any(task.key == flight.key for task in self.flying):
                self.feed(flight.run, ("lost", flight.node, flight.attempt))

    def _effect(self, task: StepTask, *, recorded: bool) -> None:
        if task.effects == "once" and task.verb != "call":
            at = (task.run, task.node)
            if not recorded:
                self.book.unrecorded.add(at)
            self.book.effects[at] += 1
            assert self.book.effects[at] <= 1, f"the effect of {at} happened twice"

    # ------------------------------------------------------------ promises

    def _watch(self, run: str, event: Event) -> None:
        at, data = (run, event.node), event.data
        match event.kind:
            case "attempt_started":
                assert at not in self.book.succeeded, f"{at} ran again although its success is recorded"
                self._watch_key(at, data)
                self._watch_gate(run, event)
                self._watch_sequence(run, event.node)
            case "attempt_succeeded":
                if not self._node(run, event.node).step.final:
                    self.book.succeeded.add(at)
            case "attempt_failed":
                self.book.keys[at] = (*self.book.keys[at][:2], data["effect"] == "maybe")
            case "choice_advanced" if data["level"] != self.book.keys.get(at, ("", data["level"], False))[1]:
                self._known(at)  # another body is another request
            case "attempt_lost":
                self.book.keys[at] = (*self.book.keys[at][:2], True)
            case "step_resolved":
                if data["state"] == "succeeded":
                    self._known(at)
                if data["by"] == "timeout":
                    self._watch_time_out(run, event)
            case "step_woken":
                self._watch_waking(run, event)
            case "leg_started":
                self.book.approved -= {(run, node) for node in data["reset"]}
            case "step_suspended":
                self._watch_suspension(run, event)

    def _known(self, at: tuple[str, str]) -> None:
        self.book.keys.pop(at, None)

    def _watch_key(self, at: tuple[str, str], data: dict[str, Any]) -> None:
        """The same key after an unknown outcome of the same request, a new one after a known outcome."""
        key, level, unknown = self.book.keys.get(at, ("", 0, False))
        same = unknown and level == data.get("level", 0)
        assert (data["effect_key"] == key) is same, f"{at}: wrong idempotency key"
        assert same or data["effect_key"] == f"{at[0]}/{at[1]}/{data['n']}"
        self.book.keys[at] = (data["effect_key"], data.get("level", 0), False)

    def _watch_waking(self, run: str, event: Event) -> None:
        if event.data.get("approved"):
            self.book.approved.add((run, event.node))
        if event.data.get("restart"):
            self.book.approved.discard((run, event.node))
        if event.data.get("by") == "timeout":
            self._watch_time_out(run, event)

    def _watch_gate(self, run: str, event: Event) -> None:
        asked = "child" not in event.data and gated(self.case, self._place(run, event.node))
        assert not asked or (run, event.node) in self.book.approved, "it started although nobody had approved it"

    def _watch_sequence(self, run: str, node: str) -> None:
        """An item that waits for its retry or for a person keeps its place."""
        group = self._node(run, node).group
        if group is not None and group.sequence:
            begun = [item.id for item in group.items if item.state in ("running", "waiting", "suspended")]
            assert set(begun) <= {node}, f"{begun}: items of a sequence overtake"

    def _watch_time_out(self, run: str, event: Event) -> None:
        """Only where nobody answers, and then what the manifest says."""
        place = self._place(run, event.node)
        said = event.data.get("class") or "approve"
        assert absent(self.case, place), "time was over although there was some left"
        assert said == {"reject": "denied", "fail": "timeout"}.get(otherwise(self.case, place), "approve")

    def _watch_suspension(self, run: str, event: Event) -> None:
        n = self._node(run, event.node)
        assert not n.step.final, "a finally step was suspended"
        if event.data["reason"] == "budget":
            purse = self.tree.purse
            assert purse.cap is not None and purse.spent + n.estimate > purse.cap, (
                "suspended although money may come back"
            )

    def _node(self, run: str, node: str) -> Any:
        return self.tree.kernels[run].nodes[node]

    def _watch_limits(self) -> None:
        purse = self.tree.purse
        if purse.cap is not None:
            assert purse.spent + purse.held <= purse.cap + purse.final_spent + purse.final_held, "over the budget"
        running = 0
        claims: Counter[str] = Counter()
        for kernel in self.tree.kernels.values():
            claims.update(n.claim for n in kernel.nodes.values() if n.state == "running" and n.claim)
            assert kernel.active <= kernel.concurrency, "too many steps of one run at once"
            running += kernel.active
            for n in kernel.top:
                if n.items and n.limit:
                    assert sum(item.state == "running" for item in n.items) <= n.limit, "max_parallel"
        assert running <= self.case.process, "too many steps in the process at once"
        assert claims["alone"] == 0 or claims.total() == 1, "somebody works beside one who must be alone"
        for claim in ("shared", "alone"):
            assert self.tree.slots.claimed(claim) == claims[claim], "a claim is not counted"  # type: ignore[arg-type]
        for lane, limit in self.case.lanes.items():
            assert self.tree.slots.used(lane) <= limit, "too many in a lane"

    # ------------------------------------------------------------ the loop

    def run(self) -> dict[str, Any]:
        """Drive to the end. Returns the picture of it."""
        for _ in range(MAX_TURNS):
            root = self.tree.kernels[ROOT]
            if root.state == "pending":
                extra = dict(self.case.extra)
                if self.plan.timeout_ms is not None:
                    extra["timeout_ms"] = self.plan.timeout_ms
                self.feed(ROOT, ("start", {"path": "r"}, None, extra))
            elif root.state in SETTLED_RUN:
                if not self.plan.heal or self.healed or root.state == "succeeded":
                    self._watch_end()
                    return self.picture()
                self.healed = True
                self.feed(ROOT, ("retry",))
            else:
                self._step(root)
        raise AssertionError("does not end")

    def _step(self, root: RunKernel) -> None:
        if self.plan.cancel_at is not None and self.commits >= self.plan.cancel_at:
            self.plan.cancel_at = None
            self.feed(ROOT, ("cancel", "me", ""))
        elif self.modes_left and self.rng.random() < 0.1:
            self.modes_left -= 1
            self._set_mode("brainstem" if self.mode == "normal" else "normal")
        elif self.plan.noise and self.rng.random() < 0.1:
            self._noise()
        elif self.flying:
            self._land()
        elif not self._ask(root):
            self._fire()

    def _land(self) -> None:
        task = self.flying.pop(self.rng.randrange(len(self.flying)))
        outcome = work(self.case, task, healed=self.healed)
        self.past.append((task, outcome))
        if _has_effect(outcome) and task.verb != "call":
            self._effect(task, recorded=outcome.state == "succeeded")
        self.now += self.rng.choice([0, 10, 500])
        self.feed(task.run, ("outcome", task.node, task.attempt, outcome))

    def _noise(self) -> None:
        """What a kernel must survive without a trace."""
        match self.rng.choice(["late", "early", "lost", "note"]):
            case "late" if self.past:
                task, outcome = self.rng.choice(self.past)
                before = self.commits
                self.feed(task.run, ("outcome", task.node, task.attempt, outcome))
                assert self.commits == before or self.plan.timeout_ms is not None, "a late outcome was recorded"
            case "early" if self.wakes:
                run = self.rng.choice(sorted(self.wakes))
                del self.wakes[run]  # the driver's timer is used up
                self.feed(run, ("timer",))
            case "lost" if self.past:
                task, _ = self.rng.choice(self.past)
                self.feed(task.run, ("lost", task.node, task.attempt))
            case "note" if self.flying:
                task = self.rng.choice(self.flying)
                self.feed(task.run, ("note", task.node, task.attempt, Note("session", 1, 2)))

    def _set_mode(self, mode: str) -> None:
        self.mode = mode
        self.broadcast(("mode", mode))

    def _ask(self, root: RunKernel) -> bool:
        """A person looks at what is suspended. False = nothing is."""
        asks = [
            (run, n.id, n.reason)
            for run, kernel in self.tree.kernels.items()
            if kernel.state in OPEN_RUN
            for n in kernel.suspended()
        ]
        if not asks or any(k.is_busy for k in self.tree.kernels.values()):
            return False
        if not any(k.sleeping for k in self.tree.kernels.values()):
            assert root.state == "suspended", f"nothing runs, but the run is {root.state}"
        answered = [ask for ask in asks if ask[2] != "approval" or not absent(self.case, self._place(*ask[:2]))]
        if answered:
            self._decide(*self.rng.choice(answered))
        return bool(answered)

    def _place(self, run: str, node: str) -> str:
        return f"{self.tree.kernels[run].inputs['path']}.{node}"

    def _decide(self, run: str, node: str, reason: str) -> None:
        place = self._place(run, node)
        result = {"value": {"output": done(self.case, place, self.healed)}}
        if reason == "mode":
            self.modes_left = 0
            self._set_mode("normal")
        elif reason == "budget":
            self.feed(ROOT, ("raise", 3_000, "me"))
        elif reason == "unknown":
            if (run, node) in self.book.unrecorded:
                self.feed(run, ("answer", node, "succeeded", result, "me", ""))
            else:
                self.feed(run, ("redo", node, "me"))
        else:
            state = person(self.case, place, "approval" if reason == "approval" else "exhausted")
            answer = None if reason == "approval" else result
            self.feed(run, ("answer", node, state, answer, "me", ""))

    def _fire(self) -> None:
        open_runs = {run: at for run, at in self.wakes.items() if self.tree.kernels[run].state in OPEN_RUN}
        assert open_runs, f"hangs: {self._where()}"
        run = min(open_runs, key=lambda run: (open_runs[run], run))
        self.now = max(self.now, open_runs[run])
        del self.wakes[run]
        self.feed(run, ("timer",))

    def _where(self) -> Any:
        return {
            run: (k.state, {n.id: (n.state, n.reason) for n in k.nodes.values() if n.state not in SETTLED})
            for run, k in self.tree.kernels.items()
            if k.state in OPEN_RUN
        }

    # ------------------------------------------------------------ the end

    def _watch_end(self) -> None:
        for run, kernel in self.tree.kernels.items():
            assert kernel.state in SETTLED_RUN, (run, kernel.state)
            for n in kernel.nodes.values():
                assert n.state in SETTLED, (run, n.id, n.state)
            assert kernel.active == kernel.calls == kernel.reserved == 0, (run, "something is still held")
        assert self.tree.purse.held == 0
        assert self.tree.slots.used() == 0
        assert not any(map(self.tree.slots.waiting, ("", WORKSPACE, *self.case.lanes))), "who has ended waits"
        assert _picture(self._build()) == self.picture(), "fold(record) is not the state"

    def picture(self) -> dict[str, Any]:
        """State and results of all runs, by where they are called from; nothing that counts attempts."""
        return _picture(self.tree)


def _picture(tree: Tree) -> dict[str, Any]:
    return {
        k.inputs.get("path", run): (
            k.state,
            k.verdict,
            {n.id: (n.state, _shape(n)) for n in k.nodes.values()},
        )
        for run, k in tree.kernels.items()
    }


def _shape(n: Any) -> Any:
    if n.result is None:
        return n.error["class"] if n.error and n.state == "failed" else None
    output = n.result["value"]["output"]
    return "approved" if isinstance(output, dict) and "by" in output else output


def _has_effect(outcome: Outcome) -> bool:
    return outcome.state == "succeeded" or outcome.effect == "maybe"


def simulate(case: Case, plan: Plan | None = None) -> tuple[dict[str, Any], Simulation]:
    """The picture at the end of the case under `plan`, and the simulation that led there."""
    simulation = Simulation(case, plan or Plan(noise=False))
    return simulation.run(), simulation
