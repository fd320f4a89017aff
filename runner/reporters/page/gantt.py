"""The timeline of a run: a row for each step, one line for each of the items that a fan-out did at the same time.

Places are percents of the width, so it fits a phone as it fits a wall; names are HTML, so they wrap, can be read and lead to the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.reporters.page.chart import Scale, Span, Track, joined, lanes, legs, tracks
from runner.reporters.page.markup import many, plain, text
from runner.reporters.page.model import Part, Step
from runner.reporters.page.signs import sign
from runner.reporters.words import seconds

ROW, BAR = 24, 12
"""Pixels: a row, and a bar in it."""
LANE = 7
MOST_LANES = 48
MOST_ROWS = 2_000
MOST_BARS = 2_000
"""Attempts of one fan-out that are drawn one by one; of more, those that went well are drawn together."""
JOINED = 0.003
"""A share of all the work: what is nearer than that is drawn together."""
SEEN = 0.4
"""Percents of the width: what went wrong is drawn no narrower."""
TALL = 30
"""Rows from which on the timeline scrolls by itself."""
WORDS: Mapping[str, str] = {
    "succeeded": "succeeded", "failed": "failed", "cancelled": "cancelled", "lost": "lost: nobody knows how it ended", "running": "running",
    "waiting": "waits", "suspended": "suspended",
}  # fmt: skip

WRONG = ("failed", "lost")


def gantt(part: Part) -> Iterator[str]:
    """Lines of HTML; none when nothing happened."""
    found = tracks(part.events)
    end = max([part.end, *(each.at for each in part.events)])
    busy = [(span.begin, span.end or end) for track in found.values() for span in track.spans if span.kind == "attempt"]
    scale = Scale(part.row.created, end, busy)
    rows = list(_rows(part.steps, found, scale, end))
    if not rows:
        return
    tall = " tall" if len(rows) > TALL else ""
    yield f'<div class="gantt card{tall}" tabindex="0" role="group" aria-label="Timeline">'
    begun = legs(part.events)
    yield from _axis(scale, begun)
    yield from rows[:MOST_ROWS]
    yield "</div>"
    if len(rows) > MOST_ROWS:
        yield f'<p class="cut">{len(rows) - MOST_ROWS:,} steps more are not drawn</p>'
    yield _legend(found.values(), scale, new_leg=bool(begun))


def _rows(steps: Sequence[Step], found: Mapping[str, Track], scale: Scale, end: int) -> Iterator[str]:
    """The HTML of each step."""
    fans: dict[str, list[Track]] = {}
    for node, track in found.items():
        if "[" in node:
            fans.setdefault(node.partition("[")[0], []).append(track)
    began = [(_begin(step, found, fans), at, step) for at, step in enumerate(steps)]
    for _, _, step in sorted(
        ((begin, at, step) for begin, at, step in began if begin is not None), key=lambda each: each[:2]
    ):
        items = fans.get(step.row.node)
        lines = _fan(step, items, scale, end) if items else _row(step, found[step.row.node], scale, end)
        yield "\n".join(lines)


def _begin(step: Step, found: Mapping[str, Track], fans: Mapping[str, Sequence[Track]]) -> int | None:
    tracks_ = [*([found[step.row.node]] if step.row.node in found else []), *fans.get(step.row.node, ())]
    return min((track.begin for track in tracks_), default=None)


def _row(step: Step, track: Track, scale: Scale, end: int) -> Iterator[str]:
    yield _name(step, _told(track, end))
    yield f'<svg class="track" height="{ROW}" aria-hidden="true">'
    for span in track.spans:
        yield _bar(span, scale, end, (ROW - BAR) / 2, BAR)
    for at, state in track.marks:
        yield f'<circle class="p-{_known(state)}" cx="{scale(at):.2f}%" cy="{ROW / 2:.0f}" r="3.5"><title>{plain(state)}</title></circle>'
    yield "</svg>"


def _fan(step: Step, items: Sequence[Track], scale: Scale, end: int) -> Iterator[str]:
    lines = lanes(items, end)
    shown = lines[:MOST_LANES]
    gap = JOINED * scale.work if sum(len(item.spans) for item in items) > MOST_BARS else -1
    keys = {item.row.node: item.row.item_key or item.row.node for item in step.items}
    yield _name(step, f"{len(items)} items, {len(lines)} at the same time")
    yield f'<svg class="track" height="{LANE * len(shown) + 10}" aria-hidden="true">'
    bars: list[tuple[bool, str]] = []
    for number, line in enumerate(shown):
        y = 5 + LANE * number
        for track, count in joined(line, gap):
            who = keys.get(track.node, track.node) if count == 1 else many(count, "item")
            bars += [(span.state in WRONG, _bar(span, scale, end, y, LANE - 1.5, who)) for span in track.spans]
            for at, state in track.marks:
                yield f'<circle class="p-{_known(state)}" cx="{scale(at):.2f}%" cy="{y + 2.5}" r="2.5"/>'
    yield from (bar for _, bar in sorted(bars, key=lambda one: one[0]))  # what went wrong over its neighbours
    yield "</svg>"


def _name(step: Step, told: str) -> str:
    name = f'<a href="#{step.place}">{text(step.row.node)}</a>'
    return f'<div class="who">{sign(step.row.state)}{name}<span class="unseen">: {text(told)}</span></div>'


def _told(track: Track, end: int) -> str:
    words = [f"{WORDS[span.state]} {seconds((span.end or end) - span.begin)}" for span in track.spans]
    return ", ".join([*words, *(state for _, state in track.marks)])


def _bar(span: Span, scale: Scale, end: int, y: float, height: float, who: str = "") -> str:
    left, right = scale(span.begin), scale(end if span.end is None else span.end)
    took = seconds((end if span.end is None else span.end) - span.begin)
    number = f"attempt {span.n}" if span.n else ""
    label = ", ".join(word for word in (who, number, f"{WORDS[span.state]} {took}", span.label) if word)
    title = f"<title>{plain(label)}</title>"
    if span.kind == "attempt":
        open_ = " open" if span.end is None else ""
        width = max(right - left, SEEN if span.state in WRONG else 0.05)
        place = f'x="{min(left, 100 - width):.3f}%" width="{width:.3f}%" y="{y:.1f}" height="{height:.1f}" rx="2"'
        return f'<rect class="bar b-{_known(span.state)}{open_}" {place}>{title}</rect>'
    middle = y + height / 2
    return f'<line class="pause l-{span.kind}" x1="{left:.3f}%" x2="{right:.3f}%" y1="{middle:.1f}" y2="{middle:.1f}">{title}</line>'


def _axis(scale: Scale, legs_: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Behind everything: times, what is drawn short, and where a new leg begins."""
    yield '<svg class="axis" aria-hidden="true">'
    for idle in scale.idle:
        yield f'<rect class="idle" x="{idle.left:.3f}%" width="{idle.right - idle.left:.3f}%" y="20"/>'
        x, side = (100.0, " last") if idle.right > 99 else ((idle.left + idle.right) / 2, "")
        yield f'<text class="short{side}" x="{x:.3f}%" y="13">{seconds(idle.took)}</text>'
    for number, (place, millis) in enumerate(scale.ticks()):
        if not any(idle.left - 5 < place < idle.right + 1 for idle in scale.idle) or not place:
            kind = "first" if not place else "second" if number % 2 else "tick"
            kind += " last" if place > 93 else ""  # else a phone cuts its end off
            yield f'<text x="{place:.3f}%" y="13" dx="{3 if not place else 0}" class="{kind}">{_time(millis)}</text>'
        yield f'<line class="grid" x1="{place:.3f}%" x2="{place:.3f}%" y1="20" y2="100%"/>'
    for at, number in legs_:
        place = scale(at)
        yield f'<line class="leg" x1="{place:.3f}%" x2="{place:.3f}%" y1="20" y2="100%"><title>leg {number}</title></line>'
    yield "</svg>"
    yield '<div class="head"></div><div class="head"></div>'


