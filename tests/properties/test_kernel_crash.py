"""Random manifests, interrupted after any commit: the resumed run ends as the undisturbed one, and every promise
holds on the way."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_mutants import MUTANTS, planted
from kernel_sim import Plan, simulate
from kernel_world import make_case

from runner.core.states import IllegalMove
from runner.simulate.promises import BrokenPromise

GRAPHS = int(os.environ.get("ARES_CRASH_GRAPHS", "1000"))
"""How many manifests; a slow run takes more."""
POINTS = int(os.environ.get("ARES_CRASH_POINTS", "3"))
"""Crash points sampled per manifest; 0 = every one."""


def points(rng: Random, commits: int) -> list[int]:
    every = range(1, commits + 1)
    return list(every) if POINTS == 0 else rng.sample(every, min(POINTS, commits))


def check_crashes(seed: int) -> None:
    """Any crash, many crashes, and noise change nothing."""
    case, rng = make_case(seed), Random(seed)
    base, undisturbed = simulate(case)
    assert simulate(case, Plan(seed=seed))[0] == base
    for point in points(rng, undisturbed.commits):
        assert simulate(case, Plan(seed=seed + point, crashes={point}))[0] == base, f"seed {seed}, crash {point}"
    many = set(rng.sample(range(1, undisturbed.commits + 8), min(4, undisturbed.commits)))
    assert simulate(case, Plan(seed=seed, crashes=many))[0] == base, f"seed {seed}, crashes {many}"


def check_legs(seed: int) -> None:
    """The second leg of a failed run ends the same with and without crashes in it."""
    case, rng = make_case(seed), Random(seed)
    healed, undisturbed = simulate(case, Plan(heal=True, noise=False))
    for point in points(rng, undisturbed.commits)[:2]:
        assert simulate(case, Plan(seed=seed + point, crashes={point}, heal=True))[0] == healed, (
            f"seed {seed}, crash {point}"
        )


def check_modes(seed: int) -> None:
    """A spell of another mode delays, but changes no result."""
    case = make_case(seed, steady=True)
    base, undisturbed = simulate(case)
    crash = Random(seed).randint(1, undisturbed.commits)
    assert simulate(case, Plan(seed=seed, modes=True))[0] == base, f"seed {seed}"
    assert simulate(case, Plan(seed=seed + 1, modes=True, crashes={crash}))[0] == base, f"seed {seed}, crash {crash}"


def check_stops(seed: int) -> None:
    """A cancel or the run's timeout at any moment, with a crash and a next leg: it ends, and no promise is broken."""
    case, rng = make_case(seed), Random(seed)
    _, undisturbed = simulate(case)
    commits = undisturbed.commits
    crash = {rng.randint(1, commits + 2)}
    simulate(case, Plan(seed=seed, crashes=crash, cancel_at=rng.randint(1, commits), heal=rng.random() < 0.7))
    simulate(
        case, Plan(seed=seed, crashes=crash, timeout_ms=rng.choice([1, 500, 3_000, 20_000]), heal=rng.random() < 0.7)
    )
    simulate(case, Plan(seed=seed, crashes=crash, modes=True))


def seeds(examples: int):  # type: ignore[no-untyped-def]
    """Run a check for so many seeds."""

    def decorate(test):  # type: ignore[no-untyped-def]
        given_seed = given(st.integers(0, 10**9))(test)
        return settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )(given_seed)

    return decorate


@seeds(GRAPHS)
def test_an_interrupted_run_ends_as_the_uninterrupted_one(seed: int) -> None:
    check_crashes(seed)


@seeds(GRAPHS // 2)
def test_a_next_leg_ends_the_same_whatever_interrupts_it(seed: int) -> None:
    check_legs(seed)


@seeds(GRAPHS // 2)
def test_a_spell_of_another_mode_changes_no_result(seed: int) -> None:
    check_modes(seed)


@seeds(GRAPHS // 2)
def test_a_run_that_is_stopped_at_any_moment_ends_and_keeps_its_promises(seed: int) -> None:
    check_stops(seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_turned_the_other_way_is_noticed(name: str) -> None:
    with planted(name):
        assert any(_notices(seed) for seed in range(600)), f"nothing notices {name}"


def _notices(seed: int) -> bool:
    for check in (check_crashes, check_modes, check_legs, check_stops):
        try:
            check(seed)
        except (AssertionError, BrokenPromise, IllegalMove, KeyError):
            return True
    return False
