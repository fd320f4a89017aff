"""Any story of failures, answers and probes: circuits keep to their table, and a flapping endpoint recovers once a dwell at most."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.circuits import CIRCUIT_MOVES, Circuit, Limits, Sign, SignKind, admit, as_of, begin_trial, feed
from runner.core.modes import CloudEndpoint, ModeState, advance, change_at, is_worse, pin, unpin, wanted
from runner.manifest.vocabulary import MODES

CLOUD = (CloudEndpoint("proxy", lead=True), CloudEndpoint("backup", lead=False))
NAMES = tuple(f"endpoint:{endpoint.name}" for endpoint in CLOUD)

LIMITS = st.builds(
    Limits,
    failure_threshold=st.integers(1, 4),
    window=st.integers(1, 2_000),
    open_for=st.integers(1, 1_000),
    recover_after=st.integers(1, 4),
    probe_interval=st.integers(1, 500),
)
KINDS = st.sampled_from(get_args(SignKind))
STEPS = st.lists(st.tuples(st.integers(0, 700), KINDS, st.sampled_from(NAMES)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(LIMITS, st.lists(st.tuples(st.integers(0, 700), KINDS), max_size=60))
def test_a_circuit_moves_only_along_its_table(limits: Limits, story: list[tuple[int, SignKind]]) -> None:
    circuit, now = Circuit(), 0
    for pause, kind in story:
        now += pause
        seen = as_of(circuit, now)
        if seen.state != circuit.state:
            assert seen.state in CIRCUIT_MOVES[circuit.state]
        after = feed(circuit, Sign(kind, now), limits)
        if after.state != seen.state:
            assert after.state in CIRCUIT_MOVES[seen.state]
        if after.state == "open" and seen.state != "open":
            assert kind in ("failed", "probe_failed")
            assert after.until == now + limits.open_for
        if after.state == "closed" and seen.state == "half_open":
            assert kind in ("probe_passed", "answered")
        assert len(after.failures) < limits.failure_threshold
        assert after.state != "closed" or after.until is None
        circuit = after


@settings(max_examples=200, deadline=None)
@given(LIMITS, st.lists(st.tuples(st.integers(0, 700), KINDS), max_size=60))
def test_a_closing_was_earned_by_a_probe_and_a_call_since_the_last_failure(
    limits: Limits, story: list[tuple[int, SignKind]]
) -> None:
    circuit, now = Circuit(), 0
    heard: list[SignKind] = []
    for pause, kind in story:
        now += pause
        before = as_of(circuit, now).state
        circuit = feed(circuit, Sign(kind, now), limits)
        heard = [] if before != "half_open" or kind in ("failed", "probe_failed") else [*heard, kind]
        if before == "half_open" and circuit.state == "closed":
            assert {"probe_passed", "answered"} <= set(heard)
            assert heard.count("probe_passed") + heard.count("answered") >= limits.recover_after


@settings(max_examples=200, deadline=None)
@given(LIMITS, st.lists(st.tuples(st.integers(0, 700), KINDS, st.booleans()), max_size=60))
def test_at_most_one_trial_is_under_way(limits: Limits, story: list[tuple[int, SignKind, bool]]) -> None:
    circuit, now, ends = Circuit(), 0, 0
    for pause, kind, try_it in story:
        now += pause
        if kind in ("failed", "answered", "dropped"):
            ends = 0  # the call that was under way, if any, has ended
        circuit = feed(circuit, Sign(kind, now), limits)
        answer = admit(circuit, now).answer
        if answer == "trial":
            assert now >= ends
        if answer == "trial" and try_it:
            circuit, ends = begin_trial(circuit, now, 300), now + 300
            assert admit(circuit, now).answer == "no"
        if as_of(circuit, now).state != "half_open":
            ends = 0  # opened or closed: a later half open time has trials of its own


@settings(max_examples=300, deadline=None)
@given(LIMITS, st.integers(1, 2_000), STEPS)
def test_a_flapping_endpoint_causes_at_most_one_recovery_in_a_dwell(
    limits: Limits, dwell: int, story: list[tuple[int, SignKind, str]]
) -> None:
    circuits: dict[str, Circuit] = {}
    state, now = ModeState(), 0
    recoveries: list[int] = []
    for pause, kind, name in story:
        now += pause
        circuits[name] = feed(circuits.get(name, Circuit()), Sign(kind, now), limits)
        want, reason = wanted(CLOUD, circuits)
        after = advance(state, want, reason, now, dwell)
        assert not is_worse(want, after.mode), "worsening is immediate"
        if is_worse(state.mode, after.mode):
            recoveries.append(now)
            assert now - state.since >= dwell
        if after.mode != state.mode:
            assert after.since == now
            assert after.reason
        state = after
    assert all(later - earlier >= dwell for earlier, later in pairwise(recoveries))


@settings(max_examples=200, deadline=None)
@given(LIMITS, STEPS, st.integers(1, 500))
def test_an_outage_that_ends_always_ends_in_normal(
    limits: Limits, story: list[tuple[int, SignKind, str]], dwell: int
) -> None:
    """Whatever happened before: an engine that only probes when a probe is wanted and calls when it is admitted brings it back."""
    circuits: dict[str, Circuit] = {name: Circuit() for name in NAMES}
    state, now = ModeState(), 0
    for pause, kind, name in story:
        now += pause
        circuits[name] = feed(circuits[name], Sign(kind, now), limits)
        state = advance(state, *wanted(CLOUD, circuits), now, dwell)
    now += limits.open_for
    for _ in range(40):
        for name in NAMES:
            seen = as_of(circuits[name], now)
            if seen.probe_at is not None and seen.probe_at <= now:
                circuits[name] = feed(circuits[name], Sign("probe_passed", now), limits)
            if admit(circuits[name], now).answer != "no":
                circuits[name] = feed(begin_trial(circuits[name], now, 10), Sign("answered", now, began=now), limits)
        state = advance(state, *wanted(CLOUD, circuits), now, dwell)
        now += limits.probe_interval + dwell
    assert {circuit.state for circuit in circuits.values()} == {"closed"}
    assert state.mode == "normal"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 700), st.sampled_from(MODES), st.sampled_from(("want", "pin", "unpin")), st.integers(1, 900)),
        max_size=40,
    ),
    st.integers(1, 1_000),
)  # fmt: skip
def test_the_moment_to_look_again_is_the_first_at_which_the_mode_changes(
    story: list[tuple[int, str, str, int]], dwell: int
) -> None:
    state, now = ModeState(), 0
    for pause, mode, what, length in story:
        now += pause
        match what:
            case "pin":
                state = pin(state, mode, now, now + length)  # type: ignore[arg-type]
            case "unpin":
                state = unpin(state)
            case _:
                at = change_at(state, mode, now, dwell)  # type: ignore[arg-type]
                if at is not None and at > now:
                    assert advance(state, mode, "", at - 1, dwell).mode == state.mode  # type: ignore[arg-type]
                if at is not None:
                    assert advance(state, mode, "", at, dwell).mode == mode  # type: ignore[arg-type]
                state = advance(state, mode, "", now, dwell)  # type: ignore[arg-type]
