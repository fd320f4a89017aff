"""What `approve` and `reject` have in common: their options, and how an answer is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.cli.context import settings_of, user
from runner.cli.output import out, safe

if TYPE_CHECKING:
    from runner.api.results import RunResult

F = TypeVar("F", bound=Callable[..., Any])


def answer_options(command: F) -> F:
    """`RUN STEP --as NAME --comment TEXT`."""
    for decorate in (
        click.option("--comment", default="", metavar="TEXT", help="Why; later steps may read it."),
        click.option("--as", "by", metavar="NAME", help="Who answers, for the record (default: your login name)."),
        click.argument("step", metavar="STEP"),
        click.argument("run", metavar="RUN"),
    ):
        command = decorate(command)
    return command


def give(run: str, step: str, *, approve: bool, by: str | None, comment: str) -> int:
    """Record the answer, or leave it to the runner that drives the run."""
    from runner.api.apply import answer

    name = by or user()
    result = asyncio.run(answer(run, settings_of(), step, approve=approve, by=name, comment=comment))
    end = result.runs[0]
    word = "approved" if approve else "rejected"
    if waits(end, step, "approval"):
        out(f"{end.manifest} {end.run}: the runner that drives it was told that {step} is {word} by {safe(name)}")
    else:
        out(f"{end.manifest} {end.run}: {step} {word} by {safe(name)}; {what_next(result.runs[-1])}")
    return 0


def waits(end: RunResult, step: str, reason: str) -> bool:
    """Does the step wait for its answer still? Then another runner drives the run, and has not taken it yet."""
    return any(each.state == "suspended" and each.reason == reason for each in _named(end.steps, step))


def what_next(end: RunResult) -> str:
    """What is left to do once a person has answered: nothing, when the run is over by that."""
    if end.state in ("succeeded", "failed", "cancelled"):
        return f"the run has {end.state}" if end.state != "cancelled" else "the run is cancelled"
    return f"go on with `runner resume {end.run}`"


def _named(steps: Any, node: str) -> list[Any]:
    """The step, or the item of a fan-out, as results tell it."""
    step, bracket, index = node.partition("[")
    if step not in steps:
        return []
    if not bracket:
        return [steps[step]]
    return list(steps[step].items.values())[int(index.rstrip("]")) :][:1]
