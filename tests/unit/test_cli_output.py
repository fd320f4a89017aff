"""How text reaches a terminal."""

from __future__ import annotations

import io

import click
import pytest

from runner.cli.nearest import nearest
from runner.cli.output import columns, out_json, safe, wants_color
from runner.errors import RunnerError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_control_characters_are_made_visible_and_lines_stay() -> None:
    assert safe("a\x1b[31mred\nb\tc\x9b2J\r") == "a\\x1b[31mred\nb\tc\\x9b2J\\x0d"


def test_what_turns_the_direction_of_text_and_what_is_no_text_is_made_visible() -> None:
    assert safe("a\u202eb\udcff") == "a\\u202eb\\udcff"


def test_no_color_wins_over_a_terminal_and_loses_against_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_color("auto", Terminal())
    assert not wants_color("auto", io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color("auto", Terminal())
    assert wants_color("always", io.StringIO())
    assert not wants_color("never", Terminal())


def test_columns_are_aligned_although_cells_have_colours() -> None:
    lines = columns([["a", click.style("bb", fg="red"), "x"], ["ccc", "d", "long last cell"]])
    assert [click.unstyle(line) for line in lines] == ["a    bb  x", "ccc  d   long last cell"]


def test_columns_of_nothing_are_no_lines() -> None:
    assert columns([]) == []


def test_json_that_cannot_be_written_is_an_error_and_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunnerError, match="cannot be written as JSON"):
        out_json({"good": 1, "bad": float("nan")})
    assert capsys.readouterr().out == ""


def test_json_keeps_names_that_are_no_text(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out_json({"file": "a\udcff ü"})
    assert capsysbinary.readouterr().out == '{\n  "file": "a\\udcff ü"\n}\n'.encode()


def test_a_near_word_is_suggested_and_a_far_one_is_not() -> None:
    assert nearest("aply", ["apply", "plan"]) == "; did you mean 'apply'?"
    assert nearest("zebra", ["apply", "plan"]) == ""
