"""Row by row: what follows when an attempt has failed ("Order for a failed attempt, first that applies")."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.messages import Candidate, FallbackOption, Options, Policy, RetryPolicy
from runner.core.recover import (
    CLASSES,
    Again,
    Cancelled,
    Decision,
    Fail,
    Failure,
    Fallback,
    Next,
    Repair,
    Retry,
    Skip,
    Standing,
    Suspend,
    Unknown,
    class_table,
    decide,
    delay,
)
from runner.manifest.vocabulary import ERROR_CLASSES

NOW = 1_000_000
ALL = frozenset(ERROR_CLASSES)
CHAIN = (Candidate("a"), Candidate("b"))


def after(
    error_class: str = "unavailable",
    *,
    effect: Any = "none",
    retry_after: int | None = None,
    lost: bool = False,
    mode: Any = "normal",
    retry: RetryPolicy | None = None,
    exhausted: Any = "fail",
    patient: bool = False,
    chain: tuple[Candidate, ...] = (Candidate("a"),),
    fallbacks: tuple[FallbackOption, ...] = (),
    fallback: bool = True,
    repair_max: int = 0,
    consent: frozenset[str] = frozenset(),
    most_attempts: int = 50,
    **standing: Any,
) -> Decision:
    """The decision after a failure of entry `a`; no retries unless asked for."""
    standing = {"effects": "none", "label": "a", "seed": "r/s/1"} | standing
    return decide(
        Failure(error_class, effect, retry_after, lost),
        Standing(**standing),
        Options(
            Policy(retry or RetryPolicy(max=0), fallback, exhausted, patient),
            chain,
            fallbacks,
            repair_max,
            consent,
            most_attempts=most_attempts,
        ),
        mode,
        NOW,
    )


# ---------------------------------------------------------------- lost


def test_a_lost_attempt_goes_again_whatever_is_left() -> None:
    assert isinstance(after("crash", lost=True), Again)
    assert isinstance(after("crash", lost=True, effects="idempotent", effect="maybe"), Again)


def test_a_lost_once_attempt_is_unknown() -> None:
    assert isinstance(after("crash", lost=True, effects="once", effect="maybe", consent=ALL), Unknown)


def test_five_losses_are_unknown_whatever_the_effects() -> None:
    for losses, kind in ((4, Again), (5, Unknown), (6, Unknown)):
        decision = decide(
            Failure("crash", "maybe", None, True),
            Standing("none", "a", lost=losses),
            Options(candidates=CHAIN),
            "normal",
            NOW,
        )
        assert isinstance(decision, kind)


# ---------------------------------------------------------------- unknown


@pytest.mark.parametrize("error_class", ["timeout", "crash", "unavailable", "cancelled"])
def test_a_once_step_that_may_have_had_its_effect_is_unknown_before_anything_else(error_class: str) -> None:
    decision = after(
        error_class,
        effect="maybe",
        effects="once",
        consent=ALL,
        chain=CHAIN,
        retry=RetryPolicy(max=9, errors=ALL),
        fallbacks=(FallbackOption(1, ALL),),
        repair_max=9,
        stopping=True,
    )
    assert isinstance(decision, Unknown)


@pytest.mark.parametrize("effects", ["none", "idempotent"])
def test_maybe_is_repeated_when_effects_allow_it(effects: str) -> None:
    assert isinstance(after("timeout", effect="maybe", effects=effects, retry=RetryPolicy(max=1)), Retry)


# ---------------------------------------------------------------- cancelled


def test_cancelled_ends_it_and_so_does_any_failure_while_the_run_is_stopped() -> None:
    assert isinstance(after("cancelled", chain=CHAIN, retry=RetryPolicy(max=9, errors=ALL)), Cancelled)
    assert isinstance(after("unavailable", stopping=True, chain=CHAIN), Cancelled)
    assert isinstance(after("crash", lost=True, stopping=True), Cancelled)


# ---------------------------------------------------------------- repair


@pytest.mark.parametrize("error_class", ["check_failed", "bad_output"])
def test_a_repair_round_comes_before_the_next_entry(error_class: str) -> None:
    assert isinstance(after(error_class, repair_max=1, chain=CHAIN), Repair)
    assert after(error_class, repair_max=1, repair=1, chain=CHAIN) == Next("b", f"{error_class}: passed on")


def test_other_classes_are_not_repaired() -> None:
    assert not isinstance(after("tool_error", repair_max=3), Repair)


def test_a_once_step_is_repaired_only_when_its_author_wrote_repair() -> None:
    assert isinstance(after("check_failed", effects="once", repair_max=1), Fail)
    assert isinstance(after("check_failed", effects="once", repair_max=1, own_repair=True), Repair)
    assert isinstance(after("check_failed", effects="once", repair_max=1, consent=frozenset({"check_failed"})), Repair)


# ---------------------------------------------------------------- invalid


def test_invalid_fails_at_once() -> None:
    ways: Any = {"chain": CHAIN, "retry": RetryPolicy(max=9, errors=ALL), "fallbacks": (FallbackOption(1, ALL),)}
    assert isinstance(after("invalid", exhausted="suspend", **ways), Fail)


# ---------------------------------------------------------------- the next entry

PASSES = {
    "rate_limit", "quota", "auth", "unavailable", "timeout", "crash", "context_overflow", "bad_output", "check_failed",
}  # fmt: skip


@pytest.mark.parametrize("error_class", sorted(set(ERROR_CLASSES) - {"cancelled", "invalid"}))
def test_a_class_passes_to_the_next_entry_as_the_table_says(error_class: str) -> None:
    decision = after(error_class, chain=CHAIN)
    assert isinstance(decision, Next if error_class in PASSES else Fail)


def test_the_next_entry_is_the_first_untried_one_that_is_shown() -> None:
    chain = (Candidate("a"), Candidate("b"), Candidate("c", shown=False), Candidate("d"))
    assert after(chain=chain, failed=frozenset({"b"})) == Next("d", "unavailable: passed on")
    assert after(chain=chain, label="d", failed=frozenset({"b"})) == Next("a", "unavailable: passed on")


def test_context_overflow_passes_only_to_a_larger_context() -> None:
    chain = (Candidate("a"), Candidate("b", larger_context=False), Candidate("c"))
    assert after("context_overflow", chain=chain) == Next("c", "context_overflow: passed on")
    assert isinstance(after("context_overflow", chain=chain[:2]), Fail)


def test_a_once_step_is_passed_on_only_with_consent_to_the_class() -> None:
    assert isinstance(after("quota", effects="once", chain=CHAIN), Fail)
    assert isinstance(after("quota", effects="once", chain=CHAIN, consent=frozenset({"rate_limit"})), Fail)
    assert isinstance(after("quota", effects="once", chain=CHAIN, consent=frozenset({"quota"})), Next)


# ---------------------------------------------------------------- a retry round


def test_a_round_comes_when_no_entry_is_left_and_the_class_is_in_the_list() -> None:
    assert isinstance(after("timeout", retry=RetryPolicy(max=2), rounds=1), Retry)
    assert isinstance(after("timeout", retry=RetryPolicy(max=2), rounds=2), Fail)
    assert isinstance(after("quota", retry=RetryPolicy(max=2)), Fail)
    assert isinstance(after("tool_error", retry=RetryPolicy(max=2, errors=frozenset({"tool_error"}))), Retry)
    assert isinstance(after("timeout", retry=RetryPolicy(max=2), chain=CHAIN), Next)


def test_a_once_step_has_rounds_only_for_classes_that_its_author_named() -> None:
    assert isinstance(after("rate_limit", effects="once", retry=RetryPolicy(max=2)), Fail)
    assert isinstance(
        after("rate_limit", effects="once", retry=RetryPolicy(max=2), consent=frozenset({"rate_limit"})), Retry
    )


def test_the_delay_doubles_up_to_its_cap_and_the_jitter_is_a_digest() -> None:
    def waits(rounds: int, seed: str = "r/s/1", jitter: float = 0.0) -> int:
        policy = Policy(RetryPolicy(max=99, delay=2_000, backoff=2.0, max_delay=60_000, jitter=jitter))
        return delay(policy, rounds, seed)

    assert [waits(n) for n in range(6)] == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000]
    assert waits(10_000) == 60_000
    assert waits(0, "x", 0.2) == waits(0, "x", 0.2)
    spread = {waits(0, f"r/s/{n}", 0.2) for n in range(50)}
    assert len(spread) > 10 and min(spread) >= 1_600 and max(spread) <= 2_400


def test_a_round_does_not_start_before_retry_after() -> None:
    assert after("rate_limit", retry=RetryPolicy(max=1), retry_after=90_000) == Retry(
        NOW + 90_000, "round 1 of 1: rate_limit"
    )
    short = after("rate_limit", retry=RetryPolicy(max=1, jitter=0), retry_after=5)
    assert isinstance(short, Retry) and short.at == NOW + 2_000


def test_a_round_is_waited_for_although_nobody_may_be_asked_now() -> None:
    """What is hidden now may be back by then. To suspend at once would end an apply that its author told to try again."""
    chain = (Candidate("a", shown=False), Candidate("b", shown=False))
    assert isinstance(after(chain=chain, mode="brainstem", exhausted="suspend", retry=RetryPolicy(max=1)), Retry)
    assert isinstance(
        after(chain=chain, mode="brainstem", exhausted="suspend", retry=RetryPolicy(max=1), rounds=1), Suspend
    )


# ---------------------------------------------------------------- fallback


def test_fallback_comes_after_the_rounds() -> None:
    assert isinstance(after("timeout", retry=RetryPolicy(max=1), fallbacks=(FallbackOption(1),)), Retry)
    assert after("timeout", retry=RetryPolicy(max=1), rounds=1, fallbacks=(FallbackOption(1),)) == Fallback(
        1, "timeout: fallback entry 1"
    )


@pytest.mark.parametrize("error_class", sorted(set(ERROR_CLASSES) - {"cancelled", "invalid"}))
def test_an_entry_without_errors_takes_what_may_pass_and_tool_error(error_class: str) -> None:
    decision = after(error_class, chain=(Candidate("a"),), fallbacks=(FallbackOption(1),))
    assert isinstance(decision, Fallback if error_class in PASSES | {"tool_error"} else Fail)


def test_an_entry_with_errors_takes_just_those() -> None:
    fallbacks = (FallbackOption(1, frozenset({"denied"})), FallbackOption(2, frozenset({"quota"})))
    assert isinstance(after("denied", fallbacks=fallbacks), Fallback)
    assert after("quota", fallbacks=fallbacks) == Fallback(2, "quota: fallback entry 2")
    assert isinstance(after("timeout", fallbacks=fallbacks), Fail)


def test_each_entry_is_tried_once_and_without_rounds() -> None:
    ways: Any = {"fallbacks": (FallbackOption(1), FallbackOption(2)), "retry": RetryPolicy(max=5)}
    assert after("timeout", level=1, **ways) == Fallback(2, "timeout: fallback entry 2")
    assert isinstance(after("timeout", level=2, **ways), Fail)


def test_fallback_false_switches_off_the_entries_but_not_the_chain() -> None:
    ways: Any = {"fallbacks": (FallbackOption(1),), "fallback": False}
    assert isinstance(after("timeout", chain=CHAIN, **ways), Next)
    assert isinstance(after("timeout", **ways), Fail)


def test_a_once_step_falls_back_only_where_the_class_is_named() -> None:
    assert isinstance(after("quota", effects="once", fallbacks=(FallbackOption(1),)), Fail)
    assert isinstance(after("quota", effects="once", fallbacks=(FallbackOption(1, frozenset({"quota"})),)), Fallback)


# ---------------------------------------------------------------- hidden, exhausted

HIDDEN = (Candidate("a"), Candidate("b", shown=False))


def test_while_the_mode_hides_an_untried_entry_the_step_is_suspended() -> None:
    assert after("auth", chain=HIDDEN, mode="brainstem", exhausted="suspend") == Suspend(
        "mode", "an untried entry is hidden now"
    )
    assert isinstance(after("auth", chain=HIDDEN, mode="normal"), Suspend)
    assert isinstance(after("auth", chain=HIDDEN, failed=frozenset({"b"})), Fail)
    assert isinstance(after("denied", chain=HIDDEN), Fail)


def test_the_policy_of_the_mode_may_give_up_on_a_hidden_entry() -> None:
    assert isinstance(after("auth", chain=HIDDEN, mode="degraded", exhausted="fail"), Fail)
    assert isinstance(after("auth", chain=HIDDEN, mode="brainstem", exhausted="skip"), Skip)


def test_exhausted_follows_the_policy() -> None:
    assert isinstance(after("auth", exhausted="fail"), Fail)
    assert isinstance(after("auth", exhausted="skip"), Skip)
    assert after("auth", exhausted="suspend") == Suspend("exhausted", "auth: no way is left")


def test_a_quota_that_says_when_it_is_reset_is_waited_for_unless_somebody_wrote_what_to_do() -> None:
    assert after("quota", patient=True, retry_after=5) == Suspend("quota", "quota: no way is left", NOW + 5)
    assert isinstance(after("quota", patient=True), Fail)
    assert isinstance(after("unavailable", patient=True, retry_after=5), Fail)
    assert isinstance(after("quota", patient=True, retry_after=5, effects="once"), Fail)


def test_a_used_up_quota_is_suspended_until_it_is_reset() -> None:
    assert after("quota", exhausted="suspend", retry_after=7_200_000) == Suspend(
        "quota", "quota: no way is left", NOW + 7_200_000
    )
    assert after("quota", exhausted="suspend") == Suspend("quota", "quota: no way is left", None)
    assert isinstance(after("quota", exhausted="fail", retry_after=5), Fail)


def test_a_step_has_as_many_attempts_as_the_operator_allows() -> None:
    ways: Any = {
        "chain": CHAIN,
        "retry": RetryPolicy(max=99, errors=ALL),
        "fallbacks": (FallbackOption(1),),
        "repair_max": 99,
    }
    assert isinstance(after("check_failed", attempts=49, **ways), Repair)
    assert after("check_failed", attempts=50, **ways) == Fail(
        "check_failed: 50 attempts, all that limits.attempts allows"
    )
    assert isinstance(after("check_failed", attempts=3, most_attempts=3, **ways), Fail)


def test_what_never_started_can_only_go_another_way() -> None:
    ways: Any = {"chain": CHAIN, "retry": RetryPolicy(max=9, errors=ALL), "started": False}
    assert isinstance(after("unavailable", **ways), Fail)
    assert isinstance(after("unavailable", fallbacks=(FallbackOption(1),), **ways), Fallback)


def test_the_class_table_is_complete_and_can_be_printed() -> None:
    assert set(CLASSES) == set(ERROR_CLASSES)
    assert class_table().count("\n") == len(ERROR_CLASSES) + 1
    assert "| `tool_error` | policy | fallback | none |" in class_table()
