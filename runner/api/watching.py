"""`watch`: a folder that runs itself. One open app for its whole life; a loop that looks when something moved, asks the lanes for what
changed or came due, and takes up what waits.

Restarting runs nothing again: what was run is in the record, and what triggers have served in a file beside it (watch/memory.py).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from runner.api.app import App
from runner.api.request import Control
from runner.api.results import ApplyResult, gravest
from runner.api.settings import Settings
from runner.api.units import zone
from runner.api.watch_causes import Want, named
from runner.api.watch_folder import Known, News
from runner.api.watch_lanes import Audience as LaneAudience
from runner.api.watch_lanes import Lanes, results
from runner.api.watch_reading import Reading
from runner.api.watch_triggers import MOST_ECHOES, Triggers
from runner.api.wiring import open_app
from runner.clock import Clock, Millis, SteadyClock, SystemClock
from runner.errors import UsageError
from runner.ports import Sink
from runner.watch import memory
from runner.watch.hints import Hints
from runner.watch.mounts import must_look, silent_kind

SETTLE: Millis = 400
SWEEP: Millis = 10_000
"""A look is due after this long even if nobody said that anything moved."""
TICK_S = 0.5
"""How often to see what another terminal left, and what the clock on the wall says: it may have been put forward, or have stood still."""
POLL: Millis = 300
"""The same where nobody is going to say it; but looking must not become all that is done."""
COST = 10
LOOK_PAUSE: Millis = 50
"""Between two looks, whatever is said in between."""


class Audience(LaneAudience, Protocol):
    """Who is told what a watch does."""

    def found(self, news: News) -> None:
        """The folder was read anew."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be watched. `once`: do what is to be done now, and end. `poll`: look again and again (None: where it is necessary).
    `only_triggers`: manifests that have `triggers` are run by these alone."""

    folder: Path
    once: bool = False
    settle: Millis = SETTLE
    poll: bool | None = None
    only_triggers: bool = False
    jobs: int | None = None


async def watch(
    wish: Wish,
    settings: Settings,
    audience: Audience,
    *,
    sinks: Sequence[Sink] = (),
    control: Control | None = None,
    clock: Clock | None = None,
) -> ApplyResult:
    """Run what is in a folder until told to stop (`control`), or once. Raises UsageError, StoreError (StoreBusy: it is watched already)."""
    if not wish.folder.is_dir():
        raise UsageError(f"{wish.folder} is no folder", hint="give the folder that holds the manifests")
    control = control or Control()
    clock = clock or SteadyClock(SystemClock())
    async with open_app(settings, sinks=sinks, clock=clock, jobs=wish.jobs, on_warning=control.warn) as app:
        place = memory.place_of(settings.state_path.parent, wish.folder.resolve())
        with memory.claimed(place, wish.folder.resolve()):
            watching = _Watch.of(wish, app, audience, place)
            control.listen(watching.drain, watching.stop)
            await watching.live()
    codes = [result.exit_code for result in results(watching.lanes.by_name)]
    if watching.reading.folder.bad:
        codes.append(2)
    if control.signal is not None:
        codes.append(128 + control.signal)
    return ApplyResult(results(watching.lanes.by_name), gravest(codes))


@dataclass(slots=True)
class _Watch:
    """One life of a watch."""

    wish: Wish
    app: App
    audience: Audience
    place: Path
    reading: Reading
    triggers: Triggers
    lanes: Lanes
    hints: Hints
    _wake: asyncio.Event
    pause: Millis = SWEEP
    """The longest between two looks."""
    _hinted: bool = True
    _looked: Millis = -SWEEP
    _took: Millis = 0
    _read: bool = False
    _written: dict[str, memory.Memory] = field(default_factory=dict)

    @classmethod
    def of(cls, wish: Wish, app: App, audience: Audience, place: Path) -> _Watch:
        settings = app.settings
        reading = Reading(wish.folder, settings, wish.settle)
        wake = asyncio.Event()
        kept = memory.settled(memory.read(place), lambda run: app.store.run(run) is not None)

        def rests(name: str, paths: tuple[str, ...]) -> None:
            text = f"{MOST_ECHOES} runs in a row have changed {named(paths)}, a trigger of theirs: it rests until somebody else does"
            audience.say(text, manifest=name, kind="trouble")

        triggers = Triggers(reading, zone(settings.config), kept, rests)
        lanes = Lanes(
            app, triggers, audience, lambda: watching.remember(), wake.set, asyncio.Semaphore(settings.config.concurrency.runs)
        )  # fmt: skip
        hints = Hints(lambda: watching.hint(), reading.is_relevant, lambda why: watching.poll(why))
        watching = cls(wish, app, audience, place, reading, triggers, lanes, hints, wake)
        if wish.poll or (wish.poll is None and must_look(os.environ)):
            watching.pause = POLL
        elif wish.poll is None and (silent := silent_kind(wish.folder)) is not None:
            watching.poll(f"{wish.folder} is on {silent}, which does not tell of changes made elsewhere")
        return watching

    def poll(self, why: str) -> None:
        """Look again and again from now on."""
        self.audience.say(f"{why}: looking again and again")
        self.pause = POLL
        self._wake.set()

    # ------------------------------------------------------------ from outside

    def hint(self) -> None:
        self._hinted = True
        self._wake.set()

    def drain(self) -> None:
        self.app.drain()
        self._wake.set()

    def stop(self) -> None:
        self.app.stop()
        self._wake.set()

    # ------------------------------------------------------------ the loop

    async def live(self) -> None:
        """Until told to stop, or until nothing is left to be done now (`once`)."""
        try:
            while not self.app.draining and self.lanes.failure is None:
                self._wake.clear()
                await self._look()
                self._serve()
                await self.lanes.tend()
                if self.wish.once and self._idle():
                    break
                await self._nap()
        finally:
            await self.hints.close()
            await self._end()

    async def _end(self) -> None:
        """Runs that go on are driven to where the app lets them."""
        if self.lanes.failure is not None:
            self.app.drain()
        tasks = [lane.task for lane in self.lanes.busy if lane.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self.remember()
        if self.lanes.failure is not None:
            raise self.lanes.failure

    @property
    def _next_look(self) -> Millis:
        """When to look, if nothing is waiting to settle."""
        return self._looked + (max(LOOK_PAUSE, self._took) if self._hinted else max(self.pause, COST * self._took))

    async def _look(self) -> None:
        now = _elapsed()
        due = self.reading.due
        if now < self._next_look and (due is None or due > now):
            return
        self._hinted, self._looked = False, now
        look = await self.reading.look(now, self.app.clock.now())
        if look.news is not None:
            self._take_in(look.news)
        if self.pause == SWEEP and await self.hints.arm(self.reading.places()):
            self.hint()  # what happened before we listened was not told
        self._took = _elapsed() - now
        if look.config:
            self.audience.say(f"{self.app.settings.file} has changed: it holds from the next start on", kind="trouble")

    def _take_in(self, news: News) -> None:
        """Manifests in force, and what has changed about them."""
        first, self._read = not self._read, True
        now = self.app.clock.now()
        top = news.folder.top_level()
        self.audience.found(news)
        for name in [name for name in self.lanes.by_name if name not in top]:
            self.lanes.leave(name)
            self.triggers.forget(name) if name not in news.folder.manifests else None
        for name, known in top.items():
            lane = self.lanes.lane(name)
            changed = lane.known is None or lane.known.graph.digest != known.graph.digest
            lane.known = known
            self.triggers.adopt(name, known.graph, self.app.store, now)
            if changed:
                left = self.wish.only_triggers and bool(known.graph.triggers)
                self.lanes.ask(lane, Want(content=not left, standing=left))
        self.remember()
        if first:
            self._greet(top)

    def _greet(self, top: Mapping[str, Known]) -> None:
        """What is being watched, and what comes by itself."""
        count = f"{len(top)} manifest" if len(top) == 1 else f"{len(top)} manifests"
        self.audience.say(f"watching {self.wish.folder}: {count}" + ("" if self.wish.once else "; Ctrl-C ends it"))
        for name in top:
            if name in self.triggers and (at := self.triggers.next_due(name)) is not None:
                moment = datetime.fromtimestamp(at / 1000, self.triggers.zone).strftime("%Y-%m-%d %H:%M")
                self.audience.say(f"next at {moment} ({top[name].graph.triggers['schedule']})", manifest=name)

    def _serve(self) -> None:
        """What triggers ask for."""
        now = self.app.clock.now()
        for name, lane in self.lanes.by_name.items():
            if lane.known is None or lane.task is not None or name not in self.triggers:
                continue
            scheduled = self.triggers.schedule_due(name, now)
            change = self.triggers.files_due(name)
            if scheduled is not None or change is not None:
                self.lanes.ask(lane, Want(change=change, scheduled=scheduled))

    def _idle(self) -> bool:
        """Nothing is going on, and nothing will be before something changes."""
        if not self._read or self._hinted or self.reading.due is not None or self.lanes.busy:
            return False
        now = self.app.clock.now()
        return not any(lane.want and lane.pause <= now for lane in self.lanes.by_name.values())

    def remember(self) -> None:
        """Write down what a restart has to know; only when it is news."""
        memories = self.triggers.memories()
        if memories != self._written:
            try:
                memory.write(self.place, self.wish.folder.resolve(), memories)
            except OSError as error:
                text = f"cannot write {self.place}: {error.strerror}; a restart may run triggers once more"
                self.audience.say(text, kind="trouble")
            self._written = memories

    async def _nap(self) -> None:
        now, wall = _elapsed(), self.app.clock.now()
        moments = [TICK_S, (self._next_look - now) / 1000]
        if self.reading.due is not None:
            moments.append((self.reading.due - now) / 1000)
        if (due := self.lanes.next_due()) is not None:
            moments.append((due - wall) / 1000)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(0.0, min(moments)))


def _elapsed() -> Millis:
    """Milliseconds of a clock that never jumps."""
    return time.monotonic_ns() // 1_000_000
