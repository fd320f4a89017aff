"""What a page shows, as plain values. Text in here is raw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.core.events import Recorded
from runner.ports import AttemptRow, RunRow, Spending, StepRow
from runner.reporters.picture import Picture


@dataclass(frozen=True, slots=True)
class Cut:
    """A long text as far as it is shown. `more`: characters that are not; `tail`: the end is shown, not the beginning."""

    text: str
    more: int = 0
    tail: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt. `asked`: what it was given, unless that is what the attempt before was given. `then`: what was decided after it.
    `reserved`: micro-USD that it may cost; `effects`: may it be repeated?"""

    row: AttemptRow
    effects: str = ""
    reserved: int = 0
    level: int = 0
    asked: Cut | None = None
    checks: Sequence[Mapping[str, Any]] = ()
    denials: Sequence[str] = ()
    then: Sequence[str] = ()
    log: Cut | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A step, or an item of a fan-out. `place`: its anchor, unique on the page. `facts`: (what, text). `asks`: what a person is asked,
    `why`: its reason in full, `remedy`: what lets it go on. `child`: the anchor of its sub-run."""

    row: StepRow
    place: str
    what: str = ""
    tries: Sequence[Try] = ()
    output: Cut | None = None
    facts: Sequence[tuple[str, str]] = ()
    asks: Mapping[str, Any] | None = None
    why: str = ""
    remedy: str = ""
    child: str = ""
    optional: bool = False
    final: bool = False
    items: Sequence[Step] = ()
    hidden: int = 0
    """Items that are not shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """A run, or a sub-run. `place`: its anchor. `picture` None: too large to be drawn. `facts`: (what, text)."""

    row: RunRow
    state: str
    reason: str
    place: str
    end: int
    """Until when there is something to show: its end, else now, or the last that is known of it."""
    picture: Picture | None
    steps: Sequence[Step]
    events: Sequence[Recorded] = ()
    outputs: Sequence[tuple[str, Cut]] = ()
    facts: Sequence[tuple[str, str]] = ()
    inputs: Sequence[tuple[str, Cut]] = ()
    children: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class Money:
    """Where money went. `tokens`: in, out, … of all attempts. `held`: reserved by attempts in flight. `cap`: of the run, as text."""

    by: Sequence[tuple[str, Sequence[Spending]]] = ()
    spent: int = 0
    held: int = 0
    assumed: int = 0
    tokens: Mapping[str, int] | None = None
    cap: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """All of it. `advice`: what a person may do next. `zone`: (offset from UTC in minutes, its name). `more_events`: not shown."""

    part: Part
    money: Money
    source: Cut
    advice: Sequence[str]
    made: int
    version: str
    events: Sequence[tuple[str, Recorded]] = ()
    more_events: int = 0
