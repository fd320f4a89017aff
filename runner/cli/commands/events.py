"""`runner events`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click

from runner.cli.context import reading, settings_of
from runner.cli.output import Paint, painter
from runner.cli.shared import verb
from runner.core.events import Recorded
from runner.reporters.lines import event_line
from runner.reporters.words import COLORS, one_line, told

EPILOG = """\b
Examples:
  runner events fix-issue               the latest run of a manifest
  runner events 3f9a2c -f               from the beginning, then as they happen, until the run ends
  runner events 3f9a2c --json | jq 'select(.kind == "attempt_failed") | .data'

The record of a run and its sub-runs: every decision with its reason. The form of a line: `runner schema events`.

\b
Exit codes: 0 ok, 2 no such run, 7 state database, or `runner gc` removed the run meanwhile.
"""

_HIDDEN = ("inputs", "result", "reason", "detail", "message", "key", "effect_key", "inputs_ref")
"""Of the data: long, told already, or of no use to eyes. `--json` has all of it."""
_MONEY = ("cost", "reserved", "assumed_cost", "usd")


@verb(EPILOG)
@click.argument("run", metavar="RUN")
@click.option("--json", "json_", is_flag=True, help="One JSON object a line.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends, or nobody drives it any more.")
def command(run: str, json_: bool, follow: bool) -> int:
    """Print what is recorded of a run: every decision and fact, in order."""
    from runner.api.follow import LOOK_S, follow_events, tree_events
    from runner.api.queries import find_run, known

    paint = painter()
    with reading(settings_of()) as store:
        row = find_run(store, run)
        batches: Iterable[Sequence[tuple[str, Recorded]]] = (
            follow_events(store, row.run, lambda: time.sleep(LOOK_S)) if follow else [tree_events(store, row.run, {})]
        )
        for batch in batches:
            data = b"".join(
                event_line(recorded, name) if json_ else _line(recorded, name, paint) for name, recorded in batch
            )
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()  # a reader that went away ends us: BrokenPipeError is no failure
        known(store, row.run)
    return 0


def _line(recorded: Recorded, name: str, paint: Paint) -> bytes:
    event = recorded.event
    at = datetime.fromtimestamp(recorded.at / 1000, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    state, text = told(event) or ("", "")
    detail = text or str(event.data.get("reason") or "") or _rest(event.data)
    place = f"{name}/{event.node}" if event.node else name
    kind = paint(f"{event.kind:<17}", COLORS.get(state))
    line = f"{recorded.seq:>5}  {at}  {place:<30}  {kind}  {one_line(detail, 200)}"
    return line.rstrip().encode("utf-8", "backslashreplace") + b"\n"


def _rest(data: dict[str, object]) -> str:
    return ", ".join(
        f"{key} {_word(key, value)}"
        for key, value in data.items()
        if key not in _HIDDEN and value not in (None, "", [], {})
    )


def _word(key: str, value: object) -> str:
    """A value for eyes: what is recorded in millionths of a dollar in dollars, data as JSON."""
    if key in _MONEY and isinstance(value, int):
        return f"${value / 1_000_000:.4f}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
