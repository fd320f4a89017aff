"""`runner diff`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import reading, settings_of
from runner.cli.output import Paint, columns, out, out_json, painter, safe
from runner.cli.shared import verb
from runner.reporters.words import one_line

if TYPE_CHECKING:
    from runner.api.compare import RunChange, StepChange

EPILOG = """\b
Examples:
  runner diff fix-issue            its latest run, and the one before
  runner diff 3f9a2c 81bd07        any two runs, - the first, + the second
  runner diff 3f9a2c 81bd07 --json | jq '.steps[].step'

Compares inputs, manifests, outputs, and of each step its state, attempts, cost, executor and output. Times are not compared.

\b
Exit codes: 0 ok (different or not), 2 no such run, 7 state database.
"""

MOST_WIDE = 240
_COLORS = {"-": "red", "+": "green", "@": "cyan"}


@verb(EPILOG)
@click.argument("a", metavar="RUN")
@click.argument("b", metavar="[RUN]", required=False)
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def command(a: str, b: str | None, json_: bool) -> int:
    """Show what is different between two runs."""
    from runner.api.compare import chosen, compare

    with reading(settings_of()) as store:
        change = compare(store, *chosen(store, a, b))
    if json_:
        out_json(change.to_json())
    else:
        out("\n".join(_lines(change, painter())))
    return 0


def _lines(change: RunChange, paint: Paint) -> Iterator[str]:
    yield paint(f"- {change.a.name} {change.a.run}", "red")
    yield paint(f"+ {change.b.name} {change.b.run}", "green")
    if change.same:
        yield f"no difference ({change.unchanged} steps)"
        return
    yield from columns(_facts(change.facts))
    if change.inputs:
        yield "inputs"
        yield from columns(_facts(change.inputs), indent="  ")
    if change.manifest:
        yield "manifest"
        yield from _diff(change.manifest, paint)
    for step in change.steps:
        yield from _step(step, paint)
    if change.outputs:
        yield "outputs"
        yield from _diff(change.outputs, paint)
    if change.unchanged:
        yield f"{change.unchanged} step{'' if change.unchanged == 1 else 's'} without a difference"


def _step(step: StepChange, paint: Paint) -> Iterator[str]:
    yield f"step {one_line(step.step)}"
    yield from columns(_facts(step.facts), indent="  ")
    yield from _diff(step.output, paint)


def _facts(pairs: Mapping[str, tuple[Any, Any]]) -> list[tuple[str, str]]:
    return [(f"{name}:", f"{_word(a)} → {_word(b)}") for name, (a, b) in pairs.items()]


def _word(value: Any) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return one_line(value, 120)


def _diff(lines: Iterable[str], paint: Paint) -> Iterator[str]:
    for line in lines:
        yield "    " + paint(safe(line[:MOST_WIDE]), _COLORS.get(line[:1]))
