"""The words of an agent's task in its further attempts."""

from __future__ import annotations

from typing import Any

from runner.executors.agent_words import told
from runner.ports import Request

DIFF = "--- a/x\n+++ b/x\n+1"


def words(prompt: str = "fix it", *, resumed: bool = False, in_words: bool = False, **request: Any) -> str:
    asked = Request("agent", "agent", {"prompt": prompt}, {}, ".", "key", None, **request)
    return told(asked, resumed=resumed, in_words=in_words)


def tried(error_class: str, **more: Any) -> dict[str, Any]:
    return {"executor": "first", "class": error_class, "message": "it stopped", **more}


def test_a_first_attempt_is_told_its_prompt_and_nothing_else() -> None:
    assert words("fix {it}", returns={"type": "object"}) == "fix {it}"


def test_feedback_is_told_unless_the_prompt_quotes_it() -> None:
    assert (
        "two fail" in words(feedback="two fail")
        and words("fix it: two fail", feedback="two fail") == "fix it: two fail"
    )
    assert words(feedback="two fail", resumed=True).endswith("fix it")


def test_who_was_interrupted_is_told_so_only_in_that_conversation() -> None:
    assert "interrupted" in words(interrupted=True, resumed=True)
    assert words(interrupted=True) == "fix it"


def test_the_next_one_is_told_who_failed_why_its_last_words_and_its_diff() -> None:
    said = words(tried=[tried("timeout", text="half way", diff=DIFF, kept=True)])
    assert said.startswith("fix it\n")
    for part in ("first failed (timeout): it stopped", "half way", DIFF, "not committed"):
        assert part in said
    assert "not in the files" in words(tried=[tried("check_failed", diff=DIFF, kept=False)])


def test_one_that_never_began_is_not_worth_telling_of() -> None:
    assert words(tried=[tried("unavailable"), tried("quota")]) == "fix it"
    assert "half way" in words(tried=[tried("quota", text="half way")])


def test_a_schema_that_can_only_be_told_in_words_comes_last() -> None:
    said = words(returns={"type": "object"}, in_words=True, feedback="no")
    assert said.endswith('{"type": "object"}') and "no" in said
