"""Templates of manifests: what they may say, what a value may do, which files change."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runner.generate.fill import fill
from runner.generate.index import Set, Source, decide, parse, refuse_path, text_of, updated, with_header
from runner.generate.problem import GenerateError
from runner.generate.rows import parse as rows
from runner.generate.template import Template, path_of
from runner.syntax import read


def made(template: str, number: int = 1, **row: Any) -> str:
    return fill(Template(template).render(row, number))


def data(text: str) -> Any:
    documents, diagnostics = read(text.encode(), "made")
    assert diagnostics == []
    return documents[0].data


def refused(template: str, **row: Any) -> str:
    with pytest.raises(GenerateError) as caught:
        made(template, **row)
    return caught.value.message


def test_a_value_that_is_the_whole_scalar_keeps_its_type() -> None:
    text = made(
        "{n: [[ row.n ]], b: [[ row.b ]], none: [[ row.z ]], t: [[ row.t ]], l: [[ row.l ]]}",
        n=3,
        b=True,
        z=None,
        t="3",
        l=["a", 1],
    )
    assert data(text) == {"n": 3, "b": True, "none": None, "t": "3", "l": ["a", 1]}


def test_a_value_within_text_is_text() -> None:
    assert data(made("timeout: [[ row.n ]]m\nq: '[[ row.n ]]'", n=10)) == {"timeout": "10m", "q": "10"}


def test_a_prompt_stays_a_block_and_a_value_cannot_end_it() -> None:
    text = made(
        "steps:\n  a:\n    model: |\n      Hello [[ row.who ]]\n      bye\n    needs: []\n", who="you\nsteps: {evil: 1}"
    )
    assert "model: |\n      Hello you\n      steps: {evil: 1}\n      bye\n" in text
    assert data(text)["steps"]["a"]["model"] == "Hello you\nsteps: {evil: 1}\nbye\n"


def test_braces_of_a_value_are_literal_where_the_runner_renders_and_plain_where_it_does_not() -> None:
    found = data(made("description: [[ row.x ]]\nvars: {x: [[ row.x ]]}", x="{{ secrets.KEY }} {% if %}"))
    assert found["description"] == "{{ secrets.KEY }} {% if %}"
    assert found["vars"]["x"] == "{{ '{' }}{{ '{' }} secrets.KEY }} {{ '{' }}% if %}"


@pytest.mark.parametrize(
    "template",
    [
        "steps: {a: {when: [[ row.x ]]}}",
        "steps: {a: {when: \"inputs.y == '[[ row.x ]]'\"}}",
        "steps: {a: {checks: [{expr: '[[ row.x ]]'}]}}",
        "steps: {a: {run: 'echo [[ row.x ]]'}}",
        "steps: {a: {run: {script: 'echo [[ row.x ]]'}}}",
        "steps: {a: {checks: [{run: 'test [[ row.x ]]'}]}}",
        "steps: {a: {fallback: [{run: 'echo [[ row.x ]]'}]}}",
        "finally: {a: {run: 'echo [[ row.x ]]'}}",
        "vars: {a: \"{{ inputs.y | default('[[ row.x ]]') }}\"}",
        "vars: {a: \"{{ '}}' ~ '[[ row.x ]]' }}\"}",
        "steps: {a: {model: \"{% if '[[ row.x ]]' %}y{% endif %}\"}}",
    ],
)
def test_a_text_is_never_part_of_code(template: str) -> None:
    assert "a value cannot" in refused(template, x="true")


def test_numbers_and_truth_may_stand_in_expressions() -> None:
    assert data(made("steps: {a: {when: [[ row.on ]]}}", on=False)) == {"steps": {"a": {"when": False}}}


def test_a_value_in_a_comment_stays_in_it() -> None:
    text = made("a: 1 # [[ row.x ]]\nb: 2\n", x="x\nc: 3")
    assert data(text) == {"a": 1, "b": 2}


def test_a_value_may_be_a_key() -> None:
    assert data(made("vars: {[[ row.k ]]: 1}", k="a: b")) == {"vars": {"a: b": 1}}
    assert data(made("vars:\n  [[ row.k ]]: 1\n", k="<<")) == {"vars": {"<<": 1}}


@pytest.mark.parametrize("value", ["a\0b", "\x1b[31m", "\ud800", "\ufffe"])
def test_what_no_yaml_file_may_hold_is_refused_with_its_name(value: str) -> None:
    assert "U+" in refused("a: [[ row.x ]]", x=value)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a: [[ row.y ]]", "there is no 'y'; it has x"),
        ("a: [[ name ]]", "nothing is named 'name' here"),
        ("a: [[ row.x.upper() ]]", "no calls"),
        ("a: [[ row.x.__class__ ]]", "no '__class__'"),
        ("[% include 'etc' %]", "include"),
        ("a: 1\n[% macro m() %][% endmacro %]", "macro"),
        ("[% set a %]x[% endset %]", "assignblock"),
        ("[% for y in [1] %][[ loop ]][% endfor %]", "LoopContext is no value"),
        ("a: [[ row.x | shout ]]", "shout"),
        ("a: [[ 1 / 0 ]]", "cannot be computed"),
        ("[% for y in 5 %][% endfor %]", "cannot be computed"),
        ("[% filter upper %]x[% endfilter %]", "filterblock"),
        ("[% extends 'x' %]", "extends"),
        ("[% import 'x' as y %]", "import"),
        ("a: [[ row.x", "line 1"),
        ("a: 1\nb: [% if %]", "line 2"),
        ("a: [[ 'x' * 999999999 ]]", "cannot take"),
        ("a: &[[ row.x ]] 1\nb: *[[ row.x ]]\n- c", "line"),
    ],
)
def test_templates_are_small_and_safe(template: str, said: str) -> None:
    assert said in refused(template, x="v")


def test_conditions_loops_and_variables_make_parts_for_some_rows() -> None:
    template = "[% set n = row.x | length %]\nn: [[ n ]]\n[% if row.x != 'ab' and n > 1 %]\nbig: yes\n[% elif row.x is none %]\n[% else %]\nab: [[ {'k': n} ]]\n[% endif %]\nl:\n[% for c in row.l %]\n- [[ c ]]\n[% endfor %]\n[# gone #]\n"
    assert data(made(template, x="ab", l=[1, "b"])) == {"n": 2, "ab": {"k": 2}, "l": [1, "b"]}
    assert data(made(template, x="abc", l=[1])) == {"n": 3, "big": "yes", "l": [1]}


def test_a_value_that_is_a_mark_is_a_value() -> None:
    assert data(made("a: [[ row.x ]]\nb: [[ row.y ]]", x="zq0q1z", y="u")) == {"a": "zq0q1z", "b": "u"}


def test_an_alias_keeps_the_places_of_what_comes_after_it() -> None:
    with pytest.raises(GenerateError, match="script"):
        made("vars: {a: &a 1, b: *a}\nsteps: {s: {run: 'x [[ row.x ]]'}}", x="v")


def test_rows_of_every_form_are_the_same() -> None:
    wanted = [{"name": "a", "note": 'x, "y"'}, {"name": "b", "note": ""}]
    assert rows(b'\xef\xbb\xbfname,note\r\na,"x, ""y"""\r\n\r\nb,\r\n', "csv") == wanted
    assert rows(b'name;note\na;"x, ""y"""\nb;\n', "csv") == wanted
    assert rows(b'[{"name": "a", "note": "x, \\"y\\""}, {"name": "b", "note": ""}]', "json") == wanted
    assert rows(b'{"name": "a", "note": "x, \\"y\\""}\n\n{"name": "b", "note": ""}\n', None) == wanted
    assert rows(b"- {name: a, note: 'x, \"y\"'}\n- {name: b, note: ''}\n", None) == wanted
    assert rows(b"name: a\nnote: 'x, \"y\"'\n---\n{name: b, note: ''}\n", "yaml") == wanted


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        (b"a,a\n1,2\n", "csv", "two columns are named 'a'"),
        (b"a,b\n1\n", "csv", "line 2: 1 cells under 2 columns"),
        (b"a,\n1,2\n", "csv", "every column needs a name"),
        (b"a,b\nx\xff,1\n", "csv", "line 2: not UTF-8"),
        (b'[{"a": NaN}]', "json", "NaN"),
        (b'[{"a": 1, "a": 2}]', "json", "twice"),
        (b'{"a": 1}\n{"a": \n', "jsonl", "line 2"),
        (b"[" * 100_000, "json", "nested too deeply"),
        (b"[1]", "json", "row 1 is no map"),
        (b"a: !x b\n", "yaml", "line 1"),
    ],
)
def test_mistakes_in_rows_are_told_with_their_line(content: bytes, form: Any, said: str) -> None:
    with pytest.raises(GenerateError) as caught:
        rows(content, form)
    assert said in caught.value.message


