"""Mode, circuits and money in memory: the twins of `SqliteHealth` and `SqliteLedger` that pass the same contract tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.core.circuits import Circuit
from runner.core.days import room
from runner.core.learning import Sample
from runner.core.modes import ModeState
from runner.ports import AttemptRow, CircuitRow, ModeRow, OverCap, RunRow, Scope, Spending, Standing, Store
from runner.store.cells import MoneyLine
from runner.store.circuit_cells import cells, circuit_of
from runner.store.done import Done
from runner.store.health import MODES_KEPT

_ALL = 1 << 31


class MemoryHealth:
    """`ports.Health` beside a `MemoryStore`. Circuits are kept as the cells of their rows, as on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._modes: list[ModeRow] = []
        self._circuits: dict[str, tuple[int, tuple[str, str, int | None, int | None]]] = {}

    def mode(self) -> ModeRow:
        return self._modes[-1] if self._modes else ModeRow(0, ModeState())

    def mode_history(self, limit: int = 50) -> Sequence[ModeRow]:
        return self._modes[::-1][:limit]

    def set_mode(self, state: ModeState, epoch: int) -> Awaitable[int | None]:
        def work() -> int | None:
            if self.mode().epoch != epoch:
                return None
            self._modes = [*self._modes, ModeRow(epoch + 1, state)][-MODES_KEPT:]
            return epoch + 1

        return Done(work)

    def circuits(self) -> Mapping[str, CircuitRow]:
        return {
            subject: CircuitRow(epoch, circuit_of(*row)) for subject, (epoch, row) in sorted(self._circuits.items())
        }

    def set_circuit(self, subject: str, circuit: Circuit, epoch: int) -> Awaitable[int | None]:
        row = cells(circuit)

        def work() -> int | None:
            if self._circuits.get(subject, (0,))[0] != epoch:
                return None
            self._circuits[subject] = (epoch + 1, row)
            return epoch + 1

        return Done(work)

    def samples(self, names: Sequence[str], since: int, limit: int = 2000) -> Sequence[Sample]:
        found = [
            Sample(row.executor, row.model, row.state == "succeeded", row.error_class, row.ended, row.ended - row.started, row.cost)
            for run, row in _attempts(self._store)
            if run.created >= since
            and row.ended is not None
            and row.state in ("succeeded", "failed")
            and (row.executor in names or row.model in names)
        ]  # fmt: skip
        return sorted(found, key=lambda sample: -sample.at)[:limit]


@dataclass(frozen=True, slots=True)
class _Entry:
    held: int
    spent: int = 0
    source: str = ""


class MemoryLedger:
    """`ports.Ledger` beside a `MemoryStore`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: dict[tuple[str, str], dict[str, _Entry]] = {}
        self._caps: dict[tuple[str, str], int] = {}

    def reserve(self, attempt: str, amount: int, scopes: Sequence[Scope]) -> Awaitable[OverCap | None]:
        return Done(lambda: self._reserve(attempt, amount, scopes))

    def settle(self, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        return Done(lambda: self._settle(attempt, spent, source, scopes))

    def release(self, attempt: str, scopes: Sequence[Scope]) -> Awaitable[None]:
        return Done(lambda: self._release(attempt, scopes))

    def book(self, line: MoneyLine) -> None:
        """What an attempt's event says of money."""
        if line.source:
            self._settle(line.attempt, line.amount, line.source, line.scopes)
            return
        for scope in line.scopes:
            if not self._of(scope).get(line.attempt, _Entry(0)).source:
                self._of(scope)[line.attempt] = _Entry(line.amount)

    def standing(self, scope: Scope) -> Standing:
        entries = self._of(scope).values()
        held, spent = sum(entry.held for entry in entries), sum(entry.spent for entry in entries)
        return Standing(self._caps.get((scope.kind, scope.id)), held, spent)

    def spending(
        self, by: Literal["step", "executor", "model"], *, root: str | None = None, since: int | None = None
    ) -> Sequence[Spending]:
        sums: dict[str, Spending] = {}
        for run, row in _attempts(self._store):
            key = _KEYS[by](run, row)
            if key and root in (None, run.root) and (since is None or row.started >= since):
                _add(sums, key, row.cost, row.cost_source)
        return sorted(sums.values(), key=lambda line: (-line.cost, line.key))

    def days(self, first: str = "") -> Sequence[Spending]:
        sums: dict[str, Spending] = {}
        for (kind, day), entries in sorted(self._entries.items()):
            for entry in entries.values():
                if kind == "day" and day >= first and entry.source:
                    _add(sums, day, entry.spent, entry.source)
        return list(sums.values())

    def _of(self, scope: Scope) -> dict[str, _Entry]:
        return self._entries.setdefault((scope.kind, scope.id), {})

    def _reserve(self, attempt: str, amount: int, scopes: Sequence[Scope]) -> OverCap | None:
        self._release(attempt, scopes)
        scopes = [scope for scope in scopes if attempt not in self._of(scope)]  # what is settled stays
        for scope in scopes:
            self._set_cap(scope)
            now = self.standing(scope)
            answer = room(scope.cap, now.spent, now.held, amount)
            if answer != "yes":
                return OverCap(scope, now, waits=answer == "wait")
        for scope in scopes:
            self._of(scope)[attempt] = _Entry(amount)
        return None

    def _set_cap(self, scope: Scope) -> None:
        if scope.cap is None:
            self._caps.pop((scope.kind, scope.id), None)
        else:
            self._caps[scope.kind, scope.id] = scope.cap

    def _settle(self, attempt: str, spent: int, source: str, scopes: Sequence[Scope]) -> None:
        for scope in scopes:
            entry = self._of(scope).get(attempt)
            if entry is None or not entry.source:
                self._of(scope)[attempt] = _Entry(0, spent, source)

    def _release(self, attempt: str, scopes: Sequence[Scope]) -> None:
        for scope in scopes:
            entry = self._of(scope).get(attempt)
            if entry is not None and not entry.source:
                del self._of(scope)[attempt]


_KEYS: Mapping[str, Callable[[RunRow, AttemptRow], str]] = {
    "step": lambda run, row: f"{run.name}/{row.node.partition('[')[0]}",
    "executor": lambda run, row: row.executor,
    "model": lambda run, row: row.model,
}


def _add(sums: dict[str, Spending], key: str, cost: int, source: str) -> None:
    line = sums.get(key, Spending(key, 0, 0, 0))
    assumed = line.assumed + (cost if source == "assumed" else 0)
    sums[key] = line._replace(cost=line.cost + cost, assumed=assumed, attempts=line.attempts + 1)


def _attempts(store: Store) -> Iterator[tuple[RunRow, AttemptRow]]:
    todo = list(store.runs(limit=_ALL))
    while todo:
        run = todo.pop()
        todo += store.children(run.run)
        for row in store.attempts(run.run):
            yield run, row
