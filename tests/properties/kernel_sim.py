"""Drives a tree of kernels in memory through a `Case`, with crashes after any commit, and watches the promises while
it goes.

The stage and the promises are those of `runner simulate`. What only these cases promise is watched here, as an AssertionError: the
crash tests let both pass up, the mutant tests want to see them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from kernel_world import Case, WorldHost, absent, done, gated, otherwise, person, work

from runner.core.events import Event
from runner.core.kernel import RunKernel
from runner.core.messages import Note, Outcome, StepTask
from runner.core.states import OPEN_RUN, SETTLED, SETTLED_RUN
from runner.core.tree import Member, Tree
from runner.simulate.promises import Promises
from runner.simulate.stage import Stage

ROOT = "r"
MAX_TURNS = 4_000


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


class Simulation:
    """One run of a case to its end. The actor of its stage: the world outside, without a clock of its own."""

    def __init__(self, case: Case, plan: Plan) -> None:
        self.case, self.plan = case, plan
        self.rng = Random(plan.seed)
        self.modes_left = 6 if plan.modes else 0
        self.healed = False
        self.flying: list[StepTask] = []
        self.past: list[tuple[StepTask, Outcome]] = []
        self.wakes: dict[str, int] = {}
        self.approved: set[tuple[str, str]] = set()
        """Steps whose gate a person, or the end of waiting for one, has opened in this leg."""
        self.promises = Promises(case.process, case.lanes)
        self.stage = Stage(
            ROOT, case.graphs["main"], self._build, self, self.promises, view=_picture, kills=plan.crashes, late=lambda number: number % 2 == 1,
            now=1_000_000,
        )  # fmt: skip

    def _build(self, members: Sequence[Member], mode: Any) -> Tree:
        slots = self.case.slots()
        return Tree(ROOT, "main", self.case.graphs, WorldHost(self.case, slots), slots, members, mode)

    @property
    def tree(self) -> Tree:
        return self.stage.tree

    @property
    def commits(self) -> int:
        return self.stage.commits

    def feed(self, run: str, message: tuple[Any, ...]) -> None:
        self.stage.feed(run, message)

    # ------------------------------------------------------------ the actor

    def start(self, task: StepTask) -> None:
        self.flying.append(task)

    def has(self, key: str) -> bool:
        return any(task.key == key for task in self.flying)

    def wake(self, run: str, at: int) -> None:
        self.wakes[run] = at

    def cancel(self, key: str) -> None:
        for task in [task for task in self.flying if task.key == key]:
            self.flying.remove(task)
            effect = "maybe" if task.effects == "once" else "none"
            if effect == "maybe" and self.rng.random() < 0.5:
                self._effect(task, recorded=False)
            self.promises.billed(key, None)
            self.feed(task.run, ("outcome", task.node, task.attempt, Outcome("cancelled", effect=effect, cost=None)))

    def died(self) -> None:
        """Of what flew, some had done its work, and nobody wrote it down."""
        for task in self.flying:
            if (
                task.verb != "call"
                and self.rng.random() < 0.5
                and _has_effect(work(self.case, task, healed=self.healed))
            ):
                self._effect(task, recorded=False)
        self.flying, self.wakes = [], {}

    def _effect(self, task: StepTask, *, recorded: bool) -> None:
        if task.effects == "once" and task.verb != "call":
            self.promises.effect(task.run, task.node, recorded=recorded)

    # ------------------------------------------------------------ promises of these cases

    def event(self, run: str, event: Event) -> None:
        data = event.data
        match event.kind:
            case "attempt_started":
                asked = "child" not in data and gated(self.case, self._place(run, event.node))
                assert not asked or (run, event.node) in self.approved, "it started although nobody had approved it"
            case "step_resolved" if data["by"] == "timeout":
                self._watch_time_out(run, event)
            case "step_woken":
                self._watch_waking(run, event)
            case "leg_started":
                self.approved -= {(run, node) for node in data["reset"]}
            case "step_suspended" if data["reason"] == "budget":
                purse, n = self.tree.purse, self.tree.kernels[run].nodes[event.node]
                assert purse.cap is not None and purse.spent + n.estimate > purse.cap, (
                    "suspended although money may come back"
                )

    def _watch_waking(self, run: str, event: Event) -> None:
        if event.data.get("approved"):
            self.approved.add((run, event.node))
        if event.data.get("restart"):
            self.approved.discard((run, event.node))
        if event.data.get("by") == "timeout":
            self._watch_time_out(run, event)

    def _watch_time_out(self, run: str, event: Event) -> None:
        """Only where nobody answers, and then what the manifest says."""
        place = self._place(run, event.node)
        said = event.data.get("class") or "approve"
        assert absent(self.case, place), "time was over although there was some left"
        assert said == {"reject": "denied", "fail": "timeout"}.get(otherwise(self.case, place), "approve")

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
                    self.stage.check_end()
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
            self.stage.set_mode("brainstem" if self.stage.mode == "normal" else "normal")
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
        self.promises.billed(task.key, outcome.cost)
        if _has_effect(outcome) and task.verb != "call":
            self._effect(task, recorded=outcome.state == "succeeded")
        self.stage.now += self.rng.choice([0, 10, 500])
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
            self.stage.set_mode("normal")
        elif reason == "budget":
            self.feed(ROOT, ("raise", 3_000, "me"))
        elif reason == "unknown":
            if (run, node) in self.promises.unrecorded:
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
        self.stage.now = max(self.stage.now, open_runs[run])
        del self.wakes[run]
        self.feed(run, ("timer",))

    def _where(self) -> Any:
        return {
            run: (k.state, {n.id: (n.state, n.reason) for n in k.nodes.values() if n.state not in SETTLED})
            for run, k in self.tree.kernels.items()
            if k.state in OPEN_RUN
        }

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
