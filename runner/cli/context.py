"""What every verb begins with: settings, the record for reading, and options that several verbs share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.api.checking import Checked, Memory
from runner.cli.output import options, print_diagnostics
from runner.diagnostics.model import Diagnostic
from runner.errors import InvalidInput, UsageError

if TYPE_CHECKING:  # what a command imports before it knows whether anything has to be done is its start-up
    from runner.api.settings import Settings
    from runner.store.sqlite import SqliteStore

F = TypeVar("F", bound=Callable[..., Any])


def settings_of(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of this command. Raises InvalidInput when the config has mistakes; its warnings go to stderr."""
    from runner.api.settings import load_config

    config = options().get("config")
    settings = load_config(Path(config) if config else None, start=_here(), env=os.environ, overrides=overrides)
    if not settings.ok:
        raise InvalidInput("the configuration has mistakes; nothing ran", settings.diagnostics)
    warn_of_config(settings.diagnostics)
    return settings


def warn_of_config(diagnostics: Sequence[Diagnostic]) -> None:
    """What is odd about a config that may be used, on stderr."""
    if diagnostics and not options().get("quiet"):
        from runner.cli.sources import sources_of

        print_diagnostics(diagnostics, sources_of(diagnostics))


def memory_of(paths: Sequence[str]) -> Memory:
    """What is known of these paths since an earlier command."""
    return Memory(paths, options().get("config"), _here(), os.environ)


def _here() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the working directory was removed", hint="change to a folder that exists") from error


@contextmanager
def reading(settings: Settings | Checked) -> Iterator[SqliteStore]:
    """The record, for reading only: a missing one reads as empty, nothing is made. Raises the StoreError family."""
    from runner.clock import SystemClock
    from runner.store.sqlite import SqliteStore

    store = SqliteStore.open(settings.state_path, clock=SystemClock(), read_only=True)
    try:
        yield store
    finally:
        store.close()


def inputs_options(command: F) -> F:
    """`-i name=value` and `-f FILE`."""
    command = click.option(
        "-f", "--inputs", "inputs_file", metavar="FILE", help="Inputs as YAML or JSON (`-`: stdin); `-i` wins over it."
    )(command)
    option = click.option(
        "-i",
        "--input",
        "inputs",
        multiple=True,
        metavar="NAME=VALUE",
        help="An input, for every manifest that declares it; may be repeated.",
    )
    return option(command)


def select_option(command: F) -> F:
    """`--select SELECT`, repeatable."""
    return click.option(
        "--select",
        multiple=True,
        metavar="SELECT",
        help="Only these: manifests, steps (with all that they wait for), label:…, state:…, changed; `x+`: also what comes after.",
    )(command)


def texts_of(inputs: tuple[str, ...]) -> dict[str, str]:
    """`-i` options as {name: text}. Raises UsageError."""
    found = {}
    for given in inputs:
        name, sign, text = given.partition("=")
        if not sign or not name:
            raise UsageError(f"-i {given}: expected NAME=VALUE", hint="such as -i issue=42")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"-i {name}=…: the value is not UTF-8 text") from error
        found[name] = text
    return found


def values_of(path: str | None) -> dict[str, Any]:
    """The map in an inputs file. Raises UsageError, InvalidInput."""
    if path is None:
        return {}
    from runner.syntax import Limits, read

    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            data = file.read(Limits().file_bytes + 1)  # one more than allowed: enough to say that it is too large
    except OSError as error:
        raise UsageError(f"-f {path}: {error.strerror}", hint="expected a YAML or JSON file with one map") from error
    name = "stdin" if path == "-" else path
    documents, diagnostics = read(data, name)
    errors = [one for one in diagnostics if one.severity == "error"]
    if errors:
        raise InvalidInput(f"-f {name} cannot be read; nothing ran", errors)
    if len(documents) != 1 or not isinstance(documents[0].data, dict):
        raise UsageError(f"-f {name}: expected one map of inputs", hint="such as `issue: 42` on a line of its own")
    return dict(documents[0].data)


def user() -> str:
    """Who answers, for the record: the login name, else the number of the account (containers have no names)."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
