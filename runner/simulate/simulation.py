"""One run that does not happen, from its start to where an apply would leave it, and then on to its end.

`run` goes as far as `runner apply` would: until the run has ended, or is suspended and nobody comes. `settle` brings what is left to
an end, with people who tell the truth, so that interrupted and uninterrupted runs can be compared.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, NamedTuple

from runner.core.assigning import DAY
from runner.core.circuits import Circuit
from runner.core.events import Event
from runner.core.messages import Outcome, StepTask
from runner.core.node import Node
from runner.core.prepare import Preparer
from runner.core.states import OPEN_RUN, SETTLED_RUN
from runner.core.tree import Member, Tree
from runner.manifest.vocabulary import Mode
from runner.simulate.dice import Dice
from runner.simulate.executors import Answer, Attempt, Executors, names_of
from runner.simulate.faults import Fault, names_step
from runner.simulate.funds import SimulatedFunds
from runner.simulate.health import SimulatedDispatch, SimulatedHealth
from runner.simulate.people import Hand, decision, scripted_answer
from runner.simulate.promises import BrokenPromise, Promises
from runner.simulate.reading import Reading
from runner.simulate.scenario import Case, Scenario
from runner.simulate.stage import Stage
from runner.simulate.world import SimulatedWorld, slots_of

ROOT = "simulated"
BEGINS = frozenset({"attempt_started", "items_expanded", "step_waiting", "step_suspended", "step_resolved"})
"""The first of these events of a step is its beginning."""


class Told(NamedTuple):
    """Something that happened: an event of a run, or what is none: `killed`, `mode`, `circuit`."""

    at: int
    run: str
    event: Event


@dataclass(slots=True)
class Counts:
    """What the record says of attempts, kept up as it grows: it survives the runner's death."""

    failures: Counter[tuple[str, str, int, str]] = field(default_factory=Counter)
    """By run, node, level and label."""
    running: dict[tuple[str, str], tuple[int, str, int]] = field(default_factory=dict)
    """Of the last attempt: level, label, reserved."""

    def event(self, run: str, event: Event) -> None:
        at, data = (run, event.node), event.data
        if event.kind == "attempt_started":
            self.running[at] = (data.get("level", 0), data.get("label", ""), data.get("reserved", 0))
        elif event.kind == "attempt_failed":
            level, label, _ = self.running[at]
            self.failures[run, event.node, level, label] += 1


