"""Mistakes as a SARIF 2.1.0 log. The schema beside this file says of the parts that we write what the standard's own schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runner.diagnostics.model import Diagnostic
from runner.diagnostics.page import SECTIONS, document
from runner.diagnostics.rules import RULES
from runner.diagnostics.sarif import ROOT_ID, to_sarif
from runner.source import Span

SCHEMA = json.loads(Path(__file__).with_name("sarif_schema.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
NOTE = (Span(1, 1, 1, 4), "first here")
FOUND = [
    Diagnostic(
        "m/ü y%.yaml", Span(3, 5, 3, 9), "error", "unknown-key", "steps.a.foo", "no", "did you mean `for`?", (NOTE,)
    ),
    Diagnostic("m/a.yaml", None, "note", "not-a-manifest", "", "has no key `ares`"),
    Diagnostic(
        "/elsewhere/\udcff.yaml", Span(2, 1, 4, 1), "warning", "unused-axis", 'steps.a.env["\ud800"]', "never used"
    ),
]


def log(found: list[Diagnostic], root: str = "/src", here: str = "/src") -> Any:
    made = to_sarif(found, RULES, version="1.2.3", root=root, here=here)
    jsonschema.Draft7Validator(SCHEMA).validate(made)
    json.dumps(made, ensure_ascii=False).encode()  # valid Unicode through and through
    return made


def test_a_log_is_valid_and_tells_everything_of_a_mistake() -> None:
    run = log(FOUND)["runs"][0]
    first = run["results"][0]
    assert (first["ruleId"], first["level"]) == ("unknown-key", "error")
    assert first["message"]["text"] == "steps.a.foo: no\ndid you mean `for`?"
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "m/%C3%BC%20y%25.yaml", "uriBaseId": ROOT_ID}
    assert place["region"] == {"startLine": 3, "startColumn": 5, "endLine": 3, "endColumn": 9}
    assert first["relatedLocations"][0]["message"]["text"] == "first here"


def test_every_result_points_at_its_rule_and_only_broken_rules_are_described() -> None:
    run = log(FOUND)["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [one.rule for one in FOUND]
    assert len(rules) == 3


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_brings_help_with_both_examples(rule: Any) -> None:
    described = log([Diagnostic("a.yaml", None, rule.severity, rule.id, "", "m")])["runs"][0]["tool"]["driver"][
        "rules"
    ][0]
    assert described["defaultConfiguration"]["level"] == rule.severity
    for form in described["help"].values():
        assert rule.explanation in form
    assert rule.example_bad in described["help"]["markdown"] and rule.example_good in described["help"]["markdown"]


def test_files_are_relative_to_the_root_of_the_checkout_and_others_are_not() -> None:
    results = log([FOUND[1], FOUND[2]], root="/src", here="/src/sub")["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
    assert places == [{"uri": "sub/m/a.yaml", "uriBaseId": ROOT_ID}, {"uri": "/elsewhere/%FF.yaml"}]


def test_a_log_names_nothing_of_this_machine() -> None:
    assert "/src" not in json.dumps(log(FOUND[:2]))


def test_nothing_found_is_a_log_without_results() -> None:
    assert log([])["runs"][0]["results"] == []


# ---------------------------------------------------------------- docs/rules.md


def test_the_page_of_rules_is_fresh() -> None:
    assert PAGE.read_text(encoding="utf-8") == document(), (
        "see runner/diagnostics/page.py for the command that writes it"
    )


def test_the_page_has_every_rule_once() -> None:
    listed = [rule.id for _, rules in SECTIONS for rule in rules]
    assert listed == list(RULES)
