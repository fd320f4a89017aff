"""How many attempts may run at once: the process's slots and named lanes (an MCP server, a model endpoint); and who may use
the workspace: attempts that share it, or one that has it alone.

One `Slots` is shared by all kernels of a process, which has one workspace. It says who may take a slot, in which order runs
get one, and counts; it starts nothing. All operations are O(1).
"""

from __future__ import annotations

from collections import OrderedDict

from runner.core.messages import Claim

PROCESS = ""
"""The lane of the process itself: every attempt takes one of its slots besides that of its own lane."""
WORKSPACE = "\0workspace"
"""The lane of those that wait for the workspace. No server has this name."""


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
        self._claims: dict[Claim, int] = {"shared": 0, "alone": 0}
        self._waiting: dict[str, OrderedDict[str, Claim]] = {}
        """The runs in line, with what each of them claims first (in the workspace's lane; "" in the others)."""
        self._aside: dict[str, OrderedDict[str, Claim]] = {}
        """Runs that wait for a lane although it has room (its session is opening): they do not stand in the way."""
        self._freed: dict[str, None] = {}
        self._granted: tuple[str, str] | None = None
        """(lane, run) that has its turn."""

    def limit(self, lane: str, n: int) -> None:
        """At most `n` attempts at once in `lane`; a lane without limit has room for all."""
        self._limits[lane] = n
        self.poke(lane)

    def used(self, lane: str = PROCESS) -> int:
        """How many slots of `lane` are taken."""
        return self._used.get(lane, 0)

    def claimed(self, claim: Claim) -> int:
        """How many attempts hold this claim to the workspace."""
        return self._claims.get(claim, 0)

    def free(self, lane: str = PROCESS, claim: Claim = "") -> bool:
        """May one more attempt start in `lane`, as far as counts go?"""
        if self.closed or self._used[PROCESS] >= self._limits[PROCESS]:
            return False
        return lane == PROCESS or self._has_room(lane, claim)

    def _has_room(self, lane: str, claim: Claim) -> bool:
        if lane == WORKSPACE:
            return not self._claims["alone"] and not (claim == "alone" and self._claims["shared"])
        limit = self._limits.get(lane)
        return limit is None or self._used.get(lane, 0) < limit

    def may(self, lane: str, run: str, claim: Claim = "") -> bool:
        """Is there room in `lane`, and is nobody else before `run`?"""
        return self.free(lane, claim) and (not self._waiting.get(lane) or self._is_first(lane, run))

    def may_claim(self, claim: Claim, run: str) -> bool:
        """May an attempt of `run` that claims this start, as far as the workspace goes? Whoever shares it never overtakes one
        who waits to be alone, and the other way round, so nobody starves."""
        return not claim or self.may(WORKSPACE, run, claim)

    def _is_first(self, lane: str, run: str) -> bool:
        queue = self._waiting.get(lane)
        return not queue or self._has_turn(lane, run) or (len(queue) == 1 and run in queue)

    def _has_turn(self, lane: str, run: str) -> bool:
        """A turn passes every queue, so that it is of use; but the workspace's only when it came from there: a busy process
        hands out turns all the time, and who must be alone would wait for ever."""
        granted = self._granted
        return granted is not None and granted[1] == run and (lane != WORKSPACE or granted[0] == WORKSPACE)

    def take(self, lane: str, claim: Claim = "") -> None:
        """Count an attempt. Never refuses: what runs already (after a restart) runs."""
        self._used[PROCESS] += 1
        if lane:
            self._used[lane] = self._used.get(lane, 0) + 1
        if claim:
            self._claims[claim] += 1
        self._granted = None

    def give(self, lane: str, claim: Claim = "") -> None:
        """An attempt has ended."""
        self._used[PROCESS] -= 1
        self.poke(PROCESS)
        if lane:
            self._used[lane] -= 1
            self.poke(lane)
        if claim:
            self._claims[claim] -= 1
            self.poke(WORKSPACE)

    def wait(self, lane: str, run: str, claim: Claim = "") -> None:
        """`run` would like a slot of `lane` (the workspace: for what claims it so). Its place is kept when it says so again."""
        queue = self._waiting.setdefault(lane, OrderedDict())
        if self.free(lane, claim) and self._is_first(lane, run):
            queue.pop(run, None)  # it has room and its turn: it waits for something else, so it stands in nobody's way
            self._aside.setdefault(lane, OrderedDict())[run] = claim
        else:
            queue[run] = claim
            if self._has_room(lane, claim):
                self._freed[lane] = None  # somebody was before, or the process is full: `next` sorts it out

    def waiting(self, lane: str = PROCESS) -> tuple[str, ...]:
        """The runs that wait for `lane`, first come first."""
        return (*self._waiting.get(lane, ()), *self._aside.get(lane, ()))

    def poke(self, lane: str) -> None:
        """Something changed for `lane` (a slot was given back, its session opened): whoever waits is asked again."""
        if aside := self._aside.pop(lane, None):
            for run, claim in aside.items():
                self._waiting.setdefault(lane, OrderedDict()).setdefault(run, claim)
        if self._waiting.get(lane):
            self._freed[lane] = None

    def next(self) -> str | None:
        """The run that is to be fed `("slots",)` now, or None. It may take one slot before others that wait."""
        while self._freed and self.free():  # with the process full, freed lanes stay noted until it is not
            lane = next(iter(self._freed))
            queue = self._waiting.get(lane)
            if queue and self._has_room(lane, next(iter(queue.values()))):
                run, _ = queue.popitem(last=False)
                self._granted = (lane, run)
                return run
            del self._freed[lane]
        self._granted = None
        return None

    def leave(self, lane: str, run: str) -> None:
        """`run` waits for `lane` no longer: who stood behind it may be able to go."""
        for queue in (self._waiting.get(lane), self._aside.get(lane)):
            if queue and run in queue:
                del queue[run]
                self.poke(lane)

    def forget(self, run: str) -> None:
        """`run` has ended or is driven elsewhere."""
        for lane in {*self._waiting, *self._aside}:
            self.leave(lane, run)
