"""Mistakes of data: one problem each, in its place, in words a user understands."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from counting import calls
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.diagnostics.model import Problem
from runner.diagnostics.rules import RULES
from runner.manifest.checked import check
from runner.manifest.model import Manifest, Partial
from runner.syntax import place, read

CORPUS = Path(__file__).parent.parent / "corpus"


def problems(data: dict[str, Any]) -> list[Problem]:
    manifest, found = check(Manifest, {"ares": "v1", "name": "a", **data})
    assert manifest is None
    return found


def of_step(**keys: Any) -> Problem:
    (problem,) = problems({"steps": {"a": keys}})
    return problem


def bad(folder: str) -> list[Any]:
    return [pytest.param(file, id=file.stem) for file in sorted((CORPUS / folder).glob("*.yaml"))]


@pytest.mark.parametrize("file", bad("bad"))
def test_each_bad_manifest_has_exactly_the_one_mistake_that_it_names(file: Path) -> None:
    documents, diagnostics = read(file.read_bytes(), file.name)
    assert not diagnostics
    manifest, found = check(Manifest, documents[0].data)
    assert manifest is None
    assert [problem.rule for problem in found] == [file.read_text().splitlines()[0].removeprefix("# rule: ")]
    (problem,) = found
    (shown,) = place(found, documents)
    assert shown.span is not None and shown.span.line > 1
    assert documents[0].has(problem.loc), "the place is one of the file's own"


@pytest.mark.parametrize("file", bad("bad-partial"))
def test_each_bad_partial_has_exactly_the_one_mistake_that_it_names(file: Path) -> None:
    documents, _ = read(file.read_bytes(), file.name)
    _, found = check(Partial, documents[0].data)
    assert [problem.rule for problem in found] == [file.read_text().splitlines()[0].removeprefix("# rule: ")]


@pytest.mark.parametrize(
    "data",
    [
        {"name": "n" * 70},
        {"steps": {"n" * 70: {"run": ["true"]}}},
        {"inputs": {"n" * 69 + "?": "string"}},
        {"vars": {"n" * 70: 1}},
    ],
    ids=lambda data: str(next(iter(data))),
)
def test_a_name_that_is_only_too_long_is_told_so(data: dict[str, Any]) -> None:
    (problem,) = problems({"steps": {"a": {"run": ["true"]}}, **data})
    assert problem.message.startswith("expected at most 63 characters, not 70: 'nnnnn")


def test_all_mistakes_are_told_at_once() -> None:
    found = problems(
        {
            "labels": [1],
            "inputs": {"dry-run": "bool", "n": {"type": "integer", "default": "x"}},
            "steps": {
                "one": {"run": ["make"], "timout": "5m", "effects": "sometimes"},
                "two-b": {"tool": "nothing", "needs": ["o-ne"]},
                "three": {"approve": "Go on?", "checks": [], "timeout": "10x"},
                "four": {},
            },
        }
    )
    assert [(problem.rule, problem.loc) for problem in found] == [
        ("wrong-type", ("labels", 0)),
        ("id-hyphen", ("inputs", "dry-run")),
        ("default-invalid", ("inputs", "n", "default")),
        ("wrong-value", ("steps", "one", "effects")),
        ("unknown-key", ("steps", "one", "timout")),
        ("id-hyphen", ("steps", "two-b")),
        ("id-hyphen", ("steps", "two-b", "needs", 0)),
        ("pattern", ("steps", "two-b", "tool")),
        ("duration", ("steps", "three", "timeout")),
        ("key-not-for-verb", ("steps", "three", "checks")),
        ("verb-missing", ("steps", "four")),
    ]


def test_places_are_those_of_the_short_forms_that_the_user_wrote() -> None:
    assert of_step(run=["make", 5]).loc == ("steps", "a", "run", 1)
    assert of_step(run=["make"], timeout="10x").loc == ("steps", "a", "timeout")
    assert of_step(run=["make"], foreach="word").loc == ("steps", "a", "foreach")
    assert of_step(run=["make"], save="/etc/passwd").loc == ("steps", "a", "save")
    assert of_step(run=["make"], needs="o-ne").loc == ("steps", "a", "needs")
    assert of_step(run=["make"], matrix={"os": "linux"}).loc == ("steps", "a", "matrix", "os")
    assert of_step(run=["make"], checks=[{"judge": "", "min": 1}]).loc == ("steps", "a", "checks", 0, "judge")
    assert of_step(run=["make"], fallback=[{"tool": "x"}]).loc == ("steps", "a", "fallback", 0, "tool")


def test_places_inside_long_forms_are_kept() -> None:
    assert of_step(run=["make"], timeout={"total": "10x"}).loc == ("steps", "a", "timeout", "total")
    assert of_step(run={"argv": [1]}).loc == ("steps", "a", "run", "argv", 0)
    assert of_step(run=["make"], approve="Really?").loc == ("steps", "a", "approve")
    assert of_step(run=["x"], matrix={"os": ["a"], "include": [{"o-s": 1}]}).loc == (
        "steps", "a", "matrix", "include", 0, "o-s",
    )  # fmt: skip


def test_keys_are_underlined_when_the_key_is_wrong() -> None:
    assert of_step(run=["make"], timout="5m").on == "key"
    assert of_step(set={"a": 1}, checks=[]).on == "key"
    assert of_step(run=["make"], effects="x").on == "value"
    (problem,) = problems({"steps": {"a-b": {"run": ["make"]}}})
    assert (problem.on, problem.fix) == ("key", "write `a_b`")


def test_a_misspelt_required_key_is_one_mistake() -> None:
    (problem,) = problems({"stpes": {"a": {"run": ["make"]}}})
    assert (problem.rule, problem.loc, problem.fix) == ("unknown-key", ("stpes",), "did you mean `steps`?")


def test_a_misspelt_verb_is_one_mistake_and_hides_no_other() -> None:
    found = problems({"steps": {"a": {"tol": "x.y", "needs": ["b-c"]}}})
    assert [(problem.rule, problem.fix) for problem in found] == [
        ("id-hyphen", "write `b_c`"),
        ("unknown-key", "did you mean `tool`?"),
    ]


@pytest.mark.parametrize(
    ("key", "fix"),
    [
        ("if", "when"),
        ("depends_on", "needs"),
        ("continue_on_error", "optional"),
        ("retries", "faults"),
        ("environment", "env"),
    ],
)
def test_words_of_other_tools_are_translated(key: str, fix: str) -> None:
    assert of_step(run=["make"], **{key: "x"}).fix == f"did you mean `{fix}`?"


@pytest.mark.parametrize(
    ("step", "fix"),
    [
        ({"model": "x", "temperature": 0}, "`model: {prompt: …, temperature: …}`"),
        ({"agent": "x", "allowed_tools": ["a"]}, "`agent: {prompt: …, allowed_tools: …}`"),
        ({"run": ["x"], "script": "y"}, "`run: {script: …}`"),
        ({"run": ["x"], "fallback": [{"model": "x", "max_tokens": 5}]}, "`model: {prompt: …, max_tokens: …}`"),
        ({"run": "x", "shell": True}, '`run: "ls | wc -l"`: one text has a shell'),
        ({"run": {"argv": ["x"], "shell": True}}, '`run: "ls | wc -l"`: one text has a shell'),
        ({"model": {"prompt": "x", "name": "gpt"}}, "beside `model`: `route: {models: [NAME]}`"),
        ({"agent": {"prompt": "x", "model": "gpt"}}, "beside `agent`: `route: {executors: [NAME]}`"),
    ],
)
def test_a_key_that_has_its_place_elsewhere_is_shown_there(step: dict[str, Any], fix: str) -> None:
    problem = of_step(**step)
    assert (problem.rule, problem.fix) == ("unknown-key", fix)


@pytest.mark.parametrize(
    ("verb", "written", "fix"),
    [
        ("tool", {"server": "s", "name": "t"}, "`tool: SERVER.TOOL`, and `with: {…}` beside it"),
        ("call", {"manifest": "m", "with": {}}, "`call: MANIFEST`, and `with: {…}` beside it"),
        ("approve", {"text": "x"}, "`approve: QUESTION`, and `show` and `otherwise` beside it"),
        ("fail", {"message": "x"}, "`fail: MESSAGE`"),
    ],
)
def test_a_verb_that_is_one_text_is_shown_as_such_to_who_gives_a_map(verb: str, written: Any, fix: str) -> None:
    problem = of_step(**{verb: written})
    assert (problem.rule, problem.fix) == ("wrong-type", fix)


def test_a_key_that_is_close_to_nothing_gets_the_list_of_keys() -> None:
    assert of_step(run=["make"], repair={"max": 1, "xyz": 2}).fix == "allowed here: max, session"


def test_a_number_without_a_unit_gets_one() -> None:
    assert of_step(run=["make"], timeout=90).fix == "add a unit: 90s"
    assert of_step(run=["make"], timeout="90").fix == "add a unit: 90s"


def test_a_pasted_schema_is_shown_in_field_form() -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "why": {"type": "string"}},
        "required": ["ok"],
    }
    assert of_step(model="x", returns=schema).fix == "returns: {ok: boolean, why?: string}"


def test_a_key_without_a_value_is_a_mistake() -> None:
    assert "there is no value" in of_step(run=["make"], env=None).message


def test_long_input_is_cut_in_messages() -> None:
    long = "x" * 10_000
    for problem in (of_step(run=["make"], effects=long), of_step(tool=long), of_step(run=["make"], **{long: 1})):
        assert len(problem.message) < 200
        assert long[:41] not in problem.message


def test_every_rule_is_in_the_table_and_no_word_is_pydantics() -> None:
    for file in sorted((CORPUS / "bad").glob("*.yaml")):
        documents, _ = read(file.read_bytes(), file.name)
        for problem in check(Manifest, documents[0].data)[1]:
            assert problem.rule in RULES
            assert "Input should" not in problem.message and "validat" not in problem.message


def test_data_that_is_no_map_is_one_mistake() -> None:
    for data in (None, [], "text", 3):
        assert [problem.rule for problem in check(Manifest, data)[1]] == ["wrong-type"]


def _good(name: str) -> Any:
    return read((CORPUS / "good" / f"{name}.yaml").read_bytes(), name)[0][0].data


def _places(data: Any, loc: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [loc, *(place for key, value in inner for place in _places(value, (*loc, key)))]


GOOD = {name: _good(name) for name in ("every-key", "every-verb", "fix-issue")}
PLACES = [(name, loc) for name, data in GOOD.items() for loc in _places(data) if loc]
ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "a-b",
        "{{ inputs.x }}",
        "10m",
        [],
        [1],
        ["x", None],
        {},
        {"x": 1},
        {"a-b": {}},
        {"in": 3},
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), ODD, st.booleans())
def test_any_change_of_a_good_manifest_is_accepted_or_refused_in_a_place_that_exists(
    where: tuple[str, tuple[str | int, ...]], value: Any, rename: bool
) -> None:
    name, loc = where
    data = deepcopy(GOOD[name])
    parent = data
    for part in loc[:-1]:
        parent = parent[part]
    if rename and isinstance(parent, dict):
        parent[f"{loc[-1]}x"] = parent.pop(loc[-1])
    else:
        parent[loc[-1]] = value
    manifest, found = check(Manifest, data)
    assert (manifest is None) == bool(found)
    assert len({(problem.loc, problem.message) for problem in found}) == len(found)
    for problem in found:
        assert problem.rule in RULES and "Input should" not in problem.message
        target = data
        for part in problem.loc:
            target = target[part]


@pytest.mark.parametrize(
    "step",
    [{"run": []}, {"run": ["x"], "workspace": {"gti": "worktree"}}, {"rnu": ["x"], "colour": "red"}],
    ids=["too-short", "misspelt", "unknown"],
)
def test_many_mistakes_are_not_compared_with_each_other(step: dict[str, Any]) -> None:
    def work(steps: int) -> int:
        data = {"steps": {f"s{n}": step for n in range(steps)}}
        return calls(lambda: problems(data), most=10_000_000)

    work(1)  # validators are built once
    assert work(200) < 2.5 * work(100)


def test_a_type_that_stands_there_twice_is_told_of_once_each() -> None:
    found = problems({"steps": {"a": {"run": ["x"], "returns": {"x": {"type": ["string", "null", "string"]}}}}})
    assert [(one.loc[-1], one.message) for one in found] == [(2, "'string' stands there twice")]
