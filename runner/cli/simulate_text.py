"""A simulation for people: what happens when, how every step ends, what is assumed, and whether the runner keeps its promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.api.simulating import SimulatedManifest
from runner.api.simulating_json import frequent, help_for, moment_of
from runner.cli.output import Paint, columns, safe
from runner.diagnostics.excerpt import harmless
from runner.reporters.words import COLORS, SIGNS, one_line, seconds
from runner.simulate.campaign import Summary
from runner.simulate.outcome import Ended, StepEnd
from runner.simulate.promises import PROMISES

MICRO = 1_000_000
MOST = 10
"""Failures of a summary that are shown."""


def simulate_text(found: Sequence[SimulatedManifest], paint: Paint, *, timeline: bool) -> str:
    """All of them. Without `timeline` only what many simulations say together."""
    lines: list[str] = []
    for one in found:
        lines += [*_manifest(one, paint, timeline), ""]
    return "\n".join([*lines, _last(found)])


def _manifest(one: SimulatedManifest, paint: Paint, timeline: bool) -> Iterator[str]:
    shown = one.one.ended
    yield f"{paint(one.entry.graph.name, 'bright_white')}  {paint(f'({harmless(one.entry.loaded.file)})', 'bright_black')}"
    if timeline:
        yield from _timeline(shown, paint)
        yield ""
        details = {each.place: each.detail for each in shown.waiting}
        rows = [_step(step, details.get(step.place, ""), paint) for step in shown.steps if _is_worth(step)]
        yield from columns(rows, indent="    ")
        yield _end(shown, paint)
        yield from _waiting(shown, paint)
        yield from _assumed(shown)
    if one.many is not None:
        yield from _many(one, one.many, paint)
    for option in shown.unused:
        yield f"    note: {safe(option)} had no effect: what it waits for never happened"
    yield from _broken(one, paint)


def _timeline(shown: Ended, paint: Paint) -> Iterator[str]:
    moments = [moment for told in shown.told if (moment := moment_of(told, shown)) is not None]
    rows = []
    for moment in moments:
        state = str(moment["state"])
        word = paint(f"{SIGNS.get(state, '·')} {state}", COLORS.get(state))
        rows.append([seconds(moment["at_ms"]), one_line(moment["step"], 60), word, one_line(moment["text"], 200)])
    yield from columns(rows, indent="    ")


def _is_worth(step: StepEnd) -> bool:
    """Items that went well are many, and told by their step."""
    return step.item_key is None or step.state not in ("succeeded", "skipped")


def _step(step: StepEnd, detail: str, paint: Paint) -> list[str]:
    words = [f"{step.attempts} attempts" if step.attempts > 1 else "", f"{step.lost} lost" if step.lost else ""]
    if step.cost:
        words.append(f"${step.cost / MICRO:.4f}")
    words.append(_why(step, detail))
    who = " ".join(
        word for word in (step.executor, f"({step.model})" if step.model not in ("", step.executor) else "") if word
    )
    return [
        paint(SIGNS.get(step.state, "·"), COLORS.get(step.state)), one_line(step.place, 60), step.verb,
        paint(step.state, COLORS.get(step.state)), one_line(who, 100), one_line(", ".join(word for word in words if word), 160),
    ]  # fmt: skip


def _why(step: StepEnd, detail: str) -> str:
    if step.state == "failed" and step.error is not None:
        return f"{step.error['class']}: {step.error['message']}"
    return f"{step.reason}: {detail}" if detail else step.reason


def _end(shown: Ended, paint: Paint) -> str:
    cost = f", about ${shown.cost / MICRO:.4f}" if shown.cost else ""
    dies = (
        f", the runner died {shown.deaths} times"
        if shown.deaths > 1
        else ", the runner died once"
        if shown.deaths
        else ""
    )
    state = paint(f"{SIGNS.get(shown.state, '·')} {shown.outcome}", COLORS.get(shown.state))
    return f"  {state} after {seconds(shown.takes_ms)} of virtual time{cost} ({shown.commits} commits{dies})"


def _waiting(shown: Ended, paint: Paint) -> Iterator[str]:
    for each in shown.waiting:
        when = "" if each.until_ms is None else f", at the latest {seconds(each.until_ms)} after the start"
        yield f"    {paint(safe(one_line(each.place, 60)), 'magenta')} waits ({each.reason}): {help_for(each)}{when}"


def _assumed(shown: Ended) -> Iterator[str]:
    for each in shown.assumptions:
        reads = ", ".join(each.reads)
        branch = one_line(each.branch, 100)
        yield f"    assumed: {one_line(each.place, 60)} {each.took}, by {safe(branch)}: the output of {reads} is made up"
    if shown.assumptions:
        first = shown.assumptions[0].reads[0]
        yield f"    help: --stub {first}=JSON gives a step the output that you mean"


def _many(one: SimulatedManifest, many: Summary, paint: Paint) -> Iterator[str]:
    seeds = one.asked.seeds is not None
    what = f"{many.count:,} seeds" if seeds else f"dies after each of its {many.count:,} commits"
    yield f"  {what}: {many.attempts:,} attempts, the runner died {many.deaths:,} times"
    outcomes = sorted(many.outcomes.items(), key=lambda row: (-row[1], row[0]))
    rows = []
    for outcome, times in outcomes:
        example = many.examples[outcome]
        option = f"--seed {example.seed}" if seeds else f"--kill {max(example.kills)}"
        color = COLORS.get(outcome.partition(":")[0])
        rows.append([f"{times:,}", paint(outcome, color), paint(f"such as {option}", "bright_black")])
    yield from columns(rows, indent="    ")
    if shown := frequent(many)[:MOST]:
        yield "  most frequent"
        yield from columns([[f"{times:,}", one_line(step, 60), how] for (step, how), times in shown], indent="    ")
    yield f"  {many.compared:,} ends after a death were compared with that of the same run without one"


def _broken(one: SimulatedManifest, paint: Paint) -> Iterator[str]:
    for each in one.broken:
        yield paint(f"  BROKEN {each.promise}: {PROMISES[each.promise]}", "red")
        yield f"    {safe(one_line(each.message, 400))}"
        yield f"    again: {safe(one.replay(each))}"
    more = (one.many.broken_count - len(one.many.broken)) if one.many else 0
    if more:
        yield f"  and {more} more"


def _last(found: Sequence[SimulatedManifest]) -> str:
    if not found:
        return "Nothing to simulate."
    broken = {each.promise for one in found for each in one.broken}
    if broken:
        return f"{len(broken)} of {len(PROMISES)} promises are broken: this is a defect of the runner, not of the manifest."
    return f"All {len(PROMISES)} promises are kept. Nothing was called."
