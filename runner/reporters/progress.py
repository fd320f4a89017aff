"""How far everything is: the fold of events into what a live view shows. Constant work an event, however wide a fan-out is."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runner.core.events import Event, Recorded
from runner.reporters.words import place_of, told

ENDED = frozenset({"succeeded", "reused", "failed", "skipped", "blocked", "cancelled"})
ACTIVE = frozenset({"running", "group", "waiting", "suspended", "interrupted"})
RUN_ENDED = ENDED | {"superseded"}


@dataclass(slots=True, eq=False)
class StepView:
    """A step or an item. Times are Unix milliseconds; `states` counts the items by state, `active` are those that go on."""

    id: str
    state: str = "pending"
    text: str = ""
    attempt: int = 0
    started: int | None = None
    ended: int | None = None
    total: int | None = None
    states: Counter[str] = field(default_factory=Counter)
    active: "dict[str, StepView]" = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    """Items that no event has told of in this process, by id: their states, as counted."""


@dataclass(slots=True, eq=False)
class RunView:
    """A run. `total` steps is None when it is not known."""

    run: str
    name: str
    total: int | None
    state: str = "running"
    text: str = ""
    started: int = 0
    ended: int | None = None
    steps: dict[str, StepView] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        return sum(self.states[state] for state in ENDED)


class Standing(NamedTuple):
    """How a run stands: how many steps it has, and the states of those steps and items that events have named."""

    total: int
    states: Mapping[str, str]


class Progress:
    """Runs by id, in the order in which they were seen."""

    def __init__(
        self, totals: Mapping[str, int], standing: Callable[[str], Standing | None] = lambda run: None
    ) -> None:
        """`totals`: manifest name → how many steps it has. `standing` is asked about a run that goes on: its earlier events are not
        seen again. What it says may include events that are still to be seen."""
        self._totals, self._standing = totals, standing
        self.names: dict[str, str] = {}
        """Root run → manifest."""
        self.runs: dict[str, RunView] = {}

    def progress(self, run: str, node: str, text: str) -> None:
        """How far a running attempt is, until its next event."""
        seen = self.runs.get(run)
        step = seen.steps.get(node.partition("[")[0]) if seen is not None else None
        view = step.active.get(node) if step is not None and "[" in node else step
        if view is not None and view.state == "running":
            view.text = text

    def event(self, recorded: Recorded, name: str) -> None:
        """Take one event in."""
        run = self.runs.get(recorded.run)
        if run is None:
            if "." not in recorded.run:
                self.names[recorded.run] = name
            place = place_of(recorded.run, "", self.names)
            run = self.runs[recorded.run] = RunView(recorded.run, place, self._totals.get(name), started=recorded.at)
            if recorded.seq != 1:
                _stand(run, self._standing(recorded.run))
        event = recorded.event
        if not event.node:
            _run_event(run, event, recorded.at)
            if run.ended is not None and "." in run.run:
                del self.runs[run.run]  # its caller's step tells how it ended; there may be thousands
        elif "[" in event.node:
            _item_event(run, event, recorded.at)
        else:
            known = run.steps.get(event.node)
            before = known.state if known else None
            view = known or run.steps.setdefault(event.node, StepView(event.node))
            _take(view, event, recorded.at)
            _count(run.states, before, view.state)


def _stand(run: RunView, standing: Standing | None) -> None:
    """Take in what an earlier process left."""
    run.total = standing.total if standing is not None else None
    for node, state in standing.states.items() if standing is not None else ():
        group, bracket, _ = node.partition("[")
        step = run.steps.setdefault(group, StepView(group))
        if bracket:
            step.total = (step.total or 0) + 1
            step.states[state] += 1
            step.before[node] = state
        else:
            step.state = state
            run.states[state] += 1


def _run_event(run: RunView, event: Event, at: int) -> None:
    found = told(event)
    if found is None and event.kind != "run_woken":
        return
    run.state, run.text = found or ("running", "")
    run.ended = at if event.kind == "run_finished" else None


def _item_event(run: RunView, event: Event, at: int) -> None:
    group = event.node.partition("[")[0]
    step = run.steps.setdefault(group, StepView(group, "group"))
    view = step.active.get(event.node)
    before = view.state if view else step.before.pop(event.node, None)
    if view is None:
        view = StepView(event.node)
    _take(view, event, at)
    _count(step.states, before, view.state)
    if view.state in ENDED:
        step.active.pop(event.node, None)
    else:
        step.active[event.node] = view


def _count(states: Counter[str], before: str | None, after: str) -> None:
    if before is not None:
        states[before] -= 1
    states[after] += 1


def _take(view: StepView, event: Event, at: int) -> None:
    data: dict[str, Any] = event.data
    if event.kind == "step_woken":
        view.state, view.text = "pending", str(data.get("reason") or "")
        return
    found = told(event)
    if found is None:
        return
    view.state, view.text = found
    if event.kind == "attempt_failed":
        view.state = "running"  # what becomes of the step is decided by the events right behind it
    if event.kind == "attempt_started":
        view.attempt = data["n"]
        view.started = view.started or at
    elif event.kind == "items_expanded":
        view.total, view.started = len(data["items"]), view.started or at
    view.ended = at if view.state in ENDED else None
