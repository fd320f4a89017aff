"""`runner mode`: how the system stands, and what a person may do about it: set a mode, take that back, ask now.

Every write is a compare-and-set, so that it may be done while other processes apply. Not here: what an apply probes by itself
(engine/health), and what the numbers mean (core/circuits, core/modes).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from runner.api.routing import limits, missing, mode_state, roster
from runner.api.settings import Settings
from runner.clock import Clock
from runner.core.circuits import Circuit, Limits, Sign, SignKind, as_of, feed, warm
from runner.core.modes import FOREVER, ModeState, advance, pin, unpin, wanted
from runner.core.roster import Roster
from runner.llms.spec import EndpointSpec, endpoints
from runner.manifest.vocabulary import Mode
from runner.ports import CircuitRow, Health, ModeRow

Role = Literal["lead", "backup", "cloud", "local", "executor"]


@dataclass(frozen=True, slots=True)
class Line:
    """An endpoint or executor and its circuit as of now. `needs`: what it lacks before it can be asked at all. `probe_at`: when an
    apply would probe it."""

    name: str
    role: Role
    circuit: Circuit
    needs: str = ""

    @property
    def probe_at(self) -> int | None:
        return None if self.circuit.state == "closed" and not self.circuit.suspect else self.circuit.probe_at


@dataclass(frozen=True, slots=True)
class Cooling:
    """Something that is not to be asked for a while. `kind`: model, executor or credential."""

    kind: str
    name: str
    circuit: Circuit


@dataclass(frozen=True, slots=True)
class Standing:
    """How the system stands at `now`. `wants`: the mode that the circuits ask for; `because`: why."""

    now: int
    state: ModeState
    wants: Mode
    because: str
    endpoints: tuple[Line, ...] = ()
    executors: tuple[Line, ...] = ()
    cooling: tuple[Cooling, ...] = ()

    @property
    def pinned(self) -> bool:
        return self.state.is_pinned(self.now)


def standing(settings: Settings, env: Mapping[str, str], health: Health, now: int) -> Standing:
    """Reads; changes nothing."""
    lacks = missing(settings.config, env)
    who = roster(settings.config)
    circuits = {subject: as_of(row.circuit, now) for subject, row in health.circuits().items()}
    wants, because = wanted(who.cloud, circuits)
    state = mode_state(who, settings.config.fault_handler, health, circuits, now)
    lines = [
        Line(name, _role(name, settings, who), circuits.get(f"endpoint:{name}", Circuit()), lacks.get(name, ""))
        for name in settings.config.models.endpoints
    ]
    ran = [subject.partition(":")[2] for subject in circuits if subject.startswith("executor:")]
    executors = [Line(name, "executor", circuits[f"executor:{name}"]) for name in ran]
    return Standing(
        now,
        state,
        wants,
        because,
        tuple(lines),
        tuple(line for line in executors if line.circuit.state != "closed" or line.circuit.failures),
        tuple(_cooling(circuits, now)),
    )


def _role(name: str, settings: Settings, who: Roster) -> Role:
    endpoint = settings.config.models.endpoints[name]
    if endpoint.local:
        return "local"
    if any(cloud.lead for cloud in who.cloud if cloud.name == name):
        return "lead"
    return "backup" if endpoint.role == "backup" else "cloud"


def _cooling(circuits: Mapping[str, Circuit], now: int) -> Iterator[Cooling]:
    for subject, circuit in circuits.items():
        if circuit.cool_until is not None and circuit.cool_until > now:
            kind, _, name = subject.partition(":")
            yield Cooling(kind, name, circuit)


# ---------------------------------------------------------------- a person's word


async def set_mode(settings: Settings, health: Health, mode: Mode, now: int, until: int | None, by: str) -> ModeRow:
    """`mode` holds until then (None: until it is taken back), whatever the circuits say."""
    return await _change_mode(health, lambda state: pin(state, mode, now, until, by))


async def unset_mode(settings: Settings, health: Health, now: int) -> ModeRow:
    """The circuits decide again, from now on: a person who asks does not wait for `min_dwell`."""
    want, why = _wanted(settings, health, now)
    return await _change_mode(health, lambda state: advance(unpin(state), want, why, now, 0))


def _wanted(settings: Settings, health: Health, now: int) -> tuple[Mode, str]:
    circuits = {subject: as_of(row.circuit, now) for subject, row in health.circuits().items()}
    return wanted(roster(settings.config).cloud, circuits)


async def _change_mode(health: Health, change: Callable[[ModeState], ModeState]) -> ModeRow:
    while True:
        row = health.mode()
        new = change(row.state)
        if new == row.state:
            return row
        if (epoch := await health.set_mode(new, row.epoch)) is not None:
            return ModeRow(epoch, new)


# ---------------------------------------------------------------- asking now


@dataclass(frozen=True, slots=True)
class Asked:
    """What a probe of an endpoint gave. `probes`: how many it took to be sure. `circuit`: as it is now."""

    name: str
    role: Role
    ok: bool
    reason: str
    ms: int
    status: int | None
    probes: int
    circuit: Circuit


@dataclass(frozen=True, slots=True)
class Probed:
    """`warmed`: what cooled, and may be asked again now that a person wants to know."""

    asked: tuple[Asked, ...]
    warmed: tuple[Cooling, ...]
    before: Mode
    after: ModeState


async def probe_now(settings: Settings, env: Mapping[str, str], health: Health, clock: Clock) -> Probed:
    """Ask every endpoint at once, until it is sure whether each is there; then the mode that follows. What lacks a key or a URL is
    not asked."""
    handler, who = settings.config.fault_handler, roster(settings.config)
    before = mode_state(who, handler, health, {s: r.circuit for s, r in health.circuits().items()}, clock.now()).mode
    warmed = await _warm(health, clock.now())
    asked = await asyncio.gather(
        *(
            _ask(spec, _role(name, settings, who), health, limits(handler), clock, handler.probe_timeout / 1000)
            for name, spec in endpoints(settings.config.models, env).items()
        )
    )
    want, why = _wanted(settings, health, clock.now())
    row = await _change_mode(health, lambda state: advance(state, want, why, clock.now(), handler.min_dwell))
    return Probed(tuple(asked), warmed, before, row.state)


async def _warm(health: Health, now: int) -> tuple[Cooling, ...]:
    found = tuple(_cooling({subject: row.circuit for subject, row in health.circuits().items()}, now))
    for one in found:
        await change_circuit(health, f"{one.kind}:{one.name}", warm)
    return found


async def _ask(
    spec: EndpointSpec, role: Role, health: Health, numbers: Limits, clock: Clock, timeout_s: float
) -> Asked:
    """A closed circuit that does not answer is probed until it opens: nobody is left in doubt."""
    from runner.llms.probe import probe

    subject = f"endpoint:{spec.name}"
    if spec.unusable:
        circuit = as_of(health.circuits().get(subject, CircuitRow(0, Circuit())).circuit, clock.now())
        return Asked(spec.name, role, False, spec.unusable, 0, None, 0, circuit)
    await change_circuit(health, subject, lambda c: feed(c, Sign("asked", clock.now(), "asked by a person"), numbers))
    probes = 0
    while True:
        found, probes = await probe(spec, timeout_s), probes + 1
        kind: SignKind = "probe_passed" if found.ok else "probe_failed"
        sign = Sign(kind, clock.now(), found.reason, unreached=found.unreached)
        circuit = await change_circuit(health, subject, partial(feed, sign=sign, limits=numbers))
        if found.ok or circuit.state != "closed" or probes == numbers.failure_threshold:
            return Asked(spec.name, role, found.ok, found.reason, found.ms, found.status, probes, circuit)
        await asyncio.sleep(max(0, (circuit.probe_at or 0) - clock.now()) / 1000)


async def change_circuit(health: Health, subject: str, change: Callable[[Circuit], Circuit]) -> Circuit:
    """Apply a pure change to the newest value, again when somebody was faster. Returns what holds then."""
    while True:
        row = health.circuits().get(subject, CircuitRow(0, Circuit()))
        new = change(row.circuit)
        if new == row.circuit or await health.set_circuit(subject, new, row.epoch) is not None:
            return new


# ---------------------------------------------------------------- JSON


def mode_json(found: Standing) -> dict[str, Any]:
    """The document of `mode --json`."""
    return {"version": 1, **_state_json(found)}


def _state_json(found: Standing) -> dict[str, Any]:
    return {
        **state_json(found.state),
        "pinned": found.pinned,
        "wants": found.wants,
        "because": found.because,
        "endpoints": [_line_json(line) for line in found.endpoints],
        "executors": [_line_json(line) for line in found.executors],
        "cooling": [
            {
                "kind": one.kind,
                "name": one.name,
                "cause": one.circuit.cause,
                "until": one.circuit.cool_until,
                "reason": one.circuit.reason,
            }
            for one in found.cooling
        ],
    }


def state_json(state: ModeState) -> dict[str, Any]:
    """A mode as it was entered."""
    until = state.pinned_until
    return {
        "mode": state.mode,
        "since": state.since or None,
        "pinned_until": None if until in (None, FOREVER) else until,
        "reason": state.reason,
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "role": line.role,
        "state": line.circuit.state,
        "reason": line.circuit.reason,
        "opened": line.circuit.opened,
        "until": line.circuit.until,
        "next_probe": line.probe_at,
        "needs": line.needs or None,
    }


def history_json(rows: Sequence[ModeRow]) -> dict[str, Any]:
    """The document of `mode history --json`: newest first."""
    return {"version": 1, "history": [{"epoch": row.epoch, **state_json(row.state)} for row in rows]}


def probed_json(probed: Probed, found: Standing) -> dict[str, Any]:
    """The document of `mode probe --json`."""
    return {
        "version": 1,
        "before": probed.before,
        "asked": [
            {
                "name": one.name,
                "role": one.role,
                "ok": one.ok,
                "reason": one.reason,
                "ms": one.ms,
                "status": one.status,
                "probes": one.probes,
                "state": one.circuit.state,
            }
            for one in probed.asked
        ],
        "warmed": [f"{one.kind}:{one.name}" for one in probed.warmed],
        **_state_json(found),
    }
