"""The JSON document of `runner test --json`, version 1. As in contracts.py, this is its contract."""

from __future__ import annotations

from typing import Literal

from runner.manifest.contracts import Contract, RunJson


class DifferenceJson(Contract):
    """One thing that is not as expected, or a call without an answer."""

    what: str
    """Its place in `expect`, or the step that called."""
    message: str
    """What is wrong."""
    diff: tuple[str, ...]
    """What changed, as lines of a unified diff, or lines that explain it."""


class CaseJson(Contract):
    """A case."""

    case: str
    """Its name."""
    manifest: str
    """The name of the manifest that it runs."""
    verdict: Literal["passed", "failed", "error"]
    """`error`: it could not be run."""
    differences: tuple[DifferenceJson, ...]
    """Why it failed."""
    warnings: tuple[str, ...]
    """What is odd, and fails nothing: recordings and stubs that nobody asked for."""
    error: str | None
    """Why it could not be run."""
    hint: str | None
    """What to do next."""
    run: RunJson | None
    """The run, as in `apply --json`."""
    took_ms: int
    """How long it took."""


class SuiteJson(Contract):
    """A suite."""

    suite: str
    """Its file."""
    recording: str
    """The file of its recording, whether it is there or not."""
    recorded: int | None
    """Calls that were recorded; null without `--record`."""
    cases: tuple[CaseJson, ...]
    """Its cases, those that were chosen."""


class TestDocument(Contract):
    """`runner test --json`."""

    __test__ = False

    version: Literal[1]
    """The version of this document's form."""
    outcome: Literal["passed", "failed"]
    """Whether every case passed."""
    exit_code: int
    """The exit code of the command."""
    suites: tuple[SuiteJson, ...]
    """The suites, in the order of their files."""
