"""`core.assigning.Dispatch` over what this process knows: health, sessions, rates, the day's money."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, Protocol

from runner.clock import Clock, VirtualClock
from runner.core import rates
from runner.core.assigning import Room, Unpriced
from runner.core.days import Calendar
from runner.core.learning import MIN_SAMPLE, Score
from runner.core.roster import Entry, Kind, Roster
from runner.core.router import Outlook, Verdict
from runner.engine.funds import DayFunds
from runner.engine.health import HealthKeeper
from runner.manifest.vocabulary import Mode


class Sessions(Protocol):
    """What `EngineWorld` says of an MCP server."""

    def server(self, name: str) -> Literal["unknown", "opening", "full", "ready"]: ...


class Learned(Protocol):
    """What earlier attempts say."""

    @property
    def scores(self) -> Mapping[Kind, Mapping[str, Score]]:
        """By the name of the agent executor or model."""
        ...


class Handle(Protocol):
    """Of an alarm that was set."""

    def cancel(self) -> None: ...


class Rates:
    """`core.rates.Rates` with a clock that rings. `on_lane(lane)`: the next one may go."""

    def __init__(self, limits: Mapping[str, int], on_lane: Callable[[str], None], clock: Clock) -> None:
        self._rates, self._on_lane, self._clock = rates.Rates(limits), on_lane, clock
        self._alarms: dict[str, tuple[int, Handle]] = {}

    def room(self, name: str, lane: str, now: int) -> Room:
        at = self._rates.free_at(name, now)
        if at is None:
            return "ready"
        known = self._alarms.get(lane)
        if known is None or at < known[0]:  # another model of the lane may be free before
            if known is not None:
                known[1].cancel()
            self._alarms[lane] = at, self._alarm(lane, at, now)
        return "full"

    def _alarm(self, lane: str, at: int, now: int) -> Handle:
        if isinstance(self._clock, VirtualClock):
            return self._clock.call_at(at, partial(self._free, lane))
        return asyncio.get_running_loop().call_later((at - now) / 1000, self._free, lane)

    def count(self, name: str, now: int) -> None:
        """A request is about to be made."""
        self._rates.count(name, now)

    def _free(self, lane: str) -> None:
        self._alarms.pop(lane, None)
        self._on_lane(lane)

    def close(self) -> None:
        for _, alarm in self._alarms.values():
            alarm.cancel()


class EngineDispatch:
    """`warn` is told once of each entry whose price nobody knows."""

    def __init__(
        self,
        roster: Roster,
        *,
        keeper: HealthKeeper,
        sessions: Sessions,
        funds: DayFunds,
        calendar: Calendar,
        rates: Rates,
        learned: Learned,
        unpriced: Unpriced,
        warn: Callable[[str], None],
    ) -> None:
        self.roster, self.unpriced = roster, unpriced
        self._keeper, self._sessions, self._funds, self._calendar, self._rates = (
            keeper,
            sessions,
            funds,
            calendar,
            rates,
        )
        self._learned, self._warn = learned, warn
        self._warned: set[str] = set()

    def outlook(self, mode: Mode, now: int) -> Outlook:
        return self._keeper.outlook(mode, now)

    def room(self, entry: Entry, now: int) -> Room:
        if entry.kind == "model":
            return self._rates.room(entry.name, entry.lane, now)
        state = self._sessions.server(entry.name)
        return "ready" if state == "unknown" else state  # the attempt then says what is missing

    def typical(self, entry: Entry) -> int | None:
        score = self._learned.scores[entry.kind].get(entry.name)
        return score.cost or None if score is not None and score.count >= MIN_SAMPLE else None

    def today(self, now: int) -> str:
        return self._calendar.today(now)

    def day_ends(self, now: int) -> int:
        return self._calendar.day_ends(now)

    def may_spend(self, attempt: str, amount: int, now: int) -> Literal["yes", "wait", "no"]:
        return self._funds.may_spend(attempt, amount, now)

    def intended(self, verdict: Verdict, lasts_ms: int | None, now: int) -> None:
        self._rates.count(verdict.label, now)
        self._keeper.intended(verdict, lasts_ms, now)

    def unknown_price(self, entry: Entry) -> None:
        if entry.name not in self._warned:
            self._warned.add(entry.name)
            self._warn(
                f"the price of {entry.name} is not known: its attempts count by an estimate, marked assumed. "
                f"Declare models.catalog.{entry.name}.price, or set budget.unpriced to allow or deny"
            )
