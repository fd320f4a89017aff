"""The rows that projections change, as mutable cells, and `Live`: the rows of one run while somebody writes to it. Which event
changes what is in projection.py."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple

from runner.core.states import SETTLED
from runner.ports import Scope

UNKNOWN = "unknown"


@dataclass(slots=True, eq=False)
class StepCells:
    """One row of `steps`, in column order. `result_seq` is the place of the event that holds result and products; `producer`
    stays empty for a step that was its own (see `producer_of`)."""

    id: int
    node: str
    state: str = "pending"
    attempt: int = 0
    choice: int = 0
    tries: int = 0
    lost: int = 0
    tried: str = "[]"
    effects: str = ""
    key: str | None = None
    producer: str | None = None
    result_seq: int | None = None
    reason: str = ""
    until: int | None = None
    item_key: str | None = None
    cost: int = 0
    started: int | None = None
    ended: int | None = None
    executor: str = ""
    model: str = ""
    error: str | None = None
    reused: int = 0


@dataclass(slots=True, eq=False)
class AttemptCells:
    """One row of `attempts`, in column order."""

    id: int
    node: str
    n: int
    executor: str = ""
    model: str = ""
    mode: str = ""
    session: str | None = None
    effect_key: str = ""
    started: int = 0
    ended: int | None = None
    state: str = "running"
    error_class: str = ""
    message: str = ""
    effect: str = "none"
    cost: int = 0
    cost_source: str = ""
    tokens: str = "{}"
    log: str = ""
    reason: str = ""


@dataclass(slots=True, eq=False)
class RunCells:
    """What events change in a row of `runs`. `cost` and `steps_done` hold once the run is finished."""

    n: int
    state: str = "pending"
    verdict: str | None = None
    leg: int = 1
    reason: str = ""
    superseded_by: str | None = None
    finished: int | None = None
    cost: int = 0
    steps_done: int = 0


step_values: Callable[[StepCells], tuple[Any, ...]] = attrgetter(*(f.name for f in fields(StepCells)))
attempt_values: Callable[[AttemptCells], tuple[Any, ...]] = attrgetter(*(f.name for f in fields(AttemptCells)))
run_values: Callable[[RunCells], tuple[Any, ...]] = attrgetter(
    "state", "verdict", "leg", "reason", "superseded_by", "finished", "cost", "steps_done", "n"
)


class MoneyLine(NamedTuple):
    """What an attempt's event says of money (micro-USD): it holds `amount`, or, with a `source`, has cost it."""

    attempt: str
    amount: int
    source: str
    scopes: tuple[Scope, ...]


@dataclass(slots=True, eq=False)
class Changes:
    """The rows that a transaction has touched (keys; in order), the successes that others may reuse: (manifest name, step), and what
    is said of money."""

    steps: dict[StepCells, None] = field(default_factory=dict)
    attempts: dict[AttemptCells, None] = field(default_factory=dict)
    runs: dict[RunCells, None] = field(default_factory=dict)
    reuse: list[tuple[str, StepCells]] = field(default_factory=list)
    money: list[MoneyLine] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Live:
    """The rows of one run while it is written to. `last` = seq of its newest event; `tried` = how many attempts have started,
    `attempts` = those not over, by node."""

    run: str
    name: str
    root: str
    row: RunCells
    last: int = 0
    tried: int = 0
    steps: dict[str, StepCells] = field(default_factory=dict)
    attempts: dict[str, AttemptCells] = field(default_factory=dict)

    def id(self, place: int) -> int:
        """The key of a line of this run."""
        return self.row.n << 32 | place

    def touch(self, node: str, changes: Changes) -> StepCells:
        """The row of `node`, to be changed."""
        step = self.steps.get(node)
        if step is None:
            step = self.steps[node] = StepCells(self.id(len(self.steps) + 1), node)
        changes.steps[step] = None
        return step

    def items(self, node: str, start: int = 0) -> Iterator[StepCells]:
        """The rows of a fan-out's items, from index `start`."""
        for index in count(start):
            step = self.steps.get(f"{node}[{index}]")
            if step is None:
                return
            yield step

    def totals(self) -> tuple[int, int]:
        """(cost of all steps and items, top-level steps that are done)."""
        done = sum(step.state in SETTLED and "[" not in step.node for step in self.steps.values())
        return sum(step.cost for step in self.steps.values()), done


def producer_of(run: str, node: str, state: str, attempt: int, producer: str | None) -> str | None:
    """Which run/step/attempt really executed: its own, unless another is on record."""
    return f"{run}/{node}/{attempt}" if state == "succeeded" and producer is None else producer
