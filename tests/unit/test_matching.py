"""Unified diffs of long texts: right whatever is in them, and in no squared time."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from difflib import unified_diff
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.replay import matching
from runner.replay.matching import unified

TEXT = st.lists(st.sampled_from("abcdefgh"), max_size=30)


def patched(old: Sequence[str], diff: Sequence[str]) -> list[str]:
    """`old` after the diff was applied to it, as `patch` would do."""
    new: list[str] = []
    at = 0
    for line in diff[2:]:
        if found := re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line):
            start = int(found[1]) - (found[2] != "0")
            new += old[at:start]
            at = start
            assert len(new) == int(found[3]) - (found[4] != "0")
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert old[at] == line[1:]
            at += 1
            new += [line[1:]] if line[0] == " " else []
    return new + list(old[at:])


@given(TEXT, TEXT, st.integers(0, 4))
def test_small_texts_are_compared_as_the_standard_library_does(old: list[str], new: list[str], context: int) -> None:
    expected = list(unified_diff(old, new, "a", "b", n=context, lineterm=""))
    assert unified(old, new, "a", "b", context) == expected


@pytest.mark.parametrize("work", [0, 20])
@given(old=TEXT, new=TEXT)
def test_a_diff_without_time_to_compare_is_right_all_the_same(work: int, old: list[str], new: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "WORK", work)
        assert patched(old, unified(old, new, "a", "b")) == new


def test_many_changes_of_a_long_text_take_no_squared_time() -> None:
    old = [f"line {number}" for number in range(64_000)]
    new = [line if number % 2 else f"{line}!" for number, line in enumerate(old)]
    began = time.process_time()
    diff = unified(old, new, "a", "b")
    assert time.process_time() - began < 10  # it is 0.4 s; the standard library alone takes two minutes
    assert diff[3:7] == ["-line 0", "+line 0!", " line 1", "-line 2"]
    assert sum(line[0] == "-" for line in diff[2:]) == 32_000


def test_a_moved_block_of_a_long_text_is_shown_as_moved() -> None:
    old = [f"line {number}" for number in range(20_000)]
    diff = unified(old, [*old[100:], *old[:100]], "a", "b", 0)
    assert [line for line in diff if line.startswith("@@")] == ["@@ -1,100 +0,0 @@", "@@ -20000,0 +19901,100 @@"]


def test_lines_that_stand_everywhere_do_not_take_all_time() -> None:
    random = Random(1)
    old, new = (
        [line for number in range(200) for line in (str(number), *random.choices("ab", k=190))] for _ in range(2)
    )
    began = time.process_time()
    assert patched(old, unified(old, new, "a", "b")) == new
    assert time.process_time() - began < 10
