"""The ledger in SQLite: `SqliteLedger` is `ports.Ledger`. Its twin is in memory_health.py.

An attempt has one entry in each scope, found by a digest, so that a large ledger is never searched. An entry without a source
is a reservation; one with a source is settled, and stays. A row of `caps` keeps the sums of its scope, so that a cap is one
conditional UPDATE.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from hashlib import blake2b
from typing import Any, Literal

from runner.ports import OverCap, Scope, Spending, Standing
from runner.store.health import HEALTH_SQL, Put, Read
from runner.store.record import Record

_BY = {"step": "spending_by_step", "executor": "spending_by_executor", "model": "spending_by_model"}


class SqliteLedger:
    """`ports.Ledger` on a state database, through its store's writer and readers."""

    def __init__(self, put: Put, read: Read) -> None:
        self._put = put
        self._read = read

    def reserve(self, attempt: str, amount: int, scopes: Sequence[Scope]) -> Awaitable[OverCap | None]:
        wanted = tuple(scopes)
        return self._put(lambda record: _reserve(record, attempt, amount, wanted))

    def settle(self, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        touched = tuple(scopes)
        return self._put(lambda record: _settle(record, attempt, spent, source, touched))

    def release(self, attempt: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        touched = tuple(scopes)
        return self._put(lambda record: _release(record, attempt, touched))

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


def _reserve(record: Record, attempt: str, amount: int, scopes: Sequence[Scope]) -> OverCap | None:
    """Caps are looked at one after the other; what the first ones gave goes back when a later one has no room."""
    _release(record, attempt, scopes)
    scopes = [scope for scope in scopes if not _run(record, "entry", (entry_id(scope, attempt),))]  # settled ones stay
    taken: list[Scope] = []
    for scope in scopes:
        if not _hold(record, scope, amount):
            for earlier in taken:
                _run(record, "move_money", (earlier.kind, earlier.id, -amount, 0))
            return _over(scope, amount, Standing(*_run(record, "cap", (scope.kind, scope.id))[0]))
        taken.append(scope)
    for scope in scopes:
        _put_entry(record, attempt, scope, held=amount)
    return None


def _hold(record: Record, scope: Scope, amount: int) -> bool:
    if scope.cap is None:
        _run(record, "drop_cap", (scope.kind, scope.id))
        return True
    _run(record, "put_cap", (scope.kind, scope.id, scope.cap))
    return bool(_run(record, "hold", (scope.kind, scope.id, amount)))


def _over(scope: Scope, amount: int, standing: Standing) -> OverCap:
    assert standing.cap is not None
    return OverCap(scope, standing, waits=standing.spent + amount <= standing.cap)


def _settle(record: Record, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> None:
    for scope in scopes:
        found = _run(record, "entry", (entry_id(scope, attempt),))
        held, settled = found[0] if found else (0, "")
        if not settled:
            _put_entry(record, attempt, scope, spent=spent, source=source)
            _run(record, "move_money", (scope.kind, scope.id, -held, spent))


def _release(record: Record, attempt: str, scopes: Sequence[Scope]) -> None:
    for scope in scopes:
        entry = entry_id(scope, attempt)
        found = _run(record, "entry", (entry,))
        if found and not found[0][1]:
            _run(record, "delete_entry", (entry,))
            _run(record, "move_money", (scope.kind, scope.id, -found[0][0], 0))


def _put_entry(record: Record, attempt: str, scope: Scope, *, held: int = 0, spent: int = 0, source: str = "") -> None:
    values = (entry_id(scope, attempt), scope.kind, scope.id, attempt, held, spent, source)
    _run(record, "put_entry", values)


def entry_id(scope: Scope, attempt: str) -> int:
    """The row of an attempt in a scope: 63 bits of a digest."""
    name = f"{scope.kind}\0{scope.id}\0{attempt}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") >> 1


def _run(record: Record, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    return record.db.execute(HEALTH_SQL[query], tuple(values)).fetchall()
