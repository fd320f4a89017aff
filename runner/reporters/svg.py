"""Step graphs as one self-contained SVG: no script, no link, no font and nothing else from anywhere; light and dark by media query.

All text of manifests and runs goes through `text`, and nothing of them ever becomes a tag, an attribute's name, a class or a style.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from runner.core.graph import EdgeKind
from runner.core.layout import Box, Layout, Point, lay_out
from runner.reporters.picture import EDGE_WORDS, STRENGTH, Picture, Shown, picture
from runner.reporters.svg_style import ICONS, STATE_ORDER, STYLE, VERB_ORDER
from runner.reporters.words import ODD, one_line

MARGIN = 28.0
HEAD, ABOUT = 40.0, 17.0
"""Heights of a picture's title, and of each line under it."""
BETWEEN = 36.0
LEGEND_ROW = 22.0
BOX_HEIGHT, WHEN_HEIGHT = 48.0, 16.0
LEAST, MOST = 116.0, 264.0
"""Widths of a box."""
NARROWEST = 420.0
MONO, SANS, SMALL = 7.9, 6.9, 6.3
"""Widths of a letter at 13 px monospaced, 11.5 px and 10.5 px proportional: a little more than fonts usually take."""
_NARROW = frozenset("ijlI.,:;'|!()[]ftr/ -")
_BROAD = frozenset("QOGDNH&ABCKRUVXYZEPSTF")
_BROADEST = frozenset("mwMW@%…—")


__all__ = ["drawing", "picture", "svg"]


def svg(pictures: Sequence[Picture]) -> str:
    """The document: one picture under the other, and one legend for all."""
    layouts = [_layout(one) for one in pictures]
    width = max([NARROWEST, *(layout.width + 2 * MARGIN for layout in layouts)])
    body: list[str] = []
    y = MARGIN
    for one, layout in zip(pictures, layouts, strict=True):
        body += _picture(one, layout, width, y)
        y += _head_height(one) + layout.height + BETWEEN
    legend, height = _legend(pictures, width, y)
    body += legend
    name = ", ".join(one.name for one in pictures[:3])
    return "\n".join([*_opening(f"Steps of {name}", width, y + height + MARGIN / 2), *body, "</svg>", ""])


def drawing(shown: Picture, links: Mapping[str, str]) -> str:
    """One picture as a part of a page that has `STYLE` and tells what is drawn: the steps only, each a link to where `links` says."""
    layout = _layout(shown)
    width, height = layout.width + 16, layout.height + 16
    if layout.split is not None:
        width = max(width, 120)
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    left = (width - layout.width) / 2
    return "\n".join(
        [
            f'<svg {size} role="group" aria-label="{text(one_line(f"Steps of {shown.name}"))}" class="ares">',
            f'<g transform="translate({left:.1f} 5)">',
            *_inside(shown, layout, left + MARGIN - 8, links),
            "</g>",
            "</svg>",
        ]
    )


def text(value: str) -> str:
    """`value` as character data or an attribute's value: only what XML allows and shows as it is, with every sign that could mean
    something escaped."""
    return escape(re.sub(ODD, " ", value), quote=True)


def _opening(label: str, width: float, height: float) -> Iterator[str]:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" class="ares">'
    yield f"<title>{text(one_line(label))}</title>"
    yield f"<style>{STYLE}</style>"
    yield f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>'


def _layout(shown: Picture) -> Layout:
    sizes = {box.id: _size(box) for box in shown.boxes}
    below = frozenset(box.id for box in shown.boxes if box.final)
    return lay_out(sizes, [(arrow.source, arrow.target) for arrow in shown.arrows], below=below)


def _size(box: Shown) -> tuple[float, float]:
    title = _long(box.id, MONO) + _badge(box) + _sign(box) + 34
    rest = max(_long(box.what, SANS), _long(_condition(box), SANS)) + 38
    return min(MOST, max(LEAST, title, rest)), BOX_HEIGHT + (WHEN_HEIGHT if box.when else 0.0)


def _badge(box: Shown) -> float:
    return 8 + len(box.fan) * 7.0 if box.fan else 0.0


def _sign(box: Shown) -> float:
    return 22.0 if box.state in ICONS else 0.0


