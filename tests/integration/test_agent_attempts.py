"""Attempts of agents at the worker: what a failed one leaves for the next, and where one that was lost goes on. Real git."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attempt_bench import SECRET, Bench, Told, make_task

from runner.core.messages import Outcome
from runner.engine.attempt import HANDED_DIFF_CHARS, HANDED_TEXT_CHARS
from runner.executors.local import LocalCommands
from runner.ports import CallResult, Request

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

OWN: Mapping[str, Any] = {"workspace": {"git": "worktree", "keep": "never", "apply": True}}
NEVER: Mapping[str, Any] = {"checks": [{"kind": "expr", "expr": "false"}], "context": {}}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    commands = LocalCommands()
    bench = Bench(tmp_path, commands)
    bench.commit({"a.txt": "one\n", ".gitignore": "*.log\n"})
    yield bench
    await commands.close()


async def agent(
    bench: Bench, act: Callable[[Path], Any], spec: Mapping[str, Any] | None = None, **more: Any
) -> Outcome:
    """An attempt in which the agent does `act` in its folder."""

    def call(request: Request) -> CallResult:
        answer = act(Path(request.cwd))
        return answer if isinstance(answer, CallResult) else CallResult(output="done", text="I wrote b.txt")

    bench.executors["agent"] = Told(call)
    return await bench.attempts.run(make_task("agent", {"prompt": "do it"}, spec, **more), lambda note: None)


def write(folder: Path) -> None:
    (folder / "a.txt").write_text("two\n")
    (folder / "b.txt").write_text(f"new {SECRET}\n")
    (folder / "c.log").write_text("ignored\n")


async def test_what_a_failed_agent_said_and_changed_is_handed_on_masked(bench: Bench) -> None:
    tried = (await agent(bench, write, NEVER)).tried
    assert (tried["text"], tried["kept"]) == ("I wrote b.txt", True)
    assert "-one\n+two" in tried["diff"] and "b/b.txt" in tried["diff"]
    assert SECRET not in tried["diff"] and "c.log" not in tried["diff"]
    assert bench.git("status", "--porcelain") == " M a.txt\n?? b.txt\n"  # nothing was staged


@pytest.mark.parametrize("own", [{}, OWN])
async def test_no_half_of_a_secret_is_handed_on(bench: Bench, own: Mapping[str, Any]) -> None:
    def act(folder: Path) -> CallResult:
        for number in range(20):
            (folder / f"{number}.txt").write_text(SECRET * 900 + "\n")
        return CallResult(output="done", text="." * (HANDED_TEXT_CHARS - 9) + SECRET + "." * 99)

    tried = (await agent(bench, act, {**own, **NEVER})).tried
    for said in (tried["text"], tried["diff"]):
        assert "[cut: " in said
        assert SECRET[:3] not in said


async def test_of_a_worktree_its_own_diff_is_handed_on(bench: Bench) -> None:
    (bench.work / "mine.txt").write_text("of the user\n")
    tried = (await agent(bench, write, {**OWN, **NEVER})).tried
    assert tried["kept"] is False
    assert "-one\n+two" in tried["diff"] and "mine.txt" not in tried["diff"]


async def test_an_edit_of_the_same_length_within_the_second_of_the_commit_is_in_the_diff(bench: Bench) -> None:
    """git tells files apart by whole seconds, and looks into those that are not older than its index."""
    file, index = bench.work / "a.txt", bench.work / ".git" / "index"
    bench.git("config", "core.trustctime", "false")  # else the test would have to be done within one second
    os.utime(file, (1e9, 1e9))
    bench.git("add", "a.txt")
    os.utime(index, (1e9, 1e9))

    def edit(folder: Path) -> None:
        file.write_text("two\n")
        os.utime(file, (1e9, 1e9))

    assert "-one\n+two" in (await agent(bench, edit, NEVER)).tried.get("diff", "")
    os.utime(index, (1e9, 1e9))
    seen = []
    await agent(bench, lambda folder: seen.append((folder / "a.txt").read_text()), {**OWN, **NEVER}, attempt=2)
    assert seen == ["two\n"]  # and in what a worktree begins with


async def test_a_long_diff_is_cut_and_a_workspace_without_git_has_none(bench: Bench) -> None:
    def write_much(folder: Path) -> None:
        for name in ("b.txt", "c.txt"):
            (folder / name).write_text("line\n" * (HANDED_DIFF_CHARS // 6))

    tried = (await agent(bench, write_much, NEVER)).tried
    assert len(tried["diff"]) < HANDED_DIFF_CHARS + 100 and "[cut: " in tried["diff"]
    shutil.rmtree(bench.work / ".git")
    assert (await agent(bench, write, NEVER)).tried == {"text": "I wrote b.txt"}


async def test_an_agent_that_never_began_and_one_that_succeeded_leave_nothing(bench: Bench) -> None:
    (bench.work / "a.txt").write_text("of the user\n")
    gone = CallResult(error_class="unavailable", message="cannot reach it")
    assert (await agent(bench, lambda folder: gone)).tried == {}
    assert (await agent(bench, write)).tried == {}
    cut_off = CallResult(error_class="unavailable", message="529", effect="maybe")
    assert "of the user" not in (await agent(bench, lambda folder: cut_off)).tried.get("text", "")


async def test_an_attempt_that_was_lost_goes_on_in_its_worktree(bench: Bench) -> None:
    begun = asyncio.Event()

    async def half(request: Request) -> CallResult:
        (Path(request.cwd) / "b.txt").write_text("half\n")
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    bench.executors["agent"] = Told(half)
    first = asyncio.ensure_future(bench.attempts.run(make_task("agent", {"prompt": "x"}, OWN), lambda note: None))
    await asyncio.wait_for(begun.wait(), 30)
    first.cancel()  # as a kill leaves it: nothing was settled
    await asyncio.wait([first])
    bench.restarted()

    def rest(folder: Path) -> None:
        assert (folder / "b.txt").read_text() == "half\n"
        (folder / "c.txt").write_text("whole\n")

    outcome = await agent(bench, rest, OWN, attempt=2, session="S")
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "b.txt").read_text() == "half\n" and (bench.work / "c.txt").exists()
    assert bench.worktrees() == []


async def test_what_others_tried_and_that_it_was_interrupted_reach_the_executor(bench: Bench) -> None:
    tried = ({"executor": "a", "class": "timeout", "message": "late"},)
    await agent(bench, write, tried=tried)
    asked: Any = bench.executors["agent"]
    assert (asked.requests[0].tried, asked.requests[0].interrupted) == (tried, False)
    commands = Told(lambda request: None)
    bench.executors["run"] = commands
    await agent(bench, write, {"checks": [{"kind": "run", "run": {"argv": ["true"]}}], "context": {}}, tried=tried)
    assert [request.tried for request in commands.requests] == [()]  # a check is told nothing of it
    await agent(bench, write, session="S")
    assert asked is not bench.executors["agent"]
    assert bench.executors["agent"].requests[0].interrupted is True  # type: ignore[attr-defined]
    await agent(bench, write, session="S", feedback="no")
    assert bench.executors["agent"].requests[0].interrupted is False  # type: ignore[attr-defined]
