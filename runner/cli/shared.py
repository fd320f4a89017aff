"""The options of `runner` itself, which may stand before the verb or after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

CONTEXT: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
F = TypeVar("F", bound=Callable[..., Any])

MOST_USD = 1e6
MOST_SECONDS = 86_400.0


class Number(click.FloatRange):
    """A number in a range. `nan` is in none, although every comparison lets it through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if number != number:
            self.fail(f"{value} is no number", param, ctx)
        return number


SHARED: Mapping[str, Any] = {"config": None, "color": "auto", "quiet": False, "verbose": False}
"""What holds when nothing is said. The context's `obj` is a dict like it."""


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value not in (None, False):
        ctx.find_root().obj[param.name] = value


def shared_options(*, hidden: bool = True) -> Callable[[F], F]:
    """`--config`, `--color`, `--quiet`, `--verbose`. Hidden in the verbs, so that their help shows what is theirs."""

    def decorate(command: F) -> F:
        for option in (
            click.option(
                "-v",
                "--verbose",
                is_flag=True,
                help="More on stderr: notes, and lines in place of the live tree.",
                **_common(hidden),
            ),
            click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.", **_common(hidden)),
            click.option(
                "--color",
                type=click.Choice(["auto", "always", "never"]),
                help="When to use colours (default: on a terminal, unless NO_COLOR is set).",
                **_common(hidden),
            ),
            click.option(
                "--config",
                metavar="FILE",
                help="The config file (default: RUNNER_CONFIG, else config.yaml of the project).",
                **_common(hidden),
            ),
        ):
            command = option(command)
        return command

    return decorate


def _common(hidden: bool) -> dict[str, Any]:
    return {"expose_value": False, "callback": _remember, "hidden": hidden}


def within_option(text: str) -> Callable[[F], F]:
    """`--within SECONDS`; `text` says what may take so long."""
    return click.option(
        "--within", type=Number(0.1, MOST_SECONDS), default=10.0, show_default=True, metavar="SECONDS", help=text
    )


def verb(epilog: str, name: str | None = None) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command with examples and the shared options."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made: click.Command = click.command(name=name, epilog=epilog, context_settings=CONTEXT)(
            shared_options()(function)
        )
        return made

    return decorate
