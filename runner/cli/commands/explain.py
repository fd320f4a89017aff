"""`runner explain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from runner.cli.output import Paint, columns, out, painter
from runner.cli.shared import verb

if TYPE_CHECKING:
    from runner.api.topics import Topic

EPILOG = """\b
Examples:
  runner explain                        what there is to explain
  runner explain retry                  a key, wherever it stands
  runner explain 'steps.*.checks.changed'
  runner explain mcp_servers.git.env    a key of config.yaml
  runner explain unknown-step           a rule: what `runner validate` prints in brackets
  runner explain check_failed           an error class: what follows by default
  runner explain 3                      an exit code

\b
Exit codes: 0 ok, 2 nothing has that name.
"""

WIDTH = 96


@verb(EPILOG)
@click.argument("name", required=False, nargs=-1, metavar="[KEY|RULE|ERROR CLASS|EXIT CODE]")
def command(name: tuple[str, ...]) -> int:
    """Explain a key of a manifest or of the config, a rule, an error class or an exit code."""
    from runner.api import topics
    from runner.cli.reference import EXIT_CODES

    paint = painter()
    if not name:
        out("\n".join(_list(topics.listing(EXIT_CODES), paint)))
        return 0
    found = topics.explain(" ".join(name), EXIT_CODES)
    out("\n\n".join("\n".join(text(topic, paint)) for topic in found))
    return 0


def _list(listing: list[tuple[str, list[tuple[str, str]]]], paint: Paint) -> Iterator[str]:
    for heading, rows in listing:
        yield paint(heading, "bright_white")
        width = max(len(name) for name, _ in rows) + 4
        yield from columns(
            [[name, textwrap.shorten(about, WIDTH + 20 - width, placeholder=" …")] for name, about in rows], indent="  "
        )
        yield ""
    yield "runner explain NAME tells more"


def text(topic: Topic, paint: Paint) -> Iterator[str]:
    """One explanation, wrapped."""
    yield f"{paint(topic.name, 'bright_white')}  {paint(topic.kind, 'bright_black')}"
    yield from (f"  {line}" for line in textwrap.wrap(topic.text, WIDTH))
    if topic.rows:
        yield ""
        yield from _rows(topic.rows)
    if topic.keys:
        yield f"\n  {paint('keys', 'bright_black')}"
        yield from _rows(topic.keys, indent=4)
    for label, example in topic.examples:
        yield f"\n  {paint(label, 'red' if label == 'wrong' else 'green')}"
        yield from (f"    {line}" for line in example.split("\n"))
    if topic.see:
        yield f"\n  {paint('see', 'bright_black')} {topic.see}"


def _rows(rows: tuple[tuple[str, str], ...], indent: int = 2) -> Iterator[str]:
    """Names on the left, texts on the right, wrapped under each other."""
    width = max(len(name) for name, _ in rows)
    for name, about in rows:
        first, *rest = textwrap.wrap(about, max(30, WIDTH - indent - width)) or [""]
        yield f"{' ' * indent}{name:<{width}}  {first}".rstrip()
        yield from (f"{' ' * (indent + width)}  {line}" for line in rest)
