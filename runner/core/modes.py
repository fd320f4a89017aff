"""The system's mode as one state machine over the circuits of model endpoints: worse at once, better only with care.

Nothing here probes, stores or reads a clock. Executors have circuits of their own and never move the mode.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runner.core.circuits import Circuit
from runner.manifest.vocabulary import MODES, Mode

MODE_MOVES: Mapping[Mode, Mapping[Mode, str]] = {
    "normal": {
        "degraded": "the circuit of the LiteLLM proxy opened",
        "brainstem": "the circuit of the last cloud endpoint opened",
    },
    "degraded": {
        "normal": "the circuit of the LiteLLM proxy closed, and `min_dwell` is over",
        "brainstem": "the circuit of the last cloud endpoint opened",
    },
    "brainstem": {
        "normal": "the circuit of the LiteLLM proxy closed, and `min_dwell` is over",
        "degraded": "the circuit of a backup endpoint closed, and `min_dwell` is over",
    },
}
"""Every move: from → to → cause. A person may make any of them (`runner mode set`)."""

FOREVER = (1 << 53) - 1
"""`pinned_until` of a pin without an end."""


class CloudEndpoint(NamedTuple):
    """A model endpoint that is not local. `lead`: while one of these is well, the mode is normal (see `leads`)."""

    name: str
    lead: bool


class ModeState(NamedTuple):
    """The mode that holds. `since`: when it was entered, Unix milliseconds. `pinned_until`: a person's choice holds until then."""

    mode: Mode = "normal"
    since: int = 0
    pinned_until: int | None = None
    reason: str = ""

    def is_pinned(self, now: int) -> bool:
        return self.pinned_until is not None and now < self.pinned_until


def leads(kinds: Mapping[str, str], backups: frozenset[str]) -> frozenset[str]:
    """Which cloud endpoints (name → kind) decide between normal and worse: the LiteLLM proxies; where there is none, all that are
    no backup; where there is none of these either, all."""
    proxies = frozenset(name for name, kind in kinds.items() if kind == "litellm_proxy" and name not in backups)
    return proxies or frozenset(kinds) - backups or frozenset(kinds)


def wanted(endpoints: Sequence[CloudEndpoint], circuits: Mapping[str, Circuit]) -> tuple[Mode, str]:
    """The mode that the circuits (by subject, `endpoint:NAME`; none = closed) ask for, and why. A half open circuit has not
    recovered yet."""
    if not endpoints:
        return "normal", "no cloud endpoint is configured"
    seen = {endpoint: circuits.get(f"endpoint:{endpoint.name}", Circuit()) for endpoint in endpoints}
    well = [endpoint for endpoint in endpoints if seen[endpoint].state == "closed"]
    lead = next((endpoint for endpoint in well if endpoint.lead), None)
    if lead is not None:
        return "normal", f"{lead.name} is well"
    down = ", ".join(
        f"{endpoint.name} ({seen[endpoint].reason or seen[endpoint].state})"
        for endpoint in endpoints
        if endpoint not in well and (endpoint.lead or not well)
    )
    if well:
        return "degraded", f"{down} down, {well[0].name} is well"
    return "brainstem", f"no cloud endpoint is well: {down}"


def advance(state: ModeState, want: Mode, reason: str, now: int, min_dwell: int) -> ModeState:
    """The mode after the circuits asked for `want`; the very same value when nothing changes. Worse at once; better not before
    the present mode has lasted `min_dwell`, so that a flapping endpoint causes at most one recovery in that time."""
    if state.is_pinned(now):
        return state
    if state.mode == want:
        return state if state.pinned_until is None else state._replace(pinned_until=None)
    if is_worse(want, state.mode) or now >= state.since + min_dwell:
        return ModeState(want, now, None, reason)
    return state


def change_at(state: ModeState, want: Mode, now: int, min_dwell: int) -> int | None:
    """When `advance` would make `want` hold by itself: the moment to look again. None = it holds already."""
    if state.mode == want:
        return None
    free = now if state.pinned_until is None else max(now, state.pinned_until)
    return free if is_worse(want, state.mode) else max(free, state.since + min_dwell)


def pin(state: ModeState, mode: Mode, now: int, until: int | None, by: str = "") -> ModeState:
    """A person's choice, until a moment or (None) until it is taken back."""
    since = state.since if state.mode == mode else now
    return ModeState(mode, since, FOREVER if until is None else until, f"set by {by or 'a person'}")


def unpin(state: ModeState) -> ModeState:
    """The circuits decide again, from the next `advance` on."""
    return (
        state if state.pinned_until is None else state._replace(pinned_until=None, reason="no longer set by a person")
    )


def is_worse(one: Mode, other: Mode) -> bool:
    return MODES.index(one) > MODES.index(other)
