"""A root run and its sub-runs as one unit: one budget, one transaction per turn. Pure, as its kernels are.

A `call` step is running while its sub-run is not over. Sub-runs are named `ROOT.STEP` (`ROOT.STEP~N` for a fresh one
in a later round), their ends and suspensions are told to the parent in the same turn.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from runner.core.begin import check_task
from runner.core.events import Event
from runner.core.graph import Json, StepGraph
from runner.core.kernel import RunKernel
from runner.core.messages import Cancel, Command, Finish, Host, Outcome, Spawn, Start
from runner.core.purse import Purse
from runner.core.run_state import DEFAULT_CONCURRENCY
from runner.core.slots import Slots
from runner.core.states import OPEN_RUN, SETTLED_RUN
from runner.manifest.vocabulary import Mode


class Member(NamedTuple):
    """A recorded run of the tree. `parent` and `node`: the `call` step that made it ("" for the root)."""

    run: str
    graph: StepGraph
    events: Iterable[Event]
    parent: str = ""
    node: str = ""


class ChildRun(NamedTuple):
    """A sub-run that this turn creates."""

    run: str
    parent: str
    node: str
    callee: str
    inputs: Mapping[str, Json]
    graph: StepGraph


class Flight(NamedTuple):
    """An attempt that a transport has, or had when the runner died."""

    run: str
    node: str
    attempt: int
    key: str


class Turn(NamedTuple):
    """What one turn decided: commit `events` and `children` in one transaction, then carry out `commands`."""

    events: list[tuple[str, Event]]
    commands: list[Command]
    children: list[ChildRun]


class Tree:
    """The kernels of a root run. `graphs`: manifest name → graph, for the root (`name`) and every callee.

    `members` is the record, root first; without it the tree is new and waits for ("start", …) to its root.
    """

    def __init__(
        self,
        root: str,
        name: str,
        graphs: Mapping[str, StepGraph],
        host: Host,
        slots: Slots,
        members: Iterable[Member] = (),
        mode: Mode = "normal",
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        self.root, self.graphs, self.host, self.slots, self.mode = root, graphs, host, slots, mode
        self.concurrency = concurrency
        self.purse = Purse()
        self.kernels: dict[str, RunKernel] = {}
        self.parents: dict[str, tuple[str, str]] = {}
        for member in members:
            if member.parent:
                self.parents[member.run] = (member.parent, member.node)
            self._open(member.run, member.graph, member.events)
        if root not in self.kernels:
            self._open(root, graphs[name])
        self.purse.grow(sum(len(kernel.graph.steps) for kernel in self.kernels.values()))
        self._todo: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._turn = Turn([], [], [])
        self._recall()

    def _open(self, run: str, graph: StepGraph, events: Iterable[Event] = ()) -> RunKernel:
        kernel = self.kernels[run] = RunKernel(
            run, graph, self.host, self.slots, events, self.mode, purse=self._purse(run), concurrency=self.concurrency
        )
        return kernel

    def _purse(self, run: str) -> Purse:
        """The budget of the `call` step that made the run, if it has one; else that of its caller."""
        if run not in self.parents:
            return self.purse
        parent, node = self.parents[run]
        n = self.kernels[parent].nodes.get(node)
        owner = n and (n.group or n)
        return (owner.purse if owner else None) or self.kernels[parent].purse

    def _recall(self) -> None:
        """Which sub-runs are suspended is derived, not recorded: tell their parents."""
        for run, (parent, node) in self.parents.items():
            caller = self.kernels[parent].nodes.get(node)
            waits = caller is not None and caller.state == "running" and caller.child == run
            if waits and self.kernels[run].state == "suspended":
                self.kernels[parent].idle_children.add(node)

    # ------------------------------------------------------------ turns

    def feed(self, run: str, message: tuple[Any, ...], now: int) -> Turn:
        """Feed one message to a run, and what follows from it to the others."""
        self._todo.append((run, message))
        if message[0] == "retry" and self.kernels[run].state in OPEN_RUN:
            self._todo.extend((child, message) for child in self._below(run))
        return self._work(now)

    def broadcast(self, message: tuple[Any, ...], now: int) -> Turn:
        """Feed one message (`mode`, `timer`) to every run that is not over."""
        if message[0] == "mode":
            self.mode = message[1]
        self._todo.extend((run, message) for run, kernel in self.kernels.items() if kernel.state in OPEN_RUN)
        return self._work(now)

    def resume(self, now: int) -> Turn:
        """After a rebuild: every kernel looks at its queues and timers again, and at what another mode had hidden.
        Ask the transport about `inflight` besides."""
        for run, kernel in self.kernels.items():
            if kernel.state in SETTLED_RUN and run in self.parents:
                self._deliver(run, kernel.state, kernel.outputs)
        self._todo.extend(
            (run, ("mode", self.mode)) for run, kernel in self.kernels.items() if kernel.state in OPEN_RUN
        )
        return self.broadcast(("timer",), now)

    def _work(self, now: int) -> Turn:
        todo = self._todo
        while todo or self._money_back():
            run, message = todo.popleft()
            kernel = self.kernels.get(run)
            if kernel is not None:
                self._feed_one(run, kernel, message, now)
        turn, self._turn = self._turn, Turn([], [], [])
        return turn

    def _feed_one(self, run: str, kernel: RunKernel, message: tuple[Any, ...], now: int) -> None:
        before = kernel.state
        events, commands = kernel.feed(message, now)
        self._turn.events.extend([(run, event) for event in events])
        if message[0] == "raise":
            self._todo.extend((other, ("funds",)) for other in self.kernels if other != run)
        parent = self.parents.get(run)
        if parent is not None and before != kernel.state and "suspended" in (before, kernel.state):
            self._todo.append((parent[0], ("child_idle", parent[1], kernel.state == "suspended")))
        for command in commands:
            INSIDE.get(type(command), Tree._outside)(self, run, command)

    def _money_back(self) -> bool:
        """A reservation was settled: runs whose steps wait for money look again."""
        waiting = self.purse.waiting
        if self.purse.released and waiting:
            self._todo.extend((run, ("slots",)) for run in waiting)
            waiting.clear()
        self.purse.released = False
        return bool(self._todo)

    # ------------------------------------------------------------ commands that concern the tree

    def _outside(self, run: str, command: Command) -> None:
        self._turn.commands.append(command)

    def _spawn(self, run: str, c: Spawn) -> None:
        """A new sub-run; or the same one goes on: what it achieved stands."""
        self.parents[c.run] = (run, c.node)
        child = self.kernels.get(c.run)
        if child is None:
            self._open(c.run, self.graphs[c.callee])
            self._turn.children.append(ChildRun(c.run, run, c.node, c.callee, c.inputs, self.graphs[c.callee]))
            self._todo.append((c.run, ("start", c.inputs, self.kernels[run].refresh_below, c.extra)))
        elif child.state == "succeeded":
            self._deliver(c.run, child.state, child.outputs)
        else:
            self._todo.append((c.run, ("retry",)))

    def _cancel(self, run: str, c: Cancel) -> None:
        kernel = self.kernels[run]
        node = kernel.nodes.get(c.key.split("/")[-2])
        child = self.kernels.get(node.child) if node is not None and node.child else None
        if child is None or child.state in SETTLED_RUN:
            self._turn.commands.append(c)
        elif child.verdict is None:  # its `finally` is never cut short by a caller
            why = kernel.cancel_reason or (
                "the caller's timeout is over" if kernel.timed_out else "the caller was cancelled"
            )
            self._todo.append((child.run, ("cancel", "caller", why)))

    def _finish(self, run: str, c: Finish) -> None:
        if run in self.parents:
            self._deliver(run, c.state, c.outputs)
        else:
            self._turn.commands.append(c)

    def _deliver(self, child: str, state: str, outputs: Json) -> None:
        """Tell the `call` step how its sub-run ended; its checks, if any, are a worker's."""
        parent, node = self.parents[child]
        kernel = self.kernels[parent]
        n = kernel.nodes.get(node)
        if n is None or n.state != "running" or n.child != child:
            return
        self._todo.append((parent, ("child_idle", node, False)))
        result = {"output": outputs}
        if (
            state == "succeeded" and n.spec
        ):  # in the task it is inline, however large: the worker hands back what is recorded
            self._turn.commands.append(Start(check_task(kernel, n, {"value": result})))
            return
        succeeded = state == "succeeded"
        outcome = (
            Outcome("succeeded", self.host.keep(result)) if succeeded else self._failure(self.kernels[child], state)
        )
        self._todo.append((parent, ("child", node, n.attempt, outcome, child)))

    def _failure(self, child: RunKernel, state: str) -> Outcome:
        """A failed callee fails the step with the class of its first failed step."""
        if state == "cancelled":
            return Outcome(
                "cancelled", error_class="cancelled", message=child.cancel_reason or "the sub-run was cancelled"
            )
        if child.timed_out:
            return Outcome("failed", error_class="timeout", message=f"{child.run}: the run's timeout is over")
        node, error = child.first_failure() or ("", {"class": "tool_error", "message": "failed"})
        return Outcome("failed", error_class=error["class"], message=f"{child.run}/{node}: {error['message']}")

    # ------------------------------------------------------------ what a driver reads

    def _below(self, run: str) -> list[str]:
        """Open sub-runs of `run`, at every depth."""
        return [
            other
            for other, k in self.kernels.items()
            if other != run and k.state in OPEN_RUN and self._is_below(other, run)
        ]

    def _is_below(self, other: str, run: str) -> bool:
        while other in self.parents:
            other = self.parents[other][0]
            if other == run:
                return True
        return False

    def inflight(self) -> list[Flight]:
        """What a transport is asked to recover. Feed ("lost", node, attempt) to the run of each that it lost."""
        return [Flight(run, *attempt) for run, kernel in self.kernels.items() for attempt in kernel.inflight()]

    def release(self) -> None:
        """Throw the kernels away: their slots are free again."""
        for kernel in self.kernels.values():
            kernel.release()


INSIDE: Mapping[type, Callable[[Tree, str, Any], None]] = {
    Spawn: Tree._spawn,
    Cancel: Tree._cancel,
    Finish: Tree._finish,
}