def _time(millis: int) -> str:
    """A round time: in one unit where that is short."""
    for unit, name, most in ((86_400_000, "d", 999), (3_600_000, "h", 47), (60_000, "m", 119), (1_000, "s", 119)):
        if millis and millis % unit == 0 and millis // unit <= most:
            return f"{millis // unit}{name}"
    if millis >= 60_000:
        part = f"{millis % 1_000 / 1_000:g}"[1:]  # steps of less than a second, long after the beginning
        return seconds(millis).removesuffix("s") + part + "s" if part and millis < 3_600_000 else seconds(millis)
    return f"{millis / 1000:g}s" if millis >= 1_000 else f"{millis}ms" if millis else "0"


def _legend(found: Iterable[Track], scale: Scale, *, new_leg: bool) -> str:
    states = {span.state for track in found for span in track.spans}
    parts = []
    for state, word in WORDS.items():
        if state not in states:
            continue
        if state in ("waiting", "suspended"):
            sample = f'<line class="pause l-{state}" x1="0" x2="22" y1="7" y2="7"/>'
        else:
            sample = f'<rect class="bar b-{_known(state)}" x="2" y="2" width="18" height="10" rx="2"/>'
        parts.append(f'<span><svg width="22" height="14" aria-hidden="true">{sample}</svg>{word}</span>')
    if scale.idle:
        parts.append(
            '<span><svg width="22" height="14" aria-hidden="true"><rect class="idle" x="2" width="18" height="14"/></svg>nothing ran: drawn short</span>'
        )
    if new_leg:
        parts.append(
            '<span><svg width="22" height="14" aria-hidden="true"><line class="leg" x1="11" x2="11" y1="0" y2="14"/></svg>a new leg</span>'
        )
    return f'<p class="legend">{"".join(parts)}</p>' if parts else ""


def _known(state: str) -> str:
    return state if state in WORDS or state in ("reused", "skipped", "blocked") else "pending"
