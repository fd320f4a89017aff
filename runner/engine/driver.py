"""The asyncio driver: feeds kernels, commits what they decide, and only then does it.

One turn of a tree = take all that waits for it, feed, ONE commit, then the commands. Turns go on while earlier commits are still
being written; the order of commits is the order of turns. A failed commit throws the tree away: the record is the truth.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.clock import Clock
from runner.core.events import Event, Recorded
from runner.core.messages import Cancel, Command, Finish, Host, Note, Outcome, Start, Wake
from runner.core.slots import Slots
from runner.core.states import SETTLED_RUN
from runner.core.tree import ChildRun, Tree
from runner.errors import RunnerError, StoreError
from runner.ports import NewManifest, NewRun, OwnerId, RunRecord, Sink, Store, Transport, Unit

HEARTBEAT_S = 5.0
INBOX_S = 0.15
LEASE_TTL_S = 30.0


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How driving a run ended for this process: its state, or `interrupted` when we were told to stop."""

    run: str
    state: str
    reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class Driven:
    """A tree in our hands."""

    root: str
    epoch: int
    tree: Tree
    done: asyncio.Future[RunEnd]
    inbox: deque[tuple[str, tuple[Any, ...], int | None]] = field(default_factory=deque)
    seqs: dict[str, int] = field(default_factory=dict)
    scheduled: bool = False
    commits: int = 0
    wake: asyncio.TimerHandle | None = None
    wake_at: int = 0


