"""`runner simulate`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import inputs_options, settings_of, texts_of, values_of
from runner.cli.output import err, options, out, out_json, painter
from runner.cli.shared import verb
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.api.simulating import Asked

EPILOG = """\b
Examples:
  runner simulate manifests/report.yaml
  runner simulate fix.yaml --fail claude-code@fix:rate_limit       who answers instead, and when
  runner simulate fix.yaml --fail '*@fetch:timeout*2' --stub triage='{"type": "bug"}'
  runner simulate fix.yaml --mode degraded@fix --approve gate      the mode changes when `fix` starts
  runner simulate fix.yaml --mode brainstem                        what waits while every cloud is away
  runner simulate deploy.yaml --kill 7                             the runner dies after its 7th commit
  runner simulate deploy.yaml --kill all                           after each of its commits, one at a time
  runner simulate manifests/ --seeds 1000                          random faults, deaths and modes
  runner simulate deploy.yaml --seed 417 --format json             one of them again

Starts no process, opens no socket, resolves no secret: safe on manifests of strangers. The real kernel runs under a virtual clock, as
for a first run: nothing is reused. X is an executor, a model, an endpoint or `*`; STEP a step, `STEP[n]`, `MANIFEST.STEP` or `*`.

\b
Exit codes: 0 the runner keeps its promises, whatever becomes of the run; 1 it breaks one; 2 invalid manifest, config or usage.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@inputs_options
@click.option(
    "--fail",
    multiple=True,
    metavar="X@STEP[:CLASS][*N]",
    help="Attempts of X at STEP fail (default: unavailable); with *N only the first N of each way.",
)
@click.option("--mode", multiple=True, metavar="MODE[@STEP]", help="The mode from the start, or from when STEP starts.")
@click.option(
    "--kill", multiple=True, metavar="N|all", help="The runner dies after its N-th commit, and is started again."
)
@click.option("--approve", multiple=True, metavar="STEP", help="Somebody approves STEP (`*`: every one) when it asks.")
@click.option("--reject", multiple=True, metavar="STEP", help="Somebody rejects STEP when it asks.")
@click.option(
    "--stub",
    "stubs",
    multiple=True,
    metavar="STEP=JSON|FILE",
    help="The output of STEP, or a YAML or JSON file of them; without one it is made up.",
)
@click.option(
    "--seeds", type=click.IntRange(1, 1_000_000), metavar="N", help="N simulations with random faults, deaths, modes."
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The simulation of this seed, with its timeline.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How it is written.")
def command(paths: tuple[str, ...], **given: Any) -> int:
    """Show what would happen under faults, and check that the runner keeps its promises. Nothing real is called."""
    from runner.api.request import Request
    from runner.api.simulating import simulations
    from runner.api.simulating_json import simulate_json
    from runner.cli.loading import load_all
    from runner.cli.simulate_text import simulate_text

    if given["seeds"] is not None and given["seed"] is not None:
        raise UsageError("--seed is one simulation, --seeds many", hint="give one of them")
    settings = settings_of()
    request = Request(texts=texts_of(given["inputs"]), values=values_of(given["inputs_file"]))
    asked = _asked(paths, given)
    loaded = load_all(paths, settings)
    began = time.monotonic()
    found = simulations(loaded, settings, request, asked, _progress())
    _say_rate(sum(one.many.count for one in found if one.many is not None), time.monotonic() - began)
    if given["format_"] == "json":
        out_json(simulate_json(found))
    else:
        many = given["seeds"] is not None or "all" in given["kill"]
        out(simulate_text(found, painter(), timeline=not many))
    return 1 if any(one.broken for one in found) else 0


def _asked(paths: tuple[str, ...], given: Mapping[str, Any]) -> Asked:
    from runner.api.simulating import Asked

    config = options().get("config")
    again = ["--config", config] if config else []
    again += [word for text in given["inputs"] for word in ("-i", text)]
    again += ["-f", given["inputs_file"]] if given["inputs_file"] else []
    again += [word for text in given["stubs"] for word in ("--stub", text)]
    kept = ("fail", "mode", "kill", "approve", "reject", "seeds", "seed")
    return Asked(paths=paths, again=tuple(again), stubs=_stubs(given["stubs"]), **{key: given[key] for key in kept})


def _stubs(texts: tuple[str, ...]) -> dict[str, Any]:
    """`--stub` options as {STEP: output}. Raises UsageError, InvalidInput."""
    found: dict[str, Any] = {}
    for text in texts:
        step, sign, value = text.partition("=")
        if sign and not os.path.isfile(text):  # noqa: PTH113  which also knows that a long JSON is no name of a file
            found[step] = _value(value)
        else:
            found |= values_of(text)
    return found


def _value(text: str) -> Any:
    """JSON, else the text itself: `--stub triage=bug`."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    except RecursionError as error:
        raise UsageError("--stub: nested too deeply") from error


def _refuse(word: str) -> Any:
    raise UsageError(f"--stub: {word} is no JSON")


def _progress() -> Any:
    """Many simulations take a while: a terminal is told how far they are."""
    if options().get("quiet") or not sys.stderr.isatty():
        return lambda *_: None

    def show(manifest: str, done: int, total: int) -> None:
        if done % 50 == 0:
            of = f" of {total}" if total else ""
            sys.stderr.write(f"\r{manifest}: {done}{of} ")
            sys.stderr.flush()

    return show


def _say_rate(count: int, seconds: float) -> None:
    if count and not options().get("quiet"):
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        err(f"{count:,} simulations in {seconds:.1f} s: {count / max(seconds, 0.001) * 60:,.0f} a minute")
