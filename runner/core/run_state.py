"""What a kernel knows of its run: nodes, counters and queues, and the one way a node changes state (`move`).

Only `fold` changes it after construction, and queues are derived: whoever pops a node from one looks at it again.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping
from heapq import heappop, heappush
from typing import Literal

from runner.core.events import Event
from runner.core.graph import Json, StepGraph
from runner.core.messages import Command, Host, Stored
from runner.core.node import Node
from runner.core.purse import Purse
from runner.core.slots import Slots
from runner.core.states import BAD, SETTLED, STEP_MOVES, check_move
from runner.manifest.vocabulary import Mode

DEFAULT_CONCURRENCY = 16


class RunState:
    """The state of one run. Implements `messages.RunView`."""

    def __init__(
        self, run: str, graph: StepGraph, host: Host, slots: Slots, purse: Purse, mode: Mode, concurrency: int
    ) -> None:
        self.run, self.graph, self.host, self.slots, self.purse, self.mode = run, graph, host, slots, purse, mode
        self.concurrency = graph.concurrency or concurrency
        self.now = 0
        self.live = False
        """False while the record is folded: no slot is taken or given for what is over."""
        # the run
        self.state = "pending"
        self.verdict: str | None = None
        self.inputs: Mapping[str, Json] = {}
        self.extra: Mapping[str, Json] = {}
        self.refresh: Literal["all"] | frozenset[str] | None = None
        self.selected: frozenset[str] | None = None
        self.leg = 1
        self.cancelling = self.final_cancelling = self.timed_out = False
        self.cancel_reason = ""
        self.reasons: tuple[str, ...] = ()
        """Why the run is suspended."""
        self.outputs: Json = None
        # money and time
        self.spent = self.reserved = 0
        self.out_of_money = False
        """This turn found no money for a step, and `exceed` says fail."""
        self.timeout_ms: int | None = None
        self.busy = 0
        """Milliseconds of this leg in which something ran or waited for a retry."""
        # what goes on
        self.active = self.calls = self.backing_off = self.sleeping = 0
        self.asleep: dict[str, Node] = {}
        self.idle_children: set[str] = set()
        """`call` steps whose sub-run is suspended. The tree tells; not recorded."""
        # queues
        self.dirty: deque[Node] = deque()
        self.ready: deque[Node] = deque()
        self.parked: dict[str, OrderedDict[str, Node]] = {}
        self.money: deque[Node] = deque()
        self.claimant: Node | None = None
        """The node that was first in line for the workspace, while it is asked whether it starts."""
        self.timers: list[tuple[int, str]] = []
        # what this turn decided
        self.events: list[Event] = []
        self.commands: list[Command] = []
        # the graph
        self.nodes: dict[str, Node] = {step.id: Node(step.id, step) for step in graph.steps}
        self.top: tuple[Node, ...] = tuple(self.nodes.values())
        self.readers: dict[str, list[Node]] = {}
        self.open_main = self.open_final = 0
        self._connect()

    # ------------------------------------------------------------ the graph

    @property
    def room(self) -> int | None:
        """What the budget of the tree has left."""
        return self.purse.room

    @property
    def size(self) -> int:
        """Steps and items of the tree."""
        return self.purse.size

    def _connect(self) -> None:
        for n in self.top:
            targets = self._waits_for(n)
            for to in targets:
                self.readers.setdefault(to, []).append(n)
            n.waits = len(targets) + n.step.final
            if n.waits == 0:
                self.dirty.append(n)
        self.open_final = sum(n.step.final for n in self.top)
        self.open_main = len(self.top) - self.open_final

    def _waits_for(self, n: Node) -> Collection[str]:
        """Main steps have ended when a `finally` step starts: it waits for its own kind only."""
        edges = n.step.edges
        if not edges:
            return ()
        if n.step.final:
            return {edge.to for edge in edges if self.nodes[edge.to].step.final}
        return {edge.to for edge in edges}

    def recount(self) -> None:
        """Counters and queues anew, after `leg_started` has moved nodes."""
        self.ready.clear()
        self.parked.clear()
        self.money.clear()
        self.dirty.clear()
        self.open_final = self.open_main = 0
        for n in self.top:
            n.queued = False
            if n.state not in SETTLED:
                self.open_final += n.step.final
                self.open_main += not n.step.final
            n.waits = sum(self.nodes[to].state not in SETTLED for to in self._waits_for(n)) + n.step.final
            if n.items:
                self._recount_group(n)
            elif n.state == "pending" and n.waits == 0:
                self.dirty.append(n)

    def _recount_group(self, group: Node) -> None:
        items = group.items or []
        group.open = sum(item.state not in SETTLED for item in items)
        group.items_bad = sum(item.state in BAD for item in items)
        group.busy = 0
        group.queue.clear()
        for item in items:
            item.queued = item.placed = False
            if item.state == "suspended" and group.sequence:
                item.placed, group.busy = True, 1
            elif item.state == "pending":
                self.dirty.append(item)
        if group.state == "group" and group.open == 0:
            self.dirty.append(group)

    # ------------------------------------------------------------ moves

    def require(self, n: Node, state: str) -> None:
        """Raise IllegalMove unless `n` may go to `state`."""
        if state not in STEP_MOVES[n.state]:  # the name is put together only when it is needed
            check_move(STEP_MOVES, n.state, state, f"{self.run}/{n.id}")

    def move(self, n: Node, state: str) -> None:
        """Take `n` to `state`, with all that follows for counters and queues. An illegal move raises and changes
        nothing."""
        old = n.state
        if state not in STEP_MOVES[old]:
            self.require(n, state)
        n.state = state
        if old == "running":
            self._stopped(n)
        elif old == "suspended":
            del self.asleep[n.id]
        elif old == "waiting":
            self._count_waiting(n, -1)
        if state in SETTLED:
            self._settled(n)
        elif state == "running":
            self._place(n)
        elif state == "pending":
            self.dirty.append(n)
        elif state == "suspended":
            self.asleep[n.id] = n
            self._leave(n)
        elif state == "waiting":
            self._count_waiting(n, +1)
            self._leave(n)

    def occupy(self, n: Node) -> None:
        """`n` starts to run (its `holding`, `lane` and `claim` are set)."""
        if n.holding == "slot":
            self.active += 1
            if self.live:
                self.slots.take(n.lane, n.claim)
        elif n.holding == "call":
            self.calls += 1

    def _stopped(self, n: Node) -> None:
        if n.holding == "slot":
            self.active -= 1
            if self.live:
                self.slots.give(n.lane, n.claim)
        elif n.holding == "call":
            self.calls -= 1
            self.idle_children.discard(n.id)
        n.holding = ""

    def _count_waiting(self, n: Node, by: int) -> None:
        """A `wait` step only sleeps; every other one backs off, which the run's timeout counts."""
        if n.verb == "wait":
            self.sleeping += by
        else:
            self.backing_off += by

    def _settled(self, n: Node) -> None:
        group = n.group
        if group is not None:
            group.open -= 1
            group.items_bad += n.state in BAD
            self._vacate(n)
            if group.open == 0:
                self.dirty.append(group)
            return
        if n.step.final:
            self.open_final -= 1
        else:
            self.open_main -= 1
        for reader in self.readers.get(n.id, ()):
            reader.waits -= 1
            if reader.waits == 0:
                self.dirty.append(reader)

    # ------------------------------------------------------------ places in a group

    def _place(self, n: Node) -> None:
        if n.group is not None and not n.placed:
            n.placed = True
            n.group.busy += 1

    def _leave(self, n: Node) -> None:
        """In a sequence an item keeps its place until it has ended: the next one must not overtake it."""
        if n.group is not None:
            if n.group.sequence:
                self._place(n)
            else:
                self._vacate(n)

    def _vacate(self, n: Node) -> None:
        group = n.group
        if group is None or not n.placed:
            return
        n.placed = False
        group.busy -= 1
        if group.queue:
            heir = group.queue.popleft()
            heir.queued = False
            self.dirty.append(heir)

    # ------------------------------------------------------------ timers

    def at(self, until: int, n: Node) -> None:
        heappush(self.timers, (until, n.id))

    def due(self) -> Node | None:
        """The next node whose time has come, or None."""
        self.prune()
        if self.timers and self.timers[0][0] <= self.now:
            return self.nodes[heappop(self.timers)[1]]
        return None

    def prune(self) -> None:
        """Drop timers of nodes that wait for something else by now."""
        while self.timers:
            until, node = self.timers[0]
            n = self.nodes.get(node)
            if n is not None and n.until == until and n.state in ("waiting", "suspended"):
                return
            heappop(self.timers)

    # ------------------------------------------------------------ what a driver, a plan and a host read

    @property
    def next_wake(self) -> int | None:
        """When `("timer",)` is wanted next (Unix milliseconds), or None."""
        if not self.timers and self.timeout_ms is None:
            return None
        self.prune()
        first = self.timers[0][0] if self.timers else None
        limit = self.deadline
        return limit if first is None else first if limit is None else min(first, limit)

    @property
    def deadline(self) -> int | None:
        """When the run's timeout will be over if it stays busy; None while its clock stands still."""
        if self.timeout_ms is None or self.timed_out or self.verdict is not None or not self.is_busy:
            return None
        return self.now + max(0, self.timeout_ms - self.busy)

    @property
    def is_busy(self) -> bool:
        """Something runs, or waits for a retry."""
        return self.active > 0 or self.backing_off > 0 or self.calls > len(self.idle_children)

    def result_of(self, node: str) -> Stored | None:
        """The stored result of a step or item that succeeded; None otherwise, and for a fan-out (see `items_of`)."""
        n = self.nodes.get(node)
        return n.result if n is not None else None

    def items_of(self, node: str) -> list[dict[str, Json]] | None:
        """A fan-out's items as [{"key", "state", "result", "error"}], in order; None when `node` is none or not
        expanded yet."""
        n = self.nodes.get(node)
        if n is None or n.items is None:
            return None
        return [
            {"key": i.item.key if i.item else "", "state": i.state, "result": i.result, "error": i.error}
            for i in n.items
        ]

    def inflight(self) -> list[tuple[str, int, str]]:
        """(node, attempt, key) of the attempts that a transport has, or had: to be recovered after a restart. Not
        `call`s."""
        return [
            (n.id, n.attempt, f"{self.run}/{n.id}/{n.attempt}")
            for n in self.nodes.values()
            if n.state == "running" and n.holding == "slot"
        ]

    def first_failure(self) -> tuple[str, Mapping[str, Json]] | None:
        """The first failed step, in the order of the manifest (not of time: that would differ after a crash), and
        its error."""
        for n in sorted(self.top, key=lambda n: n.step.final):
            if n.state == "failed" and n.bad and n.error:
                return n.id, n.error
        return None

    @property
    def refresh_below(self) -> Literal["all"] | None:
        """What a sub-run refreshes: all of it with `--force`; named steps are this run's own."""
        return "all" if self.refresh == "all" else None

    def suspended(self) -> list[Node]:
        """The suspended steps and items, with `reason`, `until` and `ask`."""
        return list(self.asleep.values())

    def _take_slots(self) -> None:
        """The record is folded: what runs by it holds its slots from now on."""
        for n in self.nodes.values():
            if n.state == "running" and n.holding == "slot":
                self.slots.take(n.lane, n.claim)
        self.live = True

    def release(self) -> None:
        """Give every slot back: this kernel is thrown away."""
        for n in self.nodes.values():
            if n.state == "running" and n.holding == "slot":
                self.slots.give(n.lane, n.claim)
        self.slots.forget(self.run)
        self.live = False
