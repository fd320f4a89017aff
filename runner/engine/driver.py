"""The asyncio driver: feeds kernels, commits what they decide, and only then does it.

One turn = every tree with messages takes all of them and feeds its kernels; ONE transaction of all that they decided; then the commands.
Turns go on while earlier commits are still being written; the order of commits is the order of turns. A failed commit throws the tree
away: the record is the truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from runner.clock import Clock, Millis, VirtualClock
from runner.core.events import Recorded
from runner.core.messages import Cancel, Command, Finish, Note, Outcome, Start, StepTask, Wake
from runner.core.slots import Slots
from runner.core.states import SETTLED_RUN
from runner.core.tree import Tree, Turn
from runner.engine.blobs import Blobs
from runner.engine.driven import Driven, Message, RunEnd
from runner.engine.inbox import Inbox
from runner.engine.leaving import Leaving
from runner.engine.pulse import Pulse
from runner.manifest.vocabulary import Mode
from runner.ports import NewManifest, NewRun, OwnerId, RunRecord, Sink, Store, Told, Transport, Unit

_LOG = logging.getLogger(__name__)

REST_TURNS = 3
"""Turns of the loop in which nothing of a run works, before a virtual clock goes on."""
SETTLING = frozenset({"attempt_succeeded", "attempt_failed", "attempt_lost"})
"""Events that say what an attempt has cost."""


class Engine:
    """Drives every run of this process over one store and one transport. An async context manager."""

    def __init__(
        self,
        *,
        store: Store,
        transport: Transport,
        slots: Slots,
        blobs: Blobs,
        clock: Clock,
        owner: OwnerId,
        sinks: Sequence[Sink] = (),
        better_at: Callable[[], int | None] = lambda: None,
        on_settled: Callable[[], None] = lambda: None,
    ) -> None:
        """`better_at`: when the mode gets better by time alone. A run that waits for just that is not let go. `on_settled`: attempts
        that are paid for by a day's budget have ended, on record."""
        self._better_at, self._on_settled = better_at, on_settled
        self._store, self._transport, self._slots, self._blobs = store, transport, slots, blobs
        self._clock, self._owner, self._sinks = clock, owner, list(sinks)
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        """Waits are not waited for: the clock is told when nothing works any more."""
        self._inbox = Inbox(store, lambda root: root in self._driven, self.put)
        self._pulse = Pulse(store, owner, clock)
        self._leaving = Leaving(store, transport, self._spawn, self._gone)
        self._driven: dict[str, Driven] = {}
        self._root_of: dict[str, str] = {}
        self._places: dict[str, tuple[Driven, str, str, int]] = {}
        """Attempts that the transport has, by key: tree, run, node, number."""
        self._due: list[Driven] = []
        """Trees that have messages, in the order in which the first of them came."""
        self._called = False
        """A turn is coming."""
        self._decided: list[tuple[Unit, Told]] = []
        """What this turn's transaction will hold."""
        self._life: list[asyncio.Task[None]] = []
        self._work: set[asyncio.Future[Any]] = set()
        self.draining = False

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Engine:
        await self._pulse.beat()
        self._transport.listen(self._hear)
        for name, work in (("inbox", self._inbox.watch), ("heartbeat", self._pulse.keep)):
            self._life.append(asyncio.create_task(work(), name=f"ares-{name}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for driven in list(self._driven.values()):
            self._let_go(driven, RunEnd(driven.root, "interrupted"))
        await self._transport.close()
        await self._leaving.close()
        for task in self._life:
            task.cancel()
        await asyncio.gather(*self._life, *self._work, return_exceptions=True)

    def drain(self) -> None:
        """Start nothing more; let what runs end; then every run is let go, resumable."""
        self.draining = self._slots.closed = True
        for driven in list(self._driven.values()):
            self._check_over(driven)

    def stop(self) -> None:
        """Let every run go now. What runs is ended with the transport; its outcome stays unrecorded."""
        self.draining = self._slots.closed = True
        for driven in list(self._driven.values()):
            self._let_go(driven, RunEnd(driven.root, "interrupted"))

    # ------------------------------------------------------------ runs

    async def start(
        self,
        run: NewRun,
        manifests: Sequence[NewManifest],
        tree: Tree,
        start: Message,
        *,
        supersede: Sequence[str] = (),
    ) -> asyncio.Future[RunEnd]:
        """Create a run (`manifests[0]` is its own, the others may be called) and drive it. Raises StoreBusy, NeedsPerson."""
        epoch = await self._store.begin(run, manifests[0], self._owner, supersede=supersede)
        driven = self._take(run.run, epoch, tree, {run.run: 0})
        driven.manifests = list(manifests[1:])
        self.put(run.run, start)
        return driven.done

    async def resume(
        self, root: str, tree: Callable[[Sequence[RunRecord]], Tree], messages: Sequence[Message] = ()
    ) -> asyncio.Future[RunEnd]:
        """Take over a recorded run: what a second terminal left, then lost attempts, then `messages` to the root. Raises StoreBusy."""
        epoch = await self._store.acquire(root, self._owner)
        records = self._store.load(root)
        driven = self._take(root, epoch, tree(records), {r.row.run: len(r.events) for r in records})
        flights = {flight.key: flight for flight in driven.tree.inflight()}
        fates = await self._transport.recover(list(flights))
        driven.inbox.extend(self._inbox.left_for(root))
        for key, flight in flights.items():
            if fates.get(key) == "attached":
                self._flies(driven, key, flight.run, flight.node, flight.attempt)
            else:
                driven.inbox.append((flight.run, ("lost", flight.node, flight.attempt), None))
        driven.inbox.extend((root, message, None) for message in messages)
        self._guarded(driven, self._resumed, driven)
        self._record()
        self._call()
        return driven.done

    def _resumed(self, driven: Driven) -> None:
        self._process(driven, driven.tree.resume(self._clock.now()))

    def _take(self, root: str, epoch: int, tree: Tree, seqs: dict[str, int]) -> Driven:
        driven = Driven(root, epoch, tree, asyncio.get_running_loop().create_future(), seqs=seqs)
        self._driven[root] = driven
        self._root_of.update(dict.fromkeys(tree.kernels, root))
        return driven

    # ------------------------------------------------------------ turns

    def put(self, run: str, message: Message, taken: int | None = None) -> None:
        """Leave a message for a run's kernel; `taken` is the inbox row that it came from."""
        driven = self._driven.get(self._root_of.get(run, ""))
        if driven is None:
            return
        driven.inbox.append((run, message, taken))
        if not driven.scheduled:
            driven.scheduled = True
            self._due.append(driven)
            self._call()

    def _call(self) -> None:
        """A turn is wanted, soon."""
        if not self._called:
            self._called = True
            asyncio.get_running_loop().call_soon(self._turn)

    def poke(self, lane: str) -> None:
        """A session has opened (or failed to): whoever waits for that lane is asked again."""
        self._slots.poke(lane)
        self._call()

    def mode_changed(self, mode: Mode) -> None:
        """The mode, or what is known of an endpoint or executor, is another: every run looks again at what was hidden."""
        for driven in list(self._driven.values()):
            self._guarded(driven, self._broadcast, driven, mode)
        self._record()
        self._call()

    def _broadcast(self, driven: Driven, mode: Mode) -> None:
        self._process(driven, driven.tree.broadcast(("mode", mode), self._clock.now()))

    def _turn(self) -> None:
        self._called = False
        due, self._due = self._due, []
        for driven in due:
            driven.scheduled = False
            if driven.root in self._driven:
                self._guarded(driven, self._process, driven)
        self._wake_waiting()
        self._record()

    def _guarded(self, driven: Driven, work: Callable[..., None], *given: Any) -> None:
        """A defect in a turn, or a decision that the record cannot hold, ends this drive: nothing hangs, the record stands."""
        try:
            work(*given)
        except Exception as error:  # noqa: BLE001  the loop would log it and nobody would ever wake the run again
            self._let_go(driven, error)

    def _wake_waiting(self) -> None:
        """A slot that came free goes to the run that has waited longest for it."""
        while (run := self._slots.next()) is not None:
            driven = self._driven.get(self._root_of.get(run, ""))
            if driven is not None:
                driven.inbox.append((run, ("slots",), None))
                self._guarded(driven, self._process, driven)

    def _process(self, driven: Driven, turn: Turn | None = None) -> None:
        now = self._clock.now()
        events, commands, children = turn = turn or Turn([], [], [])
        taken: list[int] = []
        while driven.inbox:
            run, message, row = driven.inbox.popleft()
            more = driven.tree.feed(run, message, now)
            events += more.events
            commands += more.commands
            children += more.children
            if row is not None:
                taken.append(row)
        if events or taken or driven.manifests:
            self._commit(driven, turn, taken, now)
        else:
            self._act(driven, commands)
            self._check_over(driven)

    def _commit(self, driven: Driven, turn: Turn, taken: Sequence[int], now: Millis) -> None:
        refs = [ref for _, event in turn.events if (result := event.data.get("result")) and (ref := result.get("ref"))]
        for child in turn.children:
            self._root_of[child.run] = driven.root
        unit = driven.unit(turn, self._blobs.take(refs), taken, now)
        driven.commits += 1

        def told(error: Exception | None) -> None:
            driven.commits -= 1
            self._blobs.committed(refs)
            if error is not None:
                self._let_go(driven, error)
                return
            self._guarded(driven, self._committed, driven, unit.events, turn.commands)

        self._decided.append((unit, told))

    def _committed(self, driven: Driven, recorded: Sequence[Recorded], commands: Sequence[Command]) -> None:
        """It is on record: now it may be told and done."""
        self._report(driven, recorded)
        if any("day" in each.event.data and each.event.kind in SETTLING for each in recorded):
            self._on_settled()
        self._act(driven, commands)
        self._check_over(driven)

    def _record(self) -> None:
        """One transaction for all that was decided. Its consequences may follow before this returns."""
        if decided := self._decided:
            self._decided = []
            self._store.record(decided)

    def progress(self, run: str, node: str, text: str) -> None:
        """Pass on how far a running attempt is."""
        for sink in self._sinks:
            sink.progress(run, node, text)

    def _report(self, driven: Driven, recorded: Sequence[Recorded]) -> None:
        for sink in list(self._sinks):
            try:
                for event in recorded:
                    sink.event(event, driven.tree.kernels[event.run].graph.name)
            except Exception as error:  # noqa: BLE001  the border of one reporter: it is dropped, runs go on
                self._sinks.remove(sink)
                _LOG.warning("%s failed and is left out from here on: %r", type(sink).__name__, error)

    # ------------------------------------------------------------ commands

    def _act(self, driven: Driven, commands: Sequence[Command]) -> None:
        if driven.root not in self._driven:
            return
        if tasks := [command.task for command in commands if isinstance(command, Start)]:
            if self._pulse.is_weak:  # nothing may start that another process has taken over
                self._spawn(self._ask_and_submit(driven, tasks), driven)
            else:
                self._submit(driven, tasks)
        for command in commands:
            match command:
                case Cancel(_, key):
                    self._spawn(self._transport.cancel(key), driven)
                case Wake(run, at):
                    self._set_timer(driven, run, at)
                case Finish(run, state, _):
                    self._let_go(driven, RunEnd(run, state))

    async def _ask_and_submit(self, driven: Driven, tasks: Sequence[StepTask]) -> None:
        await self._store.commit(Unit(driven.root, driven.epoch))
        if driven.root in self._driven:
            self._submit(driven, tasks)

    def _submit(self, driven: Driven, tasks: Sequence[StepTask]) -> None:
        for task in tasks:
            self._transport.submit(task)
            self._flies(driven, task.key, task.run, task.node, task.attempt)

    def _flies(self, driven: Driven, key: str, run: str, node: str, attempt: int) -> None:
        self._places[key] = (driven, run, node, attempt)
        driven.flying.add(key)

    def _spawn(self, work: Awaitable[Any], driven: Driven | None = None) -> None:
        """Do `work` beside the turns; when it fails, so does the drive of `driven`."""

        def ended(task: asyncio.Future[Any]) -> None:
            self._work.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and driven is not None:
                self._let_go(driven, error)

        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(ended)

    def _set_timer(self, driven: Driven, run: str, at: int) -> None:
        if before := driven.timers.pop(run, None):
            before.cancel()
        if self._virtual is not None:
            driven.timers[run] = self._virtual.call_at(at, partial(self.put, run, ("timer",)))
            return
        delay = max(0, at - self._clock.now()) / 1000
        driven.timers[run] = asyncio.get_running_loop().call_later(delay, self.put, run, ("timer",))

    # ------------------------------------------------------------ how it ends

    def _check_over(self, driven: Driven) -> None:
        """Is there nothing more to do here: the run has ended (before we took it), all that is left is suspended, or we drain and
        nothing runs any more?"""
        if driven.root not in self._driven or driven.commits or driven.inbox:
            return
        kernel = driven.tree.kernels[driven.root]
        if kernel.state in SETTLED_RUN:
            self._let_go(driven, RunEnd(driven.root, kernel.state))
        elif kernel.state == "suspended" and not self._gets_better(kernel.reasons):
            self._let_go(driven, RunEnd(driven.root, "suspended", kernel.reasons))
        elif self.draining and not driven.tree.inflight():
            self._let_go(driven, RunEnd(driven.root, "interrupted"))
        elif self._virtual is not None and not driven.resting:
            driven.resting = True
            self._rest(driven, self._virtual, REST_TURNS)

    def _rest(self, driven: Driven, clock: VirtualClock, turns: int) -> None:
        """Nothing of it works any more: the clock may go on, unless somebody who was asked (for money, for a session) answers now."""
        if driven.root not in self._driven or driven.commits or driven.scheduled or driven.tree.inflight():
            driven.resting = False
        elif turns:
            asyncio.get_running_loop().call_soon(self._rest, driven, clock, turns - 1)
        else:
            driven.resting = False
            clock.idle()

    def _gets_better(self, reasons: Sequence[str]) -> bool:
        """Is all that it waits for a mode which only has to last for a while longer?"""
        if self._virtual is not None:
            return False  # what gets better does so on a clock that stands still meanwhile
        return not self.draining and set(reasons) == {"mode"} and self._better_at() is not None

    def _let_go(self, driven: Driven, end: RunEnd | BaseException) -> None:
        """Drive it no more. An error as its end: the kernel is ahead of the record, and nothing that it decided since may happen."""
        if self._driven.pop(driven.root, None) is not None:
            self._leaving.add(driven, end)

    def _gone(self, driven: Driven) -> None:
        if driven.root not in self._driven:  # nor taken over once more meanwhile
            for run in driven.tree.kernels:
                self._root_of.pop(run, None)
        self._call()

    def _hear(self, key: str, happened: Note | Outcome) -> None:
        """Of an attempt, from the transport."""
        place = self._places.get(key)
        if place is None:
            return
        driven, run, node, attempt = place
        if isinstance(happened, Outcome):
            del self._places[key]
            driven.flying.discard(key)
            self._leaving.landed(driven)
            if driven.root not in self._driven:
                self._blobs.drop(happened.result)
        kind = "note" if isinstance(happened, Note) else "outcome"
        self.put(run, (kind, node, attempt, happened))
