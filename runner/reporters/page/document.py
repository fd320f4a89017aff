"""The whole page: its head, what went wrong, and its sections in the order in which people ask for them."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

from runner.core.events import Recorded
from runner.ports import Spending
from runner.reporters.page.gantt import gantt
from runner.reporters.page.markup import block, dollars, many, moment, plain, text
from runner.reporters.page.model import Cut, Money, Page, Part, Step
from runner.reporters.page.script import SCRIPT
from runner.reporters.page.signs import pill, sign
from runner.reporters.page.steps import facts, steps, tokens
from runner.reporters.page.style import STYLE
from runner.reporters.picture import EDGE_WORDS, STRENGTH
from runner.reporters.svg import drawing
from runner.reporters.svg_style import STATE_ORDER
from runner.reporters.words import one_line, seconds, told

MOST_TROUBLES = 8
MOST_PARTS_DRAWN = 20
"""Sub-runs with a picture of their own."""


def page(shown: Page) -> str:
    """The document."""
    return "\n".join([*_head(shown), *_main(shown), f"<script>{SCRIPT}</script></body></html>", ""])


def _head(shown: Page) -> Iterator[str]:
    row = shown.part.row
    policy = f"default-src 'none'; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; base-uri 'none'; form-action 'none'"
    yield "<!doctype html>"
    yield '<html lang="en"><head>'
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{plain(one_line(row.name, 80))}: {plain(shown.part.state)} ({plain(row.run)})</title>"
    yield f"<style>{STYLE}</style></head><body>"


def _digest(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _main(shown: Page) -> Iterator[str]:
    part = shown.part
    sections = [
        ("graph", "Graph", list(_graph(part))),
        ("timeline", "Timeline", list(gantt(part))),
        ("steps", "Steps", list(steps(part))),
        ("outputs", "Outputs", list(_values(part.outputs))),
        ("money", "Cost", list(_money(shown.money, part))),
        ("sub-runs", "Sub-runs", list(_children(part, MOST_PARTS_DRAWN))),
        ("about", "Run", list(_about(part))),
        ("record", "Record", list(_record(shown))),
    ]
    there = [section for section in sections if section[2]]
    yield '<a class="skip" href="#steps">Skip to the steps</a>'
    yield "<main>"
    yield from _header(shown)
    links = "".join(f'<a href="#{id}">{title}</a>' for id, title, _ in there)
    yield f'<nav aria-label="Sections">{links}</nav>'
    yield from _alarm(shown)
    for id, title, lines in there:
        yield f'<section id="{id}" aria-labelledby="h-{id}"><h2 id="h-{id}">{title}</h2>'
        yield from lines
        yield "</section>"
    yield f"<footer>Made by runner {text(shown.version)} at {moment(shown.made)} from the record of run <code>{text(part.row.run)}</code>.</footer>"
    yield "</main>"


# ---------------------------------------------------------------- the head


def _header(shown: Page) -> Iterator[str]:
    part = shown.part
    yield f'<header><div class="top"><h1>{text(part.row.name)}</h1>{pill(part.state)}</div>'
    about = part.picture.description if part.picture else ""
    yield f'<p class="about">{text(about)}</p>' if about else ""
    yield f'<p class="why">{text(part.reason)}</p>' if part.reason else ""
    yield (
        '<dl class="tiles">'
        + "".join(f'<div class="card"><dt>{name}</dt><dd>{value}</dd></div>' for name, value in _tiles(shown))
        + "</dl>"
    )
    yield _share(part.steps)
    yield "</header>"


def _tiles(shown: Page) -> Iterator[tuple[str, str]]:
    part, money = shown.part, shown.money
    row = part.row
    yield "Run", f'<span class="mono">{text(row.run)}</span>' + (f"<small>leg {row.leg}</small>" if row.leg > 1 else "")
    yield "Started", moment(row.created, day_below=True)
    until = "Until it broke off" if part.state == "interrupted" else "Until now"
    yield "Took" if row.finished else until, seconds(part.end - row.created)
    yield "Steps", f"{row.steps_done}<small>of {row.steps_total}</small>"
    yield "Attempts", f"{sum(one.attempts for _, rows in money.by[:1] for one in rows):,}"
    more = [f"{dollars(money.assumed)} assumed"] if money.assumed else []
    more += [f"{dollars(money.held)} held"] if money.held else []
    yield "Cost", dollars(money.spent) + (f"<small>{', '.join(more)}</small>" if more else "")


def _share(steps_: Sequence[Step]) -> str:
    """How many steps are in each state, as a bar and in words."""
    counts = Counter("reused" if step.row.reused else step.row.state for step in steps_)
    bars, words, at = [], [], 0.0
    for state in STATE_ORDER:
        if not (count := counts.get(state, 0)):
            continue
        width = 100 * count / len(steps_)
        bars.append(f'<rect class="p-{state}" x="{at:.3f}%" width="{width:.3f}%" height="8"/>')
        words.append(f"<span>{sign(state)}{count:,} {state}</span>")
        at += width
    return f'<svg class="share" aria-hidden="true">{"".join(bars)}</svg><p class="legend">{"".join(words)}</p>'


def _alarm(shown: Page) -> Iterator[str]:
    """What went wrong or waits, and what may be done about it."""
    found = list(_troubles(shown.part))
    if not found and not shown.advice:
        return
    yield '<section class="alarm card" aria-label="What to look at">'
    if found:
        yield "<h2>What to look at</h2><ul>"
        for step in found[:MOST_TROUBLES]:
            yield from _trouble(step)
        yield "</ul>"
    if len(found) > MOST_TROUBLES:
        yield f'<p class="cut">and {len(found) - MOST_TROUBLES:,} more</p>'
    if shown.advice:
        yield '<p class="next">' + "<br>".join(text(line) for line in shown.advice) + "</p>"
    yield "</section>"


def _troubles(part: Part) -> Iterator[Step]:
    """Items tell more than the group that they fail."""
    for step in part.steps:
        bad = [item for item in step.items if item.row.state in ("failed", "suspended")]
        if bad:
            yield from bad
        elif step.row.state in ("failed", "suspended"):
            yield step
    for child in part.children:
        yield from _troubles(child)


def _trouble(step: Step) -> Iterator[str]:
    row = step.row
    error = row.error or {}
    what = f"{error.get('class')}: {error.get('message')}" if error else step.why or row.reason
    name = f"{row.node.partition('[')[0]} ({row.item_key})" if row.item_key and "[" in row.node else row.node
    optional = " <small>optional</small>" if step.optional and row.state == "failed" else ""
    yield f'<li>{sign(row.state)}<span><a class="mono" href="#{step.place}">{text(name)}</a>{optional}</span>'
    if row.state == "suspended" and error:
        yield f"<span>{text(one_line(step.why or row.reason, 400))}</span>"
    if step.asks is not None:
        yield f"<span>{text(one_line(step.asks.get('message', ''), 400))}</span>"
    else:
        yield f"<span>{text(one_line(what, 400))}</span>"
    yield f"<small>{text(step.remedy)}</small>" if step.remedy else ""
    yield "</li>"


# ---------------------------------------------------------------- sections


def _graph(part: Part) -> Iterator[str]:
    if part.picture is None:
        yield f'<p class="cut">{many(len(part.steps), "step")}: too many to be drawn here; runner graph {text(part.row.run)} lists them</p>'
        return
    links = {step.row.node: f"#{step.place}" for step in part.steps}
    yield f'<div class="card scroll" tabindex="0" role="group" aria-label="Graph">{drawing(part.picture, links)}</div>'
    kinds = {arrow.kind for arrow in part.picture.arrows}
    words = [
        f'<span><svg class="ares" width="26" height="10" aria-hidden="true"><g class="edge {kind}"><path d="M1 5H25"/></g></svg>{EDGE_WORDS[kind]}</span>'
        for kind in STRENGTH
        if kind in kinds
    ]
    yield f'<p class="legend">{"".join(words)}</p>' if words else ""


def _values(values: Sequence[tuple[str, Cut]]) -> Iterator[str]:
    if values:
        yield '<div class="card outputs">'
        for name, value in values:
            yield f"<h3>{text(name)}</h3>{block(value)}"
        yield "</div>"


def _money(money: Money, part: Part) -> Iterator[str]:
    attempts = sum(one.attempts for _, rows in money.by[:1] for one in rows)
    if not attempts:
        return
    words = [f"{dollars(money.spent)} spent in {many(attempts, 'attempt')}"]
    words += [f"{dollars(money.held)} held for attempts in flight"] if money.held else []
    words += [f"{dollars(money.assumed)} of it assumed, because nobody said what it cost"] if money.assumed else []
    words += [tokens(money.tokens)] if money.tokens else []
    words += [f"cap {money.cap}"] if money.cap else []
    yield f"<p>{text('; '.join(words))}.</p>"
    if money.spent or money.held:
        for title, rows in money.by:
            yield from _spendings(title, rows)


def _spendings(title: str, rows: Sequence[Spending]) -> Iterator[str]:
    named = [row for row in rows if row.key]
    if not named:
        return
    yield f"<h3>by {title}</h3>"
    yield f'<div class="card wide"><table><tr><th>{title}</th><th class="n">attempts</th><th class="n">cost</th><th class="n">of it assumed</th></tr>'
    for row in named[:200]:
        assumed = dollars(row.assumed) if row.assumed else ""
        yield f'<tr><td class="key mono">{text(row.key)}</td><td class="n">{row.attempts:,}</td><td class="n">{dollars(row.cost)}</td><td class="n">{assumed}</td></tr>'
    yield "</table></div>"
    if len(named) > 200:
        yield f'<p class="cut">{len(named) - 200:,} more that cost less</p>'


def _children(part: Part, drawn: int) -> Iterator[str]:
    for number, child in enumerate(part.children):
        took = seconds(child.end - child.row.created)
        yield f'<details class="part card" id="{child.place}"><summary>{sign(child.state)}<span class="name">{text(child.row.name)}</span>'
        yield f'<span class="c-{text(child.row.state)}">{text(child.state)}</span><small>{text(child.row.run)} · {child.row.steps_done}/{child.row.steps_total} steps · {took}</small></summary>'
        yield '<div class="inside">'
        yield f'<p class="reason">{text(child.reason)}</p>' if child.reason else ""
        if number < drawn:
            yield from _graph(child)
            yield from gantt(child)
        yield "<h2>Steps</h2>"
        yield from steps(child)
        if child.outputs:
            yield "<h2>Outputs</h2>"
            yield from _values(child.outputs)
        if child.children:
            yield "<h2>Sub-runs</h2>"
            yield from _children(child, 0)
        yield "</div></details>"


def _about(part: Part) -> Iterator[str]:
    yield facts(part.facts)
    if part.inputs:
        yield "<h3>inputs</h3>"
        yield from _values(part.inputs)


def _record(shown: Page) -> Iterator[str]:
    if shown.source.text:
        yield f'<details class="part card"><summary><span class="name">Manifest</span><small>as it was when the run started</small></summary><div class="inside">{block(shown.source)}</div></details>'
    yield f'<details class="part card once"><summary><span class="name">Events</span><small>{many(len(shown.events) + shown.more_events, "event")}: every decision with its reason</small></summary>'
    yield '<div class="inside wide"><table class="log-of-events"><tr><th class="n">#</th><th class="n">after</th><th>event</th><th>step</th><th>what</th></tr>'
    begin = shown.part.row.created
    for name, recorded in shown.events:
        yield _event(recorded, name, begin, sub=recorded.run != shown.part.row.run)
    yield "</table></div></details>"
    if shown.more_events:
        yield f'<p class="cut">{many(shown.more_events, "event")} more: runner events {text(shown.part.row.run)}</p>'


def _event(recorded: Recorded, name: str, begin: int, *, sub: bool) -> str:
    event = recorded.event
    state, words = told(event) or ("", "")
    words = words or str(event.data.get("reason") or "")
    place = f"{name}/{event.node}" if sub else event.node
    kind = f"{sign(state) if state else ''} {text(event.kind)}"
    return f'<tr><td class="n">{recorded.seq}</td><td class="n">+{seconds(recorded.at - begin)}</td><td class="mono">{kind}</td><td class="mono">{text(place)}</td><td>{text(one_line(words, 300))}</td></tr>'
