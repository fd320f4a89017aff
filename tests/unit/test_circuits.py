"""Circuits: when they open, what half open lets through, what closes them; and what cools a single model or credential."""

from __future__ import annotations

from typing import get_args

import pytest

from runner.core.circuits import (
    AUTH_MS,
    CIRCUIT_MOVES,
    QUOTA_MS,
    TABLE,
    URGENT_MS,
    CallEnd,
    Circuit,
    Limits,
    Sign,
    SignKind,
    State,
    admit,
    as_of,
    begin_trial,
    consequences,
    cool,
    feed,
    fingerprint,
    sign_of,
    warm,
)
from runner.core.recover import CLASSES
from runner.manifest.config import FaultHandler
from runner.manifest.vocabulary import ERROR_CLASSES

LIMITS = Limits()
NOW = 1_000_000


def fed(circuit: Circuit, *signs: tuple[SignKind, int], limits: Limits = LIMITS) -> Circuit:
    for kind, at in signs:
        circuit = feed(circuit, Sign(kind, at, "why"), limits)
    return circuit


def opened(limits: Limits = LIMITS) -> Circuit:
    return fed(Circuit(), ("failed", NOW), ("failed", NOW), ("failed", NOW), limits=limits)


def half_open() -> Circuit:
    return as_of(opened(), NOW + LIMITS.open_for)


BACK = NOW + LIMITS.open_for


def test_the_table_has_a_row_for_every_sign_in_every_state() -> None:
    assert set(TABLE) == set(get_args(State)) == set(CIRCUIT_MOVES)
    for rows in TABLE.values():
        assert set(rows) == set(get_args(SignKind))


def test_the_defaults_are_those_of_the_config() -> None:
    config = FaultHandler()
    for name in ("failure_threshold", "window", "open_for", "recover_after", "probe_interval"):
        assert getattr(LIMITS, name) == getattr(config, name)


# ---------------------------------------------------------------- opening


def test_failures_inside_the_window_open_it_and_older_ones_do_not_count() -> None:
    spread = fed(Circuit(), ("failed", NOW), ("failed", NOW + 30_000), ("failed", NOW + 60_000))
    assert spread.state == "closed"
    assert spread.failures == (NOW + 30_000, NOW + 60_000)
    assert fed(spread, ("failed", NOW + 61_000)).state == "open"


def test_an_answer_in_between_does_not_take_failures_out_of_the_window() -> None:
    assert fed(Circuit(), *[("failed", NOW), ("answered", NOW + 1)] * 3).state == "open"


def test_failed_probes_count_like_failed_calls() -> None:
    assert fed(Circuit(), ("failed", NOW), ("probe_failed", NOW + 1), ("probe_failed", NOW + 2)).state == "open"


def test_a_refused_connection_is_probed_at_once_and_a_dead_endpoint_known_within_a_second() -> None:
    circuit = feed(Circuit(), Sign("failed", NOW, "refused", unreached=True), LIMITS)
    assert circuit.probe_at == NOW
    now = NOW
    while circuit.state == "closed":
        assert circuit.probe_at is not None
        now = max(now, circuit.probe_at)
        circuit = feed(circuit, Sign("probe_failed", now), LIMITS)
    assert now - NOW <= 2 * URGENT_MS


def test_a_slow_answer_alone_wants_no_probe() -> None:
    circuit = fed(Circuit(), ("failed", NOW))
    assert circuit.probe_at is None
    assert not circuit.suspect


def test_a_passing_probe_ends_the_suspicion_but_not_the_count() -> None:
    suspect = feed(Circuit(), Sign("failed", NOW, unreached=True), LIMITS)
    well = fed(suspect, ("probe_passed", NOW + 10))
    assert (well.suspect, well.probe_at, well.failures) == (False, None, (NOW,))


def test_a_threshold_of_one_opens_at_the_first_failure() -> None:
    assert fed(Circuit(), ("failed", NOW), limits=Limits(failure_threshold=1)).state == "open"


def test_a_sign_that_changes_nothing_gives_the_very_same_value_back() -> None:
    for circuit, sign in [(Circuit(), "answered"), (opened(), "failed"), (Circuit(), "asked"), (Circuit(), "dropped")]:
        assert feed(circuit, Sign(sign, NOW + 1), LIMITS) is circuit  # type: ignore[arg-type]


# ---------------------------------------------------------------- open, half open, closed


def test_nothing_is_asked_while_it_is_open_and_the_reason_says_why() -> None:
    answer = admit(opened(), NOW + 1)
    assert (answer.answer, answer.until) == ("no", BACK)
    assert answer.reason == "circuit open (3 failures inside 60 s: why)"


def test_calls_that_were_under_way_when_it_opened_change_nothing() -> None:
    assert fed(opened(), ("answered", NOW + 1), ("failed", NOW + 2), ("probe_passed", NOW + 3)) == opened()


def test_time_alone_makes_it_half_open_and_a_probe_is_due_then() -> None:
    assert as_of(opened(), BACK - 1).state == "open"
    assert (half_open().state, half_open().probe_at) == ("half_open", BACK)


