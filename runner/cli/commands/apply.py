"""`runner apply`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import (
    inputs_options,
    memory_of,
    select_option,
    settings_of,
    texts_of,
    values_of,
    warn_of_config,
)
from runner.cli.driving import answered, drive, driving_options, tell
from runner.cli.reports import Reports, report_options
from runner.cli.shared import MOST_USD, Number, verb
from runner.errors import UsageError
from runner.manifest.vocabulary import MODES

if TYPE_CHECKING:
    from runner.api.checking import Checked, Memory
    from runner.api.request import Request
    from runner.api.settings import Settings

Confirm = Callable[..., None]
ASKED = {"inputs", "inputs_file", "force", "select", "mode"}
"""Options with which an apply is another one than the last."""

EPILOG = """\b
Examples:
  runner apply manifests/
  runner apply manifests/quickstart/repository-report.yaml -i pause=0 -j 4
  runner apply manifests/ --json > result.json
  runner apply manifests/ --select state:failed
  runner apply manifests/ --mode brainstem --max-usd 0.50
  runner apply manifests/ --junit results.xml --summary summary.md
  runner apply plan.json           exactly what `runner plan --out plan.json` said, or nothing (exit code 2)
  runner apply manifests/ --events | jq 'select(.kind == "attempt_failed")'

Again: what succeeded and did not change is left alone, what is unfinished goes on where it was. Ctrl-C lets running steps
end, a second one stops them; both can be resumed. A terminal that is closed is a first Ctrl-C; `nohup runner apply …` outlives it.

\b
Exit codes: 0 ok, 1 a run failed, 2 invalid (nothing ran), 3 waits for a person, 4 budget, 5 mode, quota or exhausted,
7 state database, 8 internal error, 129 SIGHUP (the terminal was closed), 130 Ctrl-C, 143 SIGTERM.
"""


@verb(EPILOG)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...|PLAN.json")
@inputs_options
@driving_options
@select_option
@report_options
@click.option("--mode", type=click.Choice(MODES), help="The system mode to work in, whatever endpoints say.")
@click.option("--max-usd", type=Number(0, MOST_USD), help="US dollars that each new run may spend at most.")
@click.option("--force", is_flag=True, help="New runs that reuse nothing.")
@click.option(
    "--on-pause",
    type=click.Choice(["fail", "ok"]),
    default="fail",
    help="`ok`: a run that waits is no failure (exit codes 3 to 5 become 0).",
)
def command(paths: tuple[str, ...], **options: Any) -> int:
    """Converge: run what is new or changed, resume what is unfinished, leave the rest. Or do a plan of `runner plan --out`."""
    reports = Reports(options)
    with answered(options["json_"], options["events"]), reports.of_refusal():
        memory = memory_of(paths)
        if not ASKED.intersection(name for name, value in options.items() if value):
            known = memory.recall()
            if known is not None and (code := _nothing_to_do(known, options, reports)) is not None:
                return code
        return _apply(paths, memory, options, reports)


def _nothing_to_do(known: Checked, options: Mapping[str, Any], reports: Reports) -> int | None:
    """Say so and return the exit code, when every manifest is as an earlier apply left it."""
    from runner.api.converged import converged
    from runner.cli.loading import print_found

    if (result := converged(known)) is None:
        return None
    warn_of_config(known.config_diagnostics)
    print_found(known.diagnostics, known.sources, even_quiet=False)
    reports.write(result, known)
    return tell(result, known, json_=options["json_"], events=options["events"])


def _apply(paths: tuple[str, ...], memory: Memory, options: Mapping[str, Any], reports: Reports) -> int:
    from runner.api.apply import apply
    from runner.api.checking import checked_of
    from runner.api.request import Request
    from runner.cli.loading import load_all

    settings = settings_of()
    texts, values = texts_of(options["inputs"]), values_of(options["inputs_file"])
    request = Request(
        texts=texts,
        values=values,
        force=options["force"],
        jobs=options["jobs"],
        mode=options["mode"],
        max_usd=options["max_usd"],
        on_pause=options["on_pause"],
        select=options["select"],
    )
    confirm = None
    if any(_is_plan(path) for path in paths):
        paths, request, confirm = _planned(paths, request, settings)
    loaded = load_all(paths, settings)
    if confirm is None:
        memory.keep(checked_of(loaded, settings), loaded.looks)
    return drive(
        lambda sinks, control: apply(loaded, settings, request, sinks=sinks, control=control, confirm=confirm),
        settings,
        json_=options["json_"],
        events=options["events"],
        graphs=loaded.graphs,
        ended=lambda result: reports.write(result, settings),
    )


def _is_plan(path: str) -> bool:
    if not path.endswith(".json"):
        return False
    from runner.api.planfile import is_plan

    return is_plan(Path(path))


def _planned(paths: tuple[str, ...], request: Request, settings: Settings) -> tuple[tuple[str, ...], Request, Confirm]:
    """What a plan file says, and how to see whether it still holds."""
    from runner.api import planfile

    if len(paths) > 1 or request.force or request.select:
        raise UsageError(
            "a plan is applied alone, as it is: without other paths, --force and --select",
            hint="`runner plan … --out FILE` makes another one",
        )
    plan = planfile.read(Path(paths[0]))
    wanted = planfile.request_of(plan, request)
    where = tuple(planfile.paths_of(plan, settings))
    return where, wanted, lambda planned, store: planfile.confirm(plan, planned, settings, store)
