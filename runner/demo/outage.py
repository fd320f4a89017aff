"""The story of an outage: a proxy dies and the run goes on at the backup; that dies too, local work goes on and the rest waits; the proxy
comes back, and the run is finished without repeating anything.

Nothing here is staged but the deaths: the runs are real ones, by this very program, on endpoints that `upstream` plays on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.api.throwaway import sweep, throwaway
from runner.clock import SystemClock
from runner.demo.upstream import Upstream
from runner.ports import ModeRow
from runner.store.sqlite import SqliteStore

FOLDER = "runner-demo-"
PATIENCE_S = 120.0
"""The story takes a few seconds; on a very busy machine more."""
POLL_S = 0.5
"""Modes are looked at with every event; this is for one that comes alone."""
KEYS = {"DEMO_PROXY_KEY": "no-secret-at-all", "GITHUB_LITELLM_KEY": "no-secret-either"}
SUSPENDED = 5

CONFIG = """\
lite_llm_url: {proxy}
models:
  endpoints:
    proxy: {{kind: litellm_proxy, api_key: "${{DEMO_PROXY_KEY}}"}}
    backup: {{kind: openai, url: "{backup}/v1", role: backup}}
    local: {{kind: ollama, url: "{local}", local: true}}
  catalog:
    writer: {{endpoint: proxy, model: writer, tier: paid, price: {{in: 3, out: 15}}}}
    spare: {{endpoint: backup, model: spare, tier: paid, price: {{in: 1, out: 5}}}}
    little: {{endpoint: local, model: little, tier: local}}
  chains: {{good: [writer, spare], small: [little]}}
router: {{models: good}}
fault_handler: {{failure_threshold: 2, open_for: 300ms, recover_after: 2, min_dwell: 300ms, probe_interval: 300ms, probe_timeout: 2s}}
state: {{durability: process}}
"""
MANIFEST = """\
ares: v1
name: story
steps:
  outline: {model: "Outline: why do clocks drift?"}
  draft: {model: "Draft from this outline:\\n{{ steps.outline.text }}"}
  review: {model: "Review this draft:\\n{{ steps.draft.text }}"}
  headline: {model: "Headline for this draft:\\n{{ steps.draft.text }}", route: {models: small}}
  count: {run: [sh, -c, 'echo "$TEXT" | wc -w'], env: {TEXT: "{{ steps.headline.text }}"}, effects: none}
  publish: {set: {text: "{{ steps.headline.text }}\\n{{ steps.draft.text }}\\n{{ steps.review.text }}"}}
