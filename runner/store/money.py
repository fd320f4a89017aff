"""The ledger in SQLite: `SqliteLedger` is `ports.Ledger`. Its twin is in memory_health.py."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Literal

from runner.ports import OverCap, Scope, Spending, Standing
from runner.store import booking
from runner.store.health import Put, Read
from runner.store.queries import HEALTH_SQL

_BY = {"step": "spending_by_step", "executor": "spending_by_executor", "model": "spending_by_model"}


class SqliteLedger:
    """`ports.Ledger` on a state database, through its store's writer and readers."""

    def __init__(self, put: Put, read: Read) -> None:
        self._put = put
        self._read = read

    def reserve(self, attempt: str, amount: int, scopes: Sequence[Scope]) -> Awaitable[OverCap | None]:
        wanted = tuple(scopes)
        return self._put(lambda record: booking.reserve(record.db, attempt, amount, wanted))

    def settle(self, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        touched = tuple(scopes)
        return self._put(lambda record: booking.settle(record.db, attempt, spent, source, touched))

    def release(self, attempt: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        touched = tuple(scopes)
        return self._put(lambda record: booking.release(record.db, attempt, touched))

    def standing(self, scope: Scope) -> Standing:
        found = self._read(HEALTH_SQL["cap"], (scope.kind, scope.id))
        if found:
            return Standing(*found[0])
        return Standing(None, *self._read(HEALTH_SQL["sums"], (scope.kind, scope.id))[0])

    def spending(
        self, by: Literal["step", "executor", "model"], *, root: str | None = None, since: int | None = None
    ) -> Sequence[Spending]:
        return [Spending(*row) for row in self._read(HEALTH_SQL[_BY[by]], (root, since))]

    def days(self, first: str = "") -> Sequence[Spending]:
        return [Spending(*row) for row in self._read(HEALTH_SQL["days"], (first,))]
