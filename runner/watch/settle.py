"""When files may be believed: nothing is read before it has been left alone for a while. Pure: stamps and the time are arguments.

Whoever saves many files (an editor, `git pull`, a sync) changes them one after the other, so the whole set has to be quiet. One file that
never is does not hold up the others for ever.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from runner.clock import Millis

PATIENCE = 10
"""After this many settling times without quiet, those files that are quiet are believed without the others."""


class Stamp(NamedTuple):
    """What a file system says of a file's content without reading it. Times are nanoseconds."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class Settled(NamedTuple):
    """`moved`: files that changed, came or went, and have been quiet since. `restless`: those that are still being written."""

    moved: frozenset[str]
    restless: frozenset[str]


@dataclass(slots=True)
class Settler:
    """Follows the stamps of a set of files. `settle`: how long a file must be left alone, in milliseconds of a clock that never
    jumps."""

    settle: Millis
    _stamps: dict[str, Stamp] = field(default_factory=dict)
    _moved: dict[str, Millis] = field(default_factory=dict)
    """Files that have changed since they were last believed: when they were last seen to."""
    _since: Millis | None = None
    """When the oldest of these was first seen."""

    def see(self, stamps: Mapping[str, Stamp], now: Millis) -> None:
        """The files as they stand now: all of them. One that is missing was removed."""
        names = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        names += [name for name in self._stamps if name not in stamps]
        for name in names:
            self._moved[name] = now
        if names and self._since is None:
            self._since = now
        self._stamps = dict(stamps)

    def know(self, stamps: Mapping[str, Stamp]) -> None:
        """These are new here, and were left alone for long enough before."""
        self._stamps |= stamps

    def doubt(self, name: str, now: Millis) -> None:
        """It changed while it was read."""
        self._stamps.pop(name, None)
        self._moved[name] = now
        self._since = now if self._since is None else self._since

    @property
    def due(self) -> Millis | None:
        """When to look (`see`) and ask (`take`) again; None = everything is believed."""
        if self._since is None or not self._moved:
            return None
        patient = self._since + PATIENCE * self.settle
        return min(max(self._moved.values()) + self.settle, max(patient, min(self._moved.values()) + self.settle))

    def take(self, now: Millis) -> Settled | None:
        """What has settled, each change once; None when it is too early to say."""
        if self._since is None:
            return None
        quiet = frozenset(name for name, at in self._moved.items() if now - at >= self.settle)
        restless = frozenset(self._moved) - quiet
        if not quiet or (restless and now - self._since < PATIENCE * self.settle):
            return None
        for name in quiet:
            del self._moved[name]
        self._since = now if restless else None
        return Settled(quiet, restless)
