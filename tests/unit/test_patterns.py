"""Patterns of strangers over texts of strangers: none is waited for, wherever a schema may hold one."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from runner.api.load import load
from runner.api.settings import load_config
from runner.bridges.task import Answer, Task, judged
from runner.core.inputs import mismatch
from runner.engine.returns import BadSchema, structured
from runner.executors.mcp_arguments import compile_check
from runner.patterns import TooSlow, bounded, found, patience
from runner.ports import ToolInfo

SLOW, TEXT = "(a|aa)+$", "a" * 100 + "!"
PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.patterns.SECONDS", 0.2)


def test_a_search_ends_in_its_time_and_says_which_pattern_took_too_long() -> None:
    began = time.monotonic()
    with pytest.raises(TooSlow, match=r"the pattern '\(a\|aa\)\+\$' takes too long"):
        found(SLOW, TEXT)
    assert time.monotonic() - began < PATIENCE_S


def test_all_searches_together_take_no_longer_than_there_is_patience() -> None:
    began = time.monotonic()
    with patience(0.2):
        for _ in range(1_000):
            with pytest.raises(TooSlow), patience(60):
                found(SLOW, TEXT)
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("^[a-z]+$", "abc", True),
        ("b", "abc", True),
        ("^b", "abc", False),
        (r"^\d{3}$", "12", False),
        ("(?=x)y", "xy", False),
    ],
)
def test_a_pattern_means_what_it_means_to_re(pattern: str, text: str, fits: bool) -> None:
    assert found(pattern, text) is fits


def test_a_validator_judges_as_the_one_that_it_is_made_of() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"pattern": "^x"}},
        "patternProperties": {"^n_": {"type": "integer"}},
    }
    for value in ({"a": "x", "n_a": 1}, {"a": "y"}, {"n_b": "1"}, {"b": "1"}, 3):
        ours = [e.message for e in bounded(jsonschema.Draft202012Validator)(schema).iter_errors(value)]
        assert ours == [e.message for e in jsonschema.Draft202012Validator(schema).iter_errors(value)]


def test_validating_a_manifest_does_not_wait_for_the_patterns_in_it(tmp_path: Path) -> None:
    inputs = "".join(f'  x{n}: {{type: string, pattern: "{SLOW}", default: "{TEXT}"}}\n' for n in range(50))
    (tmp_path / "m.yaml").write_text(f"ares: v1\nname: m\ninputs:\n{inputs}steps: {{a: {{set: {{v: 1}}}}}}\n")
    began = time.monotonic()
    loaded = load([tmp_path], load_config(None, start=tmp_path, env={}))
    assert time.monotonic() - began < 5  # promise 17
    assert "takes too long" in loaded.diagnostics[0].message
    assert loaded.diagnostics[0].path == "inputs.x0.default"


def test_an_input_an_answer_and_an_argument_are_not_waited_for_either() -> None:
    began = time.monotonic()
    with patience(1):
        assert "takes too long" in (mismatch({"type": "string", "pattern": SLOW}, TEXT) or "")
        fields = {"type": "object", "properties": {"x": {"type": "string", "pattern": SLOW}}}
        with pytest.raises(BadSchema, match="takes too long"):
            structured({"x": TEXT}, None, True, fields)
        tool = ToolInfo("t", "", fields, None, read_only=False, idempotent=False)
        assert compile_check(tool)({"x": TEXT}) == ""
        task = replace(Task(prompt="x", cwd=Path()), output_schema=fields)
        told = judged(Answer(structured={"x": TEXT}, turns=1), task, datetime(2026, 1, 1, tzinfo=UTC))
    assert told.problem is not None and "takes too long" in told.problem.message
    assert time.monotonic() - began < PATIENCE_S


def test_a_tool_whose_schema_refers_to_itself_without_end_is_left_to_its_server() -> None:
    tool = ToolInfo("t", "", {"$ref": "#"}, None, read_only=False, idempotent=False)
    assert compile_check(tool)({"x": 1}) == ""
