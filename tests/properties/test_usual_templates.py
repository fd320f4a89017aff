"""What is read without Jinja is exactly what Jinja's grammar says of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.templating import compiled, usual
from runner.templating.model import ROOTS
from runner.templating.words import FILTERS

NAMES = st.sampled_from(["a", "output", "state", "if", "is", "not", "and", "in", "true", "_x", "é", "A1"])
LITERALS = st.sampled_from(
    ["'x'", '"y"', "''", "'\\n'", "0", "20_000", "007", "1.5", "true", "none", "None", "[]", "-1", "9" * 80]
)
SPACE = st.sampled_from(["", "", "", " ", "\n"])


@st.composite
def paths(draw: st.DrawFn) -> str:
    root = draw(st.sampled_from([*ROOTS, "other", "steps.a", "steps['a-b']"]))
    keys = st.one_of(
        st.builds(".{}{}".format, SPACE, NAMES),
        st.builds("[{}{}]".format, SPACE, LITERALS),
        st.just("[inputs.i]"),
        st.just(" .a"),
    )
    return root + "".join(draw(st.lists(keys, max_size=3)))


@st.composite
def filters(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from([*FILTERS, "other"]))
    words = st.sampled_from([*FILTERS.get(name, ()), "other", "default_value"])
    argument = st.one_of(LITERALS, st.builds("{}={}".format, words, LITERALS), paths())
    arguments = draw(st.one_of(st.just(""), st.lists(argument, max_size=3).map(lambda given: f"({', '.join(given)})")))
    return f"{draw(SPACE)}|{draw(SPACE)}{name}{arguments}"


@st.composite
def terms(draw: st.DrawFn) -> str:
    base = draw(st.one_of(paths(), paths(), paths(), LITERALS))
    filtered = base + "".join(draw(st.lists(filters(), max_size=2)))
    sign = draw(st.sampled_from(["", "", "==", "!=", "<", ">=", " in ", " is "]))
    compared = f"{filtered} {sign} {draw(st.one_of(LITERALS, paths()))}" if sign else filtered
    return draw(st.sampled_from(["", "", "not ", "not not "])) + compared


EXPRESSIONS = st.lists(terms(), min_size=1, max_size=3).flatmap(
    lambda given: st.sampled_from([" and ", " or ", " + ", " "]).map(lambda word: word.join(given))
)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_a_condition_that_is_read_without_jinja_names_what_the_full_grammar_says(text: str) -> None:
    found = usual.expression(text)

    assert found is None or found == compiled.expression(text).parsed


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.builds(
            "{}{{{{{}{} }}}}".format, st.sampled_from(["", " ", "a "]), st.sampled_from(["", "-", " "]), EXPRESSIONS
        ),
        min_size=1,
        max_size=2,
    )
)
def test_a_template_that_is_read_without_jinja_names_what_the_full_grammar_says(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = usual.template(text)

    assert found is None or found == compiled.template(text, blocks=False).parsed


@pytest.mark.parametrize(
    "text",
    [
        "text | length < 20000",
        "not inputs.dry_run",
        "steps.triage.output.risk == 'high'",
        "output.files | length > 0 and inputs.env != 'prod' or run.mode == \"normal\"",
        "steps.a.output['b-c'][0] | default('x') | upper",
        "text | replace('a', new='b') | truncate(200, end='')",
        "error.status == none",
    ],
)
def test_the_usual_conditions_are_read_without_jinja(text: str) -> None:
    assert usual.expression(text) == compiled.expression(text).parsed
    assert usual.template(f"a {{{{ {text} }}}}") == compiled.template(f"a {{{{ {text} }}}}", blocks=False).parsed


def test_reading_the_usual_templates_imports_no_jinja() -> None:
    code = (
        "import sys; from runner.templating import parse, parse_expression\n"
        "parse('{{ steps.a.text | trim | truncate(200) }}'); parse_expression('not inputs.dry and text | length < 9')\n"
        "assert 'jinja2' not in sys.modules"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""