"""

Say = Callable[[float, str, str], None]
"""(seconds since the beginning, who: a step, or "" for the narrator; what)."""


class StoryFailed(Exception):
    """It went otherwise than it should have."""


@dataclass
class Stage:
    """The folder, the endpoints, and what was seen."""

    folder: Path
    say: Callable[[str, str], None]
    proxy: Upstream
    backup: Upstream
    local: Upstream
    in_the_dark: asyncio.Event = field(default_factory=asyncio.Event)
    """Brainstem mode was recorded."""
    begun: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """Steps of which an attempt was told: an endpoint dies only once everybody has seen who asks it."""
    died: float = 0.0
    """When the proxy died, on the monotonic clock."""
    modes: list[str] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    """Step → how often it succeeded."""


async def outage(say: Say) -> None:
    """Tell the story to `say` as it happens. Raises StoryFailed. Leaves nothing behind."""
    began = time.monotonic()
    sweep(FOLDER)
    with throwaway(FOLDER) as folder:
        async with (
            asyncio.timeout(PATIENCE_S),
            _stage(folder, lambda who, what: say(time.monotonic() - began, who, what)) as stage,
        ):
            await _tell(stage)


@contextlib.asynccontextmanager
async def _stage(folder: Path, say: Callable[[str, str], None]) -> AsyncIterator[Stage]:
    async def proxy_says(prompt: str) -> str | None:
        if not prompt.startswith("Draft") or stage.died:
            return _text(prompt)
        await stage.begun["draft"].wait()
        stage.died = time.monotonic()
        say("", "the proxy dies, with the question in its hands")
        return None

    async def backup_says(prompt: str) -> str | None:
        if not prompt.startswith("Review"):
            return _text(prompt)
        await stage.begun["review"].wait()
        say("", "the backup dies, too")
        return None

    async def local_says(prompt: str) -> str | None:
        await stage.in_the_dark.wait()  # so that it is seen to be answered in brainstem mode
        return _text(prompt)

    async with Upstream(proxy_says) as proxy, Upstream(backup_says) as backup, Upstream(local_says) as local:
        stage = Stage(folder, say, proxy, backup, local)
        yield stage


def _text(prompt: str) -> str:
    about = prompt.partition(":")[0].partition(" ")[0].lower()
    return {
        "outline": "heat, age, gravity",
        "draft": "A clock drifts because its crystal is warm, old, and far from the ground.",
        "review": "Mention that nobody can agree what time it is anyway.",
        "headline": "No two clocks agree",
    }.get(about, "well")


async def _tell(stage: Stage) -> None:
    (stage.folder / ".ares").mkdir()
    urls = {one: getattr(stage, one).url for one in ("proxy", "backup", "local")}
    (stage.folder / "config.yaml").write_text(CONFIG.format(**urls))
    (stage.folder / "story.yaml").write_text(MANIFEST)
    stage.say("", "three model endpoints on this machine: a LiteLLM proxy, a backup, a local one")
    stage.say("", "$ runner apply story.yaml")
    code = await _run(stage, "apply", "story.yaml")
    _expect(code == SUSPENDED, f"apply should have ended with {SUSPENDED}, not {code}")
    _expect(stage.modes == ["degraded", "brainstem"], f"modes: {stage.modes}")
    stage.say("", f"exit code {SUSPENDED}: suspended, nothing is lost; what could be done here was done")
    await stage.proxy.start()
    stage.say("", "the proxy is back")
    stage.say("", "$ runner resume story")
    code = await _run(stage, "resume", "story")
    _expect(code == 0, f"resume should have ended with 0, not {code}")
    _expect(stage.modes[-1] == "normal", f"modes: {stage.modes}")
    _expect(set(stage.done.values()) == {1}, f"a step was done twice: {stage.done}")
    stage.say("", "exit code 0: finished; no step that had succeeded was done again")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StoryFailed(otherwise)


# ---------------------------------------------------------------- one command, as it happens


async def _run(stage: Stage, *argv: str) -> int:
    """The exit code of a runner of our own; its events and the modes are told while it works."""
    command = [sys.executable, "-P", "-m", "runner", "--quiet", *argv, "--events"]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=stage.folder,
        env=_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    watching = asyncio.create_task(_watch_modes(stage))
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            _tell_event(stage, json.loads(line))
        code = await process.wait()
    finally:
        watching.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
        await asyncio.gather(watching, return_exceptions=True)
    _look(stage)
    return code


def _environment() -> dict[str, str]:
    """Without any setting or key of whoever looks on."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | KEYS


async def _watch_modes(stage: Stage) -> None:
    while True:
        _look(stage)
        await asyncio.sleep(POLL_S)


def _look(stage: Stage) -> None:
    """Tell every mode that was entered since the last look."""
    path = stage.folder / ".ares" / "state.db"
    if not path.exists():
        return
    store = SqliteStore.open(path, clock=SystemClock(), read_only=True)
    try:
        rows: list[ModeRow] = list(store.health.mode_history())[::-1]
    finally:
        store.close()
    for row in rows[len(stage.modes) :]:
        stage.modes.append(row.state.mode)
        stage.say("", f"mode {row.state.mode}: {row.state.reason}")
        if row.state.mode == "brainstem":
            stage.in_the_dark.set()


def _tell_event(stage: Stage, line: Mapping[str, Any]) -> None:
    """A mode that follows from how an attempt ended is recorded before that is, and told after it."""
    kind, node = str(line.get("kind")), str(line.get("node"))
    if kind not in _TOLD:
        return
    stage.say(node, _TOLD[kind](line["data"]))
    if kind == "attempt_started":
        stage.begun[node].set()
    else:
        _look(stage)
    if kind == "attempt_succeeded":
        stage.done[node] = stage.done.get(node, 0) + 1
        if node == "draft":
            stage.say("", f"the step that found the proxy dead is done {time.monotonic() - stage.died:.2f} s later")


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "attempt_started": lambda d: f"→ {d.get('label', '')}" + (f" (attempt {d['n']})" if d["n"] > 1 else ""),
    "attempt_succeeded": lambda d: f"✓ answered by {d['model']} at {d['executor']}" if d.get("model") else "✓",
    "attempt_failed": lambda d: f"✗ {d.get('class')}: {d.get('message')}",
    "step_suspended": lambda d: f"⏸ waits: {d.get('reason')}",
    "step_resolved": lambda d: "✓" if d.get("state") == "succeeded" else str(d.get("state")),
}
