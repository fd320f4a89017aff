"""Money in the open transaction: what attempts hold and have cost in each scope, with the sums of scopes that have a cap.

An attempt has one entry in each scope, found by a digest, so that a large ledger is never searched. An entry without a source
is a reservation; one with a source is settled, and stays. A row of `caps` keeps the sums of its scope, so that a cap is one
conditional UPDATE."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import apsw

from runner.ports import OverCap, Scope, Standing
from runner.store.cells import MoneyLine
from runner.store.queries import HEALTH_SQL


def book(db: apsw.Connection, line: MoneyLine) -> None:
    """What an attempt's event says of money. Doing it twice is doing it once."""
    if line.source:
        settle(db, line.attempt, line.amount, line.source, line.scopes)
    else:
        for scope in line.scopes:
            _hold_for(db, line.attempt, line.amount, scope)


def _hold_for(db: apsw.Connection, attempt: str, amount: int, scope: Scope) -> None:
    """An attempt runs and holds this, room or not: it was asked for before."""
    found = _run(db, "entry", (entry_id(scope, attempt),))
    held, settled = found[0] if found else (0, "")
    if not settled:
        _put_entry(db, attempt, scope, held=amount)
        _run(db, "move_money", (scope.kind, scope.id, amount - held, 0))


def reserve(db: apsw.Connection, attempt: str, amount: int, scopes: Sequence[Scope]) -> OverCap | None:
    """Caps are looked at one after the other; what the first ones gave goes back when a later one has no room."""
    release(db, attempt, scopes)
    scopes = [scope for scope in scopes if not _run(db, "entry", (entry_id(scope, attempt),))]  # settled ones stay
    taken: list[Scope] = []
    for scope in scopes:
        if not _hold(db, scope, amount):
            for earlier in taken:
                _run(db, "move_money", (earlier.kind, earlier.id, -amount, 0))
            return _over(scope, amount, Standing(*_run(db, "cap", (scope.kind, scope.id))[0]))
        taken.append(scope)
    for scope in scopes:
        _put_entry(db, attempt, scope, held=amount)
    return None


def _hold(db: apsw.Connection, scope: Scope, amount: int) -> bool:
    if scope.cap is None:
        _run(db, "drop_cap", (scope.kind, scope.id))
        return True
    _run(db, "put_cap", (scope.kind, scope.id, scope.cap))
    return bool(_run(db, "hold", (scope.kind, scope.id, amount)))


def _over(scope: Scope, amount: int, standing: Standing) -> OverCap:
    assert standing.cap is not None
    return OverCap(scope, standing, waits=standing.spent + amount <= standing.cap)


def settle(db: apsw.Connection, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> None:
    for scope in scopes:
        found = _run(db, "entry", (entry_id(scope, attempt),))
        held, settled = found[0] if found else (0, "")
        if not settled:
            _put_entry(db, attempt, scope, spent=spent, source=source)
            _run(db, "move_money", (scope.kind, scope.id, -held, spent))


def release(db: apsw.Connection, attempt: str, scopes: Sequence[Scope]) -> None:
    for scope in scopes:
        entry = entry_id(scope, attempt)
        found = _run(db, "entry", (entry,))
        if found and not found[0][1]:
            _run(db, "delete_entry", (entry,))
            _run(db, "move_money", (scope.kind, scope.id, -found[0][0], 0))


def _put_entry(
    db: apsw.Connection, attempt: str, scope: Scope, *, held: int = 0, spent: int = 0, source: str = ""
) -> None:
    values = (entry_id(scope, attempt), scope.kind, scope.id, attempt, held, spent, source)
    _run(db, "put_entry", values)


def entry_id(scope: Scope, attempt: str) -> int:
    """The row of an attempt in a scope: 63 bits of a digest."""
    name = f"{scope.kind}\0{scope.id}\0{attempt}".encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") >> 1


def _run(db: apsw.Connection, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    return db.execute(HEALTH_SQL[query], tuple(values)).fetchall()
