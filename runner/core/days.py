"""Days as budgets count them, and whether a day's budget has room."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple

Answer = Literal["yes", "wait", "no"]


class Calendar(NamedTuple):
    """Days of a time zone."""

    zone: tzinfo = UTC

    def today(self, now: int) -> str:
        """`2026-11-22`."""
        return self._at(now).date().isoformat()

    def day_ends(self, now: int) -> int:
        """Unix milliseconds."""
        midnight = (self._at(now) + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return int(midnight.timestamp() * 1000)

    def _at(self, now: int) -> datetime:
        return datetime.fromtimestamp(now / 1000, self.zone)


def room(cap: int | None, spent: int, held: int, amount: int) -> Answer:
    """May `amount` be reserved beside what is spent and held? `wait`: what is held may come back. (Micro-USD; what costs nothing
    always may. The database says the same in one UPDATE.)"""
    if cap is None or not amount or spent + held + amount <= cap:
        return "yes"
    return "wait" if spent + amount <= cap else "no"
