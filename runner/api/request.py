"""What a caller asks for, and how it may interrupt: the values that every verb of the API takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from runner.endings import HANGUP
from runner.manifest.vocabulary import Mode


class Request(NamedTuple):
    """`texts`: inputs as typed (`-i k=v`), converted by their declared types. `values`: inputs as JSON (`-f FILE`); texts win."""

    texts: Mapping[str, str] = {}
    values: Mapping[str, Any] = {}
    force: bool = False
    jobs: int | None = None
    """At most this many running steps in the whole process; None = config."""
    mode: Mode | None = None
    """The mode of this process, whatever circuits say; None = as things are."""
    max_usd: float | None = None
    """A cap of each new run, besides those of config and manifest."""
    add_usd: float | None = None
    """What a resumed run may spend besides."""
    on_pause: Literal["fail", "ok"] = "fail"
    select: tuple[str, ...] = ()
    """`--select` options: only what they mean is planned and run (api/select.py)."""


@dataclass(slots=True, eq=False)
class Control:
    """How a caller and a running apply reach each other: `drain` lets running steps end, `stop` ends them now; `warn` goes back."""

    warn: Callable[[str], None] = lambda text: None
    """Told, in one line each, what a person should look at and no run fails of."""
    signal: int | None = None
    _on_drain: list[Callable[[], None]] = field(default_factory=list)
    _on_stop: list[Callable[[], None]] = field(default_factory=list)
    stopped: bool = False

    def listen(self, drain: Callable[[], None], stop: Callable[[], None]) -> None:
        self._on_drain.append(drain)
        self._on_stop.append(stop)
        if self.signal is not None:  # the signal came first
            drain()
        if self.stopped:
            stop()

    def interrupt(self, signal: int) -> None:
        """The first call drains, the second stops; but a hang-up never stops: the end of one terminal may be told more than once."""
        if signal == HANGUP and self.signal is not None:
            return
        first, self.signal = self.signal is None, self.signal or signal
        self.stopped = not first
        for call in self._on_drain if first else self._on_stop:
            call()
