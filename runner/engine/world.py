"""The engine's answers to what preparing needs from outside: the record, files, MCP sessions, secrets by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from runner.core.messages import Reuse, Stored
from runner.core.slots import Slots
from runner.engine.blobs import Blobs
from runner.engine.changes import content_digest
from runner.engine.results import stored
from runner.manifest.vocabulary import Effects
from runner.paths import tree_digest
from runner.ports import ServerPool, Store

FRESH_S = 1.0
"""How long "nothing of this name is on record" is believed."""


class EngineWorld:
    """`core.prepare.World` over real adapters. `on_lane(server)` is called when a session that was opening is open, or failed."""

    def __init__(
        self,
        *,
        store: Store,
        blobs: Blobs,
        servers: ServerPool,
        slots: Slots,
        workspace: Path,
        run_dirs: Path,
        secrets: Container[str],
        on_lane: Callable[[str], None],
    ) -> None:
        self._store, self._blobs, self._servers, self._slots = store, blobs, servers, slots
        self._workspace, self._secrets, self._on_lane = workspace, secrets, on_lane
        self._run_dirs = str(run_dirs)
        self._earlier = EarlierResults(store, workspace)

    def fetch(self, stored: Stored) -> Mapping[str, Any]:
        return self._blobs.fetch(stored)

    def stored(self, result: Mapping[str, Any]) -> Stored:
        kept, blob = stored(result)
        if blob is not None:
            self._blobs.keep(kept["ref"], blob)
        return kept

    def reusable(self, name: str, key: str) -> Reuse | None:
        return self._earlier.find(name, key)

    def files_digest(self, patterns: Sequence[str]) -> str:
        return tree_digest(self._workspace, list(patterns))

    def server(self, name: str) -> Literal["unknown", "opening", "full", "ready"]:
        if not self._servers.known(name):
            return "unknown"
        match self._servers.status(name):
            case "closed":
                self._slots.limit(name, self._servers.max_in_flight(name))
                self._servers.ensure(name, lambda: self._on_lane(name))
                return "opening"
            case "opening":
                return "opening"
            case _:  # open; or failed: the attempt then says why
                return "ready" if self._slots.free(name) else "full"

    def tool_effects(self, server: str, tool: str) -> Effects:
        info = self._servers.tool(server, tool)
        if info is None:
            return "once"
        return "none" if info.read_only else "idempotent" if info.idempotent else "once"

    def has_secret(self, name: str) -> bool:
        return name in self._secrets

    def run_dir(self, run: str) -> str:
        return f"{self._run_dirs}/{run}"  # asked for every step: joining paths would cost twenty times as much


class EarlierResults:
    """`recorded_reuse` with few questions to the record, for a process that drives runs.

    A name that had no success on record gets its first from this process (what another one does is seen within `FRESH_S`), and here a
    key is looked up before it is recorded: one that was never looked up cannot be there."""

    def __init__(self, store: Store, workspace: Path, seconds: Callable[[], float] = time.monotonic) -> None:
        self._store, self._workspace, self._seconds = store, workspace, seconds
        self._empty: dict[str, tuple[float, set[str]]] = {}
        """Names without a success: when that was last so, and the keys that were looked up since."""
        self._filled: set[str] = set()

    def find(self, name: str, key: str) -> Reuse | None:
        if name not in self._filled and self._is_empty(name):
            looked_up = self._empty[name][1]
            if key not in looked_up:
                looked_up.add(key)
                return None
        return recorded_reuse(self._store, self._workspace, name, key)

    def _is_empty(self, name: str) -> bool:
        now = self._seconds()
        if name in self._empty and now - self._empty[name][0] < FRESH_S:
            return True
        if self._store.has_reusable(name):
            self._filled.add(name)
            self._empty.pop(name, None)
            return False
        self._empty[name] = (now, self._empty.get(name, (now, set()))[1])
        return True


def recorded_reuse(store: Store, workspace: Path, name: str, key: str) -> Reuse | None:
    """The newest recorded success of this key, unless what it produced is gone or was edited."""
    found = store.reusable(name, key)
    if found is None or changed_product(workspace, found.products):
        return None
    return Reuse(found.key, found.producer, found.result, found.products, f"same inputs as {found.producer}")


def changed_product(workspace: Path, products: Mapping[str, str]) -> str | None:
    """The first of these files whose content is not as recorded, else None."""
    return next((path for path, digest in products.items() if content_digest(workspace, path) != digest), None)
