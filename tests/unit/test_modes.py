"""The mode: what the circuits ask for, worse at once, better with care, pinned by a person."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from runner.core.circuits import Circuit, State
from runner.core.modes import (
    MODE_MOVES,
    CloudEndpoint,
    ModeState,
    advance,
    change_at,
    is_worse,
    leads,
    pin,
    unpin,
    wanted,
)
from runner.manifest.vocabulary import MODES, Mode

CLOUD = (CloudEndpoint("proxy", lead=True), CloudEndpoint("backup", lead=False))
NOW = 1_000_000
DWELL = 30_000


def circuits(**states: State) -> Mapping[str, Circuit]:
    return {f"endpoint:{name}": Circuit(state, reason="refused") for name, state in states.items()}


def test_the_moves_are_between_all_modes() -> None:
    assert {old: set(new) for old, new in MODE_MOVES.items()} == {mode: set(MODES) - {mode} for mode in MODES}


@pytest.mark.parametrize(
    ("states", "mode"),
    [
        ({}, "normal"),
        ({"backup": "open"}, "normal"),
        ({"proxy": "open"}, "degraded"),
        ({"proxy": "half_open"}, "degraded"),
        ({"proxy": "open", "backup": "open"}, "brainstem"),
        ({"proxy": "half_open", "backup": "half_open"}, "brainstem"),
        ({"proxy": "closed", "backup": "open"}, "normal"),
    ],
)
def test_circuits_ask_for_a_mode(states: dict[str, State], mode: Mode) -> None:
    assert wanted(CLOUD, circuits(**states))[0] == mode


def test_without_a_cloud_endpoint_the_mode_is_normal() -> None:
    assert wanted((), circuits(local="open")) == ("normal", "no cloud endpoint is configured")


def test_a_single_cloud_endpoint_that_is_down_means_brainstem() -> None:
    assert wanted(CLOUD[:1], circuits(proxy="open"))[0] == "brainstem"


def test_the_reason_names_what_is_down_and_what_is_well() -> None:
    assert wanted(CLOUD, circuits(proxy="open"))[1] == "proxy (refused) down, backup is well"
    assert wanted(CLOUD, circuits(proxy="open", backup="open"))[1] == (
        "no cloud endpoint is well: proxy (refused), backup (refused)"
    )


@pytest.mark.parametrize(
    ("kinds", "backups", "expected"),
    [
        ({"proxy": "litellm_proxy", "other": "openai", "backup": "openai"}, {"backup"}, {"proxy"}),
        ({"a": "openai", "b": "openai", "backup": "openai"}, {"backup"}, {"a", "b"}),
        ({"backup": "openai"}, {"backup"}, {"backup"}),
        ({}, set(), set()),
    ],
)
def test_the_proxy_leads_else_what_is_no_backup_else_whatever_there_is(
    kinds: dict[str, str], backups: set[str], expected: set[str]
) -> None:
    assert leads(kinds, frozenset(backups)) == expected


def test_worse_holds_at_once_and_better_waits_for_the_dwell() -> None:
    worse = advance(ModeState(since=NOW), "brainstem", "all down", NOW + 1, DWELL)
    assert worse == ModeState("brainstem", NOW + 1, None, "all down")
    assert advance(worse, "normal", "well", NOW + DWELL, DWELL) is worse
    assert advance(worse, "normal", "well", NOW + 1 + DWELL, DWELL) == ModeState(
        "normal", NOW + 1 + DWELL, None, "well"
    )


def test_better_by_one_step_waits_too_and_worse_by_one_does_not() -> None:
    brainstem = ModeState("brainstem", NOW)
    assert advance(brainstem, "degraded", "", NOW + 1, DWELL) is brainstem
    assert advance(ModeState("degraded", NOW), "brainstem", "", NOW + 1, DWELL).mode == "brainstem"


def test_the_same_mode_is_no_change() -> None:
    state = ModeState("degraded", NOW, None, "first")
    assert advance(state, "degraded", "second", NOW + 99, DWELL) is state


def test_a_pin_holds_whatever_happens_until_its_end() -> None:
    pinned = pin(ModeState(), "degraded", NOW, NOW + 3_600_000, "ann")
    assert pinned.reason == "set by ann"
    assert advance(pinned, "brainstem", "", NOW + 1, DWELL) is pinned
    assert advance(pinned, "normal", "", NOW + 3_599_999, DWELL) is pinned
    assert advance(pinned, "normal", "well", NOW + 3_600_000, DWELL).mode == "normal"


def test_a_pin_without_an_end_holds_until_it_is_taken_back() -> None:
    pinned = pin(ModeState(), "brainstem", NOW, None)
    assert pinned.is_pinned(NOW + 10**12)
    assert advance(unpin(pinned), "normal", "well", NOW + DWELL, DWELL).mode == "normal"


def test_a_pin_whose_end_has_come_is_forgotten_although_the_mode_stays() -> None:
    pinned = pin(ModeState(), "degraded", NOW, NOW + 5)
    after = advance(pinned, "degraded", "", NOW + 5, DWELL)
    assert (after.mode, after.pinned_until, after.since) == ("degraded", None, NOW)


def test_pinning_the_mode_that_holds_keeps_its_beginning() -> None:
    assert pin(ModeState("degraded", NOW), "degraded", NOW + 9, None).since == NOW


@pytest.mark.parametrize(
    ("state", "want", "expected"),
    [
        (ModeState("degraded", NOW), "degraded", None),
        (ModeState("degraded", NOW), "brainstem", NOW + 9),
        (ModeState("degraded", NOW), "normal", NOW + DWELL),
        (ModeState("degraded", NOW, NOW + 99_000), "normal", NOW + 99_000),
        (ModeState("degraded", NOW, NOW + 99_000), "brainstem", NOW + 99_000),
    ],
)
def test_it_is_known_when_to_look_again(state: ModeState, want: Mode, expected: int | None) -> None:
    assert change_at(state, want, NOW + 9, DWELL) == expected
    if expected is not None:
        assert advance(state, want, "", expected, DWELL).mode == want


def test_modes_are_ordered_from_good_to_bad() -> None:
    assert [one for one in MODES for other in MODES if is_worse(one, other)] == ["degraded", "brainstem", "brainstem"]
