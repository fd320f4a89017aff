"""A circuit as the cells of its row, and back. `failures` holds, as JSON, all that has no column of its own."""

from __future__ import annotations

from typing import Any

from runner.core.circuits import Circuit
from runner.store.encode import decode, encode

_COLUMNS = ("state", "opened", "until")
_START = Circuit()._asdict()


def cells(circuit: Circuit) -> tuple[str, str, int | None, int | None]:
    """state, failures, opened, until."""
    told = {key: value for key, value in circuit._asdict().items() if key not in _COLUMNS and value != _START[key]}
    return circuit.state, encode(told), circuit.opened, circuit.until


def circuit_of(state: Any, failures: str, opened: int | None, until: int | None) -> Circuit:
    """Keys that this release does not know are passed over: another one wrote them."""
    told = {key: value for key, value in decode(failures).items() if key in _START and key not in _COLUMNS}
    told["failures"] = tuple(told.get("failures", ()))
    return Circuit(state=state, opened=opened, until=until, **told)
