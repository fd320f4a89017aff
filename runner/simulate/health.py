"""How endpoints and executors are in a simulation: circuits, probes and the mode, by the same pure rules as everywhere.

What is known here outlives the runner, as the state database does. The order is that of `engine.health`: what a call means for
circuits, a probe when nobody was reached, the mode, and only then does its result reach the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from runner.core import modes
from runner.core.assigning import Room, Unpriced
from runner.core.circuits import CallEnd, Circuit, Sign, as_of, begin_trial, consequences, feed
from runner.core.days import Answer
from runner.core.rates import Rates
from runner.core.roster import Entry, Roster
from runner.core.router import Outlook, Verdict
from runner.core.slots import Slots
from runner.manifest.vocabulary import Mode
from runner.simulate.faults import REACHES, Fault
from runner.simulate.funds import SimulatedFunds
from runner.simulate.scenario import Case

MOST_PROBES = 20
"""Urgent probes in a row; a circuit opens or closes long before."""
TRIAL_MS = 120_000
CLOSED = Circuit()


class SimulatedHealth:
    """`faults`: those of an endpoint or executor at every step, for ever, let its probes fail, too. `pinned`: the mode that a person
    has set. `tell(subject, circuit)` hears of circuits that open, close, or begin to cool."""

    def __init__(
        self, case: Case, faults: Sequence[Fault], tell: Callable[[str, Circuit], None], pinned: Mode | None = None
    ) -> None:
        self._case, self._tell, self.pinned = case, tell, pinned
        self._dead = frozenset(
            fault.target
            for fault in faults
            if fault.step == "*" and fault.times is None and fault.error_class in REACHES
        )
        self.circuits: dict[str, Circuit] = {}
        self._state = modes.ModeState(since=case.now)
        self.moved = False
        """Something is, or was, other than well: who is asked depends on the moment."""

    @property
    def mode(self) -> Mode:
        return self.pinned or self._state.mode

    def outlook(self, mode: Mode, now: int) -> Outlook:
        return self._case.outlook._replace(mode=mode, now=now, pinned=self.pinned is not None, circuits=self.circuits)

    # ------------------------------------------------------------ what happens to it

    def ended(self, end: CallEnd, now: int) -> bool:
        """A call has ended. True = something has changed that steps may wait for."""
        before = dict(self.circuits)
        for subject, change in consequences(end, self._case.limits, now).items():
            self._set(subject, change(self.circuits.get(subject, CLOSED)))
        if end.unreached:
            self._make_sure(end.place, now)
        changed = before != self.circuits
        return self._decide(now) or (changed and self.moved)

    def intended(self, verdict: Verdict, lasts_ms: int | None, now: int) -> None:
        """A half open circuit lets one call through at a time."""
        if verdict.stand == "trial" and verdict.entry is not None:
            lasts = min(lasts_ms or TRIAL_MS, TRIAL_MS)
            place = verdict.entry.place
            self._set(place, begin_trial(self.circuits.get(place, CLOSED), now, lasts))

    def look(self, now: int) -> bool:
        """Probes that are due, and what time alone makes better. True = something has changed."""
        due = [subject for subject, at in self._wanted(now) if at <= now]
        for subject in due:
            self._probe(subject, now)
        return self._decide(now) or bool(due)

    def next_look(self, now: int) -> int | None:
        """When that is worth while: a probe that would pass, the mode that time makes better. A cooling ends by itself."""
        moments = [at for _, at in self._wanted(now)]
        want, _ = modes.wanted(self._case.roster.cloud, self._seen(now))
        if (
            self.pinned is None
            and (better := modes.change_at(self._state, want, now, self._case.min_dwell)) is not None
        ):
            moments.append(better)
        return min(moments, default=None)

    def heal(self, now: int) -> None:
        """Everything is well again, and a person says so."""
        self.circuits = {}
        self._state, self.pinned = modes.ModeState(since=now), "normal"

    # ------------------------------------------------------------ circuits and mode

    def _set(self, subject: str, circuit: Circuit) -> None:
        was = self.circuits.get(subject, CLOSED)
        if circuit == was:
            return
        self.circuits = {**self.circuits, subject: circuit}
        self.moved = self.moved or circuit.state != "closed" or circuit.cool_until is not None
        if circuit.state != was.state or circuit.cool_until != was.cool_until:
            self._tell(subject, circuit)

    def _seen(self, now: int) -> Mapping[str, Circuit]:
        return {subject: as_of(circuit, now) for subject, circuit in self.circuits.items()}

    def _wanted(self, now: int) -> list[tuple[str, int]]:
        """Who is to be probed, and when; without probes that would change nothing: of who is dead, and of who waits for a call only."""
        wanted = []
        for subject, circuit in self._seen(now).items():
            at = circuit.until if circuit.state == "open" else circuit.probe_at
            waits = circuit.state == "half_open" and circuit.passed >= self._case.limits.recover_after
            if at is not None and circuit.state != "closed" and not waits and not self._is_dead(subject):
                wanted.append((subject, at))
        return wanted

    def _is_dead(self, subject: str) -> bool:
        return "*" in self._dead or subject.partition(":")[2] in self._dead

    def _probe(self, subject: str, now: int) -> None:
        dead = self._is_dead(subject)
        sign = Sign("probe_failed" if dead else "probe_passed", now, "simulated" if dead else "", unreached=dead)
        self._set(subject, feed(self.circuits.get(subject, CLOSED), sign, self._case.limits))

    def _make_sure(self, subject: str, now: int) -> None:
        """Nobody was reached there: probe until it answers or its circuit is open."""
        for _ in range(MOST_PROBES):
            circuit = self.circuits.get(subject, CLOSED)
            if circuit.state != "closed" or not circuit.suspect:
                return
            self._probe(subject, now)

    def _decide(self, now: int) -> bool:
        want, why = modes.wanted(self._case.roster.cloud, self._seen(now))
        before, self._state = self._state, modes.advance(self._state, want, why, now, self._case.min_dwell)
        self.moved = self.moved or before.mode != self._state.mode
        return before.mode != self._state.mode and self.pinned is None


class SimulatedDispatch:
    """`core.assigning.Dispatch` of one process, which forgets with it what it has asked in the last minute. `later(lane, at)`: somebody
    waits until then for the rate of a model."""

    def __init__(
        self, case: Case, health: SimulatedHealth, funds: SimulatedFunds, slots: Slots, later: Callable[[str, int], None]
    ) -> None:  # fmt: skip
        self._case, self._health, self._funds, self._slots, self._later = case, health, funds, slots, later
        self._rates = Rates(case.rpm)

    @property
    def roster(self) -> Roster:
        return self._case.roster

    @property
    def unpriced(self) -> Unpriced:
        return self._case.unpriced

    def outlook(self, mode: Mode, now: int) -> Outlook:
        return self._health.outlook(mode, now)

    def room(self, entry: Entry, now: int) -> Room:
        if entry.kind != "model":
            return "ready" if self._slots.free(entry.lane) else "full"
        if (at := self._rates.free_at(entry.name, now)) is None:
            return "ready"
        self._later(entry.lane, at)
        return "full"

    def typical(self, entry: Entry) -> int | None:
        return None

    def today(self, now: int) -> str:
        return self._case.calendar.today(now)

    def day_ends(self, now: int) -> int:
        return self._case.calendar.day_ends(now)

    def may_spend(self, attempt: str, amount: int, now: int) -> Answer:
        return self._funds.may_spend(attempt, amount, now)

    def intended(self, verdict: Verdict, lasts_ms: int | None, now: int) -> None:
        self._rates.count(verdict.label, now)
        self._health.intended(verdict, lasts_ms, now)

    def unknown_price(self, entry: Entry) -> None:
        """Nobody is warned: nothing is paid."""