@pytest.mark.parametrize("path", ["../a.yaml", "/a.yaml", "a/../../b.yaml", ".a.yaml", "a/.git/b.yaml", "a.json", "a//b.yaml", "a\n.yaml", ".yaml", "a/.yaml", "a\\b.yaml", "x" * 300 + ".yaml"])  # fmt: skip
def test_a_path_stays_below_the_folder(path: str) -> None:
    with pytest.raises(GenerateError):
        refuse_path(path)


def test_a_value_never_makes_a_folder() -> None:
    template = Template("[[ row.team ]]/[[ number ]].yaml")
    assert path_of(template, {"team": "core"}, 7) == "core/7.yaml"
    for team in ("../x", "a/b", "a\\b", "", None, True, "a\nb"):
        with pytest.raises(GenerateError):
            path_of(template, {"team": team}, 7)


SOURCE = Source("t.yaml", "rows.csv")


def actions(
    wanted: dict[str, str], known: dict[str, str], disk: dict[str, bytes | None], **flags: bool
) -> dict[str, str]:
    index = {SOURCE: Set(known)} if known else {}
    flags = {"prune": False, "force": False} | flags
    return {change.path: change.action for change in decide(wanted, index, SOURCE, disk, **flags)}


def test_every_file_has_one_of_eight_fates() -> None:
    from runner.digest import digest_bytes

    ours = digest_bytes(b"old")
    wanted = dict.fromkeys(["new", "same", "changed", "edited", "foreign"], "now")
    known = dict.fromkeys(["same", "changed", "edited", "stale", "mine", "gone"], ours)
    disk: dict[str, bytes | None] = {
        "new": None, "same": b"now", "changed": b"old", "edited": b"by hand", "foreign": b"theirs", "stale": b"old", "mine": b"by hand", "gone": None,
    }  # fmt: skip
    plain = actions(wanted, known, disk)
    assert plain == {
        "new": "new", "same": "unchanged", "changed": "changed", "edited": "edited", "foreign": "foreign", "stale": "stale", "mine": "stale", "gone": "gone",
    }  # fmt: skip
    pruned = actions(wanted, known, disk, prune=True)
    assert (pruned["stale"], pruned["mine"]) == ("removed", "edited")
    forced = actions(wanted, known, disk, prune=True, force=True)
    assert set(forced.values()) == {"new", "unchanged", "changed", "removed", "gone"}


