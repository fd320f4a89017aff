"""A project folder for tests of `runner.api`: write files, apply, look at the record, and hold a step at a gate without sleeping."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

from runner.api.apply import apply
from runner.api.load import Loaded, load
from runner.api.request import Control, Request
from runner.api.results import ApplyResult, RunResult
from runner.api.settings import Settings, load_config
from runner.clock import SystemClock
from runner.store.sqlite import SqliteStore

PATIENCE = 30.0


class Project:
    """A folder with a config; every command opens the state anew, as a process would."""

    def __init__(self, folder: Path, config: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.write("config.yaml", config or "state: {durability: process}\n")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(dedent(text))

    def manifest(self, text: str, name: str = "m") -> None:
        self.write(f"{name}.yaml", f"ares: v1\nname: {name}\n{dedent(text)}")

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def ledger(self) -> list[str]:
        """The words that commands have appended to `ledger`; forgotten once read."""
        path = self.folder / "ledger"
        words = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return words

    @property
    def settings(self) -> Settings:
        settings = load_config(None, start=self.folder, env={})
        assert settings.ok, settings.diagnostics
        return settings

    def loaded(self, *names: str) -> Loaded:
        loaded = load([self.folder / f"{name}.yaml" for name in names or ("m",)], self.settings)
        assert not loaded.failed, loaded.diagnostics
        return loaded

    async def applied(
        self, *names: str, control: Control | None = None, sinks: Sequence[Any] = (), **request: Any
    ) -> ApplyResult:
        async with asyncio.timeout(PATIENCE):
            return await apply(
                self.loaded(*names), self.settings, Request(**request), control=control, sinks=sinks
            )  # fmt: skip

    def apply(self, *names: str, **request: Any) -> ApplyResult:
        return asyncio.run(self.applied(*names, **request))

    def run(self, *names: str, **request: Any) -> RunResult:
        """The one run of an apply."""
        [run] = self.apply(*names, **request).runs
        return run

    def record(self) -> SqliteStore:
        return SqliteStore.open(self.folder / ".ares" / "state.db", clock=SystemClock(), read_only=True)


class Gate:
    """A step that runs `argv` says that it has begun, and goes on when it is let through."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._begun, self._go = folder / f"{name}.begun", folder / f"{name}.go"
        os.mkfifo(self._begun)
        os.mkfifo(self._go)
        self.script = f"echo > {self._begun}; read x < {self._go}"

    async def begun(self) -> None:
        """Wait until the step has begun."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(self._begun.read_text)

    def let_through(self) -> None:
        self._go.write_text("go\n")


def states(run: RunResult) -> Mapping[str, str]:
    """Step → state, `reused` told apart."""
    return {id: "reused" if step.reused else step.state for id, step in run.steps.items()}
