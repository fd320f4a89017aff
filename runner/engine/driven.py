"""A tree of runs in our hands: what the driver keeps of it, how driving it ends, and what the transaction of one of its turns holds."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runner.clock import Alarm, Millis
from runner.core.events import Event, Recorded
from runner.core.graph import StepGraph
from runner.core.tree import ChildRun, Tree, Turn
from runner.ports import NewManifest, NewRun, Unit

Message = tuple[Any, ...]
"""What a kernel is fed (core/kernel.py, `MESSAGES`)."""


class RunEnd(NamedTuple):
    """How driving a run ended for this process: its state, or `interrupted` when we were told to stop."""

    run: str
    state: str
    reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class Driven:
    """A tree in our hands. `inbox`: (run, message, the inbox row that it came from). `flying`: keys of its attempts that the
    transport has."""

    root: str
    epoch: int
    tree: Tree
    done: asyncio.Future[RunEnd]
    inbox: deque[tuple[str, Message, int | None]] = field(default_factory=deque)
    seqs: dict[str, int] = field(default_factory=dict)
    """The last event of each of its runs."""
    manifests: list[NewManifest] = field(default_factory=list)
    """Graphs that the next commit stores: those that a later `call` may need after a restart."""
    scheduled: bool = False
    commits: int = 0
    end: RunEnd | BaseException | None = None
    """How driving it ended, once it has."""
    timers: dict[str, asyncio.TimerHandle | Alarm] = field(default_factory=dict)
    flying: set[str] = field(default_factory=set)
    resting: bool = False
    """On a virtual clock: nothing of it works, as far as is known."""

    def unit(self, turn: Turn, blobs: Mapping[str, bytes], taken: Sequence[int], now: Millis) -> Unit:
        """The transaction of a turn; its events have their places from here on."""
        manifests, self.manifests = self.manifests, []
        return Unit(
            root=self.root,
            epoch=self.epoch,
            events=self._numbered(turn.events, now),
            runs=[_child_row(self.root, child, now) for child in turn.children],
            manifests=manifests,
            blobs=blobs,
            taken=taken,
        )

    def _numbered(self, events: Sequence[tuple[str, Event]], now: Millis) -> list[Recorded]:
        seqs, recorded = self.seqs, []
        for run, event in events:
            seqs[run] = seq = seqs.get(run, 0) + 1
            recorded.append(Recorded(run, seq, now, event))
        return recorded


def _child_row(root: str, child: ChildRun, now: Millis) -> NewRun:
    return NewRun(
        run=child.run,
        root=root,
        name=child.graph.name,
        manifest=child.graph.digest,
        task="",
        inputs=child.inputs,
        created=now,
        parent=child.parent,
        parent_node=child.node,
    )


def manifest_row(graph: StepGraph, source: str = "") -> NewManifest:
    """A graph as the record keeps it."""
    return NewManifest(graph.digest, graph.name, graph.text, source)