def test_a_file_has_one_owner() -> None:
    with pytest.raises(GenerateError, match="another template"):
        decide(
            {"a.yaml": "x"},
            {Source("u.yaml", "r"): Set({"a.yaml": "d"})},
            SOURCE,
            {"a.yaml": None},
            prune=False,
            force=True,
        )


def test_the_index_is_read_as_it_was_written_and_never_names_what_lies_elsewhere() -> None:
    changes = decide(
        {"b.yaml": "x", "a.yaml": "y"}, {}, SOURCE, {"a.yaml": None, "b.yaml": None}, prune=False, force=False
    )
    index = updated({}, SOURCE, Set({}, "t", "r"), changes)
    text = text_of(index)
    assert parse(text.encode()) == index
    assert text_of(parse(text.encode())) == text
    for bad in (
        text.replace("a.yaml", "../a.yaml"),
        text.replace('"version": 1', '"version": 2'),
        "[]",
        "{",
        '{"version": 1, "sets": [1]}',
    ):
        with pytest.raises(GenerateError):
            parse(bad.encode())


def test_the_header_stays_one_comment_whatever_the_names_are() -> None:
    text = with_header("# yaml-language-server: $schema=x\nares: v1\n", Source("t\nevil: 1", "r"), 3, {"a": 1})
    lines = text.splitlines()
    assert lines[0].startswith("# yaml-language-server")
    assert lines[1].startswith("# Generated by `runner generate` from t\\nevil: 1, row 3 of r (")
    assert data(text) == {"ares": "v1"}


def test_ten_thousand_values_in_one_manifest_take_no_quadratic_time() -> None:
    began = time.process_time()
    found = data(made("l:\n[% for x in row.l %]\n  - [[ x ]]\n[% endfor %]\n", l=[f"w{n}" for n in range(10_000)]))
    assert len(found["l"]) == 10_000
    assert time.process_time() - began < 8  # half a second; it was half a minute