def _condition(box: Shown) -> str:
    return f"if {box.when}" if box.when else ""


def _head_height(shown: Picture) -> float:
    return HEAD + ABOUT * len(_about(shown))


def _about(shown: Picture) -> list[str]:
    return [line for line in (shown.description, shown.head) if line]


# ---------------------------------------------------------------- text


def _cells(character: str, *, proportional: bool) -> float:
    """How wide a character is, in letters."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.75
    if not proportional:
        return 1.0
    return 0.58 if character in _NARROW else 1.3 if character in _BROAD else 1.65 if character in _BROADEST else 1.0


def _long(value: str, per: float) -> float:
    return sum(_cells(character, proportional=per != MONO) for character in value) * per


def _fit(value: str, width: float, per: float) -> str:
    """As much of `value` as fits into `width`."""
    value = one_line(value, 400)
    if _long(value, per) <= width:
        return value
    taken, kept = per, ""
    for character in value:
        taken += _cells(character, proportional=per != MONO) * per
        if taken > width:
            break
        kept += character
    return kept.rstrip() + "…"


# ---------------------------------------------------------------- one picture


def _picture(shown: Picture, layout: Layout, width: float, y: float) -> Iterator[str]:
    room = width - 2 * MARGIN
    yield f'<text class="name" x="{MARGIN:.0f}" y="{y + 14:.0f}">{text(_fit(shown.name, room, 11.5))}</text>'
    for at, line in enumerate(_about(shown)):
        yield f'<text class="about" x="{MARGIN:.0f}" y="{y + 34 + ABOUT * at:.0f}">{text(_fit(line, room, SANS + 0.3))}</text>'
    left = (width - layout.width) / 2
    yield f'<g transform="translate({left:.1f} {y + _head_height(shown):.1f})">'
    yield from _inside(shown, layout, left, {})
    yield "</g>"


def _inside(shown: Picture, layout: Layout, left: float, links: Mapping[str, str]) -> Iterator[str]:
    """Everything of a picture but its head. `left`: how far the page goes on beside it."""
    if layout.split is not None:
        yield from _divider(layout, left)
    states = {box.id: box.state for box in shown.boxes}
    for arrow in shown.arrows:
        yield from _arrow(layout.paths[arrow.source, arrow.target], arrow.kind, states[arrow.target])
    for box in shown.boxes:
        link = links.get(box.id)
        yield from [] if link is None else [f'<a href="{text(link)}">']
        yield from _box(box, layout.boxes[box.id])
        yield from [] if link is None else ["</a>"]


def _divider(layout: Layout, left: float) -> Iterator[str]:
    y, x = layout.split or 0.0, MARGIN - left
    yield f'<path class="divider" d="M{x:.1f} {y:.1f}H{layout.width + left - MARGIN:.1f}"/>'
    yield f'<text class="small" x="{x:.1f}" y="{y - 6:.1f}">finally</text>'


def _arrow(points: Sequence[Point], kind: EdgeKind, state: str) -> Iterator[str]:
    off = " off" if state in ("skipped", "blocked", "cancelled", "pending") else ""
    x, y = points[-1]
    yield f'<g class="edge {kind}{off}"><path d="{_curve([*points[:-1], (x, y - 5)])}"/>'
    yield f'<path class="tip" d="M{x - 4:.1f} {y - 8:.1f}L{x:.1f} {y - 0.5:.1f}L{x + 4:.1f} {y - 8:.1f}Z"/></g>'


def _curve(points: Sequence[Point]) -> str:
    """A line that leaves and enters every layer straight down."""
    (x, y), *rest = points
    parts = [f"M{x:.1f} {y:.1f}"]
    for to_x, to_y in rest:
        if abs(to_x - x) < 0.5:
            parts.append(f"L{to_x:.1f} {to_y:.1f}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return "".join(parts)


def _box(box: Shown, place: Box) -> Iterator[str]:
    w, h = place.width, place.height
    kind = f"s-{box.state}" if box.state in STATE_ORDER else f"v-{box.verb}" if box.verb in VERB_ORDER else ""
    yield f'<g class="step {kind}" transform="translate({place.x:.1f} {place.y:.1f})"><title>{text(box.tip)}</title>'
    if box.fan:  # a pile of cards
        yield f'<rect class="card" x="6" y="6" width="{w - 3:.1f}" height="{h - 2:.1f}" rx="8"/>'
        yield f'<rect class="card" x="3" y="3" width="{w - 1.5:.1f}" height="{h - 1:.1f}" rx="8"/>'
    dashed = " optional" if box.optional else ""
    yield f'<rect class="card{dashed}" width="{w:.1f}" height="{h:.1f}" rx="8"/>'
    yield f'<path class="stripe" d="M8 0H4.5A4.5 8 0 0 0 0 8V{h - 8:.1f}A4.5 8 0 0 0 4.5 {h:.1f}H8Z" transform="scale(.55 1)"/>'
    yield f'<svg width="{w - 6:.1f}" height="{h:.1f}">'  # cuts what a font makes wider than fonts usually are
    yield f'<text class="id" x="15" y="20">{text(_fit(box.id, w - 26 - _badge(box) - _sign(box), MONO))}</text>'
    what = _fit(box.what, w - 34, SANS)  # the verb is bold, so a little wider
    verb, space, rest = what.partition(" ")
    yield f'<text class="what" x="15" y="36"><tspan class="verb">{text(verb)}</tspan>{text(space + rest)}</text>'
    if box.when:
        yield f'<text class="what" x="15" y="52">{text(_fit(_condition(box), w - 26, SANS))}</text>'
    yield "</svg>"
    if box.state in ICONS:
        yield f'<circle class="dot" cx="{w - 15:.1f}" cy="15.5" r="7.5"/>'
        yield f'<path class="sign" d="{ICONS[box.state]}" transform="translate({w - 15:.1f} 15.5)"/>'
    if box.fan:
        yield f'<text class="fan" x="{w - 10 - _sign(box):.1f}" y="19.5">{text(box.fan)}</text>'
    if box.items:
        yield from _bar(box.items, w, h)
    yield "</g>"


def _bar(items: Mapping[str, int], width: float, height: float) -> Iterator[str]:
    """How many items are in each state, as parts of a line at the foot of the box."""
    total, x = sum(items.values()), 15.0
    for state in STATE_ORDER:
        if count := items.get(state, 0):
            part = (width - 26) * count / total
            yield f'<rect class="part p-{state}" x="{x:.1f}" y="{height - 7:.1f}" width="{max(1.0, part - 1):.1f}" height="3" rx="1"/>'
            x += part


# ---------------------------------------------------------------- legend


def _legend(pictures: Sequence[Picture], width: float, y: float) -> tuple[list[str], float]:
    """What the colours and lines mean, of those that occur; and how high that is."""
    x, row, parts = MARGIN, 0, []
    for sample, words in _entries(pictures):
        length = 26 + _long(words, SMALL) + 18
        if x + length > width - MARGIN and x > MARGIN:
            x, row = MARGIN, row + 1
        at = f'<g transform="translate({x:.1f} {y + row * LEGEND_ROW:.1f})">'
        parts.append(f'{at}{sample}<text class="small" x="28" y="4">{text(words)}</text></g>')
        x += length
    return parts, (row + 1) * LEGEND_ROW if parts else 0.0


def _entries(pictures: Sequence[Picture]) -> Iterator[tuple[str, str]]:
    boxes = [box for one in pictures for box in one.boxes]
    states = {"running" if state == "group" else state for box in boxes for state in (box.state, *(box.items or ()))}
    verbs = {box.verb for box in boxes if box.state not in STATE_ORDER}
    kinds = {arrow.kind for one in pictures for arrow in one.arrows}
    for state in STATE_ORDER:
        if state in states:
            yield f'<circle class="part p-{state}" cx="14" r="5"/>', state
    for verb in VERB_ORDER:
        if verb in verbs:
            yield f'<g class="v-{verb}"><rect class="stripe" x="9" y="-5" width="10" height="10" rx="3"/></g>', verb
    for kind in STRENGTH:
        if kind in kinds:
            yield f'<g class="edge {kind}"><path d="M2 0H24"/></g>', EDGE_WORDS[kind]
