"""Modes, circuits and probes for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.api.modes import Asked, Line, Probed, Standing
from runner.cli.output import Paint, columns, safe
from runner.cli.trouble import moment
from runner.core.modes import FOREVER, ModeState
from runner.ports import ModeRow
from runner.reporters.words import one_line, seconds

COLORS = {"normal": "green", "degraded": "yellow", "brainstem": "red"}
CIRCUITS = {"closed": ("✓", "green"), "half_open": ("~", "yellow"), "open": ("✗", "red")}
MEANS = {
    "normal": "models through the proxy, executors through MCP",
    "degraded": "models straight to a backup endpoint",
    "brainstem": "local work only; cloud steps wait",
}
_ROLES = {"lead": "decides the mode", "backup": "backup", "cloud": "cloud", "local": "local", "executor": "executor"}


def mode_text(found: Standing, paint: Paint) -> Iterator[str]:
    """The mode, then every endpoint, then what is not to be asked for a while."""
    state = found.state
    yield f"{paint(state.mode, COLORS[state.mode])}  {MEANS[state.mode]}"
    yield from columns(_facts(found), indent="  ")
    if found.endpoints:
        yield paint("endpoints", "bright_white")
        yield from columns([_line(line, found.now, paint) for line in found.endpoints], indent="  ")
    if found.executors:
        yield paint("executors", "bright_white")
        yield from columns([_line(line, found.now, paint) for line in found.executors], indent="  ")
    yield from _cooling(found, paint)


def _facts(found: Standing) -> Iterator[tuple[str, str]]:
    state = found.state
    if state.since:
        yield "since", f"{moment(state.since)} ({seconds(found.now - state.since)} ago)"
    if state.reason:
        yield "why", one_line(state.reason, 300)
    if found.pinned:
        yield "holds", _end(state, found.now)
    if found.wants != state.mode:
        yield "circuits", f"ask for {found.wants}: {one_line(found.because, 300)}"
    elif not state.reason:
        yield "why", one_line(found.because, 300)


def _end(state: ModeState, now: int) -> str:
    if state.pinned_until is None or state.pinned_until == FOREVER:
        return "until `runner mode set auto` takes it back"
    rest = seconds(state.pinned_until - now)
    return f"until {moment(state.pinned_until)} (another {rest}); `runner mode set auto` takes it back"


def _line(line: Line, now: int, paint: Paint) -> list[str]:
    sign, color = CIRCUITS[line.circuit.state]
    words = [f"needs {one_line(line.needs, 200)}"] if line.needs else []
    if line.circuit.reason and line.circuit.state != "closed":
        words.append(one_line(line.circuit.reason, 200))
    if line.circuit.state == "half_open" and line.circuit.passed:
        words.append("one real call decides")
    if line.probe_at is not None:
        wait = line.probe_at - now
        words.append(
            f"next probe in {seconds(wait)}"
            if wait > 0
            else "a probe is due (an apply sends it, or `runner mode probe`)"
        )
    state = line.circuit.state.replace("_", " ")
    return [paint(f"{sign} {safe(line.name)}", color), _ROLES[line.role], state, "; ".join(words)]


def _cooling(found: Standing, paint: Paint) -> Iterator[str]:
    for title, kinds in (("cooling", ("model", "executor", "endpoint")), ("keys refused", ("credential",))):
        rows = [
            [f"{one.kind} {safe(one.name)}", str(one.circuit.cause), _again(one.circuit.cool_until, found.now), one_line(one.circuit.reason, 200)]
            for one in found.cooling
            if one.kind in kinds
        ]  # fmt: skip
        if rows:
            yield paint(title, "bright_white")
            yield from columns(rows, indent="  ")


def _again(until: int | None, now: int) -> str:
    return "" if until is None else f"asked again in {seconds(until - now)}"


def asked_text(probed: Probed, paint: Paint) -> Iterator[str]:
    """What each endpoint answered."""
    yield from columns([_asked(one, paint) for one in probed.asked])
    for one in probed.warmed:
        yield f"may be asked again: {one.kind} {safe(one.name)} (cooled after {one.circuit.cause})"
    if probed.before != probed.after.mode:
        yield f"mode: {probed.before} → {paint(probed.after.mode, COLORS[probed.after.mode])}"


def _asked(one: Asked, paint: Paint) -> list[str]:
    sign = paint(f"{'✓' if one.ok else '✗'} {safe(one.name)}", "green" if one.ok else "red")
    if not one.probes:
        return [sign, "not asked", one_line(one.reason, 300)]
    tries = f" ({one.probes} probes)" if one.probes > 1 else ""
    return [sign, seconds(one.ms), f"{one_line(one.reason, 200)}{tries}, circuit {one.circuit.state.replace('_', ' ')}"]


def history_text(rows: Sequence[ModeRow], now: int, paint: Paint) -> list[str]:
    """One line a mode, with how long it held."""
    ends = [now, *(row.state.since for row in rows)]
    lines = []
    for row, end in zip(rows, ends, strict=False):
        state = row.state
        until = state.pinned_until
        pinned = "" if until is None or until == FOREVER else f"set until {moment(until)}"
        held = seconds(max(0, end - state.since))
        lines.append(
            [
                moment(state.since),
                paint(state.mode, COLORS[state.mode]),
                held,
                "; ".join(w for w in (one_line(state.reason, 300), pinned) if w),
            ]
        )
    return columns(lines)
