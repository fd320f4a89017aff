"""Slots: counts, and a fair turn for every run that waits."""

from __future__ import annotations

from runner.core.slots import Slots


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
