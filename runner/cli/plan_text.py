"""A plan for people: each manifest and step with its sign, action and reason; a last line that counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from runner.api.planning import PlannedManifest
from runner.cli.explain import explain_manifest, explain_step, price_text
from runner.cli.output import Paint, columns
from runner.core.plan import PlannedStep
from runner.diagnostics.excerpt import harmless
from runner.reporters.words import one_line

SIGNS = {
    "create": "+", "update": "~", "resume": ">", "unchanged": "=", "callable": "·",
    "run": "+", "reuse": "=", "skip": "-", "unknown": "?",
}  # fmt: skip
COLORS = {
    "create": "green", "update": "yellow", "resume": "magenta", "unchanged": "cyan", "callable": "bright_black",
    "run": "green", "reuse": "cyan", "skip": "bright_black", "unknown": "yellow",
}  # fmt: skip
COUNTED = (("create", "to create"), ("update", "to update"), ("resume", "to resume"), ("unchanged", "unchanged"))


def plan_text(planned: Sequence[PlannedManifest], paint: Paint, *, explain: bool = False) -> str:
    """The plan as lines. With `explain` also, for every step, its route, its fault policies and its effects."""
    lines: list[str] = []
    for entry in planned:
        lines += [*_manifest(entry, paint, explain), ""]
    return "\n".join([*lines, _last(planned)])


def _manifest(entry: PlannedManifest, paint: Paint, explain: bool) -> Iterator[str]:
    plan = entry.plan
    head = paint(f"{SIGNS[plan.action]} {plan.name}", COLORS[plan.action])
    yield f"{head}  {plan.action}: {one_line(plan.reason)}  {paint(f'({harmless(plan.file)})', 'bright_black')}"
    for old in plan.supersedes:
        yield f"    ends run {old} as superseded"
    if explain:
        yield from (f"    {line}" for line in explain_manifest(entry))
    steps = plan.steps if explain or plan.action != "unchanged" else ()
    for step, line in zip(steps, columns([_step(step, paint) for step in steps], indent="    "), strict=True):
        yield line
        if explain:
            yield from (f"        {line}" for line in explain_step(step, entry, paint))
    if plan.price is not None:
        yield f"    one try of each step {price_text(plan.price)}"


def _step(step: PlannedStep, paint: Paint) -> list[str]:
    color = COLORS[step.action]
    return [paint(SIGNS[step.action], color), step.id, step.verb, paint(step.action, color), one_line(step.reason, 200)]


def _last(planned: Sequence[PlannedManifest]) -> str:
    counts: Counter[str] = Counter(entry.plan.action for entry in planned)
    words = [f"{counts[action]} {word}" for action, word in COUNTED if counts[action]]
    callable_ = counts["callable"]
    note = f" {callable_} passed over: required inputs are not set." if callable_ else ""
    return f"Plan: {', '.join(words) or 'nothing to do'}.{note}"
