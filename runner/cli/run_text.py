"""Runs and steps as text for people: the table of `status`, and the page of `show`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runner.api.queries import (
    in_written_order,
    optional_steps,
    questions,
    recorded_answers,
    result_of,
    run_outputs,
    run_reason,
    shown_state,
    suspension_reasons,
    waits,
    with_unbegun,
)
from runner.cli.output import Paint, columns, safe
from runner.cli.summary import cost, output_lines, shown, took
from runner.cli.trouble import MILD, advice, moment, near, question, remedy, trouble_of
from runner.engine.logs import log_path
from runner.engine.worktree import kept_worktrees
from runner.ports import AttemptRow, RunRow, StepRow, Store
from runner.reporters.words import COLORS, SIGNS, one_line, seconds

MOST_ITEMS = 20


def state_word(state: str, paint: Paint) -> str:
    """Sign and state."""
    return paint(f"{SIGNS.get(state, '·')} {state}", COLORS.get(state))


def status_rows(
    rows: Sequence[RunRow], reasons: Mapping[str, str], now: int, paint: Paint
) -> Iterator[tuple[str, ...]]:
    """The table of `status`, with its head."""
    yield tuple(
        paint(word, "bright_black")
        for word in ("RUN", "MANIFEST", "STATE", "STEPS", "STARTED", "TOOK", "COST", "REASON")
    )
    for row in rows:
        state = shown_state(row)
        end = row.finished or (now if state == "running" else None)
        yield (
            row.run,
            row.name,
            state_word(state, paint),
            f"{row.steps_done}/{row.steps_total}",
            f"{seconds(now - row.created)} ago",
            seconds(end - row.created) if end else "",
            cost(row.cost) if row.cost else "",
            one_line(reasons.get(row.run, ""), 80),
        )


def show_text(store: Store, row: RunRow, state: Path, paint: Paint) -> str:
    """One run: what it is, its steps with their attempts, its outputs, and what to do next. `state`: the folder of logs and worktrees."""
    steps = in_written_order(store, row, store.steps(row.run))
    lines = [f"{paint(row.name, 'bright_white')} {row.run}  {state_word(shown_state(row), paint)}"]
    lines += [f"  {line}" for line in columns(_facts(store, row, steps))]
    lines += ["", "steps"]
    lines += _steps(store, row, steps, state, paint)
    outputs = run_outputs(store, row.run)
    if outputs not in (None, {}):
        lines += ["", "outputs", *(f"  {line}" for line in output_lines(outputs))]
    reasons = suspension_reasons(store, row.run) if row.state == "suspended" else ()
    next_ = list(advice(row.run, shown_state(row), reasons))
    return "\n".join([*lines, *(["", *next_] if next_ else [])])


def _facts(store: Store, row: RunRow, steps: Sequence[StepRow]) -> Iterator[tuple[str, str]]:
    yield "started", moment(row.created)
    if row.finished:
        yield "ended", f"{moment(row.finished)} (took {took(row, steps)})"
    if reason := run_reason(store, row):
        yield "reason", one_line(reason, 200)
    if row.leg > 1:
        yield "leg", str(row.leg)
    if row.inputs:
        yield "inputs", ", ".join(f"{name}={shown(value, 60)}" for name, value in row.inputs.items())
    yield "steps", f"{row.steps_done} of {row.steps_total} done"
    if row.cost:
        yield "cost", cost(row.cost)
    for label, other in (
        ("again from", row.forked_from),
        ("superseded by", row.superseded_by),
        ("part of", row.parent),
    ):
        if other:
            yield label, other
    for child in store.children(row.run):
        yield "sub-run", f"{child.run} {child.name} ({shown_state(child)}, step {child.parent_node})"


def _steps(store: Store, row: RunRow, steps: Sequence[StepRow], state: Path, paint: Paint) -> Iterator[str]:
    attempts: dict[str, list[AttemptRow]] = {}
    for attempt in store.attempts(row.run):
        attempts.setdefault(attempt.node, []).append(attempt)
    visible, hidden = _visible(with_unbegun(store, row, steps))
    asked = questions(store, row.run, visible)
    answered = recorded_answers(store, row.run)
    trees = kept_worktrees(state / "worktrees", row.run)
    optional = optional_steps(store, row)
    told = waits(store, row.run, visible)
    heads = columns(
        [_step_head(step, paint, step.node.partition("[")[0] in optional, told.get(step.node, "")) for step in visible],
        indent="  ",
    )
    for step, head in zip(visible, heads, strict=True):
        yield head
        yield from (f"      {line}" for line in question(asked.get(step.node)))
        if step.node in answered:
            yield f"      {one_line(answered[step.node], 400)}"
        details = _step_details(store, step, attempts.get(step.node, []), state / "logs", told.get(step.node, ""))
        yield from (f"      {line}" for line in details)
        yield from (f"      worktree: {safe(near(Path(path)))}" for path in trees.get(step.node, ()))
        if step.node in hidden:
            yield f"      … and {hidden[step.node]} items more that went well (--json has all)"


def _visible(steps: Sequence[StepRow]) -> tuple[list[StepRow], dict[str, int]]:
    """All steps, and of a wide fan-out the items that matter. Also how many items of which step are left out."""
    items: dict[str, list[StepRow]] = {}
    for step in steps:
        if "[" in step.node:
            items.setdefault(step.node.partition("[")[0], []).append(step)
    chosen: list[StepRow] = []
    hidden = {}
    for step in steps:
        if "[" in step.node:
            continue
        mine = items.get(step.node, [])
        bad = [item for item in mine if item.state not in ("succeeded", "reused", "skipped")]
        shown_items = mine if len(mine) <= MOST_ITEMS else bad
        if len(mine) > len(shown_items):
            hidden[step.node] = len(mine) - len(shown_items)
        chosen += [step, *shown_items]
    return chosen, hidden


def _step_head(step: StepRow, paint: Paint, optional: bool, detail: str) -> list[str]:
    state = "reused" if step.reused else step.state
    name = (
        f"  {step.node[step.node.index('[') :]} {one_line(step.item_key or '', 40)}" if "[" in step.node else step.node
    )
    length = seconds(step.ended - step.started) if step.started and step.ended and not step.reused else ""
    tries = f"{step.attempt} attempts" if step.attempt > 1 else ""
    who = one_line(" ".join(word for word in (step.executor, step.model) if word), 100)
    word = (
        paint(f"{SIGNS[state]} {MILD}", COLORS[state]) if optional and state == "failed" else state_word(state, paint)
    )
    return [word, name, who, length, tries, _why(step, detail)]


def _why(step: StepRow, detail: str) -> str:
    if step.state in ("failed", "suspended"):
        return one_line(trouble_of(step, detail), 200)
    if step.state == "waiting" and step.until:
        return f"{one_line(step.reason, 100)}, until {moment(step.until)}"
    return one_line(step.reason, 120) if step.state != "succeeded" or step.reused else ""


def _step_details(
    store: Store, step: StepRow, attempts: Sequence[AttemptRow], logs: Path, detail: str
) -> Iterator[str]:
    if len(attempts) > 1 or (attempts and step.state in ("failed", "suspended")):
        yield from columns([_attempt(attempt, logs) for attempt in attempts])
    if step.state == "suspended":
        yield remedy(step, detail)
    if (result := result_of(store, step)) is not None and result.get("output") not in (None, ""):
        output = result["output"]
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        size = f" ({len(text)} characters)" if len(text) > 120 else ""
        yield f"output: {one_line(text, 120)}{size}"
    for path in step.products:
        yield f"saved: {safe(path)}"


def _attempt(attempt: AttemptRow, logs: Path) -> list[str]:
    length = seconds(attempt.ended - attempt.started) if attempt.ended else ""
    what = (
        f"{attempt.error_class}: {one_line(attempt.message, 160)}" if attempt.error_class else one_line(attempt.reason)
    )
    written = "  (has a log)" if log_path(logs, attempt.run, attempt.node, attempt.n).exists() else ""
    return [f"attempt {attempt.n}", attempt.state, attempt.executor, length, what + written]
