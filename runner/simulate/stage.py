"""A tree of kernels over a record in memory: what it decides is committed, then done. It may die after any commit, and is rebuilt.

The order is the driver's (`engine.driver`): feed, one commit of everything, only then the commands. What happens in the world
outside, and when, is the actor's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, Protocol

from runner.core.events import Event
from runner.core.graph import StepGraph
from runner.core.messages import Cancel, Command, Start, StepTask, Wake
from runner.core.tree import Member, Tree, Turn
from runner.manifest.vocabulary import Mode
from runner.simulate.promises import BrokenPromise, Promises

Build = Callable[[Sequence[Member], Mode], Tree]
"""Makes the tree from its record."""
View = Callable[[Tree], Any]
"""A tree as a value that can be compared."""


class Actor(Protocol):
    """The world outside."""

    def event(self, run: str, event: Event) -> None:
        """This has been decided, and is about to be committed."""
        ...

    def start(self, task: StepTask) -> None:
        """Do this attempt; `Stage.feed` its outcome later."""
        ...

    def cancel(self, key: str) -> None:
        """Stop this attempt."""
        ...

    def wake(self, run: str, at: int) -> None:
        """Feed `("timer",)` to `run` then."""
        ...

    def died(self) -> None:
        """The process is gone, and with it all that it had under way. It is started again when this returns."""
        ...

    def has(self, key: str) -> bool:
        """Is this attempt under way?"""
        ...


class Stage:
    """One run with its sub-runs. `kills`: numbers of commits after which the process dies, before it has done anything of what was
    committed, or (`late`) once it has begun all of it. `now`: the virtual clock, which only the caller moves (Unix milliseconds)."""

    def __init__(
        self,
        root: str,
        graph: StepGraph,
        build: Build,
        actor: Actor,
        promises: Promises,
        *,
        view: View,
        kills: Container[int] = (),
        late: Callable[[int], bool] = lambda number: False,
        mode: Mode = "normal",
        now: int = 0,
    ) -> None:
        self.root, self.promises, self.kills, self.mode, self.now = root, promises, kills, mode, now
        self._build, self._actor, self._view, self._late = build, actor, view, late
        self.members: dict[str, tuple[StepGraph, str, str]] = {root: (graph, "", "")}
        self.events: dict[str, list[Event]] = {}
        self.places = {root: ""}
        """Run → how it was reached (`call/inner`); the same whatever was interrupted, while run ids count attempts."""
        self.commits = 0
        self._life = 0
        self.tree = self.rebuilt()

    def rebuilt(self) -> Tree:
        """The tree that the record gives."""
        members = [
            Member(run, graph, self.events[run], parent, node)
            for run, (graph, parent, node) in self.members.items()
            if run in self.events
        ]
        return self._build(members, self.mode)

    # ------------------------------------------------------------ turns

    def feed(self, run: str, message: tuple[Any, ...]) -> None:
        """One message to a run, and whatever follows at once."""
        if run in self.tree.kernels:
            self._commit(self.tree.feed(run, message, self.now))
            self._wake_waiting()

    def set_mode(self, mode: Mode) -> None:
        """The system's mode is another one."""
        self.mode = mode
        self.look_again()

    def look_again(self) -> None:
        """The mode, or a circuit, has changed."""
        self._commit(self.tree.broadcast(("mode", self.mode), self.now))
        self._wake_waiting()

    def poke(self, lane: str) -> None:
        """There may be room in a lane."""
        self.tree.slots.poke(lane)
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        while (waiting := self.tree.slots.next()) is not None:
            self._commit(self.tree.feed(waiting, ("slots",), self.now))

    def _commit(self, turn: Turn) -> None:
        if turn.events:
            self._record(turn)
        number = self.commits
        dies = bool(turn.events) and number in self.kills
        if dies and not self._late(number):
            self._die()
            return
        life = self._life
        for command in turn.commands:
            if life != self._life:
                return  # it died of what an earlier command led to: nobody is there to carry out the others
            self._act(command)
        if dies and life == self._life:
            self._die()

    def _record(self, turn: Turn) -> None:
        self.commits += 1
        for child in turn.children:
            self.members[child.run] = (child.graph, child.parent, child.node)
            self.places[child.run] = self._place(child.parent, child.node)
        for run, event in turn.events:
            self.promises.event(self.tree, run, event)
            self._actor.event(run, event)
            self.events.setdefault(run, []).append(event)
        self.promises.turn(self.tree, self.commits)

    def _place(self, parent: str, node: str) -> str:
        before = sum(member[1:] == (parent, node) for member in self.members.values()) - 1
        return f"{self.places[parent]}{node}{f'#{before + 1}' if before else ''}/"

    def _act(self, command: Command) -> None:
        match command:
            case Start(task):
                if self._actor.has(task.key):
                    raise BrokenPromise("one-start", f"attempt {task.key} was started twice")
                self._actor.start(task)
            case Cancel(_, key):
                self._actor.cancel(key)
            case Wake(run, at):
                self._actor.wake(run, at)

    def reopen(self) -> None:
        """The runner was started again; before, it had stopped by itself, with nothing under way."""
        self.tree = self.rebuilt()
        self._commit(self.tree.resume(self.now))
        self._wake_waiting()

    def _die(self) -> None:
        self._life += 1
        before = self._view(self.tree)
        self._actor.died()
        self.tree = self.rebuilt()
        if self._view(self.tree) != before:
            raise BrokenPromise("record", f"after commit {self.commits} the record gives another state than there was")
        self._commit(self.tree.resume(self.now))
        self._wake_waiting()
        for flight in self.tree.inflight():
            if not self._actor.has(flight.key):
                self.feed(flight.run, ("lost", flight.node, flight.attempt))

    # ------------------------------------------------------------ the end

    def check_end(self) -> None:
        """Everything has ended: nothing is held, and the record says the same."""
        self.promises.end(self.tree)
        if self._view(self.rebuilt()) != self._view(self.tree):
            raise BrokenPromise("record", "at the end the record gives another state than there is")
