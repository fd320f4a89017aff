"""The live tree as lines: runs → steps → items, the interesting ones first when there is not room for all. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from runner.reporters.progress import ACTIVE, RUN_ENDED, Progress, RunView, StepView
from runner.reporters.words import SIGNS, one_line, seconds

MOST_STEPS = 12
MOST_ITEMS = 4


class Line(NamedTuple):
    """`depth` 0 is a run; `state` gives sign and colour; `text` is what follows the name."""

    depth: int
    state: str
    name: str
    text: str


def tree_lines(progress: Progress, now: int, height: int) -> list[Line]:
    """At most `height` lines. What runs is shown before what has ended; what does not fit is counted."""
    going = [run for run in progress.runs.values() if run.state not in RUN_ENDED]
    ended = [run for run in progress.runs.values() if run.state in RUN_ENDED]
    lines = _ended_runs(ended, now, max(1, height // 4))
    room = max(1, height - len(lines))
    share = max(1, room // max(1, len(going)))
    for run in going:
        lines += _run_lines(run, now, share)
    if len(lines) <= height:
        return lines
    return [*lines[: height - 1], Line(0, "pending", "", f"… {len(lines) - height + 1} lines more")]


def _ended_runs(runs: Sequence[RunView], now: int, most: int) -> list[Line]:
    if len(runs) <= most:
        return [_run_line(run, now) for run in runs]
    kept = sorted(runs, key=lambda run: run.state == "succeeded")[: most - 1]
    rest = [run for run in runs if run not in kept]
    return [
        Line(0, "succeeded", "", f"{_counted(run.state for run in rest)} (runs)"),
        *(_run_line(r, now) for r in kept),
    ]


def _run_line(run: RunView, now: int) -> Line:
    took = seconds((run.ended or now) - run.started)
    steps = f"{run.done}/{run.total} steps" if run.total is not None else f"{run.done} steps more"
    why = one_line(run.text, 60) if run.state in ("suspended", "failed", "cancelled") else ""
    return Line(
        0,
        run.state,
        run.name,
        "  ".join(word for word in ("" if "." in run.run else run.run, steps, took, why) if word),
    )


def _run_lines(run: RunView, now: int, most: int) -> list[Line]:
    """A run that goes on: its head, the steps that matter most, some of their items, and a count of what is left out."""
    room = min(MOST_STEPS, max(0, most - 1))
    if len(run.steps) > room:
        room = max(0, room - 1)  # the count takes a line
    shown = _steps_that_matter(list(run.steps.values()), room)
    hidden = _counted(step.state for step in run.steps.values() if step not in shown)
    left = most - 1 - len(shown) - bool(hidden)
    lines = [_run_line(run, now)]
    for step in shown:
        items = list(_item_lines(step, now, min(MOST_ITEMS, left)))
        left -= len(items)
        lines += [_step_line(step, now), *items]
    return [*lines, Line(1, "pending", "", f"… {hidden}")] if hidden and most > 1 else lines


def _steps_that_matter(steps: Sequence[StepView], room: int) -> list[StepView]:
    """What went wrong last, what goes on, and with the room that is left what went well last."""
    bad = [step for step in steps if step.state in ("failed", "blocked", "cancelled")]
    active = [step for step in steps if step.state in ACTIVE]
    well = [step for step in steps if step.state in ("succeeded", "reused", "skipped")]
    first = [*bad[len(bad) - min(len(bad), max(1, room // 4)) :], *active][:room]
    return [*well[max(0, len(well) - (room - len(first))) :], *first]


def _step_line(step: StepView, now: int) -> Line:
    words = []
    group = step.total is not None or bool(step.states)
    if group:
        ended = sum(count for state, count in step.states.items() if state not in ACTIVE and state != "pending")
        words += [f"{ended}/{step.total} items" if step.total is not None else f"{ended} items more", _signed(step)]
    if step.started is not None and step.state != "suspended":
        words.append(seconds((step.ended or now) - step.started))
    if step.state not in ("succeeded", "group") and not group:
        words.append(one_line(step.text, 100))
    return Line(1, step.state, step.id, "  ".join(word for word in words if word))


def _signed(step: StepView) -> str:
    return " ".join(f"{SIGNS.get(state, '·')}{count}" for state, count in sorted(step.states.items()) if count)


def _item_lines(step: StepView, now: int, most: int) -> Iterator[Line]:
    for number, item in enumerate(step.active.values()):
        if number == most:
            return
        took = seconds(now - item.started) if item.started else ""
        text = "  ".join(word for word in (took, one_line(item.text, 80)) if word)
        yield Line(2, item.state, item.id.removeprefix(step.id), text)


def _counted(states: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return ", ".join(f"{count} {state}" for state, count in counts.items())
