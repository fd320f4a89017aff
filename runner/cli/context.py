"""What every verb begins with: settings, the record, and options that several verbs share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.api.settings import Settings, load_config
from runner.errors import InvalidInput, UsageError

F = TypeVar("F", bound=Callable[..., Any])


def settings_of(ctx: click.Context, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this command. Raises InvalidInput when the config has mistakes; its warnings go to stderr."""
    from runner.cli.output import print_diagnostics

    config = ctx.obj.get("config")
    settings = load_config(Path(config) if config else None, start=Path.cwd(), env=os.environ, overrides=overrides)
    if not settings.ok:
        raise InvalidInput(f"{settings.file or 'config'} has mistakes", settings.diagnostics)
    if settings.diagnostics and not ctx.obj.get("quiet"):
        print_diagnostics(settings.diagnostics, {}, err=True)
    return settings


def inputs_options(command: F) -> F:
    """`-i name=value` and `-f FILE`."""
    command = click.option(
        "-f", "--inputs", "inputs_file", metavar="FILE", help="Inputs as YAML or JSON; `-i` wins over it."
    )(command)
    return click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="An input; may be repeated.")(command)


def texts_of(inputs: tuple[str, ...]) -> dict[str, str]:
    """`-i` options as {name: text}. Raises UsageError."""
    found = {}
    for given in inputs:
        name, sign, text = given.partition("=")
        if not sign:
            raise UsageError(f"-i {given}: expected NAME=VALUE")
        found[name] = text
    return found


def values_of(path: str | None) -> dict[str, Any]:
    """The map in an inputs file. Raises UsageError."""
    if path is None:
        return {}
    from runner.syntax import read

    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    documents, diagnostics = read(data, path)
    if diagnostics:
        raise InvalidInput(f"{path} cannot be read", diagnostics)
    if len(documents) != 1 or not isinstance(documents[0].data, dict):
        raise UsageError(f"{path}: expected one map of inputs")
    return dict(documents[0].data)


def print_json(document: Any) -> None:
    """One JSON document on stdout, whole."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))
