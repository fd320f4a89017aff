"""Slots: counts, and a fair turn for every run that waits."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.slots import WORKSPACE, Slots


def test_an_attempt_takes_a_slot_of_the_process_and_one_of_its_lane() -> None:
    slots = Slots(3)
    slots.limit("x", 1)
    slots.take("x")
    assert (slots.free("x"), slots.free("y"), slots.free()) == (False, True, True)
    slots.take("y")
    slots.take("")
    assert not slots.free("y")
    slots.give("y")
    assert (slots.free("y"), slots.used(), slots.used("x")) == (True, 2, 1)


def test_a_closed_process_lets_nothing_start() -> None:
    slots = Slots(3)
    slots.closed = True
    assert not slots.free() and not slots.may("", "r")


def test_a_freed_slot_goes_to_the_run_that_waited_first() -> None:
    slots = Slots(9)
    slots.limit("x", 1)
    slots.take("x")
    for run in ("r1", "r2", "r1"):
        slots.wait("x", run)
    assert slots.waiting("x") == ("r1", "r2")
    assert slots.next() is None
    slots.give("x")
    assert not slots.may("x", "r2")
    assert slots.next() == "r1"
    assert slots.may("x", "r1")
    slots.take("x")
    assert slots.next() is None
    assert slots.waiting("x") == ("r2",)


def test_a_run_that_gives_its_slot_back_does_not_pass_those_who_wait() -> None:
    slots = Slots(1)
    slots.take("")
    slots.wait("", "other")
    slots.give("")
    assert not slots.may("", "mine")
    slots.wait("", "mine")
    assert [slots.next(), slots.next(), slots.next()] == ["other", "mine", None]


def test_a_run_that_does_not_use_its_turn_passes_it_on() -> None:
    slots = Slots(9)
    slots.limit("x", 1)
    slots.take("x")
    slots.wait("x", "gone")
    slots.wait("x", "r")
    slots.give("x")
    assert [slots.next(), slots.next(), slots.next()] == ["gone", "r", None]


def test_who_waits_for_a_session_to_open_stands_in_nobodys_way_and_is_asked_when_it_is_open() -> None:
    slots = Slots(9)
    slots.wait("x", "r1")
    assert slots.may("x", "r2")
    assert slots.next() is None
    slots.poke("x")
    assert slots.next() == "r1"
    slots.wait("x", "r1")
    assert slots.next() is None
    assert slots.waiting("x") == ("r1",)


def test_a_lane_freed_while_the_process_was_full_is_not_forgotten() -> None:
    slots = Slots(1)
    slots.limit("x", 1)
    slots.take("x")
    slots.wait("x", "r")
    slots.give("x")
    slots.take("")
    assert slots.next() is None
    slots.give("")
    assert slots.next() == "r"


def test_a_raised_limit_wakes_who_waits_and_a_run_that_is_gone_is_forgotten() -> None:
    slots = Slots(9)
    slots.limit("x", 0)
    slots.wait("x", "gone")
    slots.wait("x", "r")
    slots.forget("gone")
    slots.limit("x", 2)
    assert [slots.next(), slots.next()] == ["r", None]


# ---------------------------------------------------------------- the workspace


def turns(slots: Slots) -> list[str]:
    """Who is asked, one after the other, when nobody uses its turn."""
    asked = []
    while (run := slots.next()) is not None:
        asked.append(run)
    return asked


def test_the_workspace_is_shared_by_many_or_has_one_alone() -> None:
    slots = Slots(9)
    slots.take("", "shared")
    slots.take("x", "shared")
    assert slots.may_claim("shared", "r") and slots.may_claim("", "r")
    assert not slots.may_claim("alone", "r")
    slots.give("", "shared")
    slots.give("x", "shared")
    slots.take("", "alone")
    assert not slots.may_claim("shared", "r") and not slots.may_claim("alone", "r")
    assert slots.may_claim("", "r")  # what does not touch files goes on
    slots.give("", "alone")
    assert slots.may_claim("alone", "r")
    assert (slots.claimed("shared"), slots.claimed("alone"), slots.used()) == (0, 0, 0)


def test_who_shares_the_workspace_does_not_overtake_who_waits_to_be_alone() -> None:
    slots = Slots(9)
    slots.take("", "shared")
    slots.wait(WORKSPACE, "alone", "alone")
    assert not slots.may_claim("shared", "other")
    slots.wait(WORKSPACE, "other", "shared")
    assert turns(slots) == []
    slots.give("", "shared")
    assert slots.next() == "alone"
    assert slots.may_claim("alone", "alone")
    slots.take("", "alone")
    assert turns(slots) == []
    slots.give("", "alone")
    assert turns(slots) == ["other"]


def test_who_must_be_alone_does_not_overtake_who_shares() -> None:
    slots = Slots(9)
    slots.take("", "alone")
    slots.wait(WORKSPACE, "sharing", "shared")
    slots.wait(WORKSPACE, "alone", "alone")
    slots.give("", "alone")
    assert slots.next() == "sharing"
    slots.take("", "shared")
    assert turns(slots) == []
    slots.give("", "shared")
    assert turns(slots) == ["alone"]


def test_all_who_share_are_asked_at_once_up_to_the_first_who_must_be_alone() -> None:
    slots = Slots(9)
    slots.take("", "alone")
    for run, claim in (("a", "shared"), ("b", "shared"), ("c", "alone"), ("d", "shared")):
        slots.wait(WORKSPACE, run, claim)  # type: ignore[arg-type]
    slots.give("", "alone")
    started = []
    while (run := slots.next()) is not None:
        assert slots.may_claim("shared", run)
        slots.take("", "shared")
        started.append(run)
    assert started == ["a", "b"]
    assert slots.waiting(WORKSPACE) == ("c", "d")


def test_a_turn_that_the_process_gives_does_not_pass_the_line_for_the_workspace() -> None:
    slots = Slots(2)
    slots.take("", "shared")
    slots.take("", "shared")
    slots.wait(WORKSPACE, "alone", "alone")
    slots.wait("", "busy")
    slots.give("", "shared")
    assert slots.next() == "busy"
    assert slots.may("", "busy") and not slots.may_claim("shared", "busy")


def test_a_run_that_leaves_the_line_lets_those_behind_it_go() -> None:
    for go in (lambda s: s.leave(WORKSPACE, "alone"), lambda s: s.forget("alone")):
        slots = Slots(9)
        slots.take("", "shared")
        slots.wait(WORKSPACE, "alone", "alone")
        slots.wait(WORKSPACE, "behind", "shared")
        go(slots)
        assert turns(slots) == ["behind"]


def test_a_run_whose_first_step_claims_less_by_now_keeps_its_place() -> None:
    slots = Slots(9)
    slots.take("", "shared")
    slots.wait(WORKSPACE, "r", "alone")
    slots.wait(WORKSPACE, "behind", "alone")
    slots.wait(WORKSPACE, "r", "shared")
    assert slots.next() == "r"
    assert slots.may_claim("shared", "r")


def test_whoever_waits_for_the_workspace_while_the_process_is_full_is_asked_when_it_is_not() -> None:
    slots = Slots(1)
    slots.take("")
    slots.wait(WORKSPACE, "r", "alone")
    assert turns(slots) == []
    slots.give("")
    assert turns(slots) == ["r"]


@given(st.integers(0, 10**6))
@settings(max_examples=200, deadline=None, database=None, derandomize=True)
def test_neither_kind_of_claim_starves_while_runs_keep_coming(seed: int) -> None:
    """Many runs want the workspace again as soon as they had it: while one waits, each of the others has it twice at most."""
    rng = Random(seed)
    slots = Slots(rng.choice([1, 2, 4]))
    runs = {f"r{n}": rng.choice(["shared", "alone"]) for n in range(rng.randint(2, 6))}
    held: list[tuple[str, Any]] = []
    passed: dict[str, Counter[str]] = {}
    """Who waits, and who had it meanwhile."""

    def ask(run: str) -> None:
        claim: Any = runs[run]
        if any(name == run for name, _ in held):
            return
        if slots.may("", run) and slots.may_claim(claim, run):
            slots.take("", claim)
            held.append((run, claim))
            passed.pop(run, None)
            for others in passed.values():
                others[run] += 1
        else:
            passed.setdefault(run, Counter())
            slots.wait("", run)
            slots.wait(WORKSPACE, run, claim)

    for run in runs:
        ask(run)
    for _ in range(200):
        while (run := slots.next()) is not None:
            ask(run)
        assert held, "nobody has it, though all of them want it"
        assert len(held) == 1 or all(claim == "shared" for _, claim in held)
        run, claim = held.pop(rng.randrange(len(held)))
        slots.give("", claim)
        if rng.random() < 0.7:
            ask(run)  # at once: it would like to be first
        runs[run] = rng.choice(["shared", "alone"])
        for other in rng.sample(sorted(runs), len(runs)):
            ask(other)
        assert all(most <= 2 for others in passed.values() for most in others.values()), passed
