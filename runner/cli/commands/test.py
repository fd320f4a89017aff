"""`runner test`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import settings_of
from runner.cli.ending import until_told
from runner.cli.output import Paint, err, options, out, out_json, painter, safe, wants_color
from runner.cli.shared import verb
from runner.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from runner.api.settings import Settings
    from runner.api.suites import Found, LoadedSuite
    from runner.api.testing import CaseResult, SuiteResult, TestResult
    from runner.ports import Sink

EPILOG = """\b
Examples:
  runner test manifests/                              every suite below, without network, keys or processes
  runner test tests/report.yaml --record              run its cases for real, and keep what was answered
  runner test tests/report.yaml -k outage             only the cases with that in their name
  runner test manifests/ --junit results.xml
  runner test tests/report.yaml --init manifests/report.yaml    write a first suite

A suite (`ares-test: v1`) names a manifest, and for each case inputs, stubs and what is expected. Answers of tools, models, agents and
commands come from stubs or from the recording beside the suite; what was not recorded, or asks something else now, fails with
the difference. Cases run in a folder of their own: nothing of the project is written, and no wait is waited for. What a
test that was killed left of such folders, the next one removes.

\b
Exit codes: 0 all passed, 1 a case failed, 2 invalid suite, recording, manifest or usage (nothing ran), 129 SIGHUP, 130 Ctrl-C, 143 SIGTERM.
"""
SIGNS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "error": ("✗", "red")}


@verb(EPILOG)
@click.argument("paths", nargs=-1, metavar="SUITE...")
@click.option("--record", is_flag=True, help="Run the cases for real, and record what executors and models answer.")
@click.option("--replay", is_flag=True, help="Answer from stubs and recordings only (the default).")
@click.option(
    "-k", "words", multiple=True, metavar="TEXT", help="Only cases with TEXT in SUITE::CASE; may be repeated."
)
@click.option("--junit", metavar="FILE", help="Write the results as JUnit XML.")
@click.option("--json", "json_", is_flag=True, help="One JSON document on stdout.")
@click.option("--init", "manifest", metavar="MANIFEST", help="Write a first suite for this manifest, and run nothing.")
def command(paths: tuple[str, ...], record: bool, replay: bool, **given: Any) -> int:
    """Test pipelines: run the cases of suites from stubs and recorded answers, or record them."""
    if record and replay:
        raise UsageError("--record and --replay: give one of them")
    if given["manifest"] is not None:
        return _init(paths, given["manifest"])
    if not paths:
        raise UsageError("name a suite, or a folder of suites", hint="runner test manifests/")
    from runner.api.suites import load_suites
    from runner.api.testing import run_suites

    junit = _junit_file(given["junit"])
    found = load_suites(paths, _settings)
    _refuse_mistakes(found)
    quiet = given["json_"]
    result = asyncio.run(
        until_told(
            run_suites(
                found.suites,
                "record" if record else "replay",
                words=given["words"],
                sinks=_progress(record),
                told=_Told(painter(), quiet),
            )
        )
    )
    if junit is not None:
        _write_junit(junit, result)
    if given["json_"]:
        from runner.api.test_report import document

        out_json(document(result))
    else:
        _last_words(result, painter())
    return result.exit_code


def _progress(record: bool) -> list[Sink]:
    """What is recorded may take its time, and cost money: who waits sees what happens. A replay is over before anybody looks."""
    if options().get("quiet") or not (record or options().get("verbose")):
        return []
    from runner.reporters.lines import PlainLines

    return [PlainLines(sys.stderr, color=wants_color(options().get("color", "auto"), sys.stderr))]


def _settings(config: Path | None) -> Settings:
    if config is None:
        return settings_of()
    from runner.api.settings import load_config

    settings = load_config(config, start=Path.cwd(), env=os.environ)
    if not settings.ok:
        raise InvalidInput(f"the configuration {config} has mistakes; nothing ran", settings.diagnostics)
    return settings


def _junit_file(name: str | None) -> Path | None:
    from runner.cli.reports import file_to_write

    return file_to_write("--junit", name)


def _write_junit(path: Path, result: TestResult) -> None:
    from runner.api.ci_report import write_report
    from runner.api.test_report import suites
    from runner.reporters.junit import junit

    write_report(path, junit(suites(result)))


def _refuse_mistakes(found: Found) -> None:
    from runner.cli.loading import print_found

    print_found(found.diagnostics, found.sources, even_quiet=found.failed)
    if found.failed:
        count = sum(one.severity == "error" for one in found.diagnostics)
        raise InvalidInput(f"{'one mistake' if count == 1 else f'{count} mistakes'} in the suites; nothing ran")


class _Told:
    """Prints each case as it ends, under the name of its suite."""

    def __init__(self, paint: Paint, silent: bool) -> None:
        self._paint, self._silent, self._suite = paint, silent, ""

    def __call__(self, suite: LoadedSuite, case: CaseResult) -> None:
        if self._silent:
            return
        if suite.file != self._suite:
            self._suite = suite.file
            out(safe(suite.file))
        for line in case_lines(case, self._paint):
            out(line)


def case_lines(case: CaseResult, paint: Paint) -> Iterator[str]:
    """A case as people read it."""
    sign, color = SIGNS[case.verdict]
    yield f"  {paint(sign, color)} {safe(case.name)}"
    if case.error:
        yield f"      {safe(case.error)}"
    for each in case.differences:
        yield f"      {paint(safe(each.what), 'yellow')}: {safe(each.message)}"
        yield from (f"        {paint(safe(line), _color(line))}" for line in each.lines)
    for warning in case.warnings:
        yield f"      {paint('warning', 'yellow')}: {safe(warning)}"
    if case.hint:
        yield f"      help: {safe(case.hint)}"


def _color(line: str) -> str | None:
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])


def _last_words(result: TestResult, paint: Paint) -> None:
    for suite in result.suites:
        _recorded(suite)
    counts = [
        (result.count("passed"), "passed", "green"),
        (result.count("failed") + result.count("error"), "failed", "red"),
    ]
    out(", ".join(paint(f"{count} {word}", color) for count, word, color in counts if count))


def _recorded(suite: SuiteResult) -> None:
    if suite.recorded is not None and not options().get("quiet"):
        err(f"recorded {suite.recorded} calls in {safe(suite.recording)}")


def _init(paths: tuple[str, ...], manifest: str) -> int:
    from runner.api.suite_starter import write_first

    if len(paths) > 1:
        raise UsageError("--init writes one suite", hint=f"runner test tests/suite.yaml --init {manifest}")
    path = write_first(Path(manifest), Path(paths[0]) if paths else None, settings_of())
    out(f"wrote {path}; next: runner test {path} --record")
    return 0
