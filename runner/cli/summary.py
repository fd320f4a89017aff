"""The last word of a command that drove runs: one line a run, what failed and why, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

import click

from runner.api.results import ApplyResult, RunResult
from runner.reporters.words import COLORS, SIGNS, one_line


def summary(result: ApplyResult, *, color: bool = False) -> str:
    """Lines for a terminal."""
    return "\n".join(line for run in result.runs for line in _run(run, color))


def _run(run: RunResult, color: bool) -> Iterator[str]:
    state = "unchanged" if run.action == "unchanged" else run.state
    word = f"{SIGNS.get(state, '·')} {state}"
    word = click.style(word, fg=COLORS.get(state)) if color else word
    yield f"{word}  {run.manifest}" + (f"  {run.run}" if run.run else "")
    if run.error:
        yield f"    {one_line(run.error)}"
