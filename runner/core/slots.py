"""How many attempts may run at once: the process's slots and named lanes (an MCP server, a model endpoint).

One `Slots` is shared by all kernels of a process. It says who may take a slot, in which order runs get one, and
counts; it starts nothing. All operations are O(1).
"""

from __future__ import annotations

from collections import OrderedDict

PROCESS = ""
"""The lane of the process itself: every attempt takes one of its slots besides that of its own lane."""


class Slots:
    """Counts of what runs, and the queues of runs that wait.

    A run that cannot have a slot says `wait(lane, run)`. Whenever a slot was given back, the driver asks `next()` and
    feeds `("slots",)` to the run that it names, until `next()` is None. That run may pass the others once: a fair turn.
    """

    def __init__(self, process: int) -> None:
        self.closed = False
        """True = drain: nothing may start any more, what runs goes on."""
        self._limits: dict[str, int] = {PROCESS: process}
        self._used: dict[str, int] = {PROCESS: 0}
        self._waiting: dict[str, OrderedDict[str, None]] = {}
        self._aside: dict[str, OrderedDict[str, None]] = {}
        """Runs that wait for a lane although it has room (its session is opening): they do not stand in the way."""
        self._freed: dict[str, None] = {}
        self._granted: str | None = None

    def limit(self, lane: str, n: int) -> None:
        """At most `n` attempts at once in `lane`; a lane without limit has room for all."""
        self._limits[lane] = n
        self.poke(lane)

    def used(self, lane: str = PROCESS) -> int:
        """How many slots of `lane` are taken."""
        return self._used.get(lane, 0)

    def free(self, lane: str = PROCESS) -> bool:
        """May one more attempt start in `lane`, as far as counts go?"""
        if self.closed or self._used[PROCESS] >= self._limits[PROCESS]:
            return False
        limit = self._limits.get(lane)
        return limit is None or self._used.get(lane, 0) < limit

    def may(self, lane: str, run: str) -> bool:
        """Is there room in `lane`, and is nobody else before `run`?"""
        if not self.free(lane):
            return False
        queue = self._waiting.get(lane)
        return not queue or self._granted == run or (len(queue) == 1 and run in queue)

    def take(self, lane: str) -> None:
        """Count an attempt. Never refuses: what runs already (after a restart) runs."""
        self._used[PROCESS] += 1
        if lane:
            self._used[lane] = self._used.get(lane, 0) + 1
        self._granted = None

    def give(self, lane: str) -> None:
        """An attempt has ended."""
        self._used[PROCESS] -= 1
        self.poke(PROCESS)
        if lane:
            self._used[lane] -= 1
            self.poke(lane)

    def wait(self, lane: str, run: str) -> None:
        """`run` would like a slot of `lane`. Once is enough; its place is kept."""
        queue = self._waiting.setdefault(lane, OrderedDict())
        if not self.free(lane):
            queue.setdefault(run)
        elif self._granted == run or not queue or (len(queue) == 1 and run in queue):
            queue.pop(
                run, None
            )  # there is room and it is its turn: it waits for something else, so it stands in nobody's way
            self._aside.setdefault(lane, OrderedDict()).setdefault(run)
        else:
            queue.setdefault(run)
            self._freed[lane] = None  # there is room, but somebody was before: `next` sorts it out

    def waiting(self, lane: str = PROCESS) -> tuple[str, ...]:
        """The runs that wait for `lane`, first come first."""
        return (*self._waiting.get(lane, ()), *self._aside.get(lane, ()))

    def poke(self, lane: str) -> None:
        """Something changed for `lane` (a slot was given back, its session opened): whoever waits is asked again."""
        for run in self._aside.pop(lane, ()):
            self._waiting.setdefault(lane, OrderedDict()).setdefault(run)
        if self._waiting.get(lane):
            self._freed[lane] = None

    def next(self) -> str | None:
        """The run that is to be fed `("slots",)` now, or None. It may take one slot before others that wait."""
        while self._freed and self.free():  # with the process full, freed lanes stay noted until it is not
            lane = next(iter(self._freed))
            queue = self._waiting.get(lane)
            if queue and self.free(lane):
                self._granted, _ = queue.popitem(last=False)
                return self._granted
            del self._freed[lane]
        self._granted = None
        return None

    def forget(self, run: str) -> None:
        """`run` has ended or is driven elsewhere."""
        for queue in (*self._waiting.values(), *self._aside.values()):
            queue.pop(run, None)
