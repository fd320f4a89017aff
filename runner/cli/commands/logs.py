"""`runner logs`."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import click

from runner.api.queries import find_run, known
from runner.cli.context import reading, settings_of
from runner.cli.nearest import nearest
from runner.cli.output import Paint, err, options, out, painter, safe
from runner.cli.shared import verb
from runner.engine.logs import log_path
from runner.errors import UsageError
from runner.ports import AttemptRow, RunRow, Store
from runner.reporters.words import COLORS, one_line, seconds

EPILOG = """\b
Examples:
  runner logs fix-issue            the latest run of a manifest, all steps
  runner logs 3f9a2c fetch         one step, all attempts
  runner logs 3f9a2c fetch.2       its second attempt
  runner logs 3f9a2c 'review[3]'   an item of a fan-out
  runner logs fix-issue -f         also what is written from now on, until the run ends

Control characters are made visible, so that no output can play tricks with the terminal. Secrets are masked.

\b
Exit codes: 0 ok, 2 no such run or step, 7 state database, or `runner gc` removed the run meanwhile.
"""

_STEP = re.compile(r"(?P<node>[A-Za-z_]\w*(?:\[\d+\])?)(?:\.(?P<attempt>\d{1,9}))?", re.ASCII)
_CHUNK = 1 << 16


@verb(EPILOG)
@click.argument("run", metavar="RUN")
@click.argument("step", metavar="[STEP]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends, or nobody drives it any more.")
def command(run: str, step: str | None, follow: bool) -> int:
    """Print what the attempts of a run wrote, in the order in which they began."""
    settings = settings_of()
    paint = painter()
    with reading(settings) as store:
        row = find_run(store, run)
        if follow:
            return _follow(store, row, step, settings.state_path.parent / "logs")
        attempts = chosen(store, row, step)
        below = [child.run for child in store.children(row.run)] if step is None else []
        wrote = False
        for attempt in attempts:
            log = log_path(settings.state_path.parent / "logs", attempt.run, attempt.node, attempt.n)
            try:
                file = log.open(encoding="utf-8", errors="replace")
            except FileNotFoundError:  # it wrote nothing
                known(store, row.run)
                continue
            with file:
                wrote = True
                out(_header(attempt, paint))
                for text in _content(file):
                    out(text)
        if not wrote:
            known(store, row.run)
    if not wrote and not options().get("quiet"):
        what = f"{one_line(step)} of run {row.run}" if step else f"run {row.run}"
        err(f"{what}: {len(attempts)} attempt{'' if len(attempts) == 1 else 's'}, none wrote anything")
    if below and not options().get("quiet"):
        err(f"  help: its sub-runs have logs of their own, such as `runner logs {shlex.quote(below[0])}`")
    return 0


def _follow(store: Store, row: RunRow, step: str | None, logs: Path) -> int:
    from runner.api.follow import LOOK_S, follow_logs

    paint = painter()
    named = _not_begun(store, row, step)
    shown: AttemptRow | None = None
    for attempt, text in follow_logs(
        store, row.run, logs, lambda: chosen(store, row, step, named), lambda: time.sleep(LOOK_S)
    ):
        if shown is None or (attempt.node, attempt.n) != (shown.node, shown.n):
            _print(paint(f"── {attempt.node}, attempt {attempt.n}", "blue"))
        shown = attempt
        _print(safe(text))
    known(store, row.run)
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # a reader that went away ends us: BrokenPipeError is no failure


def _not_begun(store: Store, row: RunRow, step: str | None) -> frozenset[str]:
    """The steps of the run's manifest: one that has not begun may be waited for."""
    kept = store.manifest(row.manifest) if step is not None else None
    if kept is None:
        return frozenset()
    from runner.core.graph import load

    return frozenset(load(kept.graph).by_id)


def chosen(
    store: Store, row: RunRow, step: str | None, waited_for: frozenset[str] = frozenset()
) -> Sequence[AttemptRow]:
    """The attempts that are meant, oldest first. Raises UsageError for a step that the run does not have; steps of `waited_for`, and
    attempts of theirs, may still come."""
    attempts = sorted(store.attempts(row.run), key=lambda attempt: (attempt.started, attempt.node, attempt.n))
    if step is None:
        return attempts
    match = _STEP.fullmatch(step)
    node = match["node"] if match else step
    if waited_for and node.partition("[")[0] in waited_for:
        number = int(match["attempt"]) if match and match["attempt"] else None
        mine = [one for one in attempts if one.node == node or one.node.startswith(f"{node}[")]
        return [one for one in mine if number in (None, one.n)]
    nodes = [each.node for each in store.steps(row.run)]
    if node not in nodes:
        known(store, row.run)
    written = [each for each, _ in store.written(row.manifest)]
    if match and not match["attempt"] and node in written and node not in nodes:
        return []  # it has not begun
    if match is None or node not in nodes:
        steps = written or [each for each in nodes if "[" not in each]
        raise UsageError(f"run {row.run} has no step {step!r}{nearest(step, steps)}", hint=f"steps: {', '.join(steps)}")
    mine = [attempt for attempt in attempts if attempt.node == node or attempt.node.startswith(f"{node}[")]
    if match["attempt"] is None:
        return mine
    number = int(match["attempt"])
    numbers = sorted({attempt.n for attempt in mine})
    if number not in numbers:
        had = f"attempts: {', '.join(map(str, numbers))}" if numbers else "it had no attempt"
        raise UsageError(f"{node} of run {row.run} has no attempt {number}", hint=had)
    return [attempt for attempt in mine if attempt.n == number]


def _header(attempt: AttemptRow, paint: Paint) -> str:
    took = f" after {seconds(attempt.ended - attempt.started)}" if attempt.ended else ""
    error = f" ({attempt.error_class})" if attempt.error_class else ""
    return paint(f"── {attempt.node}, attempt {attempt.n}: {attempt.state}{error}{took}", COLORS.get(attempt.state))


def _content(file: TextIO) -> Iterator[str]:
    """The log in pieces that end with a line (a log may have megabytes)."""
    while lines := file.readlines(_CHUNK):
        yield safe("".join(lines)).removesuffix("\n")
