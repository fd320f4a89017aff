"""The last word of a command that drove runs: one line a run, what failed and why, what was made, and what to do next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.api.results import MICRO, ApplyResult, RunResult
from runner.cli.output import Paint, columns, safe
from runner.cli.trouble import advice, troubles
from runner.ports import RunRow, StepRow, Store
from runner.reporters.words import COLORS, SIGNS, one_line, seconds

MOST_LINES = 8


Advice = Callable[[str, str, Sequence[str]], Iterator[str]]
"""(run, state, reasons) → what to do about a run that has not succeeded."""


def summary(result: ApplyResult, store: Store, state_folder: Path, paint: Paint, *, advise: Advice = advice) -> str:
    """Lines for a terminal. `state_folder` holds the logs."""
    heads = columns([_head(run, store, paint) for run in result.runs])
    lines: list[str] = []
    for run, head in zip(result.runs, heads, strict=True):
        lines.append(head)
        lines += [f"    {line}" for line in _details(run, store, state_folder, paint, advise)]
    return "\n".join(lines) if lines else "nothing to do"


def _head(run: RunResult, store: Store, paint: Paint) -> list[str]:
    state = "unchanged" if run.action == "unchanged" else run.state
    cells = [paint(f"{SIGNS.get(state, '·')} {state}", COLORS.get(state)), run.manifest, run.run or ""]
    row = store.run(run.run) if run.run else None
    if row is None:
        return [*cells, *run.reasons[:1]]
    cells.append(f"{row.steps_done}/{row.steps_total} steps")
    cells.append("" if state == "unchanged" else took(row, store.steps(row.run)))
    return [*cells, *([cost(run.cost)] if run.cost else [])]


def took(row: RunRow, steps: Sequence[StepRow]) -> str:
    """How long a run took, or has taken; waiting between its legs counts."""
    end = row.finished or max((step.ended or step.started or 0 for step in steps), default=0)
    return seconds(end - row.created) if end else ""


def cost(micro: int) -> str:
    """Money for people."""
    return f"${micro / MICRO:.4f}"


def _details(run: RunResult, store: Store, state_folder: Path, paint: Paint, advise: Advice) -> Iterator[str]:
    if run.error:
        yield safe(one_line(run.error, 400))
        if run.hint:
            yield f"help: {one_line(run.hint, 400)}"
    if run.run is None or run.action == "unchanged" or run.error:
        return
    steps = store.steps(run.run)
    yield from troubles(run.run, store, state_folder / "logs", paint, MOST_LINES)
    if run.state == "succeeded":
        yield from output_lines(run.outputs)
        yield from _saved(steps)
    yield from advise(run.run, run.state, run.reasons)
    if run.state == "failed":
        yield f"more: runner show {run.run}"


def output_lines(outputs: Any, width: int = 110) -> Iterator[str]:
    """The outputs of a run, a line each, long ones cut."""
    if isinstance(outputs, dict):
        named = [(f"{name}:", shown(value, width)) for name, value in outputs.items() if value is not None]
        yield from columns(named[:MOST_LINES])
        if len(named) > MOST_LINES:
            yield f"… and {len(named) - MOST_LINES} outputs more"
    elif outputs is not None:
        yield f"output: {shown(outputs, width)}"


def shown(value: Any, width: int) -> str:
    """A value on one line: text as it is, anything else as JSON."""
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), width)


def _saved(steps: Sequence[StepRow]) -> Iterator[str]:
    paths = list(dict.fromkeys(path for step in steps if not step.reused for path in step.products))
    if paths:
        more = f" and {len(paths) - MOST_LINES} files more" if len(paths) > MOST_LINES else ""
        yield f"saved: {', '.join(one_line(path) for path in paths[:MOST_LINES])}{more}"