def test_a_person_may_ask_before_the_time() -> None:
    asked = fed(opened(), ("asked", NOW + 5))
    assert (asked.state, asked.until, asked.probe_at) == ("half_open", NOW + 5, NOW + 5)


def test_half_open_lets_no_call_through_before_a_probe_has_passed() -> None:
    assert admit(half_open(), BACK).answer == "no"
    assert admit(fed(half_open(), ("probe_passed", BACK)), BACK).answer == "trial"


def test_only_one_trial_call_at_a_time_and_a_dead_runner_gives_its_place_back() -> None:
    trying = begin_trial(fed(half_open(), ("probe_passed", BACK)), BACK + 1, 5_000)
    assert admit(trying, BACK + 2).answer == "no"
    assert admit(trying, BACK + 5_001).answer == "trial"
    assert admit(trying, BACK + 5_001).answer == "trial"


def test_a_trial_that_ended_without_a_verdict_makes_room_for_the_next() -> None:
    trying = begin_trial(fed(half_open(), ("probe_passed", BACK)), BACK + 1, 5_000)
    assert admit(fed(trying, ("dropped", BACK + 2)), BACK + 3).answer == "trial"


def test_a_trial_begins_only_where_it_is_half_open() -> None:
    assert begin_trial(Circuit(), NOW, 5) == Circuit()


def test_a_probe_and_a_real_call_close_it() -> None:
    closed = fed(half_open(), ("probe_passed", BACK), ("answered", BACK + 1))
    assert (closed.state, closed.failures, closed.opened, closed.probe_at) == ("closed", (), None, None)


@pytest.mark.parametrize(
    ("recover_after", "signs"),
    [
        (1, ["probe_passed", "answered"]),
        (2, ["probe_passed", "answered"]),
        (3, ["probe_passed", "answered", "answered"]),
        (3, ["probe_passed", "probe_passed", "answered"]),
    ],
)
def test_so_many_successes_close_it_but_never_without_a_probe_and_a_call(
    recover_after: int, signs: list[SignKind]
) -> None:
    limits = Limits(recover_after=recover_after)
    circuit = half_open()
    for at, sign in enumerate(signs):
        assert circuit.state == "half_open"
        circuit = feed(circuit, Sign(sign, BACK + at), limits)
    assert circuit.state == "closed"


@pytest.mark.parametrize("sign", ["probe_passed", "answered"])
def test_probes_alone_or_calls_alone_never_close_it(sign: SignKind) -> None:
    assert fed(half_open(), *[(sign, BACK + at) for at in range(9)]).state == "half_open"


def test_a_failed_trial_opens_it_again_for_the_whole_time() -> None:
    again = fed(half_open(), ("probe_passed", BACK), ("failed", BACK + 7))
    assert (again.state, again.until) == ("open", BACK + 7 + LIMITS.open_for)


def test_a_failed_probe_keeps_it_half_open_and_counts_from_nothing() -> None:
    again = fed(half_open(), ("probe_passed", BACK), ("probe_failed", BACK + 7))
    assert (again.state, again.passed, again.probe_at) == ("half_open", 0, BACK + 7 + LIMITS.probe_interval)
    assert admit(again, BACK + 8).answer == "no"


@pytest.mark.parametrize("sign", ["failed", "answered", "dropped"])
def test_a_call_that_began_before_it_was_half_open_tells_of_the_time_before(sign: SignKind) -> None:
    circuit = begin_trial(fed(half_open(), ("probe_passed", BACK)), BACK, 5_000)
    assert feed(circuit, Sign(sign, BACK + 1, began=BACK - 1), LIMITS) is circuit
    assert feed(circuit, Sign(sign, BACK + 1, began=BACK), LIMITS) is not circuit


def test_calls_from_before_it_was_well_again_do_not_open_it_once_more() -> None:
    """An endpoint hangs, recovers, and ten minutes later the calls that hung run into their deadlines."""
    closed = fed(half_open(), ("probe_passed", BACK), ("answered", BACK + 1))
    assert closed.state == "closed"
    late = closed
    for n in range(5):
        late = feed(late, Sign("failed", BACK + 10 + n, "timeout", began=BACK - 1), LIMITS)
    assert late is closed
    for n in range(LIMITS.failure_threshold):
        late = feed(late, Sign("failed", BACK + 10 + n, "timeout", began=BACK), LIMITS)
    assert late.state == "open"


# ---------------------------------------------------------------- cooling


def test_a_rate_limited_model_cools_until_its_retry_after() -> None:
    circuit = cool(Circuit(), "rate_limit", NOW + 500, "429")
    assert (admit(circuit, NOW + 499).answer, admit(circuit, NOW + 499).until) == ("no", NOW + 500)
    assert admit(circuit, NOW + 500).answer == "yes"


