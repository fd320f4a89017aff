"""What preparing a step asks the world (`core.prepare.World`), where there is none: sessions are open, nothing was done before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from runner.core.messages import Reuse, Stored
from runner.core.slots import Slots
from runner.manifest.vocabulary import Effects
from runner.simulate.scenario import Case


class SimulatedWorld:
    """Of one process: it has its slots, and goes with it."""

    def __init__(self, case: Case, slots: Slots) -> None:
        self._case, self._slots = case, slots

    def fetch(self, stored: Stored) -> Mapping[str, Any]:
        value: Mapping[str, Any] = stored["value"]
        return value

    def stored(self, result: Mapping[str, Any]) -> Stored:
        return {"value": dict(result)}

    def reusable(self, name: str, key: str) -> Reuse | None:
        return None

    def files_digest(self, patterns: Sequence[str]) -> str:
        return ""  # nothing is reused, so no key is compared

    def server(self, name: str) -> Literal["unknown", "opening", "full", "ready"]:
        if name not in self._case.servers:
            return "unknown"
        return "ready" if self._slots.free(name) else "full"

    def tool_effects(self, server: str, tool: str) -> Effects:
        return "once"  # what a tool says of itself is known when its server runs; this is what counts until then

    def has_secret(self, name: str) -> bool:
        return name in self._case.secrets

    def run_dir(self, run: str) -> str:
        return f".ares/runs/{run}"


def slots_of(case: Case) -> Slots:
    """The slots of a process that has just begun."""
    slots = Slots(case.process)
    for server, limit in case.servers.items():
        slots.limit(server, limit)
    return slots