class Engine:
    """Drives every run of this process over one store and one transport."""

    def __init__(
        self, *, store: Store, transport: Transport, host: Host, slots: Slots, clock: Clock, owner: OwnerId, sinks: Sequence[Sink]
    ) -> None:
        self._store, self._transport, self._host, self._slots = store, transport, host, slots
        self._clock, self._owner, self._sinks = clock, owner, list(sinks)
        self._driven: dict[str, Driven] = {}
        self._root_of: dict[str, str] = {}
        self._blobs: dict[str, bytes] = {}
        self._attempts: dict[str, tuple[str, str, int]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._beat = clock.now()

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Engine:
        await self._store.heartbeat(self._owner)
        self._tasks = [
            asyncio.create_task(self._deliver(), name="ares-deliver"),
            asyncio.create_task(self._watch_inbox(), name="ares-inbox"),
            asyncio.create_task(self._keep_alive(), name="ares-heartbeat"),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for driven in list(self._driven.values()):
            self._let_go(driven, RunEnd(driven.root, "interrupted"))
            await self._release(driven)

    def keep_blob(self, digest: str, data: bytes) -> None:
        """A large result that the next commit naming it will carry."""
        self._blobs[digest] = data

    # ------------------------------------------------------------ runs

    async def start(
        self,
        run: NewRun,
        manifest: NewManifest,
        tree: Callable[[], Tree],
        extra: Mapping[str, Any],
        *,
        refresh: Any = None,
        supersede: Sequence[str] = (),
    ) -> asyncio.Future[RunEnd]:
        """Create a run and begin to drive it. Raises StoreBusy, NeedsPerson."""
        epoch = await self._store.begin(run, manifest, self._owner, supersede=supersede)
        driven = self._take(run.run, epoch, tree(), {run.run: 0})
        self.put(run.run, ("start", dict(run.inputs), refresh, dict(extra)))
        return driven.done

    async def resume(
        self, root: str, tree: Callable[[Sequence[RunRecord]], Tree], messages: Sequence[tuple[str, tuple[Any, ...]]] = ()
    ) -> asyncio.Future[RunEnd]:
        """Take over a recorded run and go on with it: lost attempts first, then `messages` ((run, message) pairs)."""
        epoch = await self._store.acquire(root, self._owner)
        records = self._store.load(root)
        built = tree(records)
        driven = self._take(root, epoch, built, {r.row.run: len(r.events) for r in records})
        keys = {key: place for place in built.inflight() for key in (place.key,)}
        fates = await self._transport.recover(list(keys))
        for key, place in keys.items():
            if fates.get(key) == "attached":
                self._attempts[key] = (place.run, place.node, place.attempt)
            else:
                self.put(place.run, ("lost", place.node, place.attempt))
        for run, message in messages:
            self.put(run, message)
        self._schedule(driven)
        return driven.done

    def _take(self, root: str, epoch: int, tree: Tree, seqs: dict[str, int]) -> Driven:
        driven = Driven(root, epoch, tree, asyncio.get_running_loop().create_future(), seqs=seqs)
        self._driven[root] = driven
        for run in tree.kernels:
            self._root_of[run] = root
        return driven

    # ------------------------------------------------------------ turns

    def put(self, run: str, message: tuple[Any, ...], taken: int | None = None) -> None:
        """Leave a message for a run's kernel; `taken` is the inbox row that it came from."""
        driven = self._driven.get(self._root_of.get(run, ""))
        if driven is not None:
            driven.inbox.append((run, message, taken))
            self._schedule(driven)

    def _schedule(self, driven: Driven) -> None:
        if not driven.scheduled:
            driven.scheduled = True
            asyncio.get_running_loop().call_soon(self._turn, driven)

    def _turn(self, driven: Driven) -> None:
        driven.scheduled = False
        if driven.root not in self._driven:
            return
        now = self._clock.now()
        decided: list[tuple[str, Event]] = []
        commands: list[Command] = []
        children: list[ChildRun] = []
        taken: list[int] = []
        while driven.inbox:
            run, message, row = driven.inbox.popleft()
            events, todo, opened = driven.tree.feed(run, message, now)
            decided += events
            commands += todo
            children += opened
            if row is not None:
                taken.append(row)
        self._wake_others()
        if not decided and not taken:
            self._act(driven, commands)
            self._check_idle(driven)
            return
        recorded = [self._number(driven, run, event, now) for run, event in decided]
        unit = Unit(
            driven.root, driven.epoch, recorded, self._child_rows(driven, children, now), (), self._blobs_of(decided), taken
        )
        driven.commits += 1
        future = asyncio.ensure_future(self._store.commit(unit))
        future.add_done_callback(lambda done: self._committed(driven, recorded, commands, done))

    def _number(self, driven: Driven, run: str, event: Event, now: int) -> Recorded:
        seq = driven.seqs.get(run, 0) + 1
        driven.seqs[run] = seq
        return Recorded(run, seq, now, event)

    def _child_rows(self, driven: Driven, children: Sequence[ChildRun], now: int) -> list[NewRun]:
        for child in children:
            self._root_of[child.run] = driven.root
        return [
            NewRun(
                run=child.run,
                root=driven.root,
                name=child.graph.name,
                manifest=child.graph.digest,
                task="",
                inputs=child.inputs,
                created=now,
                parent=child.parent,
                parent_node=child.node,
            )
            for child in children
        ]

    def _blobs_of(self, decided: Sequence[tuple[str, Event]]) -> dict[str, bytes]:
        if not self._blobs:
            return {}
        refs = [(event.data.get("result") or {}).get("ref") for _, event in decided]
        return {ref: self._blobs.pop(ref) for ref in refs if ref in self._blobs}

    def _committed(
        self, driven: Driven, recorded: Sequence[Recorded], commands: Sequence[Command], done: asyncio.Future[None]
    ) -> None:
        driven.commits -= 1
        error = done.exception() if not done.cancelled() else StoreError("the commit was cancelled")
        if error is not None:
            self._give_up(driven, error)
            return
        if driven.root not in self._driven:
            return
        for event in recorded:
            self._report(driven, event)
        self._act(driven, commands)
        self._check_idle(driven)

    def _report(self, driven: Driven, recorded: Recorded) -> None:
        name = driven.tree.kernels[recorded.run].graph.name
        for sink in self._sinks:
            sink.event(recorded, name)

    def _act(self, driven: Driven, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Start(task):
                    self._attempts[task.key] = (task.run, task.node, task.attempt)
                    self._background(self._submit(driven, command))
                case Cancel(_, key):
                    self._background(self._transport.cancel(key))
                case Wake(run, at):
                    self._set_timer(driven, run, at)
                case Finish(run, state, _) if run == driven.root:
                    self._finish(driven, RunEnd(run, state))
                case _:
                    pass

    async def _submit(self, driven: Driven, start: Start) -> None:
        if self._clock.now() - self._beat > LEASE_TTL_S * 500:  # we slept past half our lease: is it still ours?
            try:
                await self._store.commit(Unit(driven.root, driven.epoch))
            except StoreError as error:
                self._give_up(driven, error)
                return
        await self._transport.submit(start.task)

    def _background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    def _set_timer(self, driven: Driven, run: str, at: int) -> None:
        if driven.wake is not None and not driven.wake.cancelled() and driven.wake_at <= at:
            return
        if driven.wake is not None:
            driven.wake.cancel()
        driven.wake_at = at
        delay = max(0, at - self._clock.now()) / 1000
        driven.wake = asyncio.get_running_loop().call_later(delay, self._fire, driven)

    def _fire(self, driven: Driven) -> None:
        driven.wake = None
        for run in list(driven.tree.kernels):
            self.put(run, ("timer",))
