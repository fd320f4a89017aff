"""The steps of a run: who did what, how often, why again, what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.reporters.page.markup import block, cut, dollars, many, plain, text
from runner.reporters.page.model import Part, Step, Try
from runner.reporters.page.signs import look, sign
from runner.reporters.words import UNTOLD, seconds

BAD = ("failed", "suspended")
MOST_OPEN = 12
"""Steps that went wrong are open at first, so many of them."""
MOST_LAID_OUT = 150
"""More of them are laid out by the browser only when they come into view."""
TOOLS = (
    '<div class="tools" hidden><input type="search" placeholder="Filter steps: name, state, text …" aria-label="Filter steps">'
    '<button type="button">Open all</button><button type="button">Close all</button></div>'
)


def steps(part: Part) -> Iterator[str]:
    """All steps of a run, those that went wrong open."""
    if len(part.steps) > 5:
        yield TOOLS
    yield f'<div class="steps card{_many(part.steps)}">'
    open_ = [step.place for step in part.steps if step.row.state in BAD][:MOST_OPEN]
    for step in part.steps:
        yield from _step(step, part, open_=step.place in open_)
    yield "</div>"


def _many(steps_: Sequence[Step]) -> str:
    return " many" if len(steps_) > MOST_LAID_OUT else ""


def _step(step: Step, part: Part, *, open_: bool) -> Iterator[str]:
    row = step.row
    yield f'<details class="unit" id="{step.place}"{" open" if open_ else ""}>'
    name = f"{row.item_key or row.node}" if "[" in row.node else row.node
    yield f'<summary>{sign(_state(step))}<span class="name">{text(name)}</span><span class="what">{text(step.what)}</span>'
    yield f'<span class="word c-{look(row.state)}">{text(_word(step))}</span>{_end(step)}</summary>'
    yield '<div class="body">'
    yield from _body(step, part)
    yield "</div></details>"


def _state(step: Step) -> str:
    return "reused" if step.row.reused else step.row.state


def _word(step: Step) -> str:
    if step.row.state == "failed" and step.optional:
        return "failed (optional)"
    if step.items:
        bad = sum(item.row.state in BAD for item in step.items)
        told = f", {bad:,} of them not well" if bad else ""
        return f"{_state(step)}, {many(len(step.items) + step.hidden, 'item')}{told}"
    return _state(step)


def _end(step: Step) -> str:
    row = step.row
    tries = f"{row.attempt} attempts" if row.attempt > 1 else ""
    took = seconds(row.ended - row.started) if row.started and row.ended and not row.reused else ""
    who = " · ".join(dict.fromkeys(word for word in (row.executor, row.model) if word))
    cells = [text(who), tries, took, dollars(row.cost) if row.cost else ""]
    return '<span class="end">' + "".join(f"<span>{cell}</span>" for cell in cells if cell) + "</span>"


def _body(step: Step, part: Part) -> Iterator[str]:
    yield from _why(step)
    if step.facts:
        yield facts(step.facts)
    if step.child:
        yield f'<p class="then"><a href="#{step.child}">its sub-run</a></p>'
    if step.items:
        yield from _items(step, part)
    if step.tries:
        yield f"<h3>{many(len(step.tries), 'attempt')}</h3>"
        for attempt in step.tries:
            yield from _try(attempt, part)
    if step.output is not None:
        yield f"<h3>output</h3>{block(step.output)}"


def _why(step: Step) -> Iterator[str]:
    row = step.row
    error = row.error if row.error and row.state in ("failed", "suspended", "blocked", "cancelled") else None
    untold = row.state == "failed" and row.reason in UNTOLD and error is not None
    if row.reason and row.state != "running" and not untold:
        yield f'<p class="reason">{text(step.why or row.reason)}</p>'
    if error and (untold or not step.tries):
        yield f'<p class="message">{text(error.get("class"))}: {text(error.get("message"))}</p>'
    if step.asks is not None:
        yield f'<p class="reason">{text(step.asks.get("message", ""))}</p>'
        for shown in step.asks.get("show", ()):
            yield block(cut(shown if isinstance(shown, str) else str(shown), 4_000))
    if step.remedy:
        yield f'<p class="then">{text(step.remedy)}</p>'


def facts(found: Sequence[tuple[str, str]]) -> str:
    """Names and texts as a list."""
    return (
        '<dl class="facts">'
        + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in found)
        + "</dl>"
    )


# ---------------------------------------------------------------- items


def _items(step: Step, part: Part) -> Iterator[str]:
    counts = Counter(_state(item) for item in step.items)
    told = ", ".join(f"{count:,} {state}" for state, count in counts.most_common())
    yield f"<h3>{many(len(step.items), 'item')}: {text(told)}</h3>"
    if len(step.items) > 8:
        yield '<div class="cells">'
        for item in step.items:
            label = f"{item.row.item_key or item.row.node}: {_state(item)}"
            yield f'<a class="k-{look(_state(item))}" href="#{item.place}" title="{plain(label)}" aria-label="{plain(label)}"></a>'
        yield "</div>"
    yield f'<div class="steps card{_many(step.items)}">'
    for item in step.items:
        yield from _step(item, part, open_=False)
    yield "</div>"
    if step.hidden:
        yield f'<p class="cut">{many(step.hidden, "item")} more that went well</p>'


# ---------------------------------------------------------------- attempts


def _try(attempt: Try, part: Part) -> Iterator[str]:
    row = attempt.row
    yield f'<section class="try {look_of_try(row.state)}" aria-label="attempt {row.n}"><div class="line">'
    why = f" · {text(row.error_class)}" if row.error_class and row.error_class != row.state else ""
    yield f"<b>{row.n}</b><b>{sign(row.state)} {text(row.state)}{why}</b>"
    yield "".join(f"<span>{cell}</span>" for cell in _cells(attempt, part) if cell)
    yield "</div>"
    if row.message and row.message not in [check.get("message") for check in attempt.checks]:
        yield f'<p class="message">{text(row.message)}</p>'
    if attempt.checks:
        yield '<ul class="checks">' + "".join(map(_check, attempt.checks)) + "</ul>"
    if attempt.denials:
        denied = "".join(f"<li>{text(denial)}</li>" for denial in attempt.denials)
        yield f'<h3>denied</h3><ul class="denied">{denied}</ul>'
    yield from (f'<p class="then">{text(words)}</p>' for words in attempt.then)
    if attempt.asked is not None:
        yield f'<details class="fold"><summary>what it was asked</summary>{block(attempt.asked)}</details>'
    if attempt.log is not None:
        told = attempt.log.text.strip() in row.message
        open_ = " open" if row.state in ("failed", "lost") and not told else ""
        yield f'<details class="fold"{open_}><summary>log</summary>{block(attempt.log, "log")}</details>'
    yield "</section>"


def look_of_try(state: str) -> str:
    return state if state in ("succeeded", "failed", "lost", "cancelled", "running") else ""


def _cells(attempt: Try, part: Part) -> Iterator[str]:
    row = attempt.row
    yield text(" · ".join(dict.fromkeys(word for word in (row.executor, row.model) if word)))
    yield f"at +{seconds(row.started - part.row.created)}"
    yield (
        f"took {seconds(row.ended - row.started)}"
        if row.ended
        else f"for {seconds(part.end - row.started)}"
        if row.state == "running"
        else ""
    )
    yield f"fallback {attempt.level}" if attempt.level and not row.reason.startswith("fallback") else ""
    yield f"mode {text(row.mode)}" if row.mode and row.mode != "normal" else ""
    yield f"{dollars(row.cost)} {text(row.cost_source)}" if row.cost or row.cost_source else ""
    yield f"{dollars(attempt.reserved)} held" if attempt.reserved and row.state == "running" else ""
    yield text(tokens(row.tokens))
    yield (
        f"effects: {text(attempt.effects)}{'; it may have happened' if row.effect == 'maybe' else ''}"
        if attempt.effects
        else ""
    )
    yield f"session {text(row.session)}" if row.session else ""
    yield text(row.reason) if row.reason not in ("", "ready") else ""


def tokens(counts: Mapping[str, int]) -> str:
    """`1,204 tokens in, 88 out`."""
    words = [
        f"{count:,} {'tokens ' if at == 0 else ''}{name}" for at, (name, count) in enumerate(counts.items()) if count
    ]
    return ", ".join(words)


def _check(check: Mapping[str, Any]) -> str:
    passed = bool(check.get("passed"))
    state, word = ("succeeded", "passed") if passed else ("failed", "failed")
    message = f": {check['message']}" if check.get("message") else f" {word}"
    return f"<li>{sign(state, word)}<span>{text(str(check.get('kind')) + message)}</span></li>"
