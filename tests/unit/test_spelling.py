"""What a misspelt word may have meant."""

from __future__ import annotations

import pytest

from runner.spelling import MOST_KNOWN, PATIENCE, did_you_mean, near


@pytest.mark.parametrize(
    ("word", "options", "meant"),
    [
        ("timout", ["timeout", "tool"], "timeout"),
        ("biuld", ["test", "build"], "build"),
        ("open-pr", ["open_pr", "close_pr"], "open_pr"),
        ("Route", ["route"], "route"),
        ("need", ["needs", "when"], "needs"),
        ("claim_token", ["claim-tokens", "claimed"], "claim-tokens"),
        (
            "a-name_that-is-longer-than-what-is-compared-of-it-because-tools-have-such",
            ["a_name-that-is-longer-than-what-is-compared-of-it-because-tools-have-suhc"],
            "a_name-that-is-longer-than-what-is-compared-of-it-because-tools-…",
        ),
        ("xyz", ["timeout"], None),
        ("", ["a"], None),
        ("a", [], None),
        ("x" * 1_000_000, ["x" * 1_000_001], None),
    ],
)
def test_misspelt_words_get_the_nearest_option(word: str, options: list[str], meant: str | None) -> None:
    assert did_you_mean(word, options) == (f"did you mean `{meant}`?" if meant else None)


def test_the_nearest_word_is_given_as_it_stands_there() -> None:
    assert near("Close_PR", ["open-PR", "close-PR"]) == "close-PR"
    assert near("route", ["Route", "route"]) == "Route"  # the same but for its case: the first one there


def test_suggestions_take_a_bounded_time() -> None:
    known = (f"word{n}" for n in range(10**9))
    assert near("wrd7", known) == "word7"
    assert next(known) == f"word{MOST_KNOWN}"
    with PATIENCE.within(0):
        assert near("wrd7", ["word7"]) is None


KEYS = ("command", "args", "env", "cwd", "url", "headers", "timeout", "steps")


@pytest.mark.parametrize(
    ("word", "meant"),
    [("cmd", "command"), ("cwdd", "cwd"), ("timout", "timeout"), ("hdrs", "headers"), ("step", "steps")],
)
def test_a_short_form_means_the_word_that_it_is_short_for_and_else_the_nearest(word: str, meant: str) -> None:
    assert near(word, KEYS) == meant


def test_a_short_form_of_several_words_is_judged_by_likeness() -> None:
    assert near("cmd", ("command", "commend", "cmod")) == "cmod"
