"""Mistakes as a Code Quality report of GitLab."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from runner.diagnostics.gitlab import to_gitlab
from runner.diagnostics.model import Diagnostic, Severity
from runner.source import Span

HERE = "/src"
TEXT = {"type": "string", "minLength": 1}
SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            **dict.fromkeys(("description", "check_name", "fingerprint"), TEXT),
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "additionalProperties": False,
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": r"^(?!\./)."},
                    "lines": {"type": "object", "required": ["begin"], "properties": {"begin": {"type": "integer", "minimum": 1}}},
                },
            },
        },
    },
}  # fmt: skip
"""Of the table under "Code quality report format" in GitLab's documentation, which has no schema of its own."""


def mistake(message: str = "no", severity: Severity = "error", **more: object) -> Diagnostic:
    given = {"file": "a.yaml", "span": Span(3, 5, 3, 9), "rule": "unknown-key", "path": "steps.a", "fix": None, **more}
    return Diagnostic(severity=severity, message=message, **given)  # type: ignore[arg-type]


def report(*mistakes: Diagnostic, root: str = HERE, here: str = HERE) -> list[dict[str, Any]]:
    found = to_gitlab(mistakes, root=root, here=here)
    jsonschema.validate(found, SCHEMA)
    json.dumps(found).encode()
    return found


def test_a_mistake_is_an_issue_at_its_line() -> None:
    [issue] = report(mistake(fix="remove it\nor not"))
    assert len(issue.pop("fingerprint")) == 32
    assert issue == {
        "description": "steps.a: no (remove it)",
        "check_name": "unknown-key",
        "severity": "major",
        "location": {"path": "a.yaml", "lines": {"begin": 3}},
    }


def test_no_mistakes_are_a_report_too() -> None:
    assert report() == []


@pytest.mark.parametrize(("severity", "said"), [("error", "major"), ("warning", "minor"), ("note", "info")])
def test_every_severity_has_one_of_gitlab(severity: Severity, said: str) -> None:
    assert report(mistake(severity=severity))[0]["severity"] == said


def test_a_mistake_stays_the_same_one_when_it_moves_and_two_alike_are_two() -> None:
    here, there = report(mistake())[0], report(mistake(span=Span(9, 5, 9, 9)))[0]
    assert here["fingerprint"] == there["fingerprint"]
    twins = report(mistake(), mistake(), mistake(path="steps.b"), mistake(file="b.yaml"), mistake("other"))
    assert len({issue["fingerprint"] for issue in twins}) == 5


def test_paths_count_from_the_checkout() -> None:
    assert report(mistake(), here="/src/sub")[0]["location"]["path"] == "sub/a.yaml"


def test_what_has_no_line_is_at_the_first_and_what_is_no_text_is_still_written() -> None:
    [issue] = report(mistake("\x1b[31m\udcff", span=None, path="", file="odd\udcff.yaml"))
    assert issue["location"] == {"path": "odd?.yaml", "lines": {"begin": 1}}
    assert "\x1b" not in issue["description"]
