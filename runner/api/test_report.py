"""How suites went, for programs: the document of `test --json`, and JUnit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.api.expecting import Difference
from runner.api.testing import CaseResult, SuiteResult, TestResult
from runner.reporters.junit import Case, Suite, Verdict


def document(result: TestResult) -> dict[str, Any]:
    """As `manifest.contracts_test.TestDocument` has it."""
    return {
        "version": 1,
        "outcome": "failed" if result.exit_code else "passed",
        "exit_code": result.exit_code,
        "suites": [_suite(suite) for suite in result.suites],
    }


def _suite(suite: SuiteResult) -> dict[str, Any]:
    return {
        "suite": suite.file,
        "recording": suite.recording,
        "recorded": suite.recorded,
        "cases": [_case(case) for case in suite.cases],
    }


def _case(case: CaseResult) -> dict[str, Any]:
    return {
        "case": case.name,
        "manifest": case.manifest,
        "verdict": case.verdict,
        "differences": [{"what": d.what, "message": d.message, "diff": list(d.lines)} for d in case.differences],
        "warnings": list(case.warnings),
        "error": case.error or None,
        "hint": case.hint or None,
        "run": case.run.to_json() if case.run is not None else None,
        "took_ms": case.took_ms,
    }


def suites(result: TestResult) -> tuple[Suite, ...]:
    """A JUnit suite for each suite, a case for each case."""
    return tuple(
        Suite(
            suite.file,
            tuple(_junit(case) for case in suite.cases),
            action="test" if suite.recorded is None else "record",
            state="failed" if any(case.verdict != "passed" for case in suite.cases) else "passed",
            took=sum(case.took_ms for case in suite.cases),
        )
        for suite in result.suites
    )


def _junit(case: CaseResult) -> Case:
    verdict: Verdict = case.verdict
    lines = [line for each in case.differences for line in lines_of(each)] or ([case.error] if case.error else [])
    kind = {"failed": "expectation", "error": "error"}.get(case.verdict, "")
    return Case(case.name, verdict, case.took_ms, kind, "\n".join(lines + ([case.hint] if case.hint and lines else [])))


def lines_of(difference: Difference) -> Iterator[str]:
    """A difference as text."""
    yield f"{difference.what}: {difference.message}"
    yield from (f"  {line}" for line in difference.lines)
