"""Circuits, mode and router together: an endpoint dies, its backup too, both come back. Each call's end is worked in as the engine does."""

from __future__ import annotations

from runner.core.circuits import CallEnd, Circuit, Limits, Sign, as_of, begin_trial, consequences, feed
from runner.core.modes import CloudEndpoint, ModeState, advance, wanted
from runner.core.roster import Entry, Roster
from runner.core.router import Outlook, Routed, Want, route

LIMITS = Limits(failure_threshold=3, open_for=1_000, recover_after=2, probe_interval=500)
DWELL = 2_000
ROSTER = Roster(
    models={
        "smart": Entry("smart", "model", endpoint="proxy", lead=True),
        "spare": Entry("spare", "model", endpoint="backup", backup=True),
        "llama": Entry("llama", "model", endpoint="local", local=True),
    },
    cloud=(CloudEndpoint("proxy", lead=True), CloudEndpoint("backup", lead=False)),
)


class World:
    """Which endpoints answer, and what is known of them."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.dead: set[str] = set()
        self.circuits: dict[str, Circuit] = {}
        self.state = ModeState()

    def route(self, *chain: str) -> Routed:
        outlook = Outlook(self.now, self.state.mode, circuits=self.circuits)
        return route(Want("model", {"models": list(chain)}), ROSTER, outlook)

    def call(self, *chain: str) -> str:
        """Ask down the chain until somebody answers; what `recover` would do without rounds."""
        failed: set[str] = set()
        while isinstance(picked := self.route(*chain).pick(failed), tuple):
            first, began = picked[0], self.now
            assert first.entry is not None
            if first.stand == "trial":
                self.circuits[first.entry.place] = begin_trial(self.circuits[first.entry.place], began, 60_000)
            ok = first.entry.endpoint not in self.dead
            end = CallEnd(first.label, first.entry.endpoint, "" if ok else "unavailable", began=began, unreached=not ok)
            for subject, change in consequences(end, LIMITS, self.now).items():
                self.circuits[subject] = change(self.circuits.get(subject, Circuit()))
            self.probe()
            if ok:
                return first.label
            failed.add(first.label)
        return "waits"

    def probe(self) -> None:
        """Every probe that is due, again as long as one is due within a second; then the mode."""
        for endpoint in ("proxy", "backup"):
            subject, began = f"endpoint:{endpoint}", self.now
            while (circuit := as_of(self.circuits.get(subject, Circuit()), self.now)).probe_at is not None:
                if circuit.probe_at > max(self.now, began + 400):
                    break
                self.now = max(self.now, circuit.probe_at)
                sign = Sign("probe_failed" if endpoint in self.dead else "probe_passed", self.now, "probe")
                self.circuits[subject] = feed(self.circuits[subject], sign, LIMITS)
        self.state = advance(self.state, *wanted(ROSTER.cloud, self.circuits), self.now, DWELL)


def test_an_outage_goes_through_all_modes_and_back() -> None:
    world = World()
    chain = ("smart", "spare")
    assert world.call(*chain) == "smart"

    world.dead = {"proxy"}
    died = world.now
    assert world.call(*chain) == "spare", "the very call that found the proxy dead goes on at the backup"
    assert world.state.mode == "degraded"
    assert world.now - died < 1_000

    world.dead = {"proxy", "backup"}
    assert world.call(*chain) == "waits"
    assert world.state.mode == "brainstem"
    assert world.call("smart", "llama") == "llama"
    assert world.call(*chain) == "waits"

    world.dead = {"proxy"}
    world.now += DWELL
    world.probe()
    assert world.state.mode == "brainstem", "a probe alone is no recovery"
    assert world.call(*chain) == "spare", "the trial call"
    assert world.state.mode == "degraded"

    world.dead = set()
    world.now += LIMITS.open_for
    world.probe()
    assert world.call(*chain) == "smart", "the trial call"
    assert world.circuits["endpoint:proxy"].state == "closed"
    assert world.state.mode == "degraded", "recovery waits for the dwell"
    assert world.call(*chain) == "spare"
    world.now += DWELL
    world.probe()
    assert world.state.mode == "normal"
    assert world.call(*chain) == "smart"


def test_a_trial_that_fails_is_passed_on_and_opens_the_circuit_again() -> None:
    world = World()
    world.dead = {"proxy"}
    assert world.call("smart", "spare") == "spare"
    world.dead = set()
    world.now += LIMITS.open_for
    world.probe()
    world.dead = {"proxy"}
    assert world.route("smart", "spare").verdicts[0].stand == "trial"
    assert world.call("smart", "spare") == "spare"
    assert world.circuits["endpoint:proxy"].state == "open"
    assert world.state.mode == "degraded"
