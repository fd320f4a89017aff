"""A watched folder for tests: files are really written, runs really happen, and nobody waits but for a condition, with a bound.

That something does *not* happen is shown by what comes after it: `settled` saves one more manifest and waits for its run, and all files
settle together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from apply_project import PATIENCE, Project

from runner.api.request import Control
from runner.api.results import ApplyResult, RunResult
from runner.api.watch_folder import News
from runner.api.watching import Wish, watch
from runner.clock import Clock
from runner.core.events import Recorded

SETTLE = 60
_numbers = count(1)


def manifest(name: str, word: str = "", *, more: str = "", step: str = "") -> str:
    """A manifest whose run writes one word into the ledger."""
    body = step or f"one: {{run: [sh, -c, 'echo \"$0\" >> ledger', {word or name}], effects: none}}"
    return f"ares: v1\nname: {name}\n{more}steps:\n  {body}\n"


@dataclass
class Stage:
    """The watched folder `m` of a project, and what was heard of it."""

    project: Project
    control: Control = field(default_factory=Control)
    lines: list[str] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    results: list[RunResult] = field(default_factory=list)
    begun: Counter[str] = field(default_factory=Counter)
    """Runs that have begun, by manifest."""
    task: asyncio.Task[ApplyResult] | None = None

    # ------------------------------------------------------------ audience and sink

    def say(self, text: str, *, manifest: str = "", kind: str = "note") -> None:
        self.lines.append(f"{manifest}: {text}" if manifest else text)

    def found(self, news: News) -> None:
        self.news.append(news)
        self.lines += [f"{name}: is gone" for name in news.gone]

    def ended(self, result: RunResult) -> None:
        self.results.append(result)

    def event(self, recorded: Recorded, name: str) -> None:
        if recorded.event.kind == "run_started" and "." not in recorded.run:
            self.begun[name] += 1

    def progress(self, run: str, node: str, text: str) -> None:
        pass

    def close(self) -> None:
        pass

    # ------------------------------------------------------------ what a test does

    @property
    def folder(self) -> Path:
        return self.project.folder / "m"

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert self.task is None or not self.task.done(), self.task.exception() or self.task.result()
                await asyncio.sleep(0.005)

    async def runs(self, name: str, times: int) -> None:
        """Wait until a manifest has run so many times to its end."""
        await self.until(lambda: sum(r.manifest == name and r.state == "succeeded" for r in self.results) >= times)
        assert self.begun[name] == times

    async def said(self, text: str) -> None:
        await self.until(lambda: any(text in line for line in self.lines))

    async def settled(self) -> None:
        """All that was written until now has settled, and whatever runs because of it has begun."""
        name = f"sentinel-{next(_numbers)}"
        path = self.write(f"{name}.yaml", manifest(name, step="one: {set: {a: 1}}"))
        await self.runs(name, 1)
        path.unlink()

    async def ends(self) -> ApplyResult:
        assert self.task is not None
        async with asyncio.timeout(PATIENCE):
            return await self.task


@asynccontextmanager
async def watching(
    project: Project, *, clock: Clock | None = None, settle: int = SETTLE, **wish: Any
) -> AsyncIterator[Stage]:
    """A watch that lives as long as the block; then it is told to stop, and ends."""
    stage = Stage(project)
    stage.folder.mkdir(exist_ok=True)
    stage.task = asyncio.create_task(
        watch(
            Wish(stage.folder, settle=settle, **wish),
            project.settings,
            stage,
            sinks=[stage],
            control=stage.control,
            clock=clock,
        )
    )
    try:
        yield stage
    finally:
        if not stage.task.done():
            stage.control.interrupt(15)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(stage.task, return_exceptions=True)
    assert stage.task.result() is not None
