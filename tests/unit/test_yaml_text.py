"""What is written as YAML reads back as the same data, whatever the texts, and looks as people would write it."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.replay.yaml_text import to_yaml
from runner.syntax import read
from runner.syntax.text import CONTROL

NASTY = ("", " ", "\n", "\n\n", " a\nb", "\ta\n b", "a\n", "a\n\n\n", "a \nb", "a\r\nb", "a\u2028b\nc", "# a\nb", "- a\nb", "---\nb", "...",
         "{{ x }}", "yes", "null", "~", "1e3", "0o17", "1_000", ".5", "-", "a: b", "a #b", "'", '"', "\\", "\ufeff", "é\nü", "%a", "@a", "`a`", "*a", "&a", "!a", "|", ">", "? a", "<<")  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=12).map(lambda text: CONTROL.sub("", text)),
    st.text("ab \n\t:#-'\"{}[],", max_size=16),
)
VALUES: Any = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**12), 10**12),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda children: st.one_of(st.lists(children, max_size=4), st.dictionaries(TEXTS, children, max_size=4)),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4))
@example({"a": "x\n\n", "b": "\n y"})
@example({"a": ["x\n\n", {"b": "\n y\n"}, [["c\nd"]]]})
def test_what_is_written_reads_back_as_the_same_data(data: dict[str, Any]) -> None:
    text = to_yaml(data)
    documents, diagnostics = read(text.encode(), "written.yaml")
    assert [one.message for one in diagnostics] == []
    assert documents[0].data == data, text


def test_it_looks_as_people_would_write_it() -> None:
    text = to_yaml(
        {
            "small": {"state": "ok", "n": 1, "list": ["a b", "yes", "1"]},
            "said": "two lines,\n  and no more\n",
            "calls": [{"step": "review[a.py]", "asked": {"prompt": "Why?\nHow?"}}, "x", []],
        }
    )
    assert text == (
        'small: {state: ok, "n": 1, list: [a b, "yes", "1"]}\n'
        "said: |\n  two lines,\n    and no more\n"
        "calls:\n"
        '  - step: "review[a.py]"\n    asked:\n      prompt: |-\n        Why?\n        How?\n'
        "  - x\n  - []\n"
    )
