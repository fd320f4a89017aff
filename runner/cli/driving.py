"""Verbs that drive runs: signals, reporters, and the last word."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import click

from runner.api.request import Control
from runner.api.results import ApplyResult
from runner.cli.context import print_json
from runner.cli.output import wants_color
from runner.cli.summary import summary
from runner.core.graph import StepGraph
from runner.ports import Sink
from runner.reporters.lines import JsonLines, PlainLines

Work = Callable[[Sequence[Sink], Control], Coroutine[Any, Any, ApplyResult]]


def drive(
    ctx: click.Context, work: Work, *, json_: bool, events: bool, graphs: Mapping[str, StepGraph] | None = None
) -> int:
    """Run `work` with reporters; Ctrl-C and SIGTERM drain, a second one stops. Prints how it ended, returns the exit code."""
    sinks = _sinks(ctx, events, graphs or {})
    control = Control()
    try:
        result = asyncio.run(_with_signals(work, sinks, control))
    finally:
        for sink in sinks:
            sink.close()
    if events:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    elif json_:
        print_json(result.to_json())
    else:
        click.echo(summary(result, color=wants_color(ctx.obj["color"], sys.stdout)), color=True)
    return result.exit_code


def _sinks(ctx: click.Context, events: bool, graphs: Mapping[str, StepGraph]) -> list[Sink]:
    sinks: list[Sink] = [JsonLines(sys.stdout)] if events else []
    if ctx.obj["quiet"]:
        return sinks
    color = wants_color(ctx.obj["color"], sys.stderr)
    if _live():
        from runner.reporters.live import LiveTree

        return [*sinks, LiveTree(sys.stderr, graphs, color=color)]
    return [*sinks, PlainLines(sys.stderr, color=color)]


def _live() -> bool:
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


async def _with_signals(work: Work, sinks: Sequence[Sink], control: Control) -> ApplyResult:
    loop = asyncio.get_running_loop()

    def interrupted(number: signal.Signals) -> None:
        control.interrupt(number)
        word = "stopping now" if control.stopped else "letting running steps end; once more to stop now"
        click.echo(f"\n{number.name}: {word}. The state is saved; the same command goes on.", err=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted, number)
    return await work(sinks, control)
