"""What happened when, from the events of a run: spans and marks by step, and a scale on which idle times are short. Pure values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.core.events import Recorded

Kind = Literal["attempt", "waiting", "suspended"]
_OTHERS = ("waiting", "suspended")
_ENDS = {"attempt_succeeded": "succeeded", "attempt_failed": "failed", "attempt_lost": "lost"}
_MARKS = {"step_reused": "reused", "step_skipped": "skipped", "step_blocked": "blocked", "step_cancelled": "cancelled"}

IDLE_MS = 1_000
IDLE_SHARE = 0.25
"""A stretch in which nothing runs is drawn short when it is longer than this, and than this share of all the work."""
SHORT = 0.09
"""What is left of it, as a share of all the work."""
TICKS = 8
_NICE = tuple(
    unit * step
    for unit, steps in (
        (1, (1, 2, 5, 10, 20, 50, 100, 200, 500)),
        (1_000, (1, 2, 5, 10, 15, 30)),
        (60_000, (1, 2, 5, 10, 15, 30)),
        (3_600_000, (1, 2, 3, 6, 12)),
        (86_400_000, (1, 2, 7, 14, 28, 91, 365)),
    )
    for step in steps
)


@dataclass(slots=True)
class Span:
    """`end` None: it goes on, or nobody knows. `state`: how an attempt ended, `running` while it has not. `n`: the attempt's number."""

    kind: Kind
    begin: int
    end: int | None = None
    state: str = "running"
    label: str = ""
    n: int = 0


@dataclass(slots=True)
class Track:
    """What happened to a step or item. `marks`: (when, state) of what took no time."""

    node: str
    spans: list[Span] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)

    @property
    def begin(self) -> int:
        return min([*(span.begin for span in self.spans), *(at for at, _ in self.marks)])


def tracks(events: Iterable[Recorded]) -> dict[str, Track]:
    """By node, in the order in which something first happened to them."""
    found: dict[str, Track] = {}
    for recorded in events:
        event = recorded.event
        if event.node and (tell := _TOLD.get(event.kind)):
            tell(found.setdefault(event.node, Track(event.node)), recorded.at, event.data)
    return {node: track for node, track in found.items() if track.spans or track.marks}


def legs(events: Iterable[Recorded]) -> list[tuple[int, int]]:
    """(when, number) of every leg but the first."""
    return [(each.at, int(each.event.data["leg"])) for each in events if each.event.kind == "leg_started"]


def _close(track: Track, at: int, kinds: Sequence[str], state: str = "") -> None:
    if track.spans and track.spans[-1].end is None and track.spans[-1].kind in kinds:
        track.spans[-1].end = at
        track.spans[-1].state = state or track.spans[-1].state


def _started(track: Track, at: int, data: Mapping[str, Any]) -> None:
    _close(track, at, _OTHERS)
    track.spans.append(Span("attempt", at, label=str(data.get("label") or ""), n=int(data["n"])))


def _ended(state: str) -> Callable[[Track, int, Mapping[str, Any]], None]:
    def tell(track: Track, at: int, data: Mapping[str, Any]) -> None:
        _close(track, at, ("attempt",), "cancelled" if data.get("class") == "cancelled" else state)

    return tell


def _opened(kind: Kind) -> Callable[[Track, int, Mapping[str, Any]], None]:
    def tell(track: Track, at: int, data: Mapping[str, Any]) -> None:
        _close(track, at, _OTHERS)
        track.spans.append(Span(kind, at, state=kind, label=str(data.get("reason") or "")))

    return tell


def _woken(track: Track, at: int, data: Mapping[str, Any]) -> None:
    _close(track, at, _OTHERS)


def _resolved(track: Track, at: int, data: Mapping[str, Any]) -> None:
    if track.spans and track.spans[-1].end is None:
        _close(track, at, _OTHERS)
    else:
        track.marks.append((at, str(data["state"])))


def _failed(track: Track, at: int, data: Mapping[str, Any]) -> None:
    _close(track, at, _OTHERS)
    if not track.spans:
        track.marks.append((at, "failed"))


def _marked(state: str) -> Callable[[Track, int, Mapping[str, Any]], None]:
    def tell(track: Track, at: int, data: Mapping[str, Any]) -> None:
        _close(track, at, _OTHERS)
        track.marks.append((at, state))

    return tell


