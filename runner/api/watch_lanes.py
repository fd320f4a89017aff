"""The manifests of a watched folder, each in a lane: its runs come one after the other, whatever asks for them, and what waits is taken
up again when its reason is gone. All lanes share one open app, so a long run holds up no other manifest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from runner.api.app import App
from runner.api.apply import begin, ended, go_on
from runner.api.load import Loaded
from runner.api.planning import PlannedManifest, plan
from runner.api.queries import run_result, suspension_reasons
from runner.api.request import Request
from runner.api.results import RunResult
from runner.api.watch_causes import NOTHING, Decision, Want, decide, stands
from runner.api.watch_folder import Known
from runner.api.watch_triggers import Triggers
from runner.clock import Millis
from runner.core.circuits import admit
from runner.core.states import SETTLED_RUN
from runner.engine.driven import RunEnd
from runner.errors import Fenced, NeedsPerson, RunnerError, StoreBusy, StoreError
from runner.ports import RunRow, Store
from runner.watch.waits import LOOK, Wait, next_try, starts_over

MOST_AT_ONCE = 20
BUSY_PAUSE: Millis = 5_000
"""Somebody else drives a run of the same task, or has to say how one ended: asked again after this long."""


class Audience(Protocol):
    """Who is told what a watch does."""

    def say(self, text: str, *, manifest: str = "", kind: Literal["note", "run", "trouble"] = "note") -> None:
        """One line."""
        ...

    def ended(self, result: RunResult) -> None:
        """A run was driven as far as it goes."""
        ...


@dataclass(slots=True, eq=False)
class Lane:
    """`known`: the version in force; None once the manifest is gone. `run`: the one that is being driven. `pause`: nothing begins
    before. `result`: how its latest run stands."""

    name: str
    known: Known | None = None
    want: Want = NOTHING
    task: asyncio.Task[None] | None = None
    run: str = ""
    wait: Wait | None = None
    pause: Millis = 0
    refused: str = ""
    result: RunResult | None = None


@dataclass(slots=True)
class Lanes:
    """`places` bounds the runs at a time; `remember` writes down what triggers are about to do, `wake` is called when a lane is free."""

    app: App
    triggers: Triggers
    audience: Audience
    remember: Callable[[], None]
    wake: Callable[[], None]
    places: asyncio.Semaphore
    by_name: dict[str, Lane] = field(default_factory=dict)
    failure: BaseException | None = None
    """What no lane can live with."""
    ways: frozenset[str] | None = None
    """The mode, and circuits that let calls through, as they were seen last while somebody waited for them."""

    @property
    def store(self) -> Store:
        return self.app.store

    @property
    def busy(self) -> list[Lane]:
        return [lane for lane in self.by_name.values() if lane.task is not None]

    # ------------------------------------------------------------ what is asked for

    def lane(self, name: str) -> Lane:
        return self.by_name.setdefault(name, Lane(name))

    def leave(self, name: str) -> None:
        """Its manifest is gone, or only others call it now: nothing begins it, and what it waits for is waited for no more. A run that
        goes on is not stopped."""
        lane = self.by_name[name]
        lane.known, lane.want = None, NOTHING
        if lane.wait is not None:
            run, lane.wait = lane.wait.run, None
            self.audience.say(f"run {run} waits no more (`runner resume {run}` goes on with it)", manifest=name)
        if lane.task is None:
            del self.by_name[name]

    def ask(self, lane: Lane, want: Want) -> None:
        """Something asks for a run: now, or when the present one has ended."""
        if lane.run and not lane.want:
            text = f"changed; begins when run {lane.run} has ended (`runner cancel {lane.run}` ends it)"
            self.audience.say(text, manifest=lane.name)
        lane.want |= want

    async def tend(self) -> None:
        """Begin what is asked for, take up what may go on."""
        self._see_ways(self.app.clock.now())
        considered = 0
        for lane in list(self.by_name.values()):
            now = self.app.clock.now()
            if lane.task is None and lane.want and lane.pause <= now:
                if considered == MOST_AT_ONCE:  # a thousand manifests at once must not keep us from looking
                    self.wake()
                    break
                considered += 1
                self._consider(lane)
                await asyncio.sleep(0)  # nor stop those that run
            if lane.task is None and lane.wait is not None:
                self._attend(lane, lane.wait, now)

    def _see_ways(self, now: Millis) -> None:
        """Another mode holds, or a circuit lets calls through again: whoever waits for that is looked at now."""
        waiting = [lane for lane in self.by_name.values() if lane.wait is not None and "mode" in lane.wait.reasons]
        if not waiting:
            self.ways = None
            return
        circuits = self.store.health.circuits()
        ways = {subject for subject, row in circuits.items() if admit(row.circuit, now).answer != "no"}
        before, self.ways = self.ways, frozenset({f"mode {self.app.keeper.mode}", *ways})
        if before is not None and self.ways - before:
            for lane in waiting:
                assert lane.wait is not None
                lane.wait = replace(lane.wait, looked=now - LOOK)

    def next_due(self) -> Millis | None:
        """When some lane has to be tended, if nothing happens before."""
        free = [lane for lane in self.by_name.values() if lane.task is None]
        moments = [lane.pause for lane in free if lane.want]
        moments += [at for lane in free if lane.wait is not None and (at := next_try(lane.wait)) is not None]
        return min(moments, default=None)

    def _consider(self, lane: Lane) -> None:
        """Only what has to run takes a place."""
        decision = self._decision(lane, lane.want)
        if decision is None or decision.act in ("leave", "wait"):
            lane.want = NOTHING
            if decision is not None:
                self._leave(lane, decision)
            return
        self._spawn(lane, self._converge(lane))

    def _spawn(self, lane: Lane, work: Coroutine[Any, Any, None]) -> None:
        def over(task: asyncio.Task[None]) -> None:
            lane.task, lane.run = None, ""
            if not task.cancelled() and (error := task.exception()) is not None:
                self.failure = self.failure or error
            self.wake()

        lane.task = asyncio.create_task(work, name=f"ares-{lane.name}")
        lane.task.add_done_callback(over)

    # ------------------------------------------------------------ new runs

    async def _converge(self, lane: Lane) -> None:
        async with self.places:
            want, lane.want = lane.want, NOTHING
            decision = self._decision(lane, want)
            if self.app.draining or decision is None:
                return
            if decision.act == "begin":
                assert decision.planned is not None
                await self._drive(lane, want, self._begin(lane, decision, want), decision.planned.plan.action)
            elif decision.act == "resume":
                self.audience.say(f"run {decision.run} goes on: {decision.reason}", manifest=lane.name, kind="run")
                lane.run = decision.run
                await self._drive(lane, want, self.app.resume(decision.run, ()), "resume")
            else:
                self._leave(lane, decision)

    def _decision(self, lane: Lane, want: Want) -> Decision | None:
        """None: the manifest is gone, or cannot be run at all, which is said."""
        if lane.known is None:
            return None
        if (decision := stands(lane.known.graph, want, self.store)) is not None:
            return decision
        try:
            planned = self._planned(lane.known)
        except RunnerError as error:
            self._failed(lane, error)
            return None
        return decide(planned, want, self.store, self.triggers.zone)

    def _planned(self, known: Known) -> PlannedManifest:
        alone = Loaded((known.entry,), (), {}, 1)
        [planned] = plan(alone, self.app.settings, self.store, Request(), self.app.clock, steps=False)
        return planned

    async def _begin(self, lane: Lane, decision: Decision, want: Want) -> RunEnd:
        known = lane.known
        assert known is not None
        assert decision.planned is not None
        run = lane.run = self.app.new_run_id()
        self.audience.say(f"run {run}: {decision.reason}", manifest=lane.name, kind="run")
        if lane.name in self.triggers:
            self.triggers.intend(lane.name, run, want.scheduled, want.change)
            self.remember()
        try:
            request = Request(force=decision.afresh)
            return await begin(self.app, known.loaded, decision.planned, request, run=run)
        finally:
            self.triggers.began(lane.name, self.store.run(run) is not None)

    async def _drive(self, lane: Lane, want: Want, work: Coroutine[Any, Any, RunEnd], action: str) -> None:
        """Up to where the run goes, and what follows."""
        began = self.app.clock.now()
        try:
            end = await work
        except (StoreBusy, NeedsPerson) as error:
            self._refused(lane, want, error)
        except Fenced as error:
            self._failed(lane, error)
        except StoreError:
            raise
        except RunnerError as error:
            self._failed(lane, error)
        else:
            self._ended(lane, end, action, began)

    def _refused(self, lane: Lane, want: Want, error: RunnerError) -> None:
        """Not now; the wish stands. Said once."""
        lane.want |= want
        now = self.app.clock.now()
        lane.pause = now + BUSY_PAUSE
        if lane.wait is not None:
            lane.wait = replace(lane.wait, looked=now)
        if error.message != lane.refused:
            lane.refused = error.message
            self._failed(lane, error)

    def _failed(self, lane: Lane, error: RunnerError) -> None:
        state = {2: "invalid", 3: "refused", 7: "busy"}.get(error.exit_code, "failed")
        lane.result = RunResult(
            lane.name, lane.run or None, "wait", state, error=error.message, hint=error.hint, exit_code=error.exit_code
        )
        self.audience.ended(lane.result)

    def _ended(self, lane: Lane, end: RunEnd, action: str, began: Millis) -> None:
        now = self.app.clock.now()
        result = ended(self.app, end, action)
        before, lane.refused = lane.wait, ""
        waits = result.state == "suspended" and lane.known is not None
        lane.wait = self._waiting(lane, result, now) if waits else None
        if result.state != "interrupted":
            self.triggers.ended(lane.name, self.store, end.run, began, now)
            self.remember()
        lane.result = result
        if before is None or lane.wait is None or (before.run, before.reasons) != (lane.wait.run, lane.wait.reasons):
            self.audience.ended(result)

    # ------------------------------------------------------------ what stands, and what waits

    def _leave(self, lane: Lane, decision: Decision) -> None:
        """Nothing begins: say so when a person may have expected it."""
        if decision.text:
            self.audience.say(decision.text, manifest=lane.name)
        if decision.run:
            action = "unchanged" if decision.act == "leave" else "wait"
            lane.result = run_result(self.store, decision.run, action)
        if decision.act == "wait" and (lane.wait is None or lane.wait.run != decision.run):
            assert lane.result is not None
            now = self.app.clock.now()
            lane.wait = self._waiting(lane, lane.result, now)
            if lane.result.state == "suspended":
                self.audience.ended(lane.result)

    def _waiting(self, lane: Lane, result: RunResult, now: Millis) -> Wait:
        """How the run waits; no reasons: somebody else still drives it."""
        assert result.run is not None
        reasons = suspension_reasons(self.store, result.run) if result.state == "suspended" else ()
        until = _until(self.store, result.run)
        if lane.wait is not None and lane.wait.run == result.run and lane.wait.reasons:
            return lane.wait.after_try(now, reasons, until)
        return Wait(result.run, reasons, until, since=now, looked=now)

    def _attend(self, lane: Lane, wait: Wait, now: Millis) -> None:
        row = self.store.run(wait.run)
        if row is None or row.state in SETTLED_RUN:
            self._over(lane, row)
        elif row.owner_alive:
            return  # somebody answers, or drives it
        elif row.state == "suspended" and not wait.reasons:
            lane.result = run_result(self.store, wait.run, "unchanged")
            lane.wait = self._waiting(lane, lane.result, now)
        elif row.state != "suspended" and not wait.reasons:
            text = f"run {wait.run} was interrupted in another runner: left alone (`runner resume {wait.run}` goes on)"
            self.audience.say(text, manifest=lane.name)
            lane.wait = None
        elif row.state != "suspended" or self.store.inbox(wait.run):
            self._take_up(lane, wait, "answered", over=False)
        elif (at := next_try(wait)) is not None and at <= now:
            over = starts_over(wait, now)
            self._take_up(lane, wait, "tried again" if over else _why(wait, now), over=over)

    def _over(self, lane: Lane, row: RunRow | None) -> None:
        """The run that waited was ended, or removed, by somebody else."""
        lane.wait = None
        if row is not None:
            lane.result = run_result(self.store, row.run, "unchanged")
            self.audience.say(f"run {row.run} was ended elsewhere: {row.state}", manifest=lane.name)

    def _take_up(self, lane: Lane, wait: Wait, why: str, *, over: bool) -> None:
        if why:
            self.audience.say(f"run {wait.run} goes on: {why}", manifest=lane.name, kind="run")
        self._spawn(lane, self._resume(lane, wait, over))

    async def _resume(self, lane: Lane, wait: Wait, over: bool) -> None:
        async with self.places:
            if self.app.draining:
                return
            lane.run = wait.run
            work = go_on(self.app, wait.run) if over else self.app.resume(wait.run, ())
            await self._drive(lane, NOTHING, work, "resume")


def _why(wait: Wait, now: Millis) -> str:
    """A look at the mode or the budget is not worth a line."""
    return "its time has come" if wait.until is not None and wait.until <= now and wait.until > wait.looked else ""


def _until(store: Store, run: str) -> Millis | None:
    """The earliest moment that a suspended step of a run or its sub-runs waits for."""
    found = [row.until for row in store.steps(run) if row.state == "suspended" and row.until is not None]
    found += [until for child in store.children(run) if (until := _until(store, child.run)) is not None]
    return min(found, default=None)


def results(lanes: Mapping[str, Lane]) -> tuple[RunResult, ...]:
    """How the manifests stand, by name."""
    return tuple(lane.result for _, lane in sorted(lanes.items()) if lane.result is not None)
