"""What `runner explain` knows: every key, verb, rule, error class and exit code, from the tables that the program works by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.api.schema_keys import keys, matching, parts
from runner.api.topics import EFFECTS, FILTER_TEXTS, MEANINGS, explain, listing
from runner.cli.reference import EXIT_CODES
from runner.core.recover import CLASSES
from runner.diagnostics.rules import RULES
from runner.errors import UsageError
from runner.manifest.manifest import Manifest
from runner.manifest.steps import STEP_KEYS
from runner.manifest.vocabulary import CONFIG_KEYS, ERROR_CLASSES, VERBS
from runner.templating.words import FILTERS


def names(word: str) -> list[tuple[str, str]]:
    return [(topic.name, topic.kind) for topic in explain(word, EXIT_CODES)]


def paths(document: str) -> set[str]:
    return {key.path for key in keys(document)}


def test_every_key_of_manifests_and_config_has_documentation() -> None:
    assert {field.alias or name for name, field in Manifest.model_fields.items()} <= paths("manifest")
    assert {f"steps.*.{key}" for key in STEP_KEYS} <= paths("manifest")
    assert paths("config") >= CONFIG_KEYS
    chosen = [key.path for document in ("manifest", "config") for key in keys(document) if not key.text]
    assert chosen == []


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("steps.*.checks.changed", "steps.*.checks.changed"),
        ("checks.changed.only", "steps.*.checks.changed.only"),
        ("faults.retry", "steps.*.faults.retry"),
        ("steps.fetch.checks[0].run", "steps.*.checks.run"),
        ("steps.fetch.with.number", "steps.*.with"),
        ("mcp_servers.git.env", "mcp_servers.*.env"),
        ("mcp_servers.git.env.TOKEN", "mcp_servers.*.env"),
        ("models.catalog.smart.price.in", "models.catalog.*.price.in"),
        ("router.rules[2].match", "router.rules.match"),
        ("fault_handler.policies.degraded.skip", "fault_handler.policies.degraded.skip"),
        ("`timezone`", "timezone"),
    ],
)
def test_a_key_is_found_by_its_path_or_a_part_of_it_or_as_a_diagnostic_names_it(word: str, path: str) -> None:
    assert names(word)[0][0] == path


def test_templates_and_every_filter_are_explained() -> None:
    assert FILTERS.keys() == FILTER_TEXTS.keys()
    reference = (Path(__file__).parents[2] / "docs" / "manifest-reference.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"^Filters, a closed list: (.*?)\. Tests", reference, re.MULTILINE)
    assert listed == ", ".join(f"`{name}`" for name in sorted(FILTERS))
    assert f"Filters are a closed list: {', '.join(FILTERS)}." in RULES["unknown-filter"].explanation
    assert names("filters") == [("templates", "language")]
    assert names("split(sep)") == [("split(sep?)", "filter")]
    assert [name for name, _ in names("replace")] == ["replace(old, new, count?)"]


def test_what_means_the_same_in_several_places_is_explained_once() -> None:
    first, second = explain("retry", EXIT_CODES)
    assert (first.kind, second.kind) == ("key of a manifest", "key of config.yaml")
    assert "finally.*.faults.retry" in dict(first.rows)["also"] or "more" in dict(first.rows)["also"]
    assert [name for name, _ in first.keys] == ["max", "delay", "backoff", "max_delay", "jitter", "errors"]


def test_a_word_that_means_several_things_tells_all_of_them() -> None:
    found = names("timeout")
    assert found[0] == ("timeout", "key of a manifest")
    assert ("steps.*.timeout", "key of a manifest") in found
    assert found[-1] == ("timeout", "error class")


def test_values_are_told_in_words_with_defaults_as_people_write_them() -> None:
    rows = {
        word: dict(explain(word, EXIT_CODES)[0].rows)
        for word in ("fault_handler.open_for", "steps.a.join", "mcp_servers.x.args")
    }
    assert rows["fault_handler.open_for"] == {"holds": "duration such as 90s", "default": "30s"}
    assert rows["steps.a.join"]["holds"] == "all, or settled"
    assert rows["mcp_servers.x.args"]["holds"] == "list of text"


def test_a_key_of_steps_says_which_verbs_take_it() -> None:
    assert dict(explain("steps.*.with", EXIT_CODES)[0].rows)["steps"] == "tool, call"
    assert "steps" not in dict(explain("steps.*.needs", EXIT_CODES)[0].rows)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_what_it_does_and_which_keys_it_takes(verb: str) -> None:
    first = explain(verb, EXIT_CODES)[0]
    assert (first.name, first.kind) == (verb, "verb") and first.text.endswith(".")
    assert "needs" in dict(first.rows)["takes"] and dict(first.rows)["effects"] == EFFECTS[verb]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_explained_with_a_wrong_and_a_right_example(rule: str) -> None:
    for word in (rule, f"{RULES[rule].severity}[{rule}]"):
        topic = next(one for one in explain(word, EXIT_CODES) if one.kind == "rule")
        assert topic.examples == (("wrong", RULES[rule].example_bad), ("right", RULES[rule].example_good))
        assert RULES[rule].explanation in topic.text
        assert ("silence" in dict(topic.rows)) == (RULES[rule].severity == "warning")


def test_every_error_class_says_what_follows() -> None:
    assert set(MEANINGS) == set(ERROR_CLASSES) == set(CLASSES)
    for name in ERROR_CLASSES:
        topic = explain(name, EXIT_CODES)[-1]
        assert topic.kind == "error class"
        assert [what for what, _ in topic.rows] == ["tried again", "passed on", "its endpoint"]
    assert dict(explain("invalid", EXIT_CODES)[-1].rows)["passed on"] == "no"


@pytest.mark.parametrize("word", ["3", "exit 3", "exit code 3", "exit-3"])
def test_exit_codes_are_explained_by_number(word: str) -> None:
    assert names(word) == [("exit code 3", "exit code")]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("chekcs", "checks"),
        ("unknown-stp", "unknown-step"),
        ("steps.a.tmeout", "timeout"),
        ("check_faild", "check_failed"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one(word: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean '{meant}'"):
        explain(word, EXIT_CODES)


@pytest.mark.parametrize("word", ["", ".", "*", "..", "[", "99", "exit 99", "zzzzzzzz", "a" * 5000, "steps.*"])
def test_what_is_nothing_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="nothing is called"):
        explain(word, EXIT_CODES)


def test_the_list_names_everything_and_each_name_can_be_explained() -> None:
    sections = dict(listing(EXIT_CODES))
    assert {name for name, _ in sections["keys of a step"]} | set(VERBS) == STEP_KEYS
    assert len(sections["rules"]) == len(RULES)
    for rows in sections.values():
        for name, text in rows:
            assert text
            assert explain(name, EXIT_CODES)


def test_places_are_read_as_people_and_diagnostics_write_them() -> None:
    assert parts("steps.a.checks[0].expr") == ["steps", "a", "checks", "expr"]
    assert parts('env["a b"].x') == ["env", "x"]
    assert [key.path for key in matching(["policy", "run"], keys("config"))] == ["policy.run"]
