"""Syntax errors: the place, the reason in words, and a fix that can be pasted."""

from __future__ import annotations

import pytest

from runner.syntax import read


@pytest.mark.parametrize(
    ("text", "rule", "span", "fix"),
    [
        ("a: {{ x }}: b\n", "quote-template", (1, 4, 1, 14), '"{{ x }}: b"'),
        ("a: {{ x }} b # c\n", "quote-template", (1, 4, 1, 13), '"{{ x }} b"'),
        ("a: {{ x | f('') }}\n", "quote-template", (1, 4, 1, 19), "\"{{ x | f('') }}\""),
        ('a: {{ x["y"] }}\n', "quote-template", (1, 4, 1, 16), "'{{ x[\"y\"] }}'"),
        ("s:\n  - {{ x }} y\n", "quote-template", (2, 5, 2, 14), '"{{ x }} y"'),
        ("a: {n: {{ x }}, m: 1}\n", "quote-template", (1, 8, 1, 15), '"{{ x }}"'),
        ("a:\n\tb: 1\n", "yaml-tab", (2, 1, 2, 2), "spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "yaml-tab", (3, 1, 3, 2), "spaces"),
        ("when: inputs.a == 'x: y'\n", "quote-expression", (1, 7, 1, 25), "\"inputs.a == 'x: y'\""),
        ("s:\n  when: 'a' == b\n", "quote-expression", (2, 9, 2, 17), "\"'a' == b\""),
        ('when: "a" in x\n', "quote-expression", (1, 7, 1, 15), "'\"a\" in x'"),
        ("when: [1,2] | length > 1\n", "quote-expression", (1, 7, 1, 25), '"[1,2] | length > 1"'),
        ("c:\n  - expr: output == {a: 1}\n", "quote-expression", (2, 11, 2, 27), '"output == {a: 1}"'),
        ("c: [{expr: x == 'a: b'}]\n", "quote-expression", (1, 19, 1, 20), "quote the expression"),
        ("a: b: c\n", "yaml-syntax", (1, 4, 1, 8), '"b: c"'),
        ("a: 'b' c\n", "yaml-syntax", (1, 4, 1, 9), "\"'b' c\""),
        ("f: [**/*.py, b]\n", "yaml-syntax", (1, 5, 1, 12), '"**/*.py"'),
        ("f: @x\n", "yaml-syntax", (1, 4, 1, 6), '"@x"'),
        ("a: 'x\nb: 2\n", "yaml-syntax", (1, 4, 1, 5), "closing quote"),
        ("a: 1\nb: [1,\n", "yaml-syntax", (2, 4, 2, 5), "close it"),
        ("a: {b: 1\nc: 2\n", "yaml-syntax", (2, 2, 2, 3), "close the map"),
        ('a: "\\q"\n', "yaml-syntax", (1, 5, 1, 6), "single quotes"),
        ("a: |x\n  b\n", "yaml-syntax", (1, 5, 1, 6), "next line"),
        ("k: - a\n", "yaml-syntax", (1, 4, 1, 5), "a line of its own"),
        ("a: 1\nb\nc: 2\n", "yaml-syntax", (2, 1, 2, 2), "key: value"),
        ("a:\n  b: 1\n c: 2\n", "yaml-syntax", (3, 2, 3, 3), "indentation"),
        ("a: 1\n... b\n", "yaml-syntax", (2, 5, 2, 6), "---"),
        ("a: ]\n", "yaml-syntax", (1, 4, 1, 5), "bracket"),
    ],
)
def test_a_syntax_error_has_its_place_and_a_fix(text: str, rule: str, span: tuple[int, ...], fix: str) -> None:
    (diagnostic,) = read(text.encode(), "f.yaml")[1]
    assert diagnostic.rule == rule
    assert diagnostic.span == span
    assert fix in (diagnostic.fix or "")


def test_an_unclosed_bracket_names_where_it_begins() -> None:
    (diagnostic,) = read(b"a: {b: 1\nc: 2\n", "f.yaml")[1]
    assert [(span.line, span.column, text) for span, text in diagnostic.notes] == [(1, 4, "the map begins here")]


def test_the_path_of_a_syntax_error_is_where_reading_was() -> None:
    (diagnostic,) = read(b"steps:\n  a:\n    with: {n: {{ inputs.x }}}\n", "f.yaml")[1]
    assert diagnostic.path == "steps.a.with.n"


@pytest.mark.parametrize(
    "value", ["'{{ x }}'", '"{{ x }}"', "|\n  {{ x }}", ">-\n  {{ x }}", "echo {{ x }}", "a {{ x }} b"]
)
def test_templates_that_yaml_reads_as_text_are_left_alone(value: str) -> None:
    assert read(f"a: {value}\n".encode(), "f.yaml")[1] == []


def test_a_good_fix_makes_the_text_good() -> None:
    text = "when: inputs.a == 'x: y'\n"
    (diagnostic,) = read(text.encode(), "f.yaml")[1]
    fixed = "when: " + (diagnostic.fix or "").partition(": ")[2]
    documents, left = read(fixed.encode(), "f.yaml")
    assert left == []
    assert documents[0].data == {"when": "inputs.a == 'x: y'"}