def test_a_shorter_cooling_does_not_end_a_longer_one() -> None:
    long = cool(Circuit(), "quota", NOW + 500, "used up")
    assert cool(long, "quota", NOW + 100, "used up") is long
    assert cool(long, "rate_limit", NOW + 100, "429") is long, "a call that was under way when the quota ended"
    longer = cool(cool(Circuit(), "rate_limit", NOW + 100, "429"), "quota", NOW + 500, "used up")
    assert (longer.cool_until, longer.cause) == (NOW + 500, "quota")


def test_the_end_of_a_call_that_was_under_way_does_not_shorten_a_used_up_quota() -> None:
    first = CallEnd("smart", "proxy", "quota", "used up", NOW)
    second = CallEnd("smart", "proxy", "rate_limit", "slow down", NOW, retry_after_ms=1_000)
    circuit = Circuit()
    for end in (first, second):
        circuit = consequences(end, LIMITS, NOW)["model:smart"](circuit)
    assert (admit(circuit, NOW + 1_001).answer, admit(circuit, NOW + 1_001).cause) == ("no", "quota")


def test_a_refused_credential_is_disabled_until_another_one_takes_its_place() -> None:
    circuit = cool(Circuit(), "auth", NOW + 500, "401", credential="k1")
    assert admit(circuit, NOW, "k1").cause == "auth"
    assert admit(circuit, NOW, "k2").answer == "yes"
    assert admit(circuit, NOW + 500, "k1").answer == "yes"


def test_a_fingerprint_tells_credentials_apart_and_not_what_they_are() -> None:
    one, other = fingerprint("sk-secret-1"), fingerprint("sk-secret-2")
    assert one != other
    assert len(one) == 8
    assert fingerprint("") == ""


def test_a_person_can_end_a_cooling() -> None:
    assert warm(cool(Circuit(), "quota", NOW + 500, "used up")).cool_until is None
    assert warm(Circuit()) == Circuit()


def test_a_cooling_outlives_the_opening_and_closing_of_the_circuit() -> None:
    cooling = cool(Circuit(), "quota", BACK + QUOTA_MS, "used up")
    closed = fed(
        half_open()._replace(cool_until=cooling.cool_until, cause="quota"), ("probe_passed", BACK), ("answered", BACK)
    )
    assert (closed.state, closed.cool_until, closed.cause) == ("closed", BACK + QUOTA_MS, "quota")


# ---------------------------------------------------------------- from the end of a call


@pytest.mark.parametrize("error_class", ERROR_CLASSES)
def test_every_class_gives_the_sign_that_its_row_says(error_class: str) -> None:
    sign = sign_of(CallEnd("smart", "proxy", error_class), NOW)
    counted = CLASSES[error_class].circuit == "count"  # type: ignore[index]
    assert sign.kind == ("failed" if counted else "dropped" if error_class == "cancelled" else "answered")


def test_bad_output_counts_only_when_it_was_empty_or_html() -> None:
    assert sign_of(CallEnd("smart", "proxy", "bad_output"), NOW).kind == "answered"
    assert sign_of(CallEnd("smart", "proxy", "bad_output", hollow=True), NOW).kind == "failed"


def test_a_lost_attempt_says_nothing_of_the_endpoint() -> None:
    assert sign_of(CallEnd("smart", "proxy", "crash", lost=True), NOW).kind == "dropped"
    assert set(consequences(CallEnd("smart", "proxy", "quota", lost=True), LIMITS, NOW)) == {"endpoint:proxy"}


def applied(end: CallEnd) -> dict[str, Circuit]:
    return {subject: change(Circuit()) for subject, change in consequences(end, LIMITS, NOW).items()}


def test_a_rate_limit_cools_the_model_and_not_the_endpoint() -> None:
    after = applied(CallEnd("smart", "proxy", "rate_limit", retry_after_ms=9_000))
    assert after["model:smart"].cool_until == NOW + 9_000
    assert after["endpoint:proxy"] == Circuit()


def test_a_rate_limit_that_says_nothing_of_when_cools_nothing() -> None:
    assert applied(CallEnd("smart", "proxy", "rate_limit")) == {"endpoint:proxy": Circuit()}


@pytest.mark.parametrize(("retry_after", "until"), [(None, NOW + QUOTA_MS), (60_000, NOW + 60_000)])
def test_a_quota_cools_for_hours_or_until_it_is_said_to_be_reset(retry_after: int | None, until: int) -> None:
    after = applied(CallEnd("claude-code", error_class="quota", retry_after_ms=retry_after))
    assert after["executor:claude-code"].cool_until == until


def test_auth_disables_the_credential_of_the_endpoint_or_executor() -> None:
    model = applied(CallEnd("smart", "proxy", "auth", "401", credential="k1"))["credential:proxy"]
    assert (model.cause, model.credential, model.cool_until) == ("auth", "k1", NOW + AUTH_MS)
    assert "credential:claude-code" in applied(CallEnd("claude-code", error_class="auth"))


def test_an_executor_that_cools_keeps_what_its_circuit_learned() -> None:
    change = consequences(CallEnd("agent", error_class="quota"), LIMITS, BACK + 1)["executor:agent"]
    circuit = change(fed(half_open(), ("probe_passed", BACK)))
    assert (circuit.state, circuit.cause) == ("closed", "quota")
