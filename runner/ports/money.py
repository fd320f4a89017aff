"""The ledger, shared by all processes on a database."""

from collections.abc import Awaitable, Sequence
from typing import Literal, NamedTuple, Protocol


class Scope(NamedTuple):
    """What may have a cap: a root run (`run`, its id), a step of it (`step`, `RUN/STEP`), a day (`day`, `2026-11-22` in the
    config's time zone). `cap` in micro-USD; None = no cap, money is only counted. Settle with the scopes of the reservation: an
    attempt belongs to the day on which it started."""

    kind: Literal["run", "step", "day"]
    id: str
    cap: int | None = None


class Standing(NamedTuple):
    """The money of a scope, micro-USD. `held`: reserved by attempts in flight."""

    cap: int | None
    held: int
    spent: int


class OverCap(NamedTuple):
    """A reservation that was refused. `waits`: there would be room if the reservations in flight came back."""

    scope: Scope
    standing: Standing
    waits: bool


class Spending(NamedTuple):
    """A line of `runner cost`, micro-USD. `assumed`: the part of `cost` that nobody billed (an unknown price, a lost attempt)."""

    key: str
    cost: int
    assumed: int
    attempts: int


class Ledger(Protocol):
    """Money: reserved before an attempt, settled after it. Each write is one transaction, and doing it twice is doing it once."""

    def reserve(self, attempt: str, amount: int, scopes: Sequence[Scope]) -> Awaitable[OverCap | None]:
        """Hold `amount` in all scopes, or in none: then the first one without room. Nothing at all always fits. Reserving
        anew replaces what the attempt held."""
        ...

    def settle(self, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        """The attempt has cost `spent`, whatever it had reserved. `source` says who knows (`billed`, `priced`, `assumed`)."""
        ...

    def release(self, attempt: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        """The attempt never started. What is settled stays."""
        ...

    def standing(self, scope: Scope) -> Standing: ...

    def spending(
        self, by: Literal["step", "executor", "model"], *, root: str | None = None, since: int | None = None
    ) -> Sequence[Spending]:
        """What recorded attempts have cost, the dearest first: of one tree, or started since then. A step's key is `MANIFEST/STEP`."""
        ...

    def days(self, first: str = "") -> Sequence[Spending]:
        """What was settled by day, oldest first, from a day on. Removed runs count on."""
        ...
