"""Following a run from a second terminal: its events, and what its attempts write, until nobody drives it any more.

The record is asked only when it has changed; the files of running attempts, and whether the run's owner still lives, at each look.
Both end by themselves. How long to wait between two looks is the caller's.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.core.events import Recorded
from runner.core.plan import UNFINISHED
from runner.engine.logs import log_path
from runner.ports import AttemptRow, RunRow, Store

LOOK_S = 0.2
"""Between two looks: soon enough for eyes, and 5 short queries a second at most."""

_CHUNK = 1 << 16


def tree_of(store: Store, run: str) -> list[RunRow]:
    """A run and all its sub-runs, callers first."""
    top = store.run(run)
    found = [top] if top is not None else []
    for row in found:
        found += store.children(row.run)
    return found


def goes_on(row: RunRow | None) -> bool:
    """Does somebody drive it who lives? A suspended run that nobody drives writes nothing either."""
    return row is not None and row.state in UNFINISHED and row.owner_alive


def tree_events(store: Store, run: str, seen: dict[str, int]) -> list[tuple[str, Recorded]]:
    """(manifest name, event) of a run and its sub-runs behind what `seen` (run → seq) says, in the order of time. Moves `seen` on."""
    found: list[tuple[str, Recorded]] = []
    for row in tree_of(store, run):
        events = store.events(row.run, after=seen.get(row.run, 0))
        if events:
            seen[row.run] = events[-1].seq
        found += [(row.name, recorded) for recorded in events]
    return sorted(found, key=lambda each: each[1].at)  # stable: a run's own events keep their order


def follow_events(
    store: Store, run: str, pause: Callable[[], None], seen: dict[str, int] | None = None
) -> Iterator[Sequence[tuple[str, Recorded]]]:
    """What is recorded of the tree, in batches, from the beginning to the end. `pause` waits for the next look."""
    seen = {} if seen is None else seen
    store.changed()  # what was recorded until now is read in any case
    while True:
        alive = goes_on(store.run(run))
        if batch := tree_events(store, run, seen):
            yield batch
        if not alive:
            return
        _until_something(store, run, pause)


def _until_something(store: Store, run: str, pause: Callable[[], None]) -> None:
    """Wait until the record has changed, or the owner is gone (which changes nothing)."""
    pause()
    while not store.changed() and goes_on(store.run(run)):
        pause()


# ---------------------------------------------------------------- logs


@dataclass(slots=True)
class Tail:
    """What is still to be read of a growing file. One that was replaced or cut is read from its beginning."""

    path: Path
    _place: tuple[int, int] = (0, 0)
    """Inode, and how far we have read."""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _line: str = ""
    """The beginning of a line whose end is not there yet."""

    def lines(self) -> Iterator[str]:
        """The lines that have become whole, in pieces that end with one."""
        for text in self._news():
            whole, newline, self._line = (self._line + text).rpartition("\n")
            if newline:
                yield whole

    def rest(self) -> Iterator[str]:
        """All that is left: nothing more will come."""
        yield from self.lines()
        last, self._line = self._line + self._decoder.decode(b"", final=True), ""
        if last:
            yield last

    def _news(self) -> Iterator[str]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            return  # not written yet, or removed
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            inode, offset = self._place
            if inode != status.st_ino or status.st_size < offset:
                offset, self._line = 0, ""
                self._decoder.reset()
            file.seek(offset)
            while data := file.read(_CHUNK):
                offset += len(data)
                yield self._decoder.decode(data)
            self._place = (status.st_ino, offset)


def follow_logs(
    store: Store, run: str, logs: Path, chosen: Callable[[], Sequence[AttemptRow]], pause: Callable[[], None]
) -> Iterator[tuple[AttemptRow, str]]:
    """(attempt, whole lines) as they are written, from the beginning of each log to the end of the run. `chosen` tells the attempts
    that are meant as they stand now, oldest first; `logs` is the folder of logs."""
    tails: dict[tuple[str, str, int], Tail] = {}
    over: set[tuple[str, str, int]] = set()
    attempts: Sequence[AttemptRow] | None = None
    while True:
        alive = goes_on(store.run(run))
        if store.changed() or attempts is None:
            attempts = chosen()
        for attempt in attempts:
            key = (attempt.run, attempt.node, attempt.n)
            if key in over:
                continue
            tail = tails.setdefault(key, Tail(log_path(logs, *key)))
            ended = attempt.ended is not None or not alive
            yield from ((attempt, text) for text in (tail.rest() if ended else tail.lines()))
            if ended:
                over.add(key)
                del tails[key]
        if not alive:
            return
        pause()
