"""Places: where keys, values and parts of values are in the file, and how problems in data become diagnostics."""

from __future__ import annotations

import pytest

from runner.diagnostics.model import Diagnostic, Loc, Problem
from runner.source import Span
from runner.syntax import Document, arrange, place, read

SAMPLE = """\
ares: v1
name: "fix issue"
steps:
  fetch:   # runner: ignore[always-true, unused-axis]
    tool: github.get_issue
    with: {number: 7, 'quoted key': [a, "b c"]}
    prompt: |
      First {{ inputs.a }}

        then {{ inputs.b }}
    folded: >-
      one {{ inputs.c }}
      two {{ inputs.c }}
    empty:
  other:
    - x
    -   y: 1
        z:
          - 2   # comment
# the end
"""


def document(text: str = SAMPLE) -> Document:
    return read(text.encode(), "m.yaml")[0][0]


def cut(text: str, span: Span) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if span.line == span.end_line:
        return lines[span.line - 1][span.column - 1 : span.end_column - 1]
    inner = lines[span.line : span.end_line - 1]
    return "\n".join([lines[span.line - 1][span.column - 1 :], *inner, lines[span.end_line - 1][: span.end_column - 1]])


@pytest.mark.parametrize(
    ("loc", "value", "key"),
    [
        (("ares",), Span(1, 7, 1, 9), Span(1, 1, 1, 5)),
        (("name",), Span(2, 7, 2, 18), Span(2, 1, 2, 5)),
        (("steps", "fetch"), Span(5, 5, 14, 11), Span(4, 3, 4, 8)),
        (("steps", "fetch", "with"), Span(6, 11, 6, 48), Span(6, 5, 6, 9)),
        (("steps", "fetch", "with", "number"), Span(6, 20, 6, 21), Span(6, 12, 6, 18)),
        (("steps", "fetch", "with", "quoted key"), Span(6, 37, 6, 47), Span(6, 23, 6, 35)),
        (("steps", "fetch", "with", "quoted key", 1), Span(6, 41, 6, 46), Span(6, 41, 6, 46)),
        (("steps", "fetch", "prompt"), Span(7, 13, 10, 28), Span(7, 5, 7, 11)),
        (("steps", "fetch", "empty"), Span(14, 5, 14, 10), Span(14, 5, 14, 10)),
        (("steps", "other"), Span(16, 5, 19, 14), Span(15, 3, 15, 8)),
        (("steps", "other", 1, "z", 0), Span(19, 13, 19, 14), Span(19, 13, 19, 14)),
    ],
)
def test_values_and_keys_are_located_exactly(loc: Loc, value: Span, key: Span) -> None:
    assert document().locate(loc) == value
    assert document().locate(loc, "key") == key


@pytest.mark.parametrize(
    ("loc", "text"),
    [
        (("nothing",), "a"),
        (("steps", "fetch", "timeout"), "fetch"),
        (("steps", "fetch", "with", "missing", 3), "with"),
        (("steps", "other", 7), "other"),
        (("steps", "other", 1, "nope"), "y"),
        (("steps", "fetch", 0), "fetch"),
        (("ares", "x"), "ares"),
    ],
)
def test_what_is_not_there_points_at_the_nearest_part_around_it(loc: Loc, text: str) -> None:
    assert cut(SAMPLE, document().locate(loc)) == text
    assert not document().has(loc)


def test_has_knows_every_place_of_the_data() -> None:
    one = document()
    assert one.has(())
    assert one.has(("steps", "fetch", "empty"))
    assert one.has(("steps", "other", 1, "z", 0))
    assert not one.has(("steps", "other", -1))


@pytest.mark.parametrize(
    ("loc", "words", "line", "column"),
    [
        (("steps", "fetch", "tool"), "get_issue", 5, 18),
        (("name",), "issue", 2, 12),
        (("steps", "fetch", "with", "quoted key", 1), "c", 6, 44),
        (("steps", "fetch", "prompt"), "inputs.a", 8, 16),
        (("steps", "fetch", "prompt"), "inputs.b", 10, 17),
    ],
)
def test_a_part_of_a_scalar_is_located_exactly(loc: Loc, words: str, line: int, column: int) -> None:
    one = document()
    value = one.data
    for part in loc:
        value = value[part]
    span = one.locate(loc, within=(value.index(words), len(words)))
    assert span == Span(line, column, line, column + len(words))


def test_the_second_of_the_same_words_in_a_folded_block_is_found() -> None:
    one = document()
    value = one.data["steps"]["fetch"]["folded"]
    span = one.locate(("steps", "fetch", "folded"), within=(value.rindex("inputs.c"), 8))
    assert span == Span(13, 14, 13, 22)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('a: "x\\n{{ b.c }} y"\n', "b.c"),
        ("a: 'it''s {{ b.c }}'\n", "b.c"),
        ("a: one\n  {{ b.c }} two\n", "b.c"),
        ('a: "one\n\n  {{ b.c }} two"\n', "b.c"),
        ("a: |2\n    x {{ b.c }}\n", "b.c"),
        ("a: |- # b.c\n  x\n  {{ b.c }}\n", "b.c"),
        ("a: &x\n  '{{ b.c }}'\n", "b.c"),
        ("a: |\r\n  x\r\n  {{ b.c }}\r\n", "b.c"),
        ("é: 😀 {{ b.c }}\n", "b.c"),
    ],
)
def test_parts_are_found_through_escapes_folding_and_indentation(text: str, words: str) -> None:
    one = document(text)
    (key,) = one.data
    span = one.locate((key,), within=(one.data[key].index(words), len(words)))
    assert cut(text, span) == words
    assert span.column > 1


