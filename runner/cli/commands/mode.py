"""`runner mode`: how the system stands, its history, and what a person may do about it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import reading, settings_of, user
from runner.cli.output import err, options, out, out_json, painter
from runner.cli.shared import CONTEXT, shared_options, verb
from runner.errors import UsageError
from runner.manifest.vocabulary import MODES

if TYPE_CHECKING:
    from runner.api.settings import Settings
    from runner.store.sqlite import SqliteStore

EPILOG = """\b
Examples:
  runner mode                            the mode that holds, circuits, what cools
  runner mode --json | jq -r .mode
  runner mode probe                      ask every endpoint now
  runner mode set degraded --for 1h      before a maintenance of the proxy

normal: the proxy answers. degraded: only a backup endpoint does. brainstem: none does, only local work runs, and the rest waits for
a probe that succeeds. The mode follows the circuits of model endpoints, for all runners on this state database.

\b
Exit codes: 0 ok, 2 the config has mistakes, 7 state database.
"""

HISTORY_EPILOG = """\b
Examples:
  runner mode history
  runner mode history -n 200 --json | jq '.history[] | select(.mode == "brainstem")'

\b
Exit codes: 0 ok, 2 the config has mistakes, 7 state database.
"""

SET_EPILOG = """\b
Examples:
  runner mode set degraded --for 1h     the backup for an hour, whatever the proxy says
  runner mode set brainstem             local work only, until it is taken back
  runner mode set auto                  the circuits decide again

A run that is being applied takes it over within seconds: what has not started is routed anew, what runs goes on.

\b
Exit codes: 0 ok, 2 the config has mistakes, or usage, 7 state database.
"""

PROBE_EPILOG = """\b
Examples:
  runner mode probe
  runner mode probe --json | jq '.asked[] | select(.ok | not) | .reason'

A probe costs nothing and asks no model: a proxy's /health/readiness, /models of an OpenAI-compatible API, Ollama's /api/version, or
the endpoint's `probe`. One that does not answer is asked until its circuit opens; one that does again still needs one real call
before it is trusted. What cooled (rate limits, quotas, refused keys) may be asked again from now on.

\b
Exit codes: 0 asked (whatever the answers), 2 the config has mistakes, 7 state database.
"""


@click.group(invoke_without_command=True, epilog=EPILOG, context_settings=CONTEXT)
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
@shared_options()
@click.pass_context
def command(ctx: click.Context, json_: bool) -> int:
    """Show the mode that holds, and why: circuits, next probes, what cools, which keys were refused."""
    if ctx.invoked_subcommand is not None:
        return 0
    from runner.api.modes import mode_json, standing
    from runner.cli.mode_text import mode_text

    settings = settings_of()
    with reading(settings) as store:
        found = standing(settings, os.environ, store.health, _now())
    if json_:
        out_json(mode_json(found))
    else:
        out("\n".join(mode_text(found, painter())))
    return 0


@verb(HISTORY_EPILOG, name="history")
@click.option(
    "-n", "limit", type=click.IntRange(1, 1000), default=30, show_default=True, metavar="N", help="The newest N."
)
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def history(limit: int, json_: bool) -> int:
    """List the modes that held, newest first, and why each was entered."""
    from runner.api.modes import history_json
    from runner.cli.mode_text import history_text

    settings = settings_of()
    with reading(settings) as store:
        rows = store.health.mode_history(limit)
    if json_:
        out_json(history_json(rows))
    elif rows:
        out("\n".join(history_text(rows, _now(), painter())))
    else:
        err("the mode has always been normal")
    return 0


@verb(SET_EPILOG, name="set")
@click.argument("mode", type=click.Choice([*MODES, "auto"]))
@click.option("--for", "length", metavar="DURATION", help="How long it holds, such as 1h (default: until `set auto`).")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def set_(mode: Any, length: str | None, json_: bool) -> int:
    """Set the mode, whatever the circuits say; `auto`: the circuits decide again."""
    from runner.api import modes

    settings, now = settings_of(), _now()
    if mode == "auto" and length is not None:
        raise UsageError("--for belongs to a mode", hint="such as `runner mode set degraded --for 1h`")
    until = None if length is None else now + _millis(length)

    async def act(store: SqliteStore) -> None:
        if mode == "auto":
            await modes.unset_mode(settings, store.health, now)
        else:
            await modes.set_mode(settings, store.health, mode, now, until, user())

    with _writing(settings) as store:
        asyncio.run(act(store))
        _show(settings, store, json_)
    return 0


@verb(PROBE_EPILOG, name="probe")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
def probe(json_: bool) -> int:
    """Ask every model endpoint whether it is there, record the answers, and show the mode that follows."""
    from runner.api.modes import probe_now, probed_json, standing
    from runner.cli.mode_text import asked_text, mode_text
    from runner.clock import SystemClock

    settings = settings_of()
    if not settings.config.models.endpoints and not json_:
        err("no model endpoint is configured, so there is nobody to ask\n  help: docs/models.md says how to add one")
        return 0
    with _writing(settings) as store:
        probed = asyncio.run(probe_now(settings, os.environ, store.health, SystemClock()))
        found = standing(settings, os.environ, store.health, _now())
    if json_:
        out_json(probed_json(probed, found))
        return 0
    out("\n".join([*asked_text(probed, painter()), "", *mode_text(found, painter())]))
    return 0


def _show(settings: Settings, store: SqliteStore, json_: bool) -> None:
    from runner.api.modes import mode_json, standing
    from runner.cli.mode_text import mode_text

    found = standing(settings, os.environ, store.health, _now())
    if json_:
        out_json(mode_json(found))
    elif not options().get("quiet"):
        out("\n".join(mode_text(found, painter())))


def _writing(settings: Settings) -> Any:
    """The state database, made when there is none."""
    from contextlib import closing

    from runner.api.wiring import open_store
    from runner.clock import SystemClock

    return closing(open_store(settings, SystemClock()))


def _millis(text: str) -> int:
    from runner.manifest.types import read_positive_duration

    try:
        return read_positive_duration(text)
    except ValueError as error:
        raise UsageError(f"--for {text}: {error}", hint="such as 30m, 1h or 2d") from error


def _now() -> int:
    return time.time_ns() // 1_000_000


for each in (history, set_, probe):
    command.add_command(each)
