"""The day's budget in a simulation: what the state database knows of it, which outlives the runner."""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.days import Answer, Calendar, room
from runner.core.events import Event
from runner.simulate.promises import BrokenPromise


class SimulatedFunds:
    """`cap`: micro-USD of each day; None = there is none. `spent`: what other runs have spent already, by day."""

    def __init__(self, cap: int | None, calendar: Calendar, spent: Mapping[str, int]) -> None:
        self.cap, self.calendar = cap, calendar
        self._spent = dict(spent)
        self._held: dict[str, dict[str, int]] = {}
        """Day → attempt → reserved."""

    def may_spend(self, attempt: str, amount: int, now: int) -> Answer:
        """Reserves when it says yes. Asked again for an attempt, it replaces what that had reserved."""
        if self.cap is None:
            return "yes"
        day = self.calendar.today(now)
        held = self._held.setdefault(day, {})
        held.pop(attempt, None)
        answer = room(self.cap, self._spent.get(day, 0), sum(held.values()), amount)
        if answer == "yes":
            held[attempt] = amount
        return answer

    def lift(self) -> None:
        """The operator takes the cap away."""
        self.cap = None

    def event(self, run: str, event: Event, *, final: bool) -> bool:
        """What an event that names its day says of money. True = something came back. `final`: a step of `finally`, which is never refused."""
        day = event.data["day"]
        attempt = f"{run}/{event.node}/{event.data['n']}"
        held = self._held.setdefault(day, {})
        if event.kind == "attempt_started":
            self._started(attempt, event.data.get("reserved", 0), final, held)
            return False
        held.pop(attempt, None)
        cost = event.data["assumed_cost"] if event.kind == "attempt_lost" else event.data["cost"]
        self._spent[day] = self._spent.get(day, 0) + cost
        return True

    def _started(self, attempt: str, amount: int, final: bool, held: dict[str, int]) -> None:
        if self.cap is not None and amount and not final and held.get(attempt) != amount:
            raise BrokenPromise("limits", f"{attempt} began without its {amount} micro-USD of the day")
        if amount and not final:
            held[attempt] = amount
