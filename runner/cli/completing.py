"""What a shell's Tab offers: click's completion, and what stands behind the metavars of our arguments (RUN, STEP, SERVER, …).

Whatever goes wrong here, nothing is offered: a Tab must never print an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    _resolve_context,
    _resolve_incomplete,
)

from runner.cli.registry import VERBS
from runner.cli.shared import SHARED
from runner.errors import RunnerError

PROGRAM = "runner"
VARIABLE = "_RUNNER_COMPLETE"
MOST_RUNS = 50
"""The newest runs that are offered."""
SLEEPING = ("approve", "reject", "resolve")
"""Verbs whose STEP waits for somebody."""

SHELLS: Mapping[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_CALLS = {
    "bash": f"{VARIABLE}=bash_complete $1",
    "zsh": f"{VARIABLE}=zsh_complete {PROGRAM}",
    "fish": f"(commandline -t) {PROGRAM}",
}
"""Where click's script calls the program: it is made to call `runner completion SHELL`, which answers."""

Items = Iterator[CompletionItem]


def script(shell: str) -> str:
    """The script that a shell reads at its start."""
    made = _shell(shell).source()
    call = _CALLS[shell]
    assert made.count(call) == 1, f"click's script for {shell} is not the one we know"
    return made.replace(call, f"{call} completion {shell}").strip()


def answer(shell: str) -> str:
    """What the script asked for, from the variables that it set."""
    completer = _shell(shell)
    try:
        args, incomplete = completer.get_completion_args()
    except (KeyError, ValueError):  # who set the variable by hand is no script of ours
        return ""
    return "\n".join(completer.format_completion(item) for item in offered(args, incomplete))


def _shell(shell: str) -> ShellComplete:
    from runner.cli.main import cli

    return SHELLS[shell](cli, {"obj": dict(SHARED)}, PROGRAM, VARIABLE)


def offered(args: list[str], incomplete: str) -> list[CompletionItem]:
    """What may stand next, after `args`, in place of `incomplete`."""
    try:
        return _found(args, incomplete)
    except (RunnerError, click.ClickException, OSError, ValueError):
        return []


def _found(args: list[str], incomplete: str) -> list[CompletionItem]:
    """Click knows what is asked for; what our metavars mean, we do."""
    shell = _shell("bash")
    ctx = _resolve_context(shell.cli, shell.ctx_args, PROGRAM, args)
    asked, incomplete = _resolve_incomplete(ctx, args, incomplete)
    if asked is shell.cli and not incomplete.startswith("-"):  # click would import every verb to ask for its help
        return [CompletionItem(name, help=verb.help) for name, verb in VERBS.items() if name.startswith(incomplete)]
    if isinstance(asked, click.Parameter) and (names := _named(asked)):
        items = [item for name in names for item in OFFERS[name](ctx, incomplete)]
        return [item for item in items if item.type != "plain" or str(item.value).startswith(incomplete)]
    return list(asked.shell_complete(ctx, incomplete))


def _named(asked: click.Parameter) -> list[str]:
    """The kinds of things that an argument or option takes, by its metavar: `PATH|RUN` → PATH, RUN."""
    words = (asked.metavar or "").strip("[]").removesuffix("...").split("|")
    return [word for word in words if word in OFFERS]


# ---------------------------------------------------------------- what is offered


def _paths(ctx: click.Context, incomplete: str) -> Items:
    yield CompletionItem(incomplete, type="file")


def _folders(ctx: click.Context, incomplete: str) -> Items:
    yield CompletionItem(incomplete, type="dir")


def _runs(ctx: click.Context, incomplete: str) -> Items:
    """Names of manifests with a run, then ids."""
    from runner.api.queries import shown_state

    with _store(ctx) as store:
        rows = store.runs(limit=MOST_RUNS)
    for name in dict.fromkeys(row.name for row in rows):
        yield CompletionItem(name, help="its latest run")
    for row in rows:
        yield CompletionItem(row.run, help=f"{row.name}, {shown_state(row)}")


def _steps(ctx: click.Context, incomplete: str) -> Items:
    """Steps of the run, or of the manifests, that stand before; for verbs that answer a step, those that wait."""
    from runner.api.queries import find_run

    if isinstance(path := ctx.params.get("path"), str):
        yield from _written(ctx, path)
    reference = ctx.params.get("run")
    if not isinstance(reference, str):
        return
    waiting = ctx.command_path.rpartition(" ")[2] in SLEEPING
    with _store(ctx) as store:
        rows = store.steps(find_run(store, reference).run)
    for row in rows:
        if row.state == "suspended" or not waiting:
            yield CompletionItem(row.node, help=row.state)


def _written(ctx: click.Context, path: str) -> Items:
    """Steps of manifests; of several manifests with the manifest's name."""
    from runner.api.load import load

    graphs = load([path], _settings(ctx)).graphs
    for name, graph in graphs.items():
        for step in graph.steps:
            yield CompletionItem(step.id if len(graphs) == 1 else f"{name}/{step.id}", help=step.verb)


def _servers(ctx: click.Context, incomplete: str) -> Items:
    for name, server in _settings(ctx).config.mcp_servers.items():
        yield CompletionItem(name, help=server.preset or server.command or server.url or "")


def _schemas(ctx: click.Context, incomplete: str) -> Items:
    from runner.manifest.schema import SCHEMAS

    yield from (CompletionItem(name) for name in SCHEMAS)


def _topics(ctx: click.Context, incomplete: str) -> Items:
    from runner.api.topics import listing
    from runner.cli.reference import EXIT_CODES

    yield from (CompletionItem(name, help=text) for _, rows in listing(EXIT_CODES) for name, text in rows)


OFFERS: Mapping[str, Callable[[click.Context, str], Items]] = {
    "PATH": _paths,
    "FILE": _paths,
    "DIR": _folders,
    "RUN": _runs,
    "STEP": _steps,
    "SERVER": _servers,
    "NAME": _schemas,
    "KEY": _topics,
}
"""Metavar → what to offer."""


def _settings(ctx: click.Context) -> Any:
    from runner.api.settings import load_config

    config = (ctx.find_root().obj or {}).get("config")
    return load_config(Path(config) if config else None, start=Path.cwd(), env=os.environ)


def _store(ctx: click.Context) -> Any:
    from runner.cli.context import reading

    return reading(_settings(ctx))
