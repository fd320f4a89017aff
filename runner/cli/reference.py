"""docs/cli.md, made from the commands themselves. Write it with:
python -c "from runner.cli.reference import reference; print(reference(), end='')" > docs/cli.md"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click

from runner.cli.main import cli
from runner.cli.registry import ALIASES, VERBS

EXIT_CODES: Mapping[int, str] = {
    0: "ok; nothing to do is ok, too",
    1: "a run failed (or was cancelled)",
    2: "invalid manifest, config or usage: nothing ran",
    3: "a run waits for a person: an approval (`runner approve`), or a step whose outcome is unknown (`runner resolve`)",
    4: "a run is suspended by its budget",
    5: "a run is suspended by the mode, a quota, or because every way to do a step was tried",
    6: "`plan --detailed-exitcode`, `schema --check`, `generate --check`, `fmt --check`: there are changes",
    7: "the state database: busy (another runner drives the run), corrupt, full, newer, not ours",
    8: "internal error: a report file is written, the state is safe; also a result that cannot be written",
    129: "SIGHUP (the terminal was closed, the connection lost): as after Ctrl-C; not under `nohup`, where it is ignored",
    130: "Ctrl-C: the state is saved, the same command goes on",
    143: "SIGTERM: the same",
}
"""What `runner` may exit with. The gravest of several: 8, 143, 129, 130, 7, 2, 1, 3, 4, 5."""

_HEAD = """\
# Command line

Generated from the commands (`runner/cli/reference.py`); a test keeps it fresh.

`runner` = `python -m runner`. The result is on stdout, progress on stderr: a live tree on a terminal, else one line a change. `runner COMMAND --help`
(or `-h`) prints what stands here.
"""

_RUN = """\
**PATH** is a manifest or a folder. Folders are walked recursively by path, without hidden files and symlinks; all manifests are
loaded and checked first, and one invalid manifest stops everything (2).

**RUN** is a run's id, a unique prefix of one, or a manifest's name (its latest run).
"""


def reference() -> str:
    """The whole page."""
    with click.Context(cli, info_name="runner", max_content_width=100) as ctx:
        parts = [
            _HEAD,
            "## Options of every command\n",
            "They may stand before the command or after it.\n",
            _options(cli, ctx),
            "",
            _RUN,
            _table(),
            *_verbs(ctx),
            _exits(),
        ]
    return "\n".join(parts)


def _table() -> str:
    rows = [f"| [`{name}`](#runner-{name}) | {verb.help} |" for name, verb in VERBS.items()]
    return "\n".join(["| command | does |", "|---|---|", *rows, ""])


def _verbs(ctx: click.Context) -> Iterator[str]:
    for name in VERBS:
        command = cli.get_command(ctx, name)
        assert command is not None
        yield from _command(command, ctx, name, 2)


def _command(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    with command.make_context(name, [], parent=parent, resilient_parsing=True) as ctx:
        aliases = [f"`runner {alias}`" for alias, of in ALIASES.items() if of == name]
        yield f"{'#' * level} {ctx.command_path}\n"
        yield f"    {ctx.get_usage().removeprefix('Usage: ')}\n"
        yield (command.help or "") + (f" Also: {', '.join(aliases)}." if aliases else "") + "\n"
        if options := _options(command, ctx):
            yield f"{options}\n"
        if command.epilog:
            yield _epilog(command.epilog)
        if isinstance(command, click.Group):
            for inner in command.list_commands(ctx):
                found = command.get_command(ctx, inner)
                assert found is not None
                yield from _command(found, ctx, inner, level + 1)


def _options(command: click.Command, ctx: click.Context) -> str:
    own = [param for param in command.params if isinstance(param, click.Option)]
    records = [record for param in own if (record := param.get_help_record(ctx)) is not None]
    if not records:
        return ""
    return "\n".join(
        ["| option | |", "|---|---|", *(f"| `{names.replace('|', '&#124;')}` | {text} |" for names, text in records)]
    )


def _epilog(epilog: str) -> str:
    """Paragraphs; what must keep its lines (after a `\\b`) as code."""
    out = []
    for paragraph in epilog.strip().split("\n\n"):
        if paragraph.startswith("\b\n"):
            title, *lines = paragraph.removeprefix("\b\n").splitlines()
            if title.endswith(":"):
                out.append("\n".join([f"{title}\n", "```text", *(line.removeprefix("  ") for line in lines), "```"]))
            else:
                out.append("  \n".join([title, *lines]))
        else:
            out.append(paragraph.replace("<", "&lt;"))
    return "\n\n".join(out) + "\n"


def _exits() -> str:
    rows = [f"| {code} | {text} |" for code, text in EXIT_CODES.items()]
    tail = "The gravest of several counts: 8, 143, 129, 130, 7, 2, 1, 3, 4, 5. `--on-pause ok` turns 3 to 5 into 0.\n"
    return "\n".join(["## Exit codes\n", "| code | means |", "|---|---|", *rows, "", tail])
