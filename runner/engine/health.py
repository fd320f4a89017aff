"""How endpoints and executors are, as this process knows it: circuits, probes and the system's mode, shared with other processes through
`ports.Health`.

Every change is pure (`core.circuits`, `core.modes`) and written by compare-and-set: whoever was slower reads again and decides again.
The order after a failed call: what it means for circuits, then a probe when nobody was reached, then the mode, and only then does the
caller get its result, so that the very step that found an endpoint dead goes on with the mode that follows. Not here: what a probe
asks (llms), and what follows for steps (the kernel's)."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from runner.clock import Clock
from runner.core import circuits, modes
from runner.core.circuits import CallEnd, Change, Circuit, Limits, Sign, as_of, begin_trial, consequences, feed
from runner.core.modes import CloudEndpoint
from runner.core.router import Outlook, Verdict
from runner.errors import StoreError
from runner.manifest.vocabulary import Mode
from runner.ports import CircuitRow, Health, ModeRow

Probe = Callable[[str], Awaitable[str]]
"""Asks a subject (`endpoint:proxy`, `executor:claude-code`) whether it is there: "" = yes, else why not."""

POLL_S: Final = 2.0
"""How often what other processes wrote is read, while somebody here needs to know."""
TRIAL_MS: Final = 120_000
"""The longest that one trial call of a half open circuit keeps the others out."""
PROBED: Final = ("endpoint:", "executor:")


class Terms(NamedTuple):
    """The numbers of `fault_handler`, milliseconds."""

    limits: Limits = Limits()
    min_dwell: int = 30_000


class HealthKeeper:
    """An async context manager. `base` is what the outlook holds besides: missing parts, credentials, the operator's policy, ranks.
    `pinned`: the mode that holds in this process whatever circuits say (`--mode`). `on_change(mode)`: the mode or a circuit has changed.

    `patience_s`: how long whoever wants to go on waits for probes. Nothing is probed before somebody asks for the outlook."""

    def __init__(
        self,
        health: Health,
        cloud: tuple[CloudEndpoint, ...],
        base: Outlook,
        *,
        probe: Probe,
        patience_s: float = 3.0,
        clock: Clock,
        terms: Terms | None = None,
        pinned: Mode | None = None,
        on_change: Callable[[Mode], None] = lambda mode: None,
    ) -> None:
        self._health, self._cloud, self._base, self._probe, self._clock = health, cloud, base, probe, clock
        self._terms, self._pinned, self._on_change = terms or Terms(), pinned, on_change
        self._circuits: dict[str, Circuit] = {}
        self._epochs: dict[str, int] = {}
        self._mode = ModeRow(0, modes.ModeState())
        self._writing = asyncio.Lock()
        self._patience_s = patience_s
        self._flights: dict[str, asyncio.Task[None]] = {}
        """Probes under way, one a subject."""
        self._needed = asyncio.Event()
        self._look = asyncio.Event()
        self._life: list[asyncio.Task[None]] = []
        self._work: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "HealthKeeper":
        self._read()
        self._life.append(asyncio.create_task(self._watch(), name="ares-health"))
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = (*self._life, *self._work, *self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------ what is asked of it

    @property
    def mode(self) -> Mode:
        return self._pinned or self._mode.state.mode

    def outlook(self, mode: Mode, now: int) -> Outlook:
        """What holds now."""
        self._needed.set()
        pinned = self._pinned is not None or self._mode.state.is_pinned(now)
        return self._base._replace(now=now, mode=mode, pinned=pinned, circuits=self._circuits)

    def better_at(self) -> int | None:
        """When the mode gets better by time alone, because only `min_dwell` stands in the way; None = not so."""
        if self._pinned is not None:
            return None
        want, _ = modes.wanted(self._cloud, self._seen())
        state = self._mode.state
        if want == state.mode or modes.is_worse(want, state.mode):
            return None
        return modes.change_at(state, want, self._clock.now(), self._terms.min_dwell)

    def intended(self, verdict: Verdict, lasts_ms: int | None, now: int) -> None:
        """A call by this entry is about to be made: a half open circuit lets one through at a time."""
        entry = verdict.entry
        if verdict.stand != "trial" or entry is None:
            return
        lasts = min(lasts_ms or TRIAL_MS, TRIAL_MS)
        self._at_once(entry.place, lambda c: begin_trial(c, now, lasts))

    def lost(self, place: str) -> None:
        """The runner died with a call to this subject under way: if that was its trial, the place is free again."""
        sign = Sign("dropped", self._clock.now())
        drop: Change = lambda c: feed(c, sign, self._terms.limits)  # noqa: E731
        if self._would_change(place, drop):
            self._at_once(place, drop)

    def _at_once(self, place: str, change: Change) -> None:
        """It holds here from now on; the record follows."""
        self._circuits = {**self._circuits, place: change(self._circuits.get(place, Circuit()))}
        self._spawn(self._change({place: change}, force=True))

    async def ended(self, end: CallEnd) -> None:
        """A real call has ended. Returns when what it means is known: a dead endpoint within a second."""
        end = end._replace(credential=self._base.credentials.get(end.endpoint or end.target, ""))
        changed = await self._change(consequences(end, self._terms.limits, self._clock.now()))
        if not changed and self._circuits.get(end.place, Circuit()).state == "closed":
            return
        if end.unreached:
            await self._make_sure(end.place)
        await self._decide(changed=True)

    async def ask(self, *, warm: bool = False) -> None:
        """Somebody wants to go on: probe all that is not well now. `warm`: a person says so, and what cools is asked again too."""
        self._needed.set()
        now = self._clock.now()
        cooled = [subject for subject, c in self._circuits.items() if warm and c.cool_until is not None]
        await self._change(dict.fromkeys(cooled, circuits.warm))
        unwell = [subject for subject, c in self._seen().items() if c.state != "closed" and subject.startswith(PROBED)]
        await self._change({subject: lambda c: feed(c, Sign("asked", now), self._terms.limits) for subject in unwell})
        if unwell:
            await asyncio.wait([self._probe_soon(subject) for subject in unwell], timeout=self._patience_s)
        await self._decide(changed=bool(cooled or unwell))

    # ------------------------------------------------------------ probes

    async def _make_sure(self, subject: str) -> None:
        """Nobody was reached there: probe until it answers or its circuit is open, which takes less than a second."""
        while (c := self._circuits.get(subject, Circuit())).state == "closed" and c.suspect and c.probe_at is not None:
            await asyncio.sleep(min(max(0, c.probe_at - self._clock.now()), circuits.URGENT_MS) / 1000)
            await asyncio.shield(self._probe_soon(subject))

    def _probe_soon(self, subject: str) -> asyncio.Task[None]:
        task = self._flights.get(subject)
        if task is None:
            task = self._flights[subject] = asyncio.create_task(self._probe_once(subject))
            task.add_done_callback(lambda _: self._flights.pop(subject, None))
        return task

    async def _probe_once(self, subject: str) -> None:
        why = await self._probe(subject)
        sign = Sign("probe_failed" if why else "probe_passed", self._clock.now(), why, unreached=bool(why))
        with contextlib.suppress(StoreError):  # locked for the moment: asked again
            await self._change({subject: lambda c: feed(c, sign, self._terms.limits)})
            await self._decide(changed=True)

    async def _watch(self) -> None:
        """Probes that are due, the mode that time makes better, and what others wrote."""
        await self._needed.wait()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_look()):
                    await self._look.wait()
            self._look.clear()
            with contextlib.suppress(StoreError):  # locked for the moment: looked at again
                changed = self._read()
                for subject in self._due():
                    self._probe_soon(subject)
                await self._decide(changed=changed)

    def _next_look(self) -> float:
        moments = [*self._wanted().values(), *([] if (better := self.better_at()) is None else [better])]
        first = min(moments, default=None)
        return POLL_S if first is None else min(POLL_S, max(0.01, (first - self._clock.now()) / 1000))

    def _due(self) -> list[str]:
        now = self._clock.now()
        return [subject for subject, at in self._wanted().items() if at <= now]

    def _wanted(self) -> dict[str, int]:
        """Who is to be probed, and when; without those that are being asked."""
        return {
            subject: c.probe_at
            for subject, c in self._seen().items()
            if c.probe_at is not None and subject.startswith(PROBED) and subject not in self._flights
        }

    def _seen(self) -> Mapping[str, Circuit]:
        now = self._clock.now()
        return {subject: as_of(c, now) for subject, c in self._circuits.items()}

    # ------------------------------------------------------------ the record

    def _read(self) -> bool:
        """Take over what is on record. True = something is new."""
        found, mode = self._health.circuits(), self._health.mode()
        before = (self._circuits, self._mode)
        self._take(found)
        self._mode = mode
        return before != (self._circuits, self._mode)

    def _take(self, found: Mapping[str, CircuitRow]) -> None:
        known = {subject: row for subject, row in found.items() if row.epoch > self._epochs.get(subject, 0)}
        self._circuits = {**self._circuits, **{subject: row.circuit for subject, row in known.items()}}
        self._epochs |= {subject: row.epoch for subject, row in known.items()}

    async def _change(self, changes: Mapping[str, Change], *, force: bool = False) -> bool:
        """Apply pure changes to the newest values. True = something was written."""
        wanted = {s: change for s, change in changes.items() if force or self._would_change(s, change)}
        if not wanted:
            return False
        async with self._writing:
            written = [await self._change_one(subject, change, force) for subject, change in wanted.items()]
        self._look.set()
        return any(written)

    def _would_change(self, subject: str, change: Change) -> bool:
        circuit = self._circuits.get(subject, Circuit())
        return change(circuit) != circuit

    async def _change_one(self, subject: str, change: Change, force: bool) -> bool:
        while True:
            circuit = self._circuits.get(subject, Circuit())
            new = change(circuit)
            if new == circuit and not force:
                return False
            epoch = await self._health.set_circuit(subject, new, self._epochs.get(subject, 0))
            if epoch is not None:
                self._circuits, self._epochs[subject] = {**self._circuits, subject: new}, epoch
                return True
            self._take(self._health.circuits())

    async def _decide(self, *, changed: bool) -> None:
        """The mode that the circuits ask for, and word to whoever waits."""
        before = self._mode.state.mode
        async with self._writing:
            while True:
                want, why = modes.wanted(self._cloud, self._seen())
                state = modes.advance(self._mode.state, want, why, self._clock.now(), self._terms.min_dwell)
                if state == self._mode.state:
                    break
                epoch = await self._health.set_mode(state, self._mode.epoch)
                if epoch is not None:
                    self._mode = ModeRow(epoch, state)
                    break
                self._mode = self._health.mode()
        if changed or before != self._mode.state.mode:
            self._on_change(self.mode)

    def _spawn(self, work: Awaitable[object]) -> None:
        async def quietly() -> None:
            with contextlib.suppress(StoreError):  # a trial that others do not hear of is made twice at worst
                await work

        task = asyncio.create_task(quietly())
        self._work.add(task)
        task.add_done_callback(self._work.discard)
