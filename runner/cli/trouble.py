"""What went wrong in a run, step by step, and what a person can do about it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.api.queries import in_written_order, known, optional_steps, questions, reason_in_full, waits
from runner.api.remedies import advice, moment, remedy
from runner.cli.output import Paint, safe
from runner.engine.logs import log_path
from runner.ports import StepRow, Store
from runner.reporters.words import COLORS, SIGNS, one_line

__all__ = ["MILD", "advice", "moment", "near", "question", "remedy", "says_more", "trouble_of", "troubles"]

BAD = ("failed", "suspended")
MOST_SHOWN = 40
MILD = "failed (optional)"
"""What is said of a step that failed without harm to its run."""


def troubles(run: str, store: Store, logs: Path, paint: Paint, most: int) -> Iterator[str]:
    """Failed and suspended steps with class, message, log and remedy; those of sub-runs, too."""
    row = known(store, run)
    steps, optional = in_written_order(store, row, store.steps(run)), optional_steps(store, row)
    # Items tell more than the group that they fail; a group without failed items tells for itself.
    groups = {step.node.partition("[")[0] for step in steps if "[" in step.node and step.state in BAD}
    found = [step for step in steps if step.state in BAD and step.node not in groups]
    asked, told = questions(store, run, found), waits(store, run, found)
    for step in found[:most]:
        yield from _trouble(step, logs, paint, step.node.partition("[")[0] in optional, told.get(step.node, ""))
        yield from (f"  {line}" for line in question(asked.get(step.node)))
    if len(found) > most:
        yield f"… and {len(found) - most} more: runner show {run}"
    blocked = [step.node for step in steps if step.state == "blocked"]
    if blocked:
        names = ", ".join(blocked[:6]) + (", …" if len(blocked) > 6 else "")
        yield paint(f"{SIGNS['blocked']} blocked by that: {names}", COLORS["blocked"])
    for child in store.children(run):
        if child.state in BAD:
            yield f"in the sub-run {child.name} {child.run} of {child.parent_node}:"
            yield from (f"  {line}" for line in troubles(child.run, store, logs, paint, most))


def _trouble(step: StepRow, logs: Path, paint: Paint, optional: bool, detail: str) -> Iterator[str]:
    name = f"{step.node} ({one_line(step.item_key, 40)})" if step.item_key else step.node
    sign = paint(f"{SIGNS[step.state]} {name}", COLORS[step.state])
    sign += f"  {MILD}" if optional and step.state == "failed" else ""
    tries = f" (attempt {step.attempt})" if step.attempt > 1 else ""
    yield f"{sign}  {one_line(trouble_of(step, detail), 300)}{tries}"
    log = log_path(logs, step.run, step.node, step.attempt)
    if log.exists():
        yield f"  log: {near(log)}"
    if step.state == "suspended":
        yield f"  {remedy(step, detail)}"


def trouble_of(step: StepRow, detail: str) -> str:
    """Why a failed or suspended step is where it is: how its last attempt failed, and what it waits for (`detail`)."""
    if not step.error:
        return reason_in_full(step, detail)
    error = f"{step.error.get('class')}: {step.error.get('message')}"
    if step.reason == "mode" and detail:
        return f"{reason_in_full(step, detail)} (after {error})"
    return f"{step.reason}: {error}" if step.reason and says_more(step) else error


def says_more(step: StepRow) -> bool:
    """Is the step's reason more than how its last attempt failed: why it waits, or that nobody knows what it did?"""
    return step.state == "suspended" or step.reason == "unknown"


def question(ask: Mapping[str, Any] | None) -> Iterator[str]:
    """What a person is asked, and what there is to look at first."""
    if ask is None:
        return
    yield f"asks: {one_line(ask.get('message', ''), 400)}"
    for shown in ask.get("show", ()):
        lines = safe(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)).splitlines()
        yield from (f"  | {one_line(line, 200)}" for line in lines[:MOST_SHOWN])
        if len(lines) > MOST_SHOWN:
            yield f"  | … and {len(lines) - MOST_SHOWN} lines more (runner events RUN --json has all)"


def near(path: Path) -> str:
    """A path as people would type it here."""
    text = os.path.relpath(path)
    return str(path) if text.startswith("../..") else text
