"""Attempts over a scratch project: real commands, real files, real git."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runner.core.messages import Outcome, StepTask
from runner.engine.attempt import Attempts, Limits, Places
from runner.executors.local import LocalCommands
from runner.ports import CallResult, Executor, Request
from runner.redact import Redactor

SECRET = "s3cr3t-value-1234"
GIT_ENV = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
}


class Told:
    """A tool that does what a test says, and keeps what it was asked."""

    def __init__(self, act: Callable[[Request], Any]) -> None:
        self.act = act
        self.requests: list[Request] = []

    async def call(self, request: Request) -> CallResult:
        self.requests.append(request)
        answer = self.act(request)
        if not isinstance(answer, CallResult) and answer is not None:
            answer = await answer
        return answer if isinstance(answer, CallResult) else CallResult(output="ok")

    async def close(self) -> None: ...


class Bench:
    """A project, its attempts, and what they handed over."""

    def __init__(self, root: Path, commands: LocalCommands, workspace: Path | None = None, **limits: int) -> None:
        self.work = workspace or root / "work"
        self.work.mkdir(parents=True, exist_ok=True)
        self.state = root / "work" / ".ares"
        self.places = Places(self.work, self.state / "runs", self.state / "logs")
        self.blobs: dict[str, bytes] = {}
        self.tool: Executor = Told(lambda request: None)
        self.executors: dict[str, Executor] = {"run": commands}
        self.limits = Limits(**limits)
        self.attempts = self.restarted()

    def restarted(self) -> Attempts:
        """The attempts of a new process over the same folders."""
        self.attempts = Attempts(
            executors=self.executors,
            places=self.places,
            secrets={"TOKEN": SECRET}.__getitem__,
            redactor=Redactor({"TOKEN": SECRET}),
            blobs=self.blobs.__setitem__,
            limits=self.limits,
        )
        return self.attempts

    async def script(self, text: str, spec: Mapping[str, Any] | None = None, **more: Any) -> Outcome:
        return await self.attempts.run(script_task(text, spec, **more), lambda note: None)

    async def told(self, act: Callable[[Request], Any], spec: Mapping[str, Any], **more: Any) -> Outcome:
        self.executors["tool"] = Told(act)
        return await self.attempts.run(make_task("tool", {"tool": "t", "with": {}}, spec, **more), lambda note: None)

    def result(self, outcome: Outcome) -> dict[str, Any]:
        assert outcome.result is not None
        if "value" in outcome.result:
            return dict(outcome.result["value"])
        loaded: dict[str, Any] = json.loads(self.blobs[outcome.result["ref"]])
        return loaded

    def git(self, *argv: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *argv],
            cwd=cwd or self.work, env=GIT_ENV, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    def commit(self, files: Mapping[str, str]) -> None:
        """A repository whose HEAD has these files."""
        self.git("init", "-q", "-b", "main")
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "first")

    def worktrees(self) -> list[str]:
        """The checkouts on disk, as RUN/NODE.N."""
        folder = self.state / "worktrees"
        return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*") if path.is_dir())

    def known_to_git(self) -> int:
        """How many worktrees git knows of besides the workspace."""
        return self.git("worktree", "list", "--porcelain").count("worktree ") - 1


def make_task(verb: Any, inputs: Mapping[str, Any], spec: Mapping[str, Any] | None = None, **more: Any) -> StepTask:
    n = more.pop("attempt", 1)
    node, run = more.pop("node", "step"), more.pop("run", "r1")
    fields: dict[str, Any] = {"timeout_ms": 20_000} | more
    return StepTask(run, node, n, f"{run}/{node}/{n}", f"effect-{n}", "local", verb, inputs, spec or {}, **fields)


def script_task(text: str, spec: Mapping[str, Any] | None = None, **more: Any) -> StepTask:
    return make_task("run", {"script": text}, spec, **more)


def changed(**spec: Any) -> dict[str, Any]:
    return {"kind": "changed", "changed": spec}