class Simulation:
    """The world outside of one run: the actor of its stage, with the virtual clock."""

    def __init__(self, case: Case, scenario: Scenario, readings: dict[str, Reading]) -> None:
        self.case, self.scenario = case, scenario
        self.dice = Dice(scenario.seed)
        self.executors = Executors(scenario, readings, self.dice, case.roster)
        self.promises = Promises(case.process, case.servers)
        self.told: list[Told] = []
        self.used: set[Fault] = set()
        self.deaths = 0
        self.turns = 0
        self.modes_changed = False
        self.counts = Counts()
        self._flying: dict[str, tuple[Attempt, Answer]] = {}
        self._agenda: list[tuple[int, int, str, Any]] = []
        self._number = 0
        self._wakes: dict[str, int] = {}
        self._lanes: dict[str, int] = {}
        """Lane → when a model's rate has room again."""
        self._begun: set[tuple[str, str]] = set()
        self._hand = Hand()
        self._results: dict[tuple[str, str], Any] = {}
        """What there is to see of a step's effect."""
        self._lost_at_the_end = False
        pinned: Mode | None = None
        for change in scenario.modes:
            pinned = change.mode if not change.step else pinned
        self.health = SimulatedHealth(case, scenario.faults, self._circuit, pinned)
        mode = self.health.mode
        self.modes_changed = mode != "normal"
        self._look_at: int | None = None
        self.funds = SimulatedFunds(case.day_cap, case.calendar, self._spent_before())
        self.stage = Stage(
            ROOT, case.graph, self._build, self, self.promises, view=_state, kills=scenario.kills, late=self._dies_late,
            mode=mode, now=case.now,
        )  # fmt: skip

    def _build(self, members: Sequence[Member], mode: Mode) -> Tree:
        slots = slots_of(self.case)
        dispatch = SimulatedDispatch(self.case, self.health, self.funds, slots, self._lane_at)
        host = Preparer(SimulatedWorld(self.case, slots), self.case.policy, dispatch)
        host.know(self.case.graphs.values())
        return Tree(
            ROOT, self.case.name, self.case.graphs, host, slots, members, mode, concurrency=self.case.concurrency
        )

    def _spent_before(self) -> dict[str, int]:
        """By chance, other runs have spent part of the day's budget."""
        cap, today = self.case.day_cap, self.case.calendar.today(self.case.now)
        return {today: self.dice.number("spent") % (cap + 1)} if cap and self.dice.chance(0.3, "others") else {}

    @property
    def tree(self) -> Tree:
        return self.stage.tree

    @property
    def now(self) -> int:
        return self.stage.now

    # ------------------------------------------------------------ the actor of the stage

    def event(self, run: str, event: Event) -> None:
        self.told.append(Told(self.now, run, event))
        self.counts.event(run, event)
        if event.data.get("day"):
            final = self.tree.kernels[run].nodes[event.node].step.final
            if self.funds.event(run, event, final=final):
                self.tree.slots.poke(DAY)
        if event.kind in BEGINS and (run, event.node) not in self._begun:
            self._begun.add((run, event.node))
            self._mode_follows(run, event.node)
        if event.kind == "step_suspended" and event.data["reason"] == "approval":
            self._ask(run, event)
        elif event.kind == "attempt_lost":
            n = self.tree.kernels[run].nodes[event.node]
            self._lost_at_the_end |= n.step.final and n.effects == "once"

    def _mode_follows(self, run: str, node: str) -> None:
        n = self.tree.kernels[run].nodes[node]
        for change in self.scenario.modes:
            if change.step and names_step(change.step, self.tree.kernels[run].graph.name, n.step.id, node):
                self._later(0, "mode", change.mode)

    def _ask(self, run: str, event: Event) -> None:
        kernel = self.tree.kernels[run]
        n = kernel.nodes[event.node]
        answer = scripted_answer(self.scenario, kernel.graph.name, n, self.dice, self.stage.places[run])
        if answer is not None:
            until = event.data.get("until")
            wait = 60_000 if until is None else max(0, min(60_000, (until - self.now) // 2))
            self._later(wait, "answer", (run, event.node, answer))

    def start(self, task: StepTask) -> None:
        kernel = self.tree.kernels[task.run]
        n = kernel.nodes[task.node]
        level, label, reserved = self.counts.running[task.run, task.node]
        known = self.counts.failures[task.run, task.node, level, label]
        attempt = Attempt(
            task, n.step, kernel.graph.name, f"{self.stage.places[task.run]}{task.node}", level, known, reserved,
            names_of(self.case.roster, task), self.now,
        )  # fmt: skip
        answer = self.executors.answer(attempt)
        if answer.fault is not None:
            self.used.add(answer.fault)
        self._flying[task.key] = (attempt, answer)
        if answer.result is not None:
            self._results[task.run, task.node] = answer.result
        self._later(answer.takes_ms, "land", task.key)

    def has(self, key: str) -> bool:
        return key in self._flying

    def cancel(self, key: str) -> None:
        if (flight := self._flying.pop(key, None)) is None:
            return
        attempt, _ = flight
        task = attempt.task
        effect = "maybe" if task.effects == "once" and task.verb != "call" else "none"
        if effect == "maybe" and self._half(task.key):
            self._effect(attempt, recorded=False)
        outcome = Outcome("cancelled", effect="maybe" if effect == "maybe" else "none", message="stopped", cost=None)
        self.promises.billed(key, None)
        self.stage.feed(task.run, ("outcome", task.node, task.attempt, outcome))

    def _lane_at(self, lane: str, at: int) -> None:
        if self._lanes.get(lane) != at:
            self._lanes[lane] = at
            self._later(at - self.now, "lane", (lane, at))

    def wake(self, run: str, at: int) -> None:
        self._wakes[run] = at = max(at, self.now)
        self._later(at - self.now, "wake", run)

    def died(self) -> None:
        """Of what was under way, some had done its work, and nobody wrote it down."""
        self.deaths += 1
        lost = len(self._flying)
        for key, (attempt, answer) in self._flying.items():
            if answer.result is not None and self._half(key):
                self._effect(attempt, recorded=False)
        self._flying, self._wakes, self._lanes = {}, {}, {}
        self._agenda = [entry for entry in self._agenda if entry[2] in ("answer", "mode", "look")]
        self._agenda.sort()
        self.tell("killed", {"commit": self.stage.commits, "running": lost})

    def _dies_late(self, commit: int) -> bool:
        """A death that is asked for strikes what the commit has begun; by chance it strikes before that, too."""
        return self.dice.pick(f"late {commit}", 2) == 0

    def _half(self, key: str) -> bool:
        return self.dice.number("half", key) % 2 == 0

    def _effect(self, attempt: Attempt, *, recorded: bool) -> None:
        if attempt.task.effects == "once" and attempt.task.verb != "call":
            self.promises.effect(attempt.task.run, attempt.task.node, recorded=recorded)

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Note what is no event of a run."""
        self.told.append(Told(self.now, ROOT, Event(kind, "", data)))

    # ------------------------------------------------------------ the clock

    def _later(self, ms: int, kind: str, what: Any) -> None:
        self._number += 1
        heappush(self._agenda, (self.now + ms, self._number, kind, what))

    def _advance(self, kinds: frozenset[str]) -> bool:
        """The next thing of these kinds that is still to come. False = there is none."""
        kept: list[tuple[int, int, str, Any]] = []
        done = False
        while self._agenda and not done:
            entry = heappop(self._agenda)
            if not self._stands(entry):
                continue
            if entry[2] not in kinds:
                kept.append(entry)
                continue
            self.stage.now = max(self.now, entry[0])
            done = True
            self._happen(entry[2], entry[3])
        for entry in kept:
            heappush(self._agenda, entry)
        return done

    def _stands(self, entry: tuple[int, int, str, Any]) -> bool:
        at, _, kind, what = entry
        if kind == "land":
            return what in self._flying
        if kind == "look":
            return bool(what == self._look_at)
        if kind == "lane":
            return bool(self._lanes.get(what[0]) == what[1])
        return kind != "wake" or self._wakes.get(what) == at

    def _happen(self, kind: str, what: Any) -> None:
        if kind != "look":
            self._step()
        match kind:
            case "land":
                self._land(what)
            case "wake":
                self._wakes.pop(what, None)
                self.stage.feed(what, ("timer",))
            case "answer":
                run, node, state = what
                self.stage.feed(run, ("answer", node, state, None, "somebody", ""))
            case "lane":
                lane, _ = what
                del self._lanes[lane]
                self.stage.poke(lane)
            case "mode":
                self._set_mode(what)
            case "look":
                self._look_at = None
                if self.health.look(self.now):
                    self._follow()
                else:
                    self._plan_look()

    def _land(self, key: str) -> None:
        attempt, answer = self._flying.pop(key)
        task = attempt.task
        self.promises.billed(key, answer.outcome.cost)
        changes = [self.health.ended(end, self.now) for end in answer.ends]
        if any(changes):
            self._follow()
        if answer.result is not None:
            self._effect(attempt, recorded=answer.outcome.state == "succeeded")
        self.stage.feed(task.run, ("outcome", task.node, task.attempt, answer.outcome))

    def _set_mode(self, mode: Mode) -> None:
        """A person sets the mode."""
        self.health.pinned = mode
        self._follow()

    def _follow(self) -> None:
        """A circuit or the mode has changed: whoever waits looks again."""
        mode = self.health.mode
        if mode != self.stage.mode:
            self.modes_changed = True
            self.tell("mode", {"mode": mode, "was": self.stage.mode})
            self.stage.set_mode(mode)
        else:
            self.stage.look_again()
        self._plan_look()

    def _plan_look(self) -> None:
        at = self.health.next_look(self.now)
        if at is not None and at != self._look_at:
            self._look_at = max(at, self.now)
            self._later(self._look_at - self.now, "look", self._look_at)

    def _circuit(self, subject: str, circuit: Circuit) -> None:
        cools = circuit.cool_until is not None and circuit.cool_until > self.now
        state = (
            f"cools after {circuit.cause}" if cools and circuit.state == "closed" else circuit.state.replace("_", " ")
        )
        until = circuit.cool_until if cools else circuit.until if circuit.state == "open" else None
        self.tell("circuit", {"subject": subject, "state": state, "reason": circuit.reason, "until": until})

    def _step(self) -> None:
        self.turns += 1
        size = sum(len(kernel.nodes) for kernel in self.tree.kernels.values())
        if self.turns > 2_000 + 300 * size:
            raise BrokenPromise("ends", f"{self.turns} turns, and no end: {self.where()}")

    # ------------------------------------------------------------ to where an apply would leave it

    @property
    def root(self) -> Any:
        return self.tree.kernels[ROOT]

    def run(self) -> None:
        """To the end, or to where it is suspended and nobody who was announced comes. Raises BrokenPromise."""
        self.stage.feed(ROOT, ("start", dict(self.case.inputs), None, dict(self.case.extra)))
        while self.root.state not in SETTLED_RUN:
            if self.root.state == "suspended" and not self._flying:
                if not self._advance(_ANNOUNCED):
                    break
            elif not self._advance(_EVERYTHING):
                raise BrokenPromise("ends", f"nothing happens any more, and nothing is suspended: {self.where()}")
        self.promises.money(self.tree)

    def where(self) -> str:
        """What is left, in words."""
        open_steps = [
            f"{n.id} {n.state}" + (f" ({n.reason})" if n.reason else "")
            for kernel in self.tree.kernels.values()
            if kernel.state in OPEN_RUN
            for n in kernel.nodes.values()
            if n.state in ("pending", "running", "waiting", "suspended", "group")
        ]
        return f"the run is {self.root.state}; " + (", ".join(open_steps[:8]) or "every step has ended")

    # ------------------------------------------------------------ and then on

    def settle(self) -> None:
        """Bring what is left to an end: the runner is started again, people answer, budgets are raised. Raises BrokenPromise."""
        if self.root.state not in SETTLED_RUN:
            self.stage.reopen()
        while self.root.state not in SETTLED_RUN:
            if self._flying or self.root.state != "suspended" or any(entry[2] in _ANNOUNCED for entry in self._agenda):
                if self._advance(_EVERYTHING):
                    continue
            elif self._answer() or self._advance(_EVERYTHING):
                continue
            raise BrokenPromise("ends", f"nothing happens any more, whatever people say: {self.where()}")
        self.stage.check_end()

    def _answer(self) -> bool:
        """Somebody looks at what is suspended, in an order that depends on nothing but where it is. False = nobody has anything to say."""
        asks = [
            (self.stage.places[run] + n.id, run, n)
            for run, kernel in self.tree.kernels.items()
            if kernel.state in OPEN_RUN
            for n in kernel.suspended()
        ]
        return any(self._say(*ask) for ask in sorted(asks, key=lambda ask: ask[0]))

    def _say(self, place: str, run: str, n: Node) -> bool:
        manifest = self.tree.kernels[run].graph.name
        said = decision(self._hand, self.scenario, self.dice, manifest, place, n)
        if said is None:
            return False
        self._step()
        match said:
            case "truth" if (run, n.id) in self.promises.unrecorded:
                seen = {"value": {"output": self._results[run, n.id]["output"]}}
                self.stage.feed(run, ("answer", n.id, "succeeded", seen, "somebody", ""))
            case "truth":
                self.stage.feed(run, ("redo", n.id, "somebody"))
            case "normal":
                self.health.heal(self.now)
                self._follow()
            case "raise":
                self.funds.lift()
                self.stage.feed(ROOT, ("raise", max(n.estimate, 1_000_000), "somebody"))
            case state:
                self.stage.feed(run, ("answer", n.id, state, None, "somebody", ""))
        return True

    def _has_budget(self) -> bool:
        purse = self.tree.purse
        if self.case.day_cap is not None:
            return True
        capped = any(step.budget for kernel in self.tree.kernels.values() for step in kernel.graph.steps)
        return bool(capped or purse.cap is not None or purse.token_cap is not None)

    # ------------------------------------------------------------ the end, as a value

    def picture(self) -> dict[str, Any]:
        """State and results of all runs, by where they are called from; nothing that counts attempts."""
        return {
            self.stage.places[run]: (k.state, k.verdict, {n.id: (n.state, _result(n)) for n in k.nodes.values()})
            for run, k in self.tree.kernels.items()
        }

    @property
    def incomparable(self) -> str:
        """Why this end may differ from that of the same run without a death, rightly; "" = it may not."""
        if self.modes_changed or self.health.moved:
            return "the mode or a circuit changed: what is tried depends on the moment"
        if any(kernel.timed_out for kernel in self.tree.kernels.values()):
            return "the run's timeout was over"
        if self._has_budget():
            return "there is a budget, and an attempt that was lost counts with its estimate"
        if any(self.executors.is_volatile(kernel.graph.name) for kernel in self.tree.kernels.values()):
            return "it reads a cost, or the moment of an approval"
        if self._lost_at_the_end:
            return "a `once` step of `finally` was lost: nobody may say what became of it"
        return ""


_EVERYTHING = frozenset({"land", "wake", "answer", "mode", "look", "lane"})
_ANNOUNCED = frozenset({"answer", "mode"})


def _state(tree: Tree) -> Any:
    return {
        run: (
            k.state,
            k.verdict,
            k.leg,
            k.spent,
            {n.id: (n.state, n.attempt, n.result, n.until) for n in k.nodes.values()},
        )
        for run, k in tree.kernels.items()
    }


def _result(n: Node) -> Any:
    if n.result is None:
        return n.error["class"] if n.error and n.state == "failed" else None
    output = n.result["value"]["output"]
    answered = n.step.verb == "approve" and isinstance(output, dict)
    return {key: value for key, value in output.items() if key != "at"} if answered else output
