"""What templates name, and what they give."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runner.templating import (
    Ref,
    SecretRef,
    TemplateError,
    evaluate,
    has_template,
    parse,
    parse_expression,
    render,
    render_text,
    render_tree,
    segments,
    truth,
)

CONTEXT = {
    "inputs": {"issue": 7, "dry_run": False, "note": None, "a-b": "dash", "_own": 1},
    "vars": {"envs": ["py311", "py312"]},
    "steps": {
        "fetch": {
            "output": {"items": [{"name": "b", "n": 2}, {"name": "a"}], "type": "bug", "price": 1.5, "upper": "key"},
            "text": "hello world",
            "state": "succeeded",
        }
    },
}


def refs(text: str, *, blocks: bool = False) -> list[tuple[str, tuple[str | int, ...], bool]]:
    return [(ref.root, ref.path, ref.tolerant) for ref in parse(text, blocks=blocks).refs]


def fails(text: str, *, blocks: bool = False, **more: object) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        render(text, CONTEXT, blocks=blocks, **more)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain text", "plain text"),
        ("{{ inputs.issue }}", 7),
        ("  {{ inputs.issue }}\n", 7),
        ("#{{ inputs.issue }}", "#7"),
        ("{{ inputs.dry_run }}", False),
        ("{{ inputs.dry_run }}!", "false!"),
        ("{{ inputs.note }}", None),
        ("{{ vars.envs }}", ["py311", "py312"]),
        ("{{ vars.envs }}.", '["py311","py312"].'),
        ("{{ vars.envs[-1] }}", "py312"),
        ("{{ inputs['a-b'] }}", "dash"),
        ("{{ inputs['_own'] }}", 1),
        ("{{ steps.fetch.output.items[0].name }}", "b"),
        ("{{ steps.fetch.output.items.0.name }}", "b"),
        ("{{ steps.fetch.output.price }} EUR", "1.5 EUR"),
        ("{{ steps.fetch.output.upper }}", "key"),
        ("{{ steps.fetch.text | upper }}", "HELLO WORLD"),
        ("{{ steps.fetch.text[:5] }}", "hello"),
        ("{{ steps.fetch.output.items[inputs.issue - 6].name }}", "a"),
        ("{{ '{{' }}", "{{"),
        ("{{ '{%' }} and {{ '}}' }}", "{% and }}"),
        ("a }} b", "a }} b"),
        ("{{ 1 + 2 * 3 }}", 7),
        ("{{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 10 }} {{ -inputs.issue }}", "3 3 1024 -7"),
        ("{{ [inputs.issue, 'x'] + vars.envs }}", [7, "x", "py311", "py312"]),
        ("{{ {'k': inputs.issue, 'l': [1, 2]} }}", {"k": 7, "l": [1, 2]}),
        ("{{ 'a' ~ inputs.issue ~ inputs.dry_run ~ vars.envs }}", 'a7false["py311","py312"]'),
        ("{{ 'yes' if inputs.dry_run else 'no' }}", "no"),
        ("{{ steps.fetch.output.type in ('bug', 'x') }}", True),
        ("{{ inputs.note is none }}", True),
        ("{{ inputs.nope is defined }}", False),
        ("{{ inputs.nope is not defined }}", True),
        ("{{ (steps.other.output.n + 1) is defined }}", False),
        ("{{- inputs.issue -}}  x", "7x"),
        ("é{{ 'ü\\u00e9\\n' }}", "éüé\n"),
        ("{{ 'it\\'s' }}", "it's"),
        ("{{ '\\d+' }}", "\\d+"),
    ],
)
def test_a_whole_template_keeps_its_type_and_anything_else_is_text(text: str, value: object) -> None:
    result = render(text, CONTEXT)

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("steps.fetch.output.items | map(attribute='name') | sort | join(', ')", "a, b"),
        ("steps.fetch.output.items | map(attribute='n', default=0) | sum", 2),
        ("steps.fetch.output.items | selectattr('n') | list", [{"name": "b", "n": 2}]),
        ("steps.fetch.output.items | selectattr('n', 'defined') | length", 1),
        ("steps.fetch.output.items | rejectattr('n', 'defined') | map(attribute='name') | list", ["a"]),
        ("steps.fetch.output.items | selectattr('name', '==', 'a') | first", {"name": "a"}),
        ("[3, 1, 2] | sort(reverse=true)", [3, 2, 1]),
        ("['b', 'A', 'c'] | sort", ["A", "b", "c"]),
        ("['b', 'A', 'c'] | sort(case_sensitive=true)", ["A", "b", "c"]),
        ("['a', 'A', 'b', 'a'] | unique", ["a", "b"]),
        ("[[1], [1], [2]] | unique", [[1], [2]]),
        ("[1, 2, 3, 4] | select('>', 2)", [3, 4]),
        ("[1, 2, 3, 4] | reject('in', [1, 4])", [2, 3]),
        ("[0, 1, none, 'a', ''] | select", [1, "a"]),
        ("[3, 1] | min", 1),
        ("[3, 1] | max", 3),
        ("[[1, 'x'], [0, 'y']] | map(attribute=1) | join", "xy"),
        ("3.14159 | round(2)", 3.14),
        ("3.2 | round(method='ceil')", 4.0),
        ("'42' | int + 1", 43),
        ("'x' | int(5)", 5),
        ("'ff' | int(base=16)", 255),
        ("'3.9' | int", 3),
        ("'2.5' | float", 2.5),
        ("true | string", "true"),
        ("1.0 | string", "1.0"),
        ("[true, none] | tojson", "[true,null]"),
        ("'a b' | replace(' ', '-')", "a-b"),
        ("'aaa' | replace('a', 'b', 2)", "bba"),
        ("' a  b\nc ' | split", ["a", "b", "c"]),
        ("'a b\nc' | split('\n')", ["a b", "c"]),
        ("'a,,b' | split(sep=',')", ["a", "", "b"]),
        ("'' | split", []),
        ("'' | split(',')", []),
        ("'  x ' | trim", "x"),
        ("'xxaxx' | trim('x')", "a"),
        ("'hello world again' | truncate(14, leeway=0)", "hello..."),
        ("'hello world again' | truncate(14, true, '!', 0)", "hello world a!"),
        ("'abc' | list", ["a", "b", "c"]),
        ("{'a': 1, 'b': 2} | list", ["a", "b"]),
        ("'abc' | last", "c"),
        ("[] | first | default('nothing')", "nothing"),
        ("inputs.note | default('x')", None),
        ("inputs.note | default('x', true)", "x"),
        ("steps.a.text | default(steps.fetch.text) | default(none)", "hello world"),
        ("steps.a.text | default(steps.b.text) | default(none)", None),
        ("(steps.a.text | upper | trim) | default('x')", "x"),
        ("((steps.a.n + 1) * 2) | default(3)", 3),
        ("(not steps.a.text) | default('x')", True),
        ("(steps.a.text == 'x') | default('absent')", "absent"),
        ("[steps.a.text, 1] | default('absent')", "absent"),
        ("steps.fetch.text | default(steps.a.text | upper)", "hello world"),
        ("1 < 2 < 3", True),
        ("'a' not in ['b']", True),
        ("2 is in [1, 2]", True),
        ("2 is not number", False),
        ("{} is mapping and [] is iterable and 'x' is string", True),
    ],
)
def test_filters_tests_and_defaults_of_the_closed_list(expression: str, value: object) -> None:
    result = evaluate(expression, CONTEXT)

    assert result == value
    assert type(result) is type(value)


def test_references_are_listed_with_their_place() -> None:
    text = "x {{ steps.fetch.output.items[0] }} {{ inputs['a-b'] | upper }}"

    found = parse(text).refs

    assert [text[ref.offset : ref.offset + ref.length] for ref in found] == [
        "steps.fetch.output.items[0]",
        "inputs['a-b']",
    ]
    assert [ref.path for ref in found] == [("fetch", "output", "items", 0), ("a-b",)]


def test_all_that_stands_left_of_default_is_tolerant() -> None:
    assert refs("{{ steps.a.text | default(steps.b.text) | default(none) }}") == [
        ("steps", ("a", "text"), True),
        ("steps", ("b", "text"), True),
    ]
    assert refs("{{ steps.a.text | default(steps.b.text) }}") == [
        ("steps", ("a", "text"), True),
        ("steps", ("b", "text"), False),
    ]
    assert refs("{{ (steps.a.text ~ inputs.x | upper) | default('') }}") == [
        ("steps", ("a", "text"), True),
        ("inputs", ("x",), True),
    ]
    assert refs("{{ steps.a.x is defined and steps.b.x }}") == [
        ("steps", ("a", "x"), True),
        ("steps", ("b", "x"), False),
    ]


def test_a_computed_subscript_ends_the_path_and_is_a_reference_itself() -> None:
    assert refs("{{ steps.a.output[inputs.k].z }}") == [("inputs", ("k",), False), ("steps", ("a", "output"), False)]
    assert refs("{{ steps.a.items[-1] }}{{ steps.a.items[1:2] }}") == [
        ("steps", ("a", "items", -1), False),
        ("steps", ("a", "items"), False),
    ]


def test_a_reference_tells_whether_it_reads_only_how_a_step_ended() -> None:
    assert Ref("steps", ("a", "state")).state_only
    assert Ref("steps", ("a", "error", "message")).state_only
    assert not Ref("steps", ("a", "output")).state_only
    assert not Ref("inputs", ("a", "state")).state_only


def test_loop_variables_are_no_references() -> None:
    prompt = "{% for item in steps.a.items %}{{ loop.index }} {{ item.key }}{% else %}{{ inputs.x }}{% endfor %}"

    assert refs(prompt, blocks=True) == [("steps", ("a", "items"), False), ("inputs", ("x",), False)]


def test_prompts_have_conditions_and_one_level_of_loops() -> None:
    prompt = (
        "Items:\n{% for x in steps.fetch.output.items if x.name %}\n- {{ loop.index }}/{{ loop.length }} {{ x.name }}\n"
        "{% endfor %}\n{% if inputs.dry_run %}dry{% elif inputs.issue == 7 %}seven{% else %}?{% endif %}\nend\n"
    )

    assert render(prompt, CONTEXT, blocks=True) == "Items:\n- 1/2 b\n- 2/2 a\nseven\nend\n"


def test_a_prompt_is_text_even_when_it_is_one_expression() -> None:
    assert render("{{ inputs.issue }}", CONTEXT, blocks=True) == "7"
    assert render("{{ inputs.issue + 1 }}", CONTEXT, blocks=True) == "8"
    assert render_text("{{ vars.envs }}", CONTEXT) == '["py311","py312"]'
    assert render_text("{{ inputs.issue + 1 }}", CONTEXT) == "8"


@pytest.mark.parametrize(
    ("text", "word", "underlined", "fix"),
    [
        ("a {{ inputs.issue", "never closed", "{{", "'{{'"),
        ("{{ inputs.issue | uper }}", "no filter", "uper", "upper"),
        ("{{ inputs.issue is nome }}", "no test", "nome", "none"),
        ("{{ input.issue }}", "no name", "input.issue", "inputs"),
        ("{{ bug }}", "no name", "bug", "'bug'"),
        ("{{ steps[inputs.issue].text }}", "cannot be known", "steps", "steps.ID"),
        ("{{ steps }}", "cannot be known", "steps", "steps.ID"),
        ("{{ steps.fetch.text.upper() }}", "calls", "(", "| upper"),
        ("{{ inputs._x }}", "start with `_`", "._x", "['_x']"),
        ("{{ inputs.issue | round(digits=2) }}", "no argument", "round", ""),
        ("{{ inputs.issue | upper(1) }}", "no arguments", "upper", ""),
        ("{{ inputs.issue | replace('a') }}", "needs old and new", "replace", ""),
        ("{{ vars.envs | map('upper') }}", "named arguments", "map", ""),
        ("{{ vars.envs | select('odd') }}", "name of a test", "'", ""),
        ("{{ 'a' if inputs.issue }}", "no `else`", "'", "else ''"),
        ("{% if inputs.issue %}x{% endif %}", "prompts only", "{%", "if condition else"),
        ("{{ secrets.TOKEN | upper }}", "stands alone", "secrets.TOKEN", "env"),
        ("{{ 'x' ~ secrets.TOKEN }}", "stands alone", "secrets.TOKEN", "env"),
        ("{{ secrets.TOKEN.x }}", "stands alone", "secrets.TOKEN.x", "env"),
        ("{{ secrets }}", "stands alone", "secrets", "env"),
        ("{{ 'abc }}", "never closed", "'", "'"),
        ("{{ (1 }}", "closes nothing", "}", ""),
        ("{{ }}", "cannot be read", "", ""),
        ("{{ 1 2 }}", "cannot be read", "2", ""),
        ("{{ inputs.a ; 1 }}", "no part", ";", ""),
        ("{{ {1: 2} }}", "key of a map", "1", ""),
        ("{{ [*inputs.a] }}", "cannot be read", "*", ""),
        ("{{ inputs.a | default(*vars.envs) }}", "`*` and `**`", "default", ""),
        ("{{ 0x10 }}", "cannot be read", "0", ""),
        ("{{ 1e999 }}", "too large", "1e999", ""),
    ],
)
def test_a_mistake_is_named_underlined_and_answered(text: str, word: str, underlined: str, fix: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)

    error = caught.value
    assert word in error.message
    assert text[error.offset : error.offset + error.length].startswith(underlined)
    assert fix in (error.fix or "")


@pytest.mark.parametrize(
    "prompt",
    [
        "{% set x = 1 %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% macro m() %}{% endmacro %}",
        "{% raw %}{% endraw %}",
        "{% block b %}{% endblock %}",
        "{% extends 'x' %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with x = 1 %}{% endwith %}",
        "{% call x() %}{% endcall %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% for a in vars.envs %}{% for b in vars.envs %}{% endfor %}{% endfor %}",
        "{% for a in vars.envs recursive %}{% endfor %}",
        "{% for a, b in vars.envs %}{% endfor %}",
        "{% for inputs in vars.envs %}{% endfor %}",
        "{% for loop in vars.envs %}{% endfor %}",
        "{% for x in vars.envs %}{{ loop }}{% endfor %}",
        "{% for x in vars.envs %}{{ loop.cycle }}{% endfor %}",
        "{% for x in vars.envs %}{{ loop.previtem.x }}{% endfor %}",
        "{% for x in vars.envs %}{{ loop['index'].x }}{% endfor %}",
        "{{ loop.index }}",
        "{% if inputs.issue %}",
        "{% endif %}",
        "{% if %}x{% endif %}",
        "{% %}",
        "{% if inputs.issue",
        "{% for x in vars.envs %}{% endfor %}{{ x }}",
        "{% if secrets.TOKEN %}{% endif %}",
    ],
)
def test_prompts_hold_no_other_statement(prompt: str) -> None:
    with pytest.raises(TemplateError):
        parse(prompt, blocks=True)


def test_an_absent_value_is_told_by_its_path_and_what_is_there() -> None:
    for text in ("{{ steps.fetch.output.tyype }}", "x {{ steps.fetch.output.tyype | upper }}"):
        error = fails(text)
        assert "`steps.fetch.output.tyype` is absent" in error.message
        assert "items, type, price" in error.message
        assert error.fix == "did you mean `type`?"
        assert text[error.offset : error.offset + error.length] == "steps.fetch.output.tyype"

    assert "`vars.envs[5]` is absent: `vars.envs` has 2 items" in fails("{{ vars.envs[5] }}").message
    assert "`inputs.issue` is a number" in fails("{{ inputs.issue.x.y }}").message
    assert "`inputs.nope` is absent" in fails("{{ 1 + inputs.nope }}").message
    assert "`matrix` is absent" in fails("{{ matrix.env }}").message
    assert "`matrix` is absent" in fails("{{ matrix.env | upper }}").message
    assert "`inputs.nope` is absent" in fails("{{ inputs.nope if 1 == 1 else inputs.issue }}").message
    assert "`nope` is absent: the value there has issue" in fails("{{ inputs['no' ~ 'pe'] }}").message
    assert "empty list" in fails("{{ [] | first }}").message


@pytest.mark.parametrize(
    "expression",
    [
        "not inputs.nope",
        "inputs.nope and true",
        "inputs.nope == 1",
        "1 in inputs.nope",
        "inputs.nope is none",
        "inputs.nope | length",
        "[inputs.nope]",
        "{'a': inputs.nope}",
        "-inputs.nope",
        "'a' ~ inputs.nope",
        "inputs.nope[0:1]",
        "'a' | replace('a', inputs.nope)",
        "vars.envs | join(d=inputs.nope)",
        "inputs.nope | default(inputs.nope2)",
        "inputs.nope | default(not inputs.nope2)",
        "1 if inputs.nope else 2",
        "inputs.nope",
        "inputs[inputs.nope]",
    ],
)
def test_a_strict_reading_of_an_absent_value_never_passes_silently(expression: str) -> None:
    with pytest.raises(TemplateError, match="absent"):
        evaluate(expression, CONTEXT)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.nope", None),
        ("inputs.nope | upper", None),
        ("inputs.nope == 'x'", False),
        ("inputs.nope is none", True),
        ("not inputs.nope", True),
        ("[inputs.nope, 1]", [None, 1]),
        ("'a' ~ inputs.note", "a"),
        ("inputs.nope.deep[0].er", None),
        ("steps.fetch.output.items | map(attribute='n')", [2, None]),
        ("(inputs.nope == 'x') | default(true)", True),
    ],
)
def test_in_tolerant_reading_an_absent_value_is_none(expression: str, value: object) -> None:
    assert evaluate(expression, CONTEXT, tolerant=True) == value


def test_none_inside_longer_text_is_empty_only_in_tolerant_reading() -> None:
    for text in ("[{{ inputs.note }}]", "[{{ inputs.note | default(none) | default('a') }}]"):
        assert render(text, CONTEXT, tolerant=True) == "[]"
        error = fails(text)
        assert "is none" in error.message
        assert "default('', true)" in (error.fix or "")
        assert text[error.offset : error.offset + error.length].startswith("inputs.note")
    assert render("[{{ inputs.nope }}{{ inputs.nope | upper }}]", CONTEXT, tolerant=True) == "[]"


def test_a_condition_must_be_true_or_false() -> None:
    assert truth("inputs.issue > 3", CONTEXT) is True
    assert truth("inputs.nope == 3", CONTEXT, tolerant=True) is False
    with pytest.raises(TemplateError, match="gives a number"):
        truth("inputs.issue", CONTEXT)
    with pytest.raises(TemplateError, match="gives none"):
        truth("inputs.nope", CONTEXT, tolerant=True)


def test_a_bare_expression_needs_no_braces_and_takes_no_secret() -> None:
    with pytest.raises(TemplateError, match="bare expression already"):
        parse_expression("{{ inputs.x }}")
    with pytest.raises(TemplateError, match="stands alone"):
        parse_expression("secrets.TOKEN == 'x'")
    with pytest.raises(TemplateError, match="empty"):
        parse_expression("  ")
    with pytest.raises(TemplateError, match="cannot be read"):
        parse_expression("inputs.x inputs.y")


@pytest.mark.parametrize(
    ("expression", "constant"),
    [
        ("true", True),
        ("not true", False),
        ("inputs.x or true", True),
        ("false and inputs.x", False),
        ("inputs.x and true", None),
        ("1 < 2", True),
        ("'a' in ['b']", False),
        ("inputs.x", None),
        ("true if 1 == 1 else inputs.x", True),
        ("'text'", None),
        ("'a' * 10 == 'a'", None),
    ],
)
def test_a_condition_that_never_changes_is_known(expression: str, constant: bool | None) -> None:
    assert parse_expression(expression).always is constant


def test_comparisons_with_text_are_listed() -> None:
    found = parse_expression(
        "steps.a.text == 'x' or 'y' != steps.b.text or steps.c.text in ['p', 'q'] or 'z' in steps.d.text"
    )

    assert [(ref.path, literal) for ref, literal in found.comparisons] == [
        (("a", "text"), "x"),
        (("b", "text"), "y"),
        (("c", "text"), "p"),
        (("c", "text"), "q"),
    ]


def test_a_leaf_is_cut_at_its_secrets() -> None:
    assert segments("no secret {{ inputs.x }}") == ("no secret {{ inputs.x }}",)
    assert segments("{{ secrets.TOKEN }}") == (SecretRef("TOKEN"),)
    assert segments("Bearer {{ secrets.TOKEN }}") == ("Bearer ", SecretRef("TOKEN"))
    assert segments("{{ secrets.A }}:{{ inputs.x | upper }}{{ secrets['B'] }}") == (
        SecretRef("A"),
        ":{{ inputs.x | upper }}",
        SecretRef("B"),
    )
    assert parse("{{ secrets.A }}{{ secrets.A }}").secrets == ("A",)
    with pytest.raises(TemplateError):
        segments("{{ secrets.A | default('') }}")


def test_a_tree_is_rendered_in_its_leaves_only_and_kept_where_nothing_changes() -> None:
    untouched = {"list": [1, {"a": "b"}]}
    tree = {"{{ inputs.issue }}": ["{{ inputs.issue }}", 1, None], "deep": untouched}

    result = render_tree(tree, CONTEXT)

    assert result == {"{{ inputs.issue }}": [7, 1, None], "deep": untouched}
    assert result["deep"] is untouched
    assert tree["{{ inputs.issue }}"] == ["{{ inputs.issue }}", 1, None]


def test_a_template_is_found_anywhere_but_in_keys() -> None:
    assert has_template({"a": [1, {"b": "x {{ y }}"}]})
    assert has_template("{% if x %}")
    assert not has_template({"{{ a }}": ["x", 1, None, {"b": "}}"}]})


def test_what_a_step_returned_is_never_rendered() -> None:
    context = {"steps": {"a": {"text": "{{ inputs.issue }} {% if x %}"}}, "inputs": {"issue": 7}}

    assert render("{{ steps.a.text }}", context) == "{{ inputs.issue }} {% if x %}"
    assert render("<{{ steps.a.text | trim }}>", context) == "<{{ inputs.issue }} {% if x %}>"


def test_whole_values_are_passed_on_without_a_copy() -> None:
    assert render("{{ vars.envs }}", CONTEXT) is CONTEXT["vars"]["envs"]
    assert render("{{ vars.nope | default(vars.envs) }}", CONTEXT) is CONTEXT["vars"]["envs"]


def test_a_default_literal_is_new_each_time() -> None:
    render("{{ inputs.nope | default([]) }}", CONTEXT).append(1)

    assert render("{{ inputs.nope | default([]) }}", CONTEXT) == []


def test_text_that_is_no_number_is_not_made_one_silently() -> None:
    assert "int(0)" in (fails("{{ 'abc' | int }}").fix or "")


def test_plain_templates_never_import_jinja() -> None:
    code = (
        "import sys; from runner.templating import parse, render, segments\n"
        "context = {'steps': {'a': {'output': {'b': [1]}}}, 'inputs': {'x': None}}\n"
        "assert render('{{ steps.a.output.b[0] }}', context) == 1\n"
        "assert render('a {{ steps.a.output }} {{ inputs.y | default(\"z\") }}', context) == 'a {\"b\":[1]} z'\n"
        "segments('x {{ secrets.TOKEN }}')\n"
        "assert 'jinja2' not in sys.modules"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""
