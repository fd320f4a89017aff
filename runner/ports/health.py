"""Mode and circuits, shared by all processes on a database."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import NamedTuple, Protocol

from runner.core.circuits import Circuit
from runner.core.learning import Sample
from runner.core.modes import ModeState


class ModeRow(NamedTuple):
    """A mode that was entered. `epoch` counts from 1; 0 = none was ever recorded."""

    epoch: int
    state: ModeState


class CircuitRow(NamedTuple):
    """A subject's circuit. `epoch` counts its changes; 0 = none was ever recorded."""

    epoch: int
    circuit: Circuit


class Health(Protocol):
    """Mode and circuits. A write names the epoch that its writer had read: None as answer = somebody was faster, so read again,
    decide again, write again. Writes raise the StoreError family, like `Store`'s."""

    def mode(self) -> ModeRow: ...

    def mode_history(self, limit: int = 50) -> Sequence[ModeRow]:
        """Newest first."""
        ...

    def set_mode(self, state: ModeState, epoch: int) -> Awaitable[int | None]:
        """The new epoch, or None."""
        ...

    def circuits(self) -> Mapping[str, CircuitRow]:
        """By subject; one that nothing ever happened to is not among them."""
        ...

    def set_circuit(self, subject: str, circuit: Circuit, epoch: int) -> Awaitable[int | None]:
        """The new epoch, or None."""
        ...

    def samples(self, names: Sequence[str], since: int, limit: int = 2000) -> Sequence[Sample]:
        """The newest ended attempts by executors or models of these names, in runs made since then."""
        ...