_TOLD: Mapping[str, Callable[[Track, int, Mapping[str, Any]], None]] = {
    "attempt_started": _started,
    **{kind: _ended(state) for kind, state in _ENDS.items()},
    "step_waiting": _opened("waiting"),
    "step_suspended": _opened("suspended"),
    "step_woken": _woken,
    "step_resolved": _resolved,
    "step_failed": _failed,
    **{kind: _marked(state) for kind, state in _MARKS.items()},
}


# ---------------------------------------------------------------- the scale


@dataclass(frozen=True, slots=True)
class Idle:
    """A stretch that is drawn short: where it begins and ends, in percent, and how long it took."""

    left: float
    right: float
    took: int


class Scale:
    """Moments as percents of the width. Between `begin` and `end` nothing is left out, but stretches without any work are short."""

    def __init__(self, begin: int, end: int, busy: Iterable[tuple[int, int]]) -> None:
        self.begin, self.end = begin, max(end, begin + 1)
        work = _merged((max(a, begin), min(b, self.end)) for a, b in busy)
        total = sum(b - a for a, b in work)
        long = max(IDLE_MS, IDLE_SHARE * total)
        self._moments, self._places = [begin], [0.0]
        self._idle: list[tuple[float, float, int]] = []
        at = begin
        for a, b in [*work, (self.end, self.end)]:
            self._add(a, min(a - at, SHORT * total) if total and a - at > long else a - at, a - at)
            self._add(b, b - a, b - a)
            at = b
        self._whole = self._places[-1] or 1.0
        self.work = total

    def _add(self, moment: int, width: float, took: int) -> None:
        if took <= 0:
            return
        place = self._places[-1]
        if width < took:
            self._idle.append((place, place + width, took))
        self._moments.append(moment)
        self._places.append(place + width)

    @property
    def idle(self) -> list[Idle]:
        return [Idle(100 * a / self._whole, 100 * b / self._whole, took) for a, b, took in self._idle]

    def __call__(self, moment: int) -> float:
        """Where a moment is."""
        at = min(max(bisect_right(self._moments, moment), 1), len(self._moments) - 1)
        if len(self._moments) == 1:
            return 0.0
        a, b = self._moments[at - 1], self._moments[at]
        part = min(1.0, max(0.0, (moment - a) / (b - a)))
        return 100 * (self._places[at - 1] + part * (self._places[at] - self._places[at - 1])) / self._whole

    def ticks(self) -> list[tuple[float, int]]:
        """(percent, milliseconds since the beginning): round times, none of them inside of what is drawn short, none too near another."""
        step = next((nice for nice in _NICE if self._whole / nice <= TICKS), _NICE[-1])
        found = [(0.0, 0)]
        for a, b, x, y in zip(self._moments, self._moments[1:], self._places, self._places[1:], strict=False):
            if y - x < b - a:
                continue
            first = -(-(a - self.begin) // step)
            for number in range(first, min((b - self.begin) // step, first + 4 * TICKS) + 1):
                place = self(self.begin + number * step)
                if place - found[-1][0] >= 100 / (TICKS + 2) and place <= 98:
                    found.append((place, number * step))
        return found


def _merged(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for a, b in sorted(stretch for stretch in stretches if stretch[1] > stretch[0]):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(b, found[-1][1]))
        else:
            found.append((a, b))
    return found


def lanes(tracks_: Sequence[Track], end: int) -> list[list[Track]]:
    """Tracks side by side, as few lines as they fit into: how many of them went on at the same time."""
    free: list[tuple[int, list[Track]]] = []
    for track in sorted(tracks_, key=lambda one: one.begin):
        until = max([end if span.end is None else span.end for span in track.spans] or [track.begin])
        lane = next((at for at, (last, _) in enumerate(free) if last <= track.begin), None)
        if lane is None:
            free.append((until, [track]))
        else:
            free[lane] = (until, [*free[lane][1], track])
    return [line for _, line in free]


def joined(line: Sequence[Track], gap: float) -> list[tuple[Track, int]]:
    """The tracks of a line, where those that went well and have at most `gap` milliseconds between them are one; and how many each is."""
    found: list[tuple[Track, int]] = []
    for track in line:
        before = found[-1] if found else None
        if before and _well(track) and _well(before[0]) and track.begin - (before[0].spans[-1].end or 0) <= gap:
            span = Span("attempt", before[0].begin, track.spans[-1].end, "succeeded")
            found[-1] = Track(track.node, [span]), before[1] + 1
        else:
            found.append((track, 1))
    return found


def _well(track: Track) -> bool:
    return bool(track.spans) and all(span.state == "succeeded" for span in track.spans)
