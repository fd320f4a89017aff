"""`changed` checks of attempts in the shared workspace."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attempt_bench import Bench, changed, make_task

from runner.digest import digest_bytes
from runner.engine import begun, changes
from runner.executors.local import LocalCommands
from runner.ports import CallResult, Request

SRC = {"checks": [changed(only=["src/**"])]}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    commands = LocalCommands()
    bench = Bench(tmp_path, commands)
    (bench.work / "src").mkdir()
    (bench.work / "src" / "a.py").write_text("a")
    (bench.work / "setup.py").write_text("setup")
    yield bench
    await commands.close()


async def test_files_touched_inside_of_only_pass_and_are_products(bench: Bench) -> None:
    outcome = await bench.script("echo new > src/b.py; rm src/a.py", SRC)
    assert outcome.state == "succeeded", outcome.message
    assert outcome.products == {"src/b.py": digest_bytes(b"new\n"), "src/a.py": ""}
    assert outcome.checks[0]["message"] == "2 files touched: src/a.py, src/b.py"


async def test_a_file_touched_outside_of_only_fails_the_step_and_is_named(bench: Bench) -> None:
    outcome = await bench.script("echo x >> setup.py; echo x >> src/a.py", SRC)
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "check_failed", "none")
    assert outcome.feedback == outcome.message == "1 file touched outside of src/**: setup.py"
    assert outcome.products == {}


async def test_a_tool_that_touches_nothing_fails_its_check(bench: Bench) -> None:
    outcome = await bench.told(lambda request: None, {"checks": [changed(only=["src/**"], min_files=1)]})
    assert outcome.message == "0 files touched, at least 1 expected"


async def test_what_the_checks_themselves_write_is_not_the_steps(bench: Bench) -> None:
    checks = [{"kind": "run", "run": {"script": "echo x > written-by-check"}}, changed(only=["src/**"], max_files=1)]
    outcome = await bench.script("echo new > src/b.py", {"checks": checks})
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "written-by-check").exists()


async def test_logs_and_run_folders_of_ours_do_not_count(bench: Bench) -> None:
    outcome = await bench.script(
        'echo talk; echo x > "$ARES_RUN_DIR/x"; echo new > src/b.py', {"checks": [changed(max_files=1)]}
    )
    assert outcome.state == "succeeded", outcome.message


async def test_a_repair_round_answers_for_what_the_rounds_before_touched(bench: Bench) -> None:
    first = await bench.script("echo x >> setup.py; echo new > src/b.py", SRC)
    told = {"feedback": first.feedback}
    still = await bench.script("true", SRC, attempt=2, **told)
    assert still.message == "1 file touched outside of src/**: setup.py"
    bench.restarted()
    mended = await bench.script("printf setup > setup.py", SRC, attempt=3, **told)
    assert mended.state == "succeeded", mended.message
    assert list(mended.products) == ["src/b.py"]


async def test_an_attempt_that_failed_in_its_call_leaves_its_touch_to_the_next(bench: Bench) -> None:
    await bench.script("echo x >> setup.py; exit 3", SRC)
    outcome = await bench.script("echo new > src/b.py", SRC, attempt=2)
    assert outcome.message == "1 file touched outside of src/**: setup.py"


async def lose(bench: Bench, act: Callable[[], None], spec: Mapping[str, Any], **more: Any) -> None:
    """An attempt that does `act` and then never ends, left as a kill leaves it."""
    reached = asyncio.Event()

    async def half(request: Request) -> CallResult:
        act()
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.ensure_future(bench.told(half, spec, **more))
    await asyncio.wait_for(reached.wait(), 30)
    running.cancel()
    await asyncio.wait([running])
    bench.restarted()


async def test_what_a_lost_attempt_touched_is_work_of_the_one_that_goes_on(bench: Bench) -> None:
    await lose(bench, lambda: write(bench, "src/b.py"), SRC, effects="idempotent")
    await lose(bench, lambda: None, SRC, attempt=2, effects="idempotent")
    outcome = await bench.told(lambda request: None, SRC, attempt=3, effects="idempotent")
    assert outcome.state == "succeeded", outcome.message
    assert list(outcome.products) == ["src/b.py"]
    after = await bench.told(lambda request: None, SRC, attempt=4, effects="idempotent")
    assert after.message == "0 files touched, at least 1 expected"  # nothing was left behind


async def test_what_a_lost_attempt_touched_outside_of_only_is_held_against_the_next(bench: Bench) -> None:
    await lose(bench, lambda: write(bench, "setup.py"), SRC, effects="idempotent")
    outcome = await bench.told(lambda request: write(bench, "src/b.py"), SRC, attempt=2, effects="idempotent")
    assert outcome.message == "1 file touched outside of src/**: setup.py"


async def test_what_somebody_changed_long_after_the_kill_is_not_the_steps(bench: Bench) -> None:
    await lose(bench, lambda: write(bench, "src/b.py"), SRC, effects="idempotent")
    [left] = (bench.state / "touched").glob("*/*.begun")
    ended = since = (bench.work / "src" / "b.py").stat().st_ctime_ns
    while since <= ended:  # within one tick of the disk's clock nobody could tell them apart
        write(bench, "setup.py")
        since = (bench.work / "setup.py").stat().st_ctime_ns
    write(bench, "src/by-hand.py")
    beat = (ended + since) // 2 - round((begun.BEAT_S + begun.ORPHANS_S) * 1e9)
    os.utime(left, ns=(beat, beat))  # the kill was between the two
    outcome = await bench.told(lambda request: None, SRC, attempt=2, effects="idempotent")
    assert outcome.state == "succeeded", outcome.message
    assert list(outcome.products) == ["src/b.py"]


async def test_an_attempt_under_way_says_so_and_a_leg_that_ended_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun, "BEAT_S", 0.02)

    async def act(request: Request) -> None:
        [file] = (bench.state / "touched").glob("*/*.begun")
        os.utime(file, ns=(0, 0))
        async with asyncio.timeout(30):
            while file.stat().st_mtime_ns == 0:
                await asyncio.sleep(0.02)
        write(bench, "src/b.py")

    assert (await bench.told(act, SRC, effects="idempotent")).state == "succeeded"
    await lose(bench, lambda: None, SRC, attempt=2, effects="idempotent")
    await bench.attempts.forget("r1")
    assert not list((bench.state / "touched").glob("*/*.begun"))


def write(bench: Bench, name: str) -> None:
    (bench.work / name).write_text("new")


async def test_another_step_answers_only_for_itself(bench: Bench) -> None:
    await bench.script("echo x >> setup.py", SRC)
    outcome = await bench.script("echo new > src/b.py", SRC, node="other")
    assert outcome.state == "succeeded", outcome.message


async def test_what_another_step_saves_meanwhile_is_not_the_watched_ones(bench: Bench) -> None:
    async def act(request: Request) -> CallResult:
        if request.idempotency_key == "effect-7":
            return CallResult(output="text")
        saving = make_task("tool", {"tool": "t", "with": {}}, {"save": {"path": "saved.txt"}}, attempt=7, node="saves")
        assert (await bench.attempts.run(saving, lambda note: None)).state == "succeeded"
        (bench.work / "src" / "b.py").write_text("new")
        return CallResult(output="ok")

    outcome = await bench.told(act, SRC)
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "saved.txt").read_text() == "text\n"
    assert list(outcome.products) == ["src/b.py"]


async def test_a_workspace_of_too_many_files_is_refused_before_anything_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "MAX_FILES", 1)
    outcome = await bench.script("touch ran", SRC)
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert "more than 1 files" in outcome.message
    assert not (bench.work / "ran").exists()
    monkeypatch.undo()
    assert (await bench.script("echo free")).state == "succeeded"


async def test_a_step_that_makes_too_many_files_fails_its_check(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_FILES", 3)
    outcome = await bench.script("touch src/b src/c", SRC)
    assert (outcome.error_class, outcome.effect) == ("check_failed", "none")
    assert "more than 3 files" in outcome.message
