"""A step with a `changed` check has the workspace to itself, as the engine and real commands see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apply_project import Project
from engine_stage import Script, desk, failed, gone, graph_of, kinds, open_stores, outputs, states

from runner.clock import SystemClock
from runner.core.slots import WORKSPACE
from runner.ports import Store

Connect = Callable[[], Store]

EDITS = "checks: [{changed: {only: ['src/**']}}]"
BESIDE = graph_of(
    f"""
    steps:
      a: {{run: [a], effects: idempotent}}
      edit: {{run: [edit], {EDITS}}}
      b: {{run: [b], effects: idempotent}}
      own: {{run: [own], effects: idempotent, workspace: {{git: worktree}}}}
    """
)


@pytest.fixture(params=["sqlite", "memory"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    yield from open_stores(request.param, tmp_path, SystemClock())


def gated(*names: str) -> Script:
    script = Script()
    script.gates = {name: asyncio.Event() for name in names}
    return script


async def test_a_changed_check_and_a_command_never_overlap_and_who_waits_is_not_intended(connect: Connect) -> None:
    script = gated("a", "edit", "b")
    async with desk(connect(), script) as d:
        run = await d.start(BESIDE)
        await d.watch.until("attempt_succeeded", "own")  # it has a worktree: nobody's way
        assert script.keys() == ["r/a/1", "r/own/1"]
        assert states(d.store) == {"a": "running", "own": "succeeded"}
        script.gates["a"].set()
        await script.until(3)
        await d.watch.until("attempt_started", "edit")
        assert script.keys()[2:] == ["r/edit/1"]
        assert "attempt_started" not in kinds(d.store, node="b")
        script.gates["edit"].set()
        script.gates["b"].set()
        assert (await d.done(run)).state == "succeeded"
        assert script.keys()[3:] == ["r/b/1"]


async def test_runs_of_one_process_share_one_workspace(connect: Connect) -> None:
    edits, runs = graph_of(f"steps: {{edit: {{run: [edit], {EDITS}}}}}", "edits"), graph_of("steps: {a: {run: [a]}}")
    script = gated("edit")
    async with desk(connect(), script) as d:
        first = await d.start(edits, "r1")
        await script.until(1)
        second = await d.start(runs, "r2")
        await d.watch.until("run_started", "", 2)
        assert (script.keys(), d.slots.waiting(WORKSPACE)) == (["r1/edit/1"], ("r2",))
        script.gates["edit"].set()
        assert [(await d.done(run)).state for run in (first, second)] == ["succeeded", "succeeded"]
        assert d.slots.waiting(WORKSPACE) == ()


async def test_a_kill_while_a_once_step_waits_for_the_workspace_leaves_no_unknown(connect: Connect) -> None:
    script = gated("a", "edit", "b")
    async with desk(connect(), script, owner=gone("first")) as d:
        killed = await d.start(BESIDE)
        await d.watch.until("attempt_succeeded", "own")
        d.engine.stop()
        assert (await d.done(killed)).state == "interrupted"
    async with desk(connect()) as d:
        assert (await d.done(await d.resume())).state == "succeeded"
        assert kinds(d.store, node="edit") == ["attempt_started", "attempt_succeeded"]
        assert "attempt_lost" in kinds(d.store, node="a")


async def test_a_cancel_while_a_step_waits_for_the_workspace_ends_it_at_once(connect: Connect) -> None:
    script = gated("a")
    script.say["a"] = failed("cancelled")
    async with desk(connect(), script) as d:
        run = await d.start(BESIDE)
        await d.watch.until("attempt_succeeded", "own")
        d.engine.put("r", ("cancel", "me", ""))
        assert (await d.done(run)).state == "cancelled"
        assert kinds(d.store, node="edit") == kinds(d.store, node="b") == ["step_cancelled"]
        assert (d.slots.claimed("shared"), d.slots.claimed("alone")) == (0, 0)


async def test_a_run_that_is_given_up_lets_others_have_the_workspace(connect: Connect) -> None:
    script = gated("a")
    async with desk(connect(), script) as d:
        given_up = await d.start(BESIDE)
        await d.watch.until("attempt_succeeded", "own")
        other = await d.start(graph_of(f"steps: {{edit: {{run: [edit], {EDITS}}}}}", "edits"), "r2")
        await d.watch.until("run_started", "", 2)
        assert d.slots.waiting(WORKSPACE) == ("r", "r2")
        d.engine.put("r", ("no such message",))
        with pytest.raises(KeyError):
            await d.done(given_up)
        assert (await d.done(other)).state == "succeeded"


def test_real_commands_beside_real_changed_checks_keep_out_of_each_others_way(tmp_path: Path) -> None:
    """`mkdir` is atomic: a command that finds another one's folder fails."""
    project = Project(tmp_path / "work")
    project.write("src/a", "a\n")
    project.manifest(
        """
        steps:
          beside:
            foreach: {in: [1, 2, 3, 4, 5, 6]}
            run: ["sh", "-c", "test ! -e alone && touch in-{{ item }} && test ! -e alone && rm in-{{ item }}"]
          edit:
            foreach: {in: [1, 2, 3, 4]}
            run: ["sh", "-c", "mkdir alone && ! ls in-* 2>/dev/null && echo {{ item }} > src/{{ item }} && rmdir alone"]
            checks: [{changed: {only: ["src/**"], min_files: 1, max_files: 1}}]
          after:
            run: ["true"]
        """
    )
    run = project.run()
    assert run.state == "succeeded", run
    assert sorted(path.name for path in (project.folder / "src").iterdir()) == ["1", "2", "3", "4", "a"]


# ---------------------------------------------------------------- what a callee gives


INNER = graph_of(
    """
    steps:
      big: {run: [big], effects: idempotent}
    outputs: {text: "{{ steps.big.output }}"}
    """,
    "inner",
)


@pytest.mark.parametrize(("size", "inline"), [(3_000, True), (300_000, False)])
async def test_a_large_output_of_a_callee_is_held_by_reference_and_read_by_its_caller(
    connect: Connect, size: int, inline: bool
) -> None:
    outer = graph_of(
        """
        steps:
          c: {call: inner}
          n: {set: {n: "{{ steps.c.output.text | length }}"}}
          again: {run: [again], effects: idempotent, needs: [n]}
          m: {set: {m: "{{ steps.c.output.text | length }}"}, needs: [again]}
        outputs: {n: "{{ steps.n.output.n }}", m: "{{ steps.m.output.m }}"}
        """,
        "outer",
        {"inner": INNER},
    )
    script = gated("again")
    script.say["big"] = "x" * size
    async with desk(connect(), script, owner=gone("first")) as d:
        run = await d.start(outer, callees={"inner": INNER})
        await d.watch.until("attempt_started", "again")
        d.engine.stop()
        assert (await d.done(run)).state == "interrupted"
    async with desk(connect()) as d:  # another process reads it from the record
        assert (await d.done(await d.resume())).state == "succeeded"
        assert outputs(d.store) == {"n": size, "m": size}
        [held] = [r.event.data["result"] for r in d.store.events("r") if r.event[:2] == ("attempt_succeeded", "c")]
        assert ("value" in held, held.get("size", 0) > size) == (inline, not inline)
