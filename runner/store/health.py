"""Mode and circuits in SQLite: `SqliteHealth` is `ports.Health`. Its twin is in memory_health.py; money is in money.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from runner.core.circuits import Circuit
from runner.core.learning import Sample
from runner.core.modes import ModeState
from runner.ports import CircuitRow, ModeRow
from runner.store.circuit_cells import cells, circuit_of
from runner.store.encode import encode
from runner.store.queries import HEALTH_SQL
from runner.store.record import Record

T = TypeVar("T")

MODES_KEPT = 1000
"""Lines of mode history."""


class Put(Protocol):
    """Queues work for the writer's thread (see writer.py)."""

    def __call__(self, work: Callable[[Record], T], /) -> Awaitable[T]: ...


Read = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Rows of a statement, on a reading connection."""


class SqliteHealth:
    """`ports.Health` on a state database, through its store's writer and readers."""

    def __init__(self, put: Put, read: Read) -> None:
        self._put = put
        self._read = read

    def mode(self) -> ModeRow:
        return next(iter(self.mode_history(1)), ModeRow(0, ModeState()))

    def mode_history(self, limit: int = 50) -> Sequence[ModeRow]:
        found = self._read(HEALTH_SQL["modes"], (limit,))
        return [ModeRow(epoch, ModeState(mode, since, pinned, reason)) for epoch, mode, since, pinned, reason in found]

    def set_mode(self, state: ModeState, epoch: int) -> Awaitable[int | None]:
        return self._put(lambda record: _set_mode(record, state, epoch))

    def circuits(self) -> Mapping[str, CircuitRow]:
        found = self._read(HEALTH_SQL["circuits"], ())
        return {subject: CircuitRow(epoch, circuit_of(*columns)) for subject, *columns, epoch in found}

    def set_circuit(self, subject: str, circuit: Circuit, epoch: int) -> Awaitable[int | None]:
        row = cells(circuit)
        return self._put(lambda record: _set_circuit(record, subject, row, epoch))

    def samples(self, names: Sequence[str], since: int, limit: int = 2000) -> Sequence[Sample]:
        found = self._read(HEALTH_SQL["samples"], (encode(list(names)), since, limit))
        return [
            Sample(executor, model, bool(ok), error_class, at, ms, cost)
            for executor, model, ok, error_class, at, ms, cost in found
        ]


def _set_mode(record: Record, state: ModeState, epoch: int) -> int | None:
    values = (state.mode, epoch, state.since, state.pinned_until)
    new: int | None = record.db.execute(HEALTH_SQL["add_mode"], values).get
    if new is None:
        return None
    record.db.execute(HEALTH_SQL["put_mode_reason"], (new, state.reason))
    if new > MODES_KEPT:
        for query in ("forget_modes", "forget_mode_reasons"):
            record.db.execute(HEALTH_SQL[query], (new - MODES_KEPT,))
    return new


def _set_circuit(
    record: Record, subject: str, row: tuple[str, str, int | None, int | None], epoch: int
) -> int | None:  # fmt: skip
    query, more = ("change_circuit", (epoch,)) if epoch else ("add_circuit", ())
    new: int | None = record.db.execute(HEALTH_SQL[query], (subject, *row, *more)).get
    return new
