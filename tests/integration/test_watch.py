"""`runner watch` over a real folder: what editors, syncs and mistakes do to it, and that each settled content runs once."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apply_project import Gate, Project
from servers.fake_llm import FakeLlm
from watch_stage import Stage, manifest, watching

from runner.api.apply import answer
from runner.api.watching import Wish, watch
from runner.clock import FakeClock
from runner.errors import StoreBusy, UsageError


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "p")


# ---------------------------------------------------------------- contents


async def test_a_manifest_runs_when_it_is_new_and_when_it_has_changed(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", "first"))
        await stage.runs("a", 1)
        stage.write("a.yaml", manifest("a", "second"))
        await stage.runs("a", 2)
    assert project.ledger() == ["first", "second"]


async def test_the_same_content_runs_no_second_time(project: Project) -> None:
    async with watching(project) as stage:
        path = stage.write("a.yaml", manifest("a"))
        await stage.runs("a", 1)
        os.utime(path)
        stage.write("a.yaml", manifest("a"))
        await stage.settled()
        stage.write("a.yaml", "# a comment is no other manifest\n" + manifest("a"))
        await stage.settled()
        assert stage.begun["a"] == 1


async def test_a_file_that_is_written_in_pieces_runs_once_it_is_whole(project: Project) -> None:
    text = manifest("a", step="one: {run: 'echo x >> ledger', effects: none}") + "".join(
        f"  s{n}: {{set: {{a: {n}}}}}\n" for n in range(200)
    )
    async with watching(project) as stage:
        with (stage.folder / "a.yaml").open("w") as file:
            for line in text.splitlines(keepends=True):  # each line more makes another valid manifest
                file.write(line)
                file.flush()
                await asyncio.sleep(0)
        await stage.runs("a", 1)
        await stage.settled()
        assert stage.begun["a"] == 1
    assert stage.results[0].steps.keys() >= {"one", "s199"}


def saved_by_vim(path: Path, text: str) -> None:
    swap, probe, backup = path.with_name(f".{path.name}.swp"), path.with_name("4913"), path.with_name(f"{path.name}~")
    swap.write_text("b0VIM" + text)
    probe.touch()
    probe.unlink()
    path.rename(backup)
    path.write_text(text)
    backup.unlink()
    swap.unlink()


def saved_by_emacs(path: Path, text: str) -> None:
    lock, auto, backup = (
        path.with_name(f".#{path.name}"),
        path.with_name(f"#{path.name}#"),
        path.with_name(f"{path.name}~"),
    )
    lock.symlink_to("me@host.123:456")
    auto.write_text(text[: len(text) // 2])
    path.rename(backup)
    path.write_text(text)
    auto.unlink()
    lock.unlink()


def saved_by_rename(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_text(text)
    draft.replace(path)


def saved_by_jetbrains(path: Path, text: str) -> None:
    draft, old = path.with_name(f"{path.name}___jb_tmp___"), path.with_name(f"{path.name}___jb_old___")
    draft.write_text(text)
    path.rename(old)
    draft.rename(path)
    old.unlink()


@pytest.mark.parametrize("save", [saved_by_vim, saved_by_emacs, saved_by_rename, saved_by_jetbrains])
async def test_however_an_editor_saves_it_runs_once(project: Project, save: object) -> None:
    async with watching(project) as stage:
        path = stage.write("a.yaml", manifest("a", "first"))
        await stage.runs("a", 1)
        save(path, manifest("a", "second"))  # type: ignore[operator]
        await stage.runs("a", 2)
        await stage.settled()
        assert stage.begun["a"] == 2
        assert not any(news.diagnostics for news in stage.news)
    assert project.ledger() == ["first", "second"]


async def test_swap_files_and_backups_that_stay_run_nothing(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a"))
        for name in (".b.yaml.swp", "b.yaml~", ".b.yaml", "#b.yaml#", "b.yaml.tmp", "flycheck_b.yaml"):
            stage.write(name, manifest("b"))
        await stage.runs("a", 1)
        await stage.settled()
        assert stage.begun["b"] == 0


async def test_a_storm_of_a_thousand_renames_runs_each_content_once(project: Project) -> None:
    async with watching(project) as stage:
        for name in "abc":
            stage.write(f"{name}.yaml", manifest(name))
        for number in range(100):
            stage.write(f"x{number}.yaml", "just: data\n")
        for name in "abc":
            await stage.runs(name, 1)
        for turn in range(10):
            for number in range(100):
                (stage.folder / f"x{number}{'y' * turn}.yaml").rename(
                    stage.folder / f"x{number}{'y' * (turn + 1)}.yaml"
                )
        for turn in range(300):
            for name in "abc":
                (stage.folder / f"{name}{turn or ''}.yaml").rename(stage.folder / f"{name}{turn + 1}.yaml")
        await stage.settled()
        assert {name: stage.begun[name] for name in "abc"} == {"a": 1, "b": 1, "c": 1}
        stage.write("a300.yaml", manifest("a", "again"))
        await stage.runs("a", 2)


@pytest.mark.slow
async def test_a_thousand_manifests_that_are_all_renamed_run_once_each(project: Project) -> None:
    async with watching(project) as stage:
        for number in range(1000):
            stage.write(f"m{number}.yaml", manifest(f"m{number}", step="one: {set: {a: 1}}"))
        await stage.until(lambda: sum(stage.begun.values()) == 1000)
        for number in range(1000):
            (stage.folder / f"m{number}.yaml").rename(stage.folder / f"n{number}.yaml")
        await stage.settled()
        assert sum(stage.begun[f"m{number}"] for number in range(1000)) == 1000


async def test_a_folder_that_is_deleted_and_made_again_runs_nothing_again_and_is_still_watched(
    project: Project,
) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a"))
        stage.write("below/b.yaml", manifest("b"))
        await stage.runs("a", 1)
        await stage.runs("b", 1)
        shutil.rmtree(stage.folder)
        stage.write("a.yaml", manifest("a"))
        stage.write("below/b.yaml", manifest("b"))
        await stage.settled()
        assert (stage.begun["a"], stage.begun["b"]) == (1, 1)
        shutil.rmtree(stage.folder)
        await stage.said("a: is gone")
        stage.write("below/b.yaml", manifest("b", "other"))
        await stage.runs("b", 2)
        shutil.rmtree(stage.folder / "below")
        stage.write("below/deep/b.yaml", manifest("b", "third"))
        await stage.runs("b", 3)


async def test_a_manifest_that_is_gone_and_comes_back_as_it_was_is_not_run_again(project: Project) -> None:
    async with watching(project) as stage:
        path = stage.write("a.yaml", manifest("a"))
        await stage.runs("a", 1)
        path.unlink()
        await stage.said("a: is gone")
        stage.write("other.yaml", manifest("a"))
        await stage.settled()
        assert stage.begun["a"] == 1


async def test_it_works_as_well_by_looking_again_and_again(project: Project) -> None:
    async with watching(project, poll=True) as stage:
        stage.write("a.yaml", manifest("a", "first"))
        await stage.runs("a", 1)
        stage.write("a.yaml", manifest("a", "second"))
        await stage.runs("a", 2)


# ---------------------------------------------------------------- parts and mistakes


async def test_what_a_manifest_is_made_of_counts_as_well(project: Project) -> None:
    project.write("policies/careful.yaml", "ares: v1\ndefaults: {timeout: 1m}\n")
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", more="extends: [../policies/careful.yaml]\n"))
        await stage.runs("a", 1)
        project.write("policies/careful.yaml", "ares: v1\ndefaults: {timeout: 2m}\n")
        await stage.runs("a", 2)
        project.write("policies/careful.yaml", "ares: v1\ndefaults: {timeout: often}\n")
        await stage.until(lambda: stage.news[-1].folder.bad)
        await stage.settled()
        assert stage.begun["a"] == 2
        project.write("policies/careful.yaml", "ares: v1\ndefaults: {timeout: 3m}\n")
        await stage.runs("a", 3)


async def test_a_file_that_was_missing_is_waited_for(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", step="one: {run: {file: do.sh}, effects: none}"))
        await stage.until(lambda: any(d.rule == "file-missing" for news in stage.news for d in news.diagnostics))
        stage.write("do.sh", "echo done >> ledger\n")
        await stage.runs("a", 1)
    assert project.ledger() == ["done"]


async def test_a_broken_manifest_stops_neither_the_others_nor_its_own_repair(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", "a1"))
        stage.write("b.yaml", manifest("b", "b1").replace("steps", "stebs"))
        await stage.runs("a", 1)
        stage.write("a.yaml", manifest("a", "a2").replace("steps", "stebs"))
        stage.write("c.yaml", manifest("c", "c1"))
        await stage.runs("c", 1)
        assert {news.folder.bad for news in stage.news[-1:]} == {
            frozenset(str(stage.folder / n) for n in ("a.yaml", "b.yaml"))
        }
        assert stage.news[-1].folder.unread == {"a"}
        stage.write("b.yaml", manifest("b", "b2"))
        await stage.runs("b", 1)
        stage.write("a.yaml", manifest("a", "a3"))
        await stage.runs("a", 2)
        told = [d for news in stage.news for d in news.diagnostics if d.severity == "error"]
        assert len(told) == len(set(told)) == 2
    assert sorted(project.ledger()) == ["a1", "a3", "b2", "c1"]


async def test_a_file_that_nobody_may_read_is_told_and_stops_nobody(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denying(opens: Callable[..., Any]) -> Callable[..., Any]:
        def denied(path: Any, *args: Any, **named: Any) -> Any:
            if closed and str(path).endswith("closed.yaml") and "mode" not in named:  # writing says `mode="w"`
                raise PermissionError(13, "Permission denied", str(path))
            return opens(path, *args, **named)

        return denied

    closed = True
    monkeypatch.setattr(os, "open", denying(os.open))
    monkeypatch.setattr(Path, "open", denying(Path.open))
    async with watching(project) as stage:
        path = stage.write("closed.yaml", manifest("closed"))
        stage.write("caller.yaml", manifest("caller", step="one: {call: closed}"))
        stage.write("other.yaml", manifest("other"))
        await stage.runs("other", 1)
        told = [d.message for news in stage.news for d in news.diagnostics if d.rule == "unreadable-file"]
        assert told == ["cannot be read: Permission denied"]
        closed = False
        path.chmod(0o600)
        await stage.runs("caller", 1)
    assert sorted(project.ledger()) == ["closed", "other"]


async def test_a_mistake_that_is_taken_back_runs_nothing(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a"))
        await stage.runs("a", 1)
        stage.write("a.yaml", "ares: v1\nname: a\nsteps: {}\n")
        await stage.until(lambda: stage.news[-1].folder.bad)
        stage.write("a.yaml", manifest("a"))
        await stage.until(lambda: stage.news[-1].mended)
        await stage.settled()
        assert stage.begun["a"] == 1


async def test_what_a_broken_caller_calls_does_not_run_by_itself(project: Project) -> None:
    caller = manifest("caller", step="one: {call: helper}")
    async with watching(project) as stage:
        stage.write("helper.yaml", manifest("helper"))
        stage.write("caller.yaml", caller)
        await stage.runs("caller", 1)
        stage.write("caller.yaml", caller.replace("steps", "stebs"))
        await stage.until(lambda: stage.news[-1].folder.bad)
        await stage.settled()
        assert stage.begun["helper"] == 0
    async with watching(project) as stage:
        await stage.settled()
        assert (stage.begun["caller"], stage.begun["helper"]) == (0, 0)


async def test_a_caller_runs_when_what_it_calls_has_changed(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("helper.yaml", manifest("helper", "h1"))
        stage.write("caller.yaml", manifest("caller", step="one: {call: helper}"))
        await stage.runs("caller", 1)
        stage.write("helper.yaml", manifest("helper", "h2"))
        await stage.runs("caller", 2)
    assert project.ledger() == ["h1", "h2"]


async def test_a_manifest_that_needs_inputs_is_left_to_its_callers(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", more="inputs: {n: integer}\n"))
        await stage.said("a: needs the inputs n")
        await stage.settled()
        assert stage.begun["a"] == 0


# ---------------------------------------------------------------- runs beside each other


async def test_a_long_run_holds_up_nobody_and_what_changed_meanwhile_runs_once_after_it(project: Project) -> None:
    gate = Gate(project.folder)
    slow = manifest("slow", step=f"one: {{run: '{gate.script}', effects: none}}")
    async with watching(project) as stage:
        stage.write("slow.yaml", slow)
        await gate.begun()
        stage.write("a.yaml", manifest("a"))
        await stage.runs("a", 1)
        stage.write("slow.yaml", manifest("slow", "second"))
        await stage.said("slow: changed; begins when run")
        stage.write("slow.yaml", manifest("slow", "third"))
        await stage.settled()
        assert stage.begun["slow"] == 1
        gate.let_through()
        await stage.runs("slow", 2)
        await stage.settled()
        assert stage.begun["slow"] == 2
    assert project.ledger() == ["a", "third"]


async def test_draining_lets_the_running_step_end_and_the_next_life_goes_on(project: Project) -> None:
    gate = Gate(project.folder)
    text = manifest("a", step=f"one: {{run: '{gate.script}', effects: none}}") + (
        "  two: {run: 'echo two >> ledger', needs: [one], effects: once}\n"
    )
    async with watching(project) as stage:
        stage.write("a.yaml", text)
        await gate.begun()
        stage.control.interrupt(15)
        gate.let_through()
        result = await stage.ends()
    assert result.exit_code == 143
    assert [(run.state, run.steps["one"].state) for run in result.runs] == [("interrupted", "succeeded")]
    assert project.ledger() == []
    async with watching(project) as stage:
        await stage.said("goes on: it was interrupted")
        await stage.until(lambda: stage.results and stage.results[-1].state == "succeeded")
        assert stage.begun["a"] == 0
    assert project.ledger() == ["two"]


# ---------------------------------------------------------------- restarts


async def test_a_restart_runs_nothing_again(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("good.yaml", manifest("good"))
        stage.write("bad.yaml", manifest("bad", step="one: {run: 'echo bad >> ledger; exit 1', effects: none}"))
        await stage.until(lambda: {run.state for run in stage.results} == {"succeeded", "failed"})
    assert sorted(project.ledger()) == ["bad", "good"]
    async with watching(project) as stage:
        await stage.said("bad: run")
        await stage.settled()
        assert (stage.begun["good"], stage.begun["bad"]) == (0, 0)
        stage.write("bad.yaml", manifest("bad", "mended"))
        await stage.runs("bad", 1)
    assert project.ledger() == ["mended"]


async def test_what_changed_while_nobody_watched_runs_at_the_next_start(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", "first"))
        await stage.runs("a", 1)
    stage.write("a.yaml", manifest("a", "second"))
    async with watching(project) as stage:
        await stage.runs("a", 1)
    assert project.ledger() == ["first", "second"]


async def test_once_does_what_is_to_be_done_and_ends(project: Project) -> None:
    async with watching(project, once=True) as stage:
        stage.write("a.yaml", manifest("a"))
        stage.write("b.yaml", manifest("b").replace("steps", "stebs"))
        stage.write("c.yaml", manifest("c", step="ask: {approve: May I?}"))
        assert (await stage.ends()).exit_code == 2
    (stage.folder / "b.yaml").unlink()
    async with watching(project, once=True) as stage:
        result = await stage.ends()
        assert result.exit_code == 3
        assert {run.manifest: (run.action, run.state) for run in result.runs} == {
            "a": ("unchanged", "succeeded"),
            "c": ("wait", "suspended"),
        }
        assert not stage.begun
    assert project.ledger() == ["a"]


async def test_a_folder_is_watched_by_one_and_must_be_there(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a"))
        await stage.runs("a", 1)
        with pytest.raises(StoreBusy, match="being watched"):
            await watch(Wish(stage.folder), project.settings, Stage(project))
    with pytest.raises(UsageError, match="no folder"):
        await watch(Wish(project.folder / "none"), project.settings, Stage(project))


# ---------------------------------------------------------------- what waits

ASK_FIRST = "ask: {approve: May I?}\n  do: {run: 'echo did >> ledger', needs: [ask], effects: once}"


async def test_a_run_goes_on_when_another_terminal_has_approved(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", step=ASK_FIRST))
        await stage.until(lambda: stage.results and stage.results[-1].state == "suspended")
        await answer("a", project.settings, "ask", approve=True, by="me")
        await stage.said("goes on: answered")
        await stage.runs("a", 1)
    assert project.ledger() == ["did"]


async def test_an_approval_of_a_sub_run_lets_its_caller_go_on(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("b.yaml", manifest("b", step=ASK_FIRST))
        stage.write("a.yaml", manifest("a", step="one: {call: b}"))
        await stage.until(lambda: stage.results and stage.results[-1].state == "suspended")
        await answer("a", project.settings, "ask", approve=True, by="me")
        await stage.runs("a", 1)
    assert project.ledger() == ["did"]


async def test_a_restart_takes_up_what_was_answered_meanwhile(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", step=ASK_FIRST))
        await stage.until(lambda: stage.results)
    await answer("a", project.settings, "ask", approve=True, by="me")
    assert project.ledger() == []
    async with watching(project) as stage:
        await stage.until(lambda: stage.results and stage.results[-1].state == "succeeded")
        assert stage.begun["a"] == 0
    assert project.ledger() == ["did"]


async def test_an_approval_that_nobody_gives_ends_in_its_time(project: Project) -> None:
    clock = FakeClock()
    async with watching(project, clock=clock) as stage:
        stage.write("a.yaml", manifest("a", step="ask: {approve: May I?, timeout: 1h}"))
        await stage.until(lambda: stage.results and stage.results[-1].state == "suspended")
        await stage.settled()
        clock.advance(3_600_000)
        await stage.said("goes on: its time has come")
        await stage.until(lambda: stage.results[-1].state == "failed")


async def test_a_waiting_run_gives_way_to_what_has_changed(project: Project) -> None:
    async with watching(project) as stage:
        stage.write("a.yaml", manifest("a", step="ask: {approve: May I?}"))
        await stage.until(lambda: stage.results)
        stage.write("a.yaml", manifest("a"))
        await stage.until(lambda: stage.results[-1].state == "succeeded")
    store = project.record()
    assert [row.state for row in store.runs(name="a")] == ["succeeded", "superseded"]
    store.close()


async def test_what_a_manifest_that_is_gone_waits_for_is_not_waited_for_any_more(project: Project) -> None:
    async with watching(project) as stage:
        path = stage.write("a.yaml", manifest("a", step=ASK_FIRST))
        await stage.until(lambda: stage.results)
        path.unlink()
        await stage.said("a: is gone")
        await stage.said("waits no more")
        await answer("a", project.settings, "ask", approve=True, by="me")
        await stage.settled()
        await stage.settled()
        assert project.ledger() == []
        path.write_text(manifest("a", step=ASK_FIRST))  # as it was: its run is taken up again
        await stage.runs("a", 1)
    assert project.ledger() == ["did"]


# ---------------------------------------------------------------- triggers: files

ON_SRC = 'triggers: {files: ["src/**"]}\n'
COUNT = "one: {run: 'echo ran >> ledger', files: ['src/**'], effects: none}"


async def test_files_of_a_trigger_start_one_run_for_each_settled_content(project: Project) -> None:
    project.write("src/a.txt", "1")
    async with watching(project) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=COUNT))
        await stage.runs("t", 1)
        project.write("src/a.txt", "2")
        project.write("src/deep/new.txt", "1")
        await stage.runs("t", 2)
        assert any(line.endswith("src/a.txt, src/deep/new.txt changed") for line in stage.lines)
        os.utime(project.folder / "src/a.txt")
        project.write("src/.a.txt.swp", "x")
        project.write("elsewhere.txt", "x")
        await stage.settled()
        assert stage.begun["t"] == 2
        (project.folder / "src/a.txt").unlink()
        await stage.runs("t", 3)
    assert project.ledger() == ["ran"] * 3


async def test_a_restart_knows_the_files_and_runs_for_what_changed_meanwhile(project: Project) -> None:
    project.write("src/a.txt", "1")
    async with watching(project) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=COUNT))
        await stage.runs("t", 1)
    async with watching(project) as stage:
        await stage.settled()
        assert stage.begun["t"] == 0
    project.write("src/a.txt", "2")
    async with watching(project) as stage:
        await stage.runs("t", 1)
    async with watching(project) as stage:
        await stage.settled()
        assert stage.begun["t"] == 0


async def test_what_a_run_saves_starts_no_other_one(project: Project) -> None:
    project.write("src/a.txt", "1")
    save = "one: {run: 'date +%N', files: ['src/a.txt'], save: src/out.txt, effects: none}"
    async with watching(project) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=save))
        await stage.runs("t", 1)
        await stage.settled()
        project.write("src/a.txt", "2")
        await stage.runs("t", 2)
        await stage.settled()
        assert stage.begun["t"] == 2
        project.write("src/out.txt", "by hand")
        await stage.runs("t", 3)
    async with watching(project) as stage:
        await stage.settled()
        assert stage.begun["t"] == 0


async def test_runs_that_start_themselves_come_to_rest(project: Project) -> None:
    project.write("src/a.txt", "1")
    loop = "one: {run: 'date +%N > src/stamp', reuse: never, effects: none}"
    async with watching(project) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=loop))
        await stage.said("t: 5 runs in a row have changed src/stamp")
        begun = stage.begun["t"]
        await stage.settled()
        assert stage.begun["t"] == begun
        project.write("src/a.txt", "2")
        await stage.until(lambda: stage.begun["t"] > begun)


async def test_the_last_good_version_serves_the_trigger_of_a_broken_manifest(project: Project) -> None:
    project.write("src/a.txt", "1")
    async with watching(project) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=COUNT))
        await stage.runs("t", 1)
        stage.write("t.yaml", "ares: v1\nname: t\nsteps: nonsense\n")
        await stage.until(lambda: stage.news[-1].folder.unread)
        project.write("src/a.txt", "2")
        await stage.runs("t", 2)


async def test_manifests_with_triggers_may_be_left_to_them(project: Project) -> None:
    project.write("src/a.txt", "1")
    async with watching(project, only_triggers=True) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=COUNT))
        await stage.settled()
        assert stage.begun["t"] == 0
        project.write("src/a.txt", "2")
        await stage.runs("t", 1)


async def test_left_to_its_triggers_a_run_that_was_interrupted_goes_on_all_the_same(project: Project) -> None:
    gate = Gate(project.folder)
    two = f"one: {{run: '{gate.script}', effects: none}}\n  two: {{run: 'echo two >> ledger', needs: [one], effects: once}}"
    async with watching(project) as stage:
        stage.write("t.yaml", manifest("t", more=ON_SRC, step=two))
        await gate.begun()
        stage.control.interrupt(15)
        gate.let_through()
        await stage.ends()
    async with watching(project, only_triggers=True) as stage:
        await stage.until(lambda: stage.results and stage.results[-1].state == "succeeded")
        assert stage.begun["t"] == 0
    assert project.ledger() == ["two"]


# ---------------------------------------------------------------- triggers: schedule

NIGHTLY = 'triggers: {schedule: "0 6 * * *"}\n'
DAY = 86_400_000
SIX = 1_800_079_200_000
"""2027-01-16 06:00 UTC."""


async def test_a_schedule_fires_once_and_reuses_nothing(project: Project) -> None:
    clock = FakeClock(SIX - DAY // 2)
    async with watching(project, clock=clock) as stage:
        stage.write("n.yaml", manifest("n", more=NIGHTLY))
        await stage.runs("n", 1)
        clock.advance(DAY // 2 - 1)
        await stage.settled()
        assert stage.begun["n"] == 1
        clock.advance(1)
        await stage.runs("n", 2)
        await stage.settled()
        assert stage.begun["n"] == 2
        assert "n: run" in stage.lines[-2] or any(
            "schedule 0 6 * * *, due 2027-01-16 06:00" in line for line in stage.lines
        )
    assert project.ledger() == ["n", "n"]
    assert not stage.results[-2].steps["a" if "a" in stage.results[-2].steps else "one"].reused


async def test_times_that_nobody_was_there_for_are_made_up_for_by_one_run(project: Project) -> None:
    clock = FakeClock(SIX - 1)
    async with watching(project, clock=clock) as stage:
        stage.write("n.yaml", manifest("n", more=NIGHTLY))
        await stage.runs("n", 1)
    clock.advance(1 + 3 * DAY)
    async with watching(project, clock=clock) as stage:
        await stage.runs("n", 1)
        assert any("due 2027-01-19 06:00, 3 earlier missed" in line for line in stage.lines)
        await stage.settled()
    async with watching(project, clock=clock) as stage:
        await stage.settled()
        assert stage.begun["n"] == 0
    assert project.ledger() == ["n", "n"]


async def test_a_time_that_comes_while_the_run_before_goes_on_is_made_up_for_after_it(project: Project) -> None:
    gate, clock = Gate(project.folder), FakeClock(SIX - 1)
    async with watching(project, clock=clock) as stage:
        stage.write("n.yaml", manifest("n", more=NIGHTLY, step=f"one: {{run: '{gate.script}', effects: none}}"))
        await gate.begun()
        clock.advance(2 * DAY + 1)
        await stage.settled()
        assert stage.begun["n"] == 1
        gate.let_through()
        await gate.begun()
        gate.let_through()
        await stage.runs("n", 2)
        await stage.settled()
        assert stage.begun["n"] == 2


async def test_a_schedule_that_was_served_by_a_clock_of_next_year_comes_due_by_the_right_one(project: Project) -> None:
    async with watching(project, clock=FakeClock(SIX + 365 * DAY)) as stage:
        stage.write("n.yaml", manifest("n", more=NIGHTLY))
        await stage.runs("n", 1)
    clock = FakeClock(SIX - 1)
    async with watching(project, clock=clock) as stage:
        await stage.settled()
        clock.advance(1)
        await stage.runs("n", 1)
    assert project.ledger() == ["n", "n"]


async def test_a_clock_that_was_put_back_a_little_serves_no_time_twice(project: Project) -> None:
    clock = FakeClock(SIX - 1)
    async with watching(project, clock=clock) as stage:
        stage.write("n.yaml", manifest("n", more=NIGHTLY))
        await stage.runs("n", 1)
        clock.advance(1)
        await stage.runs("n", 2)
    clock = FakeClock(SIX - 2_000)
    async with watching(project, clock=clock) as stage:
        await stage.settled()
        clock.advance(60_000)
        await stage.settled()
        assert stage.begun["n"] == 0


async def test_a_schedule_that_is_new_missed_nothing(project: Project) -> None:
    clock = FakeClock(SIX + DAY // 2)
    project.manifest("steps: {one: {set: {a: 1}}}", name="m/n")
    async with watching(project, clock=clock) as stage:
        stage.write("n.yaml", manifest("n", more=NIGHTLY))
        await stage.runs("n", 1)
        await stage.settled()
        assert stage.begun["n"] == 1


# ---------------------------------------------------------------- what waits for a model

ENDPOINT = """
state: {{durability: process}}
models:
  endpoints: {{cloud: {{kind: ollama, url: "{url}", local: false}}}}
  catalog: {{m: {{endpoint: cloud, model: m, tier: free}}}}
  chains: {{default: [m]}}
router: {{models: default}}
fault_handler: {{min_dwell: 10ms, probe_interval: 100ms, probe_timeout: 1s, open_for: 100ms, recover_after: 1}}
"""


@pytest.mark.slow  # health looks at the record every two seconds
async def test_a_run_goes_on_when_the_endpoint_that_it_waits_for_is_back(tmp_path: Path) -> None:
    async with FakeLlm(says={"m": ["hello"]}) as fake:
        project = Project(tmp_path / "p", ENDPOINT.format(url=fake.url))
        await fake.stop()
        async with watching(project) as stage:
            stage.write("a.yaml", manifest("a", step="one: {model: Say hello, faults: {exhausted: suspend}}"))
            await stage.until(lambda: stage.results)
            assert (stage.results[-1].state, stage.results[-1].reasons) == ("suspended", ("mode",))
            await fake.start()
            await stage.runs("a", 1)
            assert not any("tried again" in line for line in stage.lines)
