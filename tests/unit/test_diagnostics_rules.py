"""The table of rules is complete, and its YAML examples about YAML are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.diagnostics.rules import RULES
from runner.diagnostics.rules_config import CONFIG_RULES
from runner.diagnostics.rules_flow import FLOW_RULES
from runner.diagnostics.rules_names import NAME_RULES
from runner.diagnostics.rules_shape import SHAPE_RULES
from runner.diagnostics.rules_test import TEST_RULES
from runner.diagnostics.rules_yaml import YAML_RULES
from runner.syntax import read

ROOT = Path(__file__).resolve().parents[2]


def test_every_rule_has_an_id_of_its_own() -> None:
    tables = (YAML_RULES, SHAPE_RULES, NAME_RULES, FLOW_RULES, CONFIG_RULES, TEST_RULES)
    assert len(RULES) == sum(len(table) for table in tables)
    assert all(rule.id == key for key, rule in RULES.items())


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_every_rule_can_be_explained(rule: object) -> None:
    rule = RULES[rule.id]  # type: ignore[attr-defined]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert rule.severity in ("error", "warning", "note")
    assert rule.title
    assert not rule.title.endswith(".")
    assert rule.explanation.endswith(".")
    assert rule.example_bad != rule.example_good
    assert rule.example_bad


def test_every_rule_is_reported_by_something() -> None:
    sources = "\n".join(
        path.read_text() for path in (ROOT / "runner").rglob("*.py") if not path.name.startswith("rules")
    )
    assert [id for id in RULES if f'"{id}"' not in sources] == []


def test_the_warnings_are_those_of_the_language() -> None:
    named = {
        "always-true",
        "unused-axis",
        "unreachable-fallback",
        "unreachable-retry",
        "text-literal",
        "credential",
        "dead-cron",
        "idle-trigger",
        "not-configured",
    }
    assert all(RULES[rule].severity == "warning" for rule in named)


@pytest.mark.parametrize(
    "rule",
    [
        "yaml-syntax",
        "yaml-tab",
        "quote-template",
        "quote-expression",
        "yaml-tag",
        "yaml-directive",
        "yaml-key",
        "yaml-number",
        "yaml-character",
        "yaml-alias",
        "yaml-merge",
        "yaml-anchor-duplicate",
        "duplicate-key",
    ],
)
def test_yaml_examples_are_true(rule: str) -> None:
    bad = read(RULES[rule].example_bad.encode(), "f")[1]
    assert rule in [one.rule for one in bad]
    assert read(RULES[rule].example_good.encode(), "f")[1] == []


@pytest.mark.parametrize("rule", [rule.id for rule in RULES.values() if "…" not in rule.example_good])
def test_good_examples_are_yaml(rule: str) -> None:
    text = RULES[rule].example_good
    if not text.startswith(("(", "{{", "runner ", "export ")):
        assert read(text.encode(), "f")[1] == []