def test_a_part_that_cannot_be_told_gives_the_whole_scalar() -> None:
    text = 'a: "\\x7b\\x7b b }}"\n'
    assert document(text).locate(("a",), within=(0, 2)) == Span(1, 4, 1, 19)


@pytest.mark.parametrize("within", [(0, 0), (5, 0), (900, 5), (-3, 2), (0, 10_000)])
def test_any_part_of_any_scalar_stays_inside_the_file(within: tuple[int, int]) -> None:
    one = document()
    for loc in [
        ("ares",),
        ("name",),
        ("steps", "fetch", "prompt"),
        ("steps", "fetch", "folded"),
        ("steps", "fetch", "empty"),
    ]:
        span = one.locate(loc, within=within)
        assert 1 <= span.line <= span.end_line <= 21


def test_an_alias_and_a_merged_key_are_where_they_were_written() -> None:
    text = "base: &b\n  run: [x]\nuse:\n  <<: *b\n  a: 1\nagain: *b\n"
    one = document(text)
    assert one.locate(("use", "run", 0)) == Span(2, 9, 2, 10)
    assert one.locate(("again", "run"), "key") == Span(2, 3, 2, 6)
    assert one.locate(("use",)).end_line <= 5


def test_ignore_comments_are_read_from_their_line() -> None:
    one = document()
    assert one.ignored(4) == {"always-true", "unused-axis"}
    assert one.ignored(5) == frozenset()
    assert one.ignored(900) == frozenset()


def texts(found: list[Diagnostic]) -> list[tuple[str, str]]:
    return [(one.rule, one.severity) for one in found]


def test_problems_become_diagnostics_sorted_by_place_each_once() -> None:
    problems = [
        Problem("unknown-key", ("steps", "other"), "second", on="key"),
        Problem("wrong-type", ("name",), "first", fix="do"),
        Problem("unknown-key", ("steps", "other"), "second", on="key"),
    ]
    first, second = place(problems, [document()])
    assert first == Diagnostic("m.yaml", Span(2, 7, 2, 18), "error", "wrong-type", "name", "first", "do")
    assert (second.path, second.span) == ("steps.other", Span(15, 3, 15, 8))


def test_ignore_comments_silence_warnings_but_never_errors() -> None:
    problems = [
        Problem("always-true", ("steps", "fetch"), "w", on="key"),
        Problem("unknown-key", ("steps", "fetch"), "e", on="key"),
        Problem("dead-cron", ("steps", "fetch"), "w", on="key"),
    ]
    assert texts(place(problems, [document()])) == [("dead-cron", "warning"), ("unknown-key", "error")]


def test_a_comment_that_names_an_error_silences_nothing() -> None:
    text = "ares: v1 # runner: ignore[wrong-value]\n"
    assert texts(place([Problem("wrong-value", ("ares",), "e")], [document(text)])) == [("wrong-value", "error")]


def test_a_problem_is_placed_in_the_first_document_that_has_it() -> None:
    manifest = read(b"name: m\ndefaults: {}\n", "m.yaml")[0][0]
    partial = read(b"ares: v1\ndefaults: {timeout: 5x}\n", "p.yaml")[0][0]
    (inside,) = place([Problem("duration", ("defaults", "timeout"), "no")], [manifest, partial])
    assert (inside.file, inside.span) == ("p.yaml", Span(2, 21, 2, 23))
    (nowhere,) = place([Problem("missing-key", ("defaults", "env", "x"), "no")], [manifest, partial])
    assert (nowhere.file, nowhere.span) == ("m.yaml", Span(2, 1, 2, 9))


def test_nobody_complains_twice_about_a_value_that_could_not_be_read() -> None:
    documents, diagnostics = read(b"when: a == 'b: c'\nn: .nan\nm: 1\n", "m.yaml")
    assert len(diagnostics) == 2
    problems = [Problem("wrong-type", (key,), "no") for key in ("when", "n", "m")]
    assert [one.path for one in place(problems, documents)] == ["m"]


def test_errors_are_kept_before_warnings_when_there_are_too_many() -> None:
    warnings = [Diagnostic("f", Span(line, 1, line, 2), "warning", "always-true", "", "w") for line in range(1, 80)]
    error = Diagnostic("f", Span(99, 1, 99, 2), "error", "cycle", "", "e")
    other = Diagnostic("g", None, "error", "limit", "", "e")
    found = arrange([*warnings, error, other])
    assert [one.rule for one in found].count("always-true") == 49
    assert error in found
    assert found[-1] == other
    assert [one.message for one in found if one.rule == "too-many"] == ["30 more mistakes in this file are not shown"]
