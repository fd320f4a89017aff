"""How mistakes are shown: text for terminals, JSON for tools, paths, suggestions."""

from __future__ import annotations

import json

import pytest

from runner.diagnostics.model import Diagnostic, Loc
from runner.diagnostics.render import path_text, to_json, to_text
from runner.source import Span


def diagnostic(span: Span | None, **changes: object) -> Diagnostic:
    fields: dict[str, object] = {
        "severity": "error",
        "rule": "unknown-key",
        "path": "steps.a",
        "message": "no such key",
    }
    return Diagnostic("m.yaml", span, **{**fields, **changes})  # type: ignore[arg-type]


def shown(line: str, column: int, end_column: int) -> list[str]:
    text = to_text([diagnostic(Span(1, column, 1, end_column))], {"m.yaml": line})
    return text.split("\n")[1:]


def test_a_diagnostic_shows_place_rule_path_line_caret_and_fix() -> None:
    one = diagnostic(Span(2, 3, 2, 9), fix="did you mean `timeout`?", notes=((Span(1, 1, 1, 2), "it begins here"),))
    assert to_text([one], {"m.yaml": "a:\n  timout: 5m\n"}).split("\n") == [
        "m.yaml:2:3: error[unknown-key]: steps.a: no such key",
        "2 |   timout: 5m",
        "  |   ^~~~~~",
        "  = note: line 1: it begins here",
        "1 | a:",
        "  | ^",
        "  = help: did you mean `timeout`?",
    ]


def test_the_gutter_is_as_wide_as_the_largest_line_number() -> None:
    one = diagnostic(Span(12, 1, 12, 2), notes=((Span(9, 1, 9, 2), "here"),))
    lines = to_text([one], {"m.yaml": "x\n" * 12}).split("\n")
    assert [line.index("|") for line in lines if "|" in line] == [3, 3, 3, 3]


def test_without_a_place_or_a_source_only_the_message_is_shown() -> None:
    assert to_text([diagnostic(None, path="")], {}) == "m.yaml: error[unknown-key]: no such key"
    assert to_text([diagnostic(Span(1, 1, 1, 2))], {}) == "m.yaml:1:1: error[unknown-key]: steps.a: no such key"
    assert to_text([diagnostic(Span(9, 1, 9, 2))], {"m.yaml": "a"}).count("\n") == 0


def test_a_stretch_of_several_lines_is_underlined_on_its_first() -> None:
    text = to_text([diagnostic(Span(1, 4, 3, 2))], {"m.yaml": "a: {\n  b: 1\n}"})
    assert text.split("\n")[1:] == ["1 | a: {", "  |    ^"]


@pytest.mark.parametrize(
    ("line", "column", "end", "source", "caret"),
    [
        ("a: é: b", 4, 5, "a: é: b", "   ^"),
        ("\ta: b", 2, 3, "    a: b", "    ^"),
        ("a:\tbc", 4, 6, "a:    bc", "      ^~"),
        ("日本: x", 5, 6, "日本: x", "      ^"),
        ("a: 日本", 4, 6, "a: 日本", "   ^~~~"),
        ("e\u0301: x", 5, 6, "e\u0301: x", "   ^"),
        ("a: x", 5, 5, "a: x", "    ^"),
        ("a: x", 90, 95, "a: x", "    ^"),
    ],
)
def test_carets_stand_under_wide_and_narrow_characters(
    line: str, column: int, end: int, source: str, caret: str
) -> None:
    assert shown(line, column, end) == [f"1 | {source}", f"  | {caret}"]


def test_long_lines_are_cut_around_the_caret() -> None:
    source, caret = shown("x" * 5000 + "HERE" + "y" * 5000, 5001, 5005)
    assert len(source) < 120
    assert source[caret.index("^") : caret.index("^") + 4] == "HERE"
    assert source.startswith("1 | …")
    assert source.endswith("…")
    source, caret = shown("x" * 5000 + "HERE", 5001, 5005)
    assert source.endswith("HERE")
    assert source[caret.index("^") :] == "HERE"


def test_a_long_underline_ends_with_the_window() -> None:
    source, caret = shown("a: " + "x" * 5000, 4, 5004)
    assert len(caret) <= len(source)


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x9b2J", "\x07", "\r", "\x00", "\u202e", "\u2028", "\x7f", "\ud800", "\u200b"]
)
def test_nothing_that_a_terminal_obeys_is_sent(evil: str) -> None:
    one = Diagnostic(
        f"a{evil}b",
        Span(1, 1, 1, 2),
        "error",
        "limit",
        f"p{evil}",
        f"m{evil}",
        f"f{evil}",
        ((Span(1, 1, 1, 2), f"n{evil}"),),
    )
    text = to_text([one], {one.file: f"x{evil}y"})
    assert not set(evil) & set(text) - set("[2J")
    text.encode("utf-8")


def test_line_breaks_in_messages_cannot_forge_lines() -> None:
    one = diagnostic(None, message="x\nother.yaml:1:1: error: forged", path="a\nb")
    assert "\n" not in to_text([one], {})


def test_a_fix_may_have_several_lines() -> None:
    text = to_text([diagnostic(None, fix="write\n  a: 1")], {})
    assert text.split("\n")[1:] == ["  = help: write", "            a: 1"]


def test_colours_are_sent_only_when_asked_for() -> None:
    one = diagnostic(Span(1, 1, 1, 2), fix="f")
    assert "\x1b" not in to_text([one], {"m.yaml": "a"})
    colored = to_text([one], {"m.yaml": "a"}, color=True)
    assert "\x1b[1;31merror[unknown-key]\x1b[0m" in colored


def test_json_is_the_contract_of_validate() -> None:
    found = [diagnostic(Span(2, 3, 2, 9), fix="f"), diagnostic(None, severity="note")]
    document = to_json(found, 3)
    assert document == {
        "version": 1,
        "files": 3,
        "diagnostics": [
            {
                "file": "m.yaml",
                "line": 2,
                "column": 3,
                "severity": "error",
                "rule": "unknown-key",
                "path": "steps.a",
                "message": "no such key",
                "fix": "f",
            },
            {
                "file": "m.yaml",
                "line": None,
                "column": None,
                "severity": "note",
                "rule": "unknown-key",
                "path": "steps.a",
                "message": "no such key",
                "fix": None,
            },
        ],
    }
    json.dumps(document)


def test_a_file_name_that_is_no_text_can_still_be_encoded() -> None:
    one = Diagnostic("a\udcff.yaml", None, "error", "limit", "", "m")
    json.dumps(to_json([one], 1), ensure_ascii=False).encode("utf-8")
    to_text([one], {}).encode("utf-8")


@pytest.mark.parametrize(
    ("loc", "text"),
    [
        ((), ""),
        (("steps", "fetch", "with", "number"), "steps.fetch.with.number"),
        (("steps", "a", "checks", 0), "steps.a.checks[0]"),
        ((0, "a"), "[0].a"),
        (("inputs", "note?"), "inputs.note?"),
        (("env", "a b"), 'env["a b"]'),
        (("env", 'a"b'), 'env["a\\"b"]'),
        (("env", ""), 'env[""]'),
        (("open-pr",), "open-pr"),
    ],
)
def test_paths_read_like_the_language(loc: Loc, text: str) -> None:
    assert path_text(loc) == text


def test_a_byte_order_mark_does_not_move_the_caret() -> None:
    text = to_text([diagnostic(Span(1, 1, 1, 2))], {"m.yaml": "\ufeffa: 1"})
    assert text.split("\n")[1:] == ["1 | a: 1", "  | ^"]
