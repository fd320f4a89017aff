"""Verbs that drive runs: signals, reporters, and the last word."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.api.checking import Checked
from runner.api.request import Control
from runner.api.results import ApplyResult, gravest
from runner.cli.context import reading
from runner.cli.output import complain, err, options, out, out_json, painter, safe, wants_color
from runner.cli.summary import summary
from runner.clock import SystemClock
from runner.endings import HANGUP, endings
from runner.errors import RunnerError, StoreError
from runner.ports import Sink
from runner.reporters.lines import JsonLines, PlainLines

if TYPE_CHECKING:
    from runner.api.settings import Settings
    from runner.core.graph import StepGraph
    from runner.reporters.progress import Standing

F = TypeVar("F", bound=Callable[..., Any])
Work = Callable[[Sequence[Sink], Control], Coroutine[Any, Any, ApplyResult]]


def driving_options(command: F) -> F:
    """`-j`, `--json`, `--events`."""
    for option in (
        click.option("--events", is_flag=True, help="Every event as a JSON line on stdout, ending with that document."),
        click.option("--json", "json_", is_flag=True, help="One JSON document on stdout, when all has ended."),
        click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="At most N running steps in all."),
    ):
        command = option(command)
    return command


@contextmanager
def answered(json_: bool, events: bool) -> Iterator[None]:
    """Whoever asked for a document gets one also when nothing could be driven: its outcome says `invalid`, `busy` or `error`."""
    try:
        yield
    except RunnerError as error:
        if json_ or events:
            out_json(ApplyResult((), error.exit_code).to_json(), indent=None if events else 2)
        raise


def drive(
    work: Work,
    settings: Settings,
    *,
    json_: bool,
    events: bool,
    graphs: Mapping[str, StepGraph] | None = None,
    ended: Callable[[ApplyResult], None] = lambda result: None,
) -> int:
    """Run `work` with reporters; Ctrl-C, SIGTERM and a hang-up drain, a second one of the first two stops. Prints how it ended, returns the exit code. `ended` is
    told before; what it cannot do (a report that cannot be written) keeps nobody from hearing what ran."""
    result = driven(work, _sinks(events, graphs or {}, settings))
    try:
        ended(result)
    except RunnerError as error:
        complain(error)
        result = result._replace(exit_code=gravest((result.exit_code, error.exit_code)))
    return tell(result, settings, json_=json_, events=events)


def driven(work: Work, sinks: Sequence[Sink]) -> ApplyResult:
    """Run `work`; Ctrl-C, SIGTERM and a hang-up drain, a second one of the first two stops."""
    control = Control(warn=lambda text: err(f"warning: {safe(text)}"))
    gc.freeze()  # what has been imported stays: walking it again and again took a tenth of a run
    try:
        return asyncio.run(_with_signals(work, sinks, control))
    finally:
        for sink in sinks:
            sink.close()


def tell(result: ApplyResult, settings: Settings | Checked, *, json_: bool, events: bool) -> int:
    """The last word on stdout; returns the exit code."""
    if events:
        out_json(result.to_json(), indent=None)
    elif json_:
        out_json(result.to_json())
    else:
        with reading(settings) as store:
            out(summary(result, store, settings.state_path.parent, painter()))
    return result.exit_code


def plain_sinks(events: bool) -> list[Sink]:
    """A line a change on stderr (unless `--quiet`), and the events on stdout if they are asked for."""
    sinks: list[Sink] = [JsonLines(sys.stdout.buffer)] if events else []
    if options().get("quiet"):
        return sinks
    return [*sinks, PlainLines(sys.stderr, color=wants_color(options().get("color", "auto"), sys.stderr))]


def _sinks(events: bool, graphs: Mapping[str, StepGraph], settings: Settings) -> list[Sink]:
    if options().get("quiet") or not _live():
        return plain_sinks(events)
    sinks: list[Sink] = [JsonLines(sys.stdout.buffer)] if events else []
    color = wants_color(options().get("color", "auto"), sys.stderr)
    from runner.reporters.live import LiveTree

    totals = {name: len(g.steps) for name, g in graphs.items()}
    return [*sinks, LiveTree(sys.stderr, totals, SystemClock(), standing=partial(_standing, settings), color=color)]


def _standing(settings: Settings, run: str) -> Standing | None:
    """How a run stands that an earlier process began."""
    from runner.reporters.progress import Standing  # for the live tree

    with suppress(StoreError), reading(settings) as store:
        if (row := store.run(run)) is not None:
            return Standing(row.steps_total, {step.node: step.state for step in store.steps(run)})
    return None


def _live() -> bool:
    """A live tree needs a terminal that can move its cursor; `--verbose` asks for the lines."""
    asked = not options().get("verbose")
    return asked and sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


async def _with_signals(work: Work, sinks: Sequence[Sink], control: Control) -> ApplyResult:
    loop = asyncio.get_running_loop()

    def interrupted(number: signal.Signals) -> None:
        control.interrupt(number)
        more = "SIGTERM" if number == HANGUP else "once more"
        word = "stopping now" if control.stopped else f"letting running steps end; {more} to stop now"
        err(f"{number.name}: {word}. The state is saved; the same command goes on.")

    for number in endings():
        loop.add_signal_handler(number, interrupted, number)
    return await work(sinks, control)
