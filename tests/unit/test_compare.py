"""The diffs that `runner diff` shows: short, and never a riddle."""

from __future__ import annotations

import pytest

from runner.api.compare import MOST_COMPARED, MOST_DIFF_LINES, text_diff


def test_equal_texts_have_no_diff() -> None:
    assert list(text_diff("a\nb", "a\nb")) == []


def test_a_diff_has_a_little_context_and_no_file_names() -> None:
    before = "\n".join(str(number) for number in range(20))
    after = before.replace("10", "ten")
    assert list(text_diff(before, after)) == ["@@ -9,5 +9,5 @@", " 8", " 9", "-10", "+ten", " 11", " 12"]


def test_a_long_diff_is_cut_and_says_by_how_much() -> None:
    lines = list(text_diff("", "\n".join(str(number) for number in range(100))))
    assert len(lines) == MOST_DIFF_LINES + 1
    assert lines[-1] == f"… {101 - MOST_DIFF_LINES} lines more"


def test_very_long_texts_are_not_compared_line_by_line() -> None:
    [line] = text_diff("x\n" * (MOST_COMPARED + 1), "y")
    assert "too long to compare" in line


@pytest.mark.parametrize(("a", "b"), [("a\n", "a"), ("a\r\nb", "a\nb")])
def test_texts_that_differ_only_in_how_lines_end_are_said_to(a: str, b: str) -> None:
    assert list(text_diff(a, b)) == ["(they differ only in how lines end)"]
