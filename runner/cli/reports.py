"""`--junit` and `--summary`: what an apply did, for the people who read CI."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.api.results import ApplyResult
from runner.cli.context import reading
from runner.errors import RunnerError, UsageError

if TYPE_CHECKING:
    from runner.api.checking import Checked
    from runner.api.settings import Settings
    from runner.reporters.junit import Suite

F = TypeVar("F", bound=Callable[..., Any])


def report_options(command: F) -> F:
    """`--junit` and `--summary`."""
    command = click.option(
        "--summary",
        metavar="FILE",
        help="Write what happened as Markdown (default: $GITHUB_STEP_SUMMARY, in a workflow of GitHub Actions).",
    )(command)
    return click.option("--junit", metavar="FILE", help="Write what happened as JUnit XML, a case for each step.")(
        command
    )


class Reports:
    """The reports that one command was asked for. Raises UsageError when one could not be written."""

    def __init__(self, options: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> None:
        self._junit = file_to_write("--junit", options["junit"])
        self._summary = file_to_write("--summary", options["summary"])
        self._pause_ok = options["on_pause"] == "ok"
        page = env.get("GITHUB_STEP_SUMMARY") if env.get("GITHUB_ACTIONS") == "true" else None
        self._page = Path(page) if page and self._summary is None else None
        self._told = False
        """The reports tell what was driven, as far as they could be written."""

    @property
    def wanted(self) -> bool:
        return any((self._junit, self._summary, self._page))

    def write(self, result: ApplyResult, settings: Settings | Checked) -> None:
        """After an apply. Raises RunnerError."""
        if self.wanted:
            from runner.api.ci_report import suites

            with reading(settings) as store:
                made = suites(result, store, pause_ok=self._pause_ok)
            self._told = True
            self._write(made, result.exit_code)

    @contextmanager
    def of_refusal(self) -> Iterator[None]:
        """When nothing could be driven, a report says so: that of an earlier apply must not stay."""
        try:
            yield
        except RunnerError as error:
            if self.wanted and not self._told:
                from runner.api.ci_report import refused

                self._write(refused(error), error.exit_code)
            raise

    def _write(self, made: tuple[Suite, ...], exit_code: int) -> None:
        from runner.api.ci_report import write_report
        from runner.reporters.junit import junit
        from runner.reporters.markdown import markdown

        if self._junit is not None:
            write_report(self._junit, junit(made))
        if self._summary is not None:
            write_report(self._summary, markdown(made, exit_code))
        if self._page is not None:
            write_report(self._page, markdown(made, exit_code), append=True)


def file_to_write(option: str, name: str | None) -> Path | None:
    """The file of a report that is wanted. Raises UsageError when none can be written there."""
    if name is None:
        return None
    path = Path(name)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {name}: no file can be written there", hint="name a file in a folder that exists")
    return path
