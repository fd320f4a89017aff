"""Candidates of a step for people: each with its sign, what it is, and the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.api.routes import Way, shown_reason
from runner.cli.output import Paint, columns, safe
from runner.core.graph import GraphStep, StepGraph
from runner.core.router import Outlook, Verdict
from runner.reporters.words import one_line, seconds

SIGNS = {"taken": "→", "later": "·", "hidden": "~", "refused": "×"}
COLORS = {"taken": "green", "later": "cyan", "hidden": "yellow", "refused": "bright_black"}


def route_text(graph: StepGraph, step: GraphStep, ways: Sequence[Way], outlook: Outlook, paint: Paint) -> str:
    """Every way of a step."""
    lines: list[str] = []
    for way in ways:
        name = f"{graph.name}/{step.id}" + ("" if way.name == "step" else f"  {way.name}")
        pinned = " (as asked, or set by a person)" if outlook.pinned else ""
        lines += [f"{paint(safe(name), 'bright_white')}  {way.verb}, mode {outlook.mode}{pinned}"]
        lines += [f"  {line}" for line in way_lines(way, outlook.now, paint)] + [""]
    return "\n".join(lines[:-1])


def way_lines(way: Way, now: int, paint: Paint) -> list[str]:
    """The candidates of one way, and what is to be said about them."""
    lines = columns([_row(way, verdict, now, paint) for verdict in way.routed.verdicts]) if way.routed else []
    if way.routed is None:
        lines += _fixed(way, paint)
    return [*lines, *columns(_notes(way))]


def _fixed(way: Way, paint: Paint) -> Iterator[str]:
    """A way that the router does not choose for."""
    if way.trouble:
        yield f"{paint('×', 'red')} {safe(way.trouble)}"
    elif way.choices:
        yield f"{paint('→', 'green')} {safe(way.target)}  {way.choices[0].reason}"
    else:
        yield "does not call anybody: there is nothing to choose"


def _row(way: Way, verdict: Verdict, now: int, paint: Paint) -> list[str]:
    stand: str = verdict.stand
    if verdict.shown:
        stand = "taken" if verdict.label == way.first else "later"
    entry = verdict.entry
    what = ["", ""] if entry is None else [entry.endpoint or "agent", entry.tier or "tier unknown"]
    until = "" if verdict.until is None or verdict.until <= now else f" (again in {seconds(verdict.until - now)})"
    name = paint(f"{SIGNS[stand]} {safe(verdict.label)}", COLORS[stand])
    return [name, *map(safe, what), one_line(shown_reason(verdict, way.first), 400) + until]


def _notes(way: Way) -> Iterator[tuple[str, str]]:
    routed = way.routed
    if routed is not None and routed.source:
        yield "chain", routed.source
    if routed is not None and routed.trouble:
        yield "nobody", one_line(routed.trouble, 400)
    if routed is not None and routed.verdicts and way.first is None:
        yield "nobody", _nobody(routed.verdicts)
    if routed is not None and routed.kind == "agent":
        yield "model", one_line(routed.model or "the agent's own choice (name one in route.models)")
    if way.prompt:
        yield "prompt", f"not known yet: {one_line(way.prompt, 200)}"
    elif way.tokens is not None:
        yield "prompt", f"about {way.tokens} tokens"
    if routed is not None:
        yield from (("note", one_line(note)) for note in routed.notes)


def _nobody(verdicts: Sequence[Verdict]) -> str:
    if any(verdict.stand == "hidden" for verdict in verdicts):
        return "may start now: the step would wait or be suspended until one is seen again"
    return "can do this as things are: the step would fail"
