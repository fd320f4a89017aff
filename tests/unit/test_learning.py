"""What earlier attempts say, in a way that depends on nothing but them and the moment."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runner.core.learning import HALF_LIFE_MS, MIN_SAMPLE, SAYS_NOTHING, Sample, Score, learn, ranks

NOW = 1_800_000_000_000


def sample(name: str = "smart", **changes: Any) -> Sample:
    values = {"executor": "proxy", "model": name, "ok": True, "error_class": "", "at": NOW, "ms": 1_000, "cost": 100}
    return Sample(**{**values, **changes})


def failed(name: str = "smart", **changes: Any) -> Sample:
    return sample(name, **{"ok": False, "error_class": "unavailable", "cost": 0, **changes})


def test_reliability_is_the_share_of_attempts_that_succeeded() -> None:
    assert learn([sample(), sample(), sample(), failed()], "model", NOW)["smart"].reliability == 0.75


def test_an_attempt_counts_half_after_a_half_life() -> None:
    scores = learn([sample(), failed(at=NOW - HALF_LIFE_MS)], "model", NOW)
    assert scores["smart"].reliability == pytest.approx(2 / 3)


def test_speed_is_the_median_of_the_successes_and_one_slow_answer_does_not_move_it() -> None:
    scores = learn([sample(ms=ms) for ms in (100, 200, 300, 400, 60_000)] + [failed(ms=1)], "model", NOW)
    assert scores["smart"].ms == 300


def test_cost_is_what_a_success_has_cost_failures_paid_for_included() -> None:
    assert learn([sample(cost=100), failed(cost=50), failed(cost=50)], "model", NOW)["smart"].cost == 200


@pytest.mark.parametrize("error_class", sorted(SAYS_NOTHING))
def test_failures_that_tell_of_the_task_do_not_count(error_class: str) -> None:
    assert learn([sample(), failed(error_class=error_class)], "model", NOW)["smart"].count == 1


def test_agents_are_known_by_their_executor_and_models_by_their_name() -> None:
    samples = [sample("smart"), sample("opus", executor="claude-code"), sample("", executor="mine")]
    assert list(learn(samples, "agent", NOW)) == ["claude-code", "mine", "proxy"]
    assert list(learn(samples, "model", NOW)) == ["opus", "smart"]


def test_the_order_of_the_samples_does_not_matter() -> None:
    random = Random(7)
    samples = [
        sample(ok=random.random() < 0.7, ms=random.randrange(5_000), cost=random.randrange(999), at=NOW - random.randrange(10**9))
        for _ in range(200)
    ]  # fmt: skip
    expected = learn(samples, "model", NOW)
    for _ in range(5):
        random.shuffle(samples)
        assert learn(samples, "model", NOW) == expected


def test_attempts_of_a_forgotten_age_say_that_nothing_succeeded_rather_than_fail() -> None:
    assert learn([sample(at=0)], "model", NOW, half_life=1)["smart"] == Score(1, 0.0, None, None)


GOOD = Score(10, 0.9, 800, 300)
BAD = Score(10, 0.5, 4_000, 900)


@pytest.mark.parametrize("prefer", ["reliability", "speed", "cost"])
def test_the_better_one_comes_first_and_an_unknown_one_counts_as_average(prefer: str) -> None:
    found = ranks(prefer, ["bad", "new", "good"], {"good": GOOD, "bad": BAD, "new": Score(MIN_SAMPLE - 1, 1.0, 1, 1)})
    assert sorted(found, key=lambda name: found[name].value) == ["good", "new", "bad"]
    assert found["new"].text == f"{MIN_SAMPLE - 1} of {MIN_SAMPLE} attempts known: counts as average"


def test_the_reasons_are_in_words() -> None:
    scores = {"good": GOOD}
    assert ranks("reliability", ["good"], scores)["good"].text == "90% of 10 attempts succeeded"
    assert ranks("speed", ["good"], scores)["good"].text == "0.8 s, the median of 10 attempts"
    assert ranks("cost", ["good"], scores)["good"].text == "$0.0003 a success, of 10 attempts"


@pytest.mark.parametrize("prefer", ["speed", "cost"])
def test_one_that_never_succeeded_comes_last_and_does_not_spoil_the_average(prefer: str) -> None:
    found = ranks(prefer, ["dead", "new", "good"], {"dead": Score(9, 0.0, None, None), "good": GOOD})
    assert (
        sorted(found, key=lambda name: found[name].value) == ["new", "good", "dead"]
        or found["new"].value == found["good"].value
    )
    assert found["dead"].text == "none of 9 attempts succeeded"
    assert found["new"].value == found["good"].value


def test_a_declared_price_stands_in_where_too_little_is_known() -> None:
    found = ranks("cost", ["good", "new"], {"good": Score(10, 0.9, 800, 3_000)}, {"new": 2_000, "good": 1})
    assert found["new"].value < found["good"].value
    assert found["new"].text == "$0.0020 by its price"


def test_declared_order_needs_no_rank() -> None:
    assert ranks("declared", ["good"], {"good": GOOD}) == {}
    assert {rank.value for rank in ranks("speed", ["a", "b"], {}).values()} == {0.0}
