"""Steps in a git worktree of their own: real repositories."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attempt_bench import GIT_ENV, SECRET, Bench, changed, script_task

from runner.digest import digest_bytes
from runner.executors.local import LocalCommands
from runner.ports import CallResult, Request

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")

FILES = {"a.txt": "one\ntwo\nthree\n", "src/b.py": "b\n", ".gitignore": "*.log\n"}


@pytest.fixture
async def commands() -> AsyncIterator[LocalCommands]:
    commands = LocalCommands()
    yield commands
    await commands.close()


@pytest.fixture
def bench(tmp_path: Path, commands: LocalCommands) -> Bench:
    bench = Bench(tmp_path, commands)
    bench.commit(FILES)
    return bench


def own(keep: str = "on_failure", apply: bool = True, checks: Any = (), **more: Any) -> dict[str, Any]:
    return {"workspace": {"git": "worktree", "keep": keep, "apply": apply}, "checks": list(checks), **more}


def content(bench: Bench) -> Mapping[str, bytes]:
    """The workspace without what is git's and ours."""
    return {
        str(path.relative_to(bench.work)): path.read_bytes()
        for path in bench.work.rglob("*")
        if path.is_file() and not {".git", ".ares"}.intersection(path.relative_to(bench.work).parts)
    }


# ---------------------------------------------------------------- the way that goes well


async def test_a_step_works_elsewhere_and_its_diff_comes_to_the_workspace(bench: Bench) -> None:
    outcome = await bench.script("pwd; echo four >> a.txt; rm src/b.py; mkdir new; printf 'x\\0y' > new/bin", own())
    assert outcome.state == "succeeded", outcome.message
    result = bench.result(outcome)
    assert result["output"] == str(bench.state / "worktrees" / "r1" / "step.1")
    assert content(bench) == {"a.txt": b"one\ntwo\nthree\nfour\n", "new/bin": b"x\0y", ".gitignore": b"*.log\n"}
    assert "+four" in result["diff"] and "GIT binary patch" in result["diff"]
    assert outcome.products == {}  # only `changed` and `save` make products
    assert (bench.worktrees(), bench.known_to_git()) == ([], 0)
    assert bench.git("stash", "list") + bench.git("branch", "--format=%(refname:short)") == "main\n"
    assert bench.git("diff", "--cached", "--name-only") == ""  # the user's index is as it was


async def test_the_recorded_diff_alone_gives_the_same_files(bench: Bench, tmp_path: Path) -> None:
    bench.git("clone", "-q", str(bench.work), str(tmp_path / "clone"))
    script = "printf 'caf\\351\\n' > latin; printf 'a\\0b' > bin; chmod +x a.txt; ln -s a.txt link; echo é > utf8"
    result = bench.result(await bench.script(script, own()))
    (tmp_path / "diff").write_bytes(result["diff"].encode())
    bench.git("apply", str(tmp_path / "diff"), cwd=tmp_path / "clone")
    for name in ("latin", "bin", "a.txt", "link", "utf8"):
        there, here = tmp_path / "clone" / name, bench.work / name
        assert there.read_bytes() == here.read_bytes()
        assert there.lstat().st_mode == here.lstat().st_mode
    assert (bench.work / "latin").read_bytes() == b"caf\xe9\n"


async def test_a_step_starts_from_what_earlier_steps_left_uncommitted(bench: Bench) -> None:
    (bench.work / "a.txt").write_text("edited\n")
    (bench.work / "untracked").write_text("new\n")
    (bench.work / "src" / "b.py").unlink()
    (bench.work / "ignored.log").write_text("noise")
    outcome = await bench.script(
        "cat a.txt untracked; ls src ignored.log 2>/dev/null || true; echo more >> untracked", own()
    )
    result = bench.result(outcome)
    assert result["output"] == "edited\nnew"
    assert (bench.work / "untracked").read_text() == "new\nmore\n"
    assert (bench.work / "a.txt").read_text() == "edited\n"
    assert "a.txt" not in result["diff"]


async def test_one_worktree_step_builds_on_another(bench: Bench) -> None:
    await bench.script("echo four >> a.txt", own())
    outcome = await bench.script("echo five >> a.txt", own(), node="next")
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "a.txt").read_text().endswith("three\nfour\nfive\n")


async def test_what_a_step_commits_there_comes_back_too(bench: Bench) -> None:
    script = "echo four >> a.txt; git -c user.name=x -c user.email=x@x commit -qam work; echo five >> a.txt"
    outcome = await bench.script(script, own())
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "a.txt").read_text().endswith("four\nfive\n")
    assert bench.git("log", "--format=%s") == "first\n"


async def test_a_repository_without_a_commit_will_do(tmp_path: Path, commands: LocalCommands) -> None:
    bench = Bench(tmp_path, commands)
    bench.git("init", "-q")
    (bench.work / "a").write_text("a\n")
    outcome = await bench.script("cat a; echo b > b", own())
    assert (outcome.state, bench.result(outcome)["output"]) == ("succeeded", "a")
    assert (bench.work / "b").read_text() == "b\n"


async def test_a_step_that_changes_nothing_has_no_diff(bench: Bench) -> None:
    outcome = await bench.script("touch a.txt; echo x > noise.log", own())
    assert (outcome.state, bench.result(outcome)) == ("succeeded", {"output": ""})
    assert outcome.products == {}


async def test_apply_false_leaves_the_diff_in_the_record_only(bench: Bench) -> None:
    before = content(bench)
    outcome = await bench.script("echo four >> a.txt", own(apply=False, checks=[changed(only=["a.txt"])]))
    assert outcome.state == "succeeded", outcome.message
    assert "+four" in bench.result(outcome)["diff"]
    assert (content(bench), outcome.products, bench.worktrees()) == (before, {}, [])


async def test_save_writes_to_the_workspace_itself(bench: Bench) -> None:
    outcome = await bench.script("echo text", own(save={"path": "saved.txt"}))
    assert (bench.work / "saved.txt").read_text() == "text\n"
    assert outcome.products == {"saved.txt": digest_bytes(b"text\n")}


async def test_a_secret_in_the_diff_is_masked_in_the_record_and_right_in_the_file(bench: Bench) -> None:
    spec = own(env={"T": "?"}, checks=[changed()])
    outcome = await bench.script('echo "$T" > file; touch "$T"', spec, secrets={"env/T": [{"secret": "TOKEN"}]})
    assert SECRET not in repr(outcome)
    assert "+***" in bench.result(outcome)["diff"]
    assert SECRET not in repr(bench.result(outcome))
    assert (bench.work / "file").read_text() == f"{SECRET}\n"


# ---------------------------------------------------------------- checks


async def test_checks_run_in_the_worktree_and_leave_nothing_in_the_diff(bench: Bench) -> None:
    checks = [
        {"kind": "run", "run": {"script": "grep -q four a.txt; echo x > junk"}},
        changed(only=["a.txt"], max_files=1),
    ]
    outcome = await bench.script("echo four >> a.txt", own(checks=checks))
    assert outcome.state == "succeeded", outcome.message
    assert outcome.products == {"a.txt": digest_bytes(b"one\ntwo\nthree\nfour\n")}
    assert not (bench.work / "junk").exists()


async def test_changed_is_judged_in_the_worktree(bench: Bench) -> None:
    before = content(bench)
    outcome = await bench.script("echo x > src/c.py; echo x > a.txt", own(checks=[changed(only=["src/**"])]))
    assert (outcome.error_class, outcome.message) == ("check_failed", "1 file touched outside of src/**: a.txt")
    assert content(bench) == before
    assert "src/c.py" in bench.result(outcome)["diff"]
    assert bench.worktrees() == ["r1/step.1"]


async def test_a_repair_round_goes_on_where_the_last_one_stopped(bench: Bench) -> None:
    spec = own(
        keep="never",
        checks=[{"kind": "run", "run": {"script": "grep -q five a.txt"}}, changed(only=["a.txt", "src/**"])],
    )
    first = await bench.script("echo four >> a.txt", spec)
    assert (first.error_class, bench.worktrees()) == ("check_failed", ["r1/step.1"])
    bench.restarted()
    second = await bench.script("echo five >> a.txt; echo c > src/c", spec, attempt=2, feedback=first.feedback)
    assert second.state == "succeeded", second.message
    assert (bench.work / "a.txt").read_text().endswith("four\nfive\n")
    assert sorted(second.products) == ["a.txt", "src/c"]
    assert (bench.worktrees(), bench.known_to_git()) == ([], 0)


async def test_a_retry_starts_afresh_and_removes_what_the_last_attempt_left(bench: Bench) -> None:
    await bench.script("echo half > half; exit 3", own())
    assert bench.worktrees() == ["r1/step.1"]
    outcome = await bench.script("ls; exit 3", own(), attempt=2)
    assert outcome.error_class == "tool_error"
    assert "half" not in Path(outcome.log).read_text()
    assert (bench.worktrees(), bench.known_to_git()) == (["r1/step.2"], 1)


# ---------------------------------------------------------------- conflicts


async def test_a_conflict_fails_the_check_changes_nothing_and_keeps_the_worktree(bench: Bench) -> None:
    script = f"echo mine > a.txt; echo new > new; echo theirs > '{bench.work}/a.txt'"
    outcome = await bench.script(script, own(keep="never"))
    assert (outcome.state, outcome.error_class, outcome.effect) == ("failed", "check_failed", "none")
    assert "does not fit the workspace" in outcome.message and "a.txt" in outcome.message
    assert (bench.work / "a.txt").read_text() == "theirs\n"
    assert not (bench.work / "new").exists()
    assert "+mine" in bench.result(outcome)["diff"]
    await bench.attempts.forget("r1")
    assert (bench.state / "worktrees" / "r1" / "step.1" / "a.txt").read_text() == "mine\n"


async def test_a_repair_after_a_conflict_starts_from_the_workspace_as_it_is_by_now(bench: Bench) -> None:
    first = await bench.script(f"echo mine > a.txt; echo theirs > '{bench.work}/a.txt'", own())
    second = await bench.script("cat a.txt; echo both > a.txt", own(), attempt=2, feedback=first.feedback)
    assert bench.result(second)["output"] == "theirs"
    assert (bench.work / "a.txt").read_text() == "both\n"
    assert bench.worktrees() == []


async def test_a_file_that_came_to_be_meanwhile_is_never_overwritten(bench: Bench) -> None:
    outcome = await bench.script(f"echo mine > new; echo theirs > '{bench.work}/new'", own())
    assert outcome.error_class == "check_failed"
    assert (bench.work / "new").read_text() == "theirs\n"


async def test_steps_that_work_at_the_same_time_all_come_back(bench: Bench) -> None:
    bench.commit({f"f{n}": "x\n" for n in range(4)})
    steps = [bench.script(f"echo {n} >> f{n}; echo {n} > new{n}", own(), node=f"s[{n}]") for n in range(4)]
    outcomes = await asyncio.gather(*steps)
    assert [outcome.state for outcome in outcomes] == ["succeeded"] * 4, outcomes
    for n in range(4):
        assert ((bench.work / f"f{n}").read_text(), (bench.work / f"new{n}").read_text()) == (f"x\n{n}\n", f"{n}\n")
    assert bench.known_to_git() == 0


async def test_the_diff_that_comes_back_is_no_touch_of_a_watched_step(bench: Bench) -> None:
    async def act(request: Request) -> CallResult:
        assert (await bench.script("echo four >> a.txt", own(), node="other")).state == "succeeded"
        (bench.work / "src" / "c.py").write_text("new")
        return CallResult(output="ok")

    outcome = await bench.told(act, {"checks": [changed(only=["src/**"])]})
    assert outcome.state == "succeeded", outcome.message


# ---------------------------------------------------------------- what stays on disk


@pytest.mark.parametrize(
    ("keep", "script", "left"),
    [
        ("never", "echo x > x", []),
        ("never", "echo x > x; exit 3", []),
        ("on_failure", "echo x > x", []),
        ("on_failure", "echo x > x; exit 3", ["r1/step.1"]),
        ("always", "echo x > x", ["r1/step.1"]),
        ("always", "echo x > x; exit 3", ["r1/step.1"]),
    ],
)
async def test_keep_decides_what_stays(bench: Bench, keep: str, script: str, left: list[str]) -> None:
    outcome = await bench.script(script, own(keep=keep))
    assert bench.worktrees() == left
    assert bench.known_to_git() == len(left)
    if outcome.state == "failed":
        diff = bench.places.logs / "r1" / "step.1.diff"
        assert "+x" in diff.read_text()
        assert stat.S_IMODE(diff.stat().st_mode) == 0o600
    await bench.attempts.forget("r1")
    assert bench.worktrees() == left


async def test_a_worktree_that_only_waits_for_a_repair_goes_with_the_run(bench: Bench) -> None:
    await bench.script("echo x > x", own(keep="never", checks=[changed(only=["src/**"])]))
    assert bench.worktrees() == ["r1/step.1"]
    await bench.attempts.forget("r1")
    assert (bench.worktrees(), bench.known_to_git()) == ([], 0)


async def test_what_a_cancelled_attempt_leaves_is_removed_by_the_next_one(bench: Bench) -> None:
    begun = asyncio.Event()
    bench.executors["run"] = commands = _Announcing(bench.executors["run"], begun)
    running = asyncio.create_task(
        bench.attempts.run(script_task("echo x > x; exec sleep 300", own()), lambda note: None)
    )
    await asyncio.wait_for(begun.wait(), 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bench.worktrees() == ["r1/step.1"]
    bench.executors["run"] = commands.inner
    bench.restarted()
    outcome = await bench.script("ls", own(), attempt=2)
    assert bench.result(outcome)["output"].split() == ["a.txt", "src"]
    assert (bench.worktrees(), bench.known_to_git()) == ([], 0)


async def test_read_only_folders_of_a_step_are_removed_too(bench: Bench) -> None:
    outcome = await bench.script("mkdir -p cache/deep; echo x > cache/deep/x; chmod -R a-w cache", own(apply=False))
    assert outcome.state == "succeeded", outcome.message
    assert bench.worktrees() == []


class _Announcing:
    """Says when the step's own command (not git's) begins."""

    def __init__(self, inner: Any, begun: asyncio.Event) -> None:
        self.inner, self._begun = inner, begun

    async def call(self, request: Request) -> CallResult:
        if "script" in request.inputs:
            self._begun.set()
        answer: CallResult = await self.inner.call(request)
        return answer

    async def close(self) -> None: ...


# ---------------------------------------------------------------- odd places and hostile ones


async def test_a_folder_without_git_is_refused_before_anything_runs(tmp_path: Path, commands: LocalCommands) -> None:
    bench = Bench(tmp_path, commands)
    outcome = await bench.script("touch ran", own())
    assert (outcome.error_class, outcome.effect) == ("invalid", "none")
    assert outcome.message == f"workspace: needs a git repository, which {bench.work} is not"
    assert list(bench.work.glob("[!.]*")) == []


async def test_a_machine_without_git_is_told_so(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = await bench.script("true", own())
    assert (outcome.error_class, outcome.message) == (
        "invalid",
        "workspace: needs git: cannot run 'git': command not found",
    )


async def test_the_workspace_may_be_a_folder_of_the_repository(tmp_path: Path, commands: LocalCommands) -> None:
    top = Bench(tmp_path, commands)
    top.commit({"a": "a\n", "sub/b": "b\n"})
    bench = Bench(tmp_path, commands, workspace=top.work / "sub")
    outcome = await bench.script("pwd; ls; echo c > c", own(checks=[changed(only=["c"])]))
    assert outcome.state == "succeeded", outcome.message
    assert bench.result(outcome)["output"].endswith("step.1/sub\nb")
    assert (bench.work / "c").read_text() == "c\n"
    outcome = await bench.script("echo x > ../a; echo d > d", own(), node="outside")
    assert (outcome.error_class, outcome.message) == ("check_failed", "files outside of the workspace were touched: a")
    assert ((top.work / "a").read_text(), (bench.work / "d").exists()) == ("a\n", False)


async def test_line_ends_and_filters_of_the_repository_hold_both_ways(bench: Bench) -> None:
    bench.git("config", "core.autocrlf", "true")
    bench.git("config", "filter.up.clean", "tr a-z A-Z")
    bench.git("config", "filter.up.smudge", "tr A-Z a-z")
    (bench.work / ".gitattributes").write_text("*.up filter=up\n")
    (bench.work / "x.up").write_text("some\ntext\n")
    (bench.work / "a.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    script = "printf 'four\\r\\n' >> a.txt; printf 'more\\n' >> x.up; printf 'c\\r\\n' > c"
    outcome = await bench.script(script, own())
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "a.txt").read_bytes() == b"one\r\ntwo\r\nthree\r\nfour\r\n"
    assert (bench.work / "x.up").read_bytes().replace(b"\r", b"") == b"some\ntext\nmore\n"
    assert (bench.work / "c").read_bytes() == b"c\r\n"


async def test_a_start_that_a_kill_broke_off_is_cleaned_up_by_the_next_attempt(bench: Bench) -> None:
    await bench.script("exit 3", own())
    folder = bench.state / "worktrees" / "r1"
    record = json.loads((folder / "step.1.json").read_text())
    (folder / "step.1.json").write_text(json.dumps(record | {"base": "", "gitdir": "", "state": "running"}))
    (folder / "step.1" / ".git").unlink()
    (folder / "step.1.index.lock").touch()
    (folder / "torn.1.json").write_text('{"path": "/etc')
    (folder / "planted.1.json").write_text(json.dumps(record | {"path": str(bench.work / "src"), "state": "running"}))
    outcome = await bench.script("ls", own(), attempt=2, feedback="try again")
    assert outcome.state == "succeeded", outcome.message
    await bench.attempts.forget("r1")
    assert (bench.worktrees(), bench.known_to_git()) == ([], 0)
    assert sorted(path.name for path in folder.iterdir()) == ["planted.1.json", "torn.1.json"]
    assert (bench.work / "src" / "b.py").exists()


async def test_git_variables_of_our_environment_do_not_lead_elsewhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    bench.git("init", "-q", cwd=other)
    for name, value in {
        "GIT_DIR": f"{other}/.git",
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": f"{other}/index",
    }.items():
        monkeypatch.setenv(name, value)
    outcome = await bench.script("echo four >> a.txt", own())
    assert outcome.state == "succeeded", outcome.message
    assert list(other.iterdir()) == [other / ".git"]


async def test_no_hook_and_no_monitor_of_the_repository_runs(bench: Bench, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for hook in ("post-checkout", "post-index-change", "applypatch-msg", "reference-transaction", "pre-commit"):
        shutil.copy(trap, bench.work / ".git" / "hooks" / hook)
    bench.git("config", "core.fsmonitor", str(trap))
    outcome = await bench.script("true; echo x > x", own())
    assert outcome.state == "succeeded", outcome.message
    assert not (tmp_path / "sprung").exists()


async def test_diff_settings_of_the_user_do_not_spoil_the_diff(bench: Bench) -> None:
    for key, value in {
        "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "color.ui": "always", "diff.external": "/bin/false",
        "diff.renames": "copies", "apply.whitespace": "error-all", "core.quotePath": "true", "diff.relative": "true",
        "core.safecrlf": "true", "diff.context": "0", "diff.algorithm": "patience", "diff.indentHeuristic": "false",
    }.items():  # fmt: skip
        bench.git("config", key, value)
    outcome = await bench.script("printf 'four  \\n' >> a.txt; git mv src/b.py 'src/ü b.py'", own(checks=[changed()]))
    assert outcome.state == "succeeded", outcome.message
    assert sorted(outcome.products) == ["a.txt", "src/b.py", "src/ü b.py"]
    assert (bench.work / "a.txt").read_text().endswith("three\nfour  \n")


async def test_a_step_that_breaks_its_worktree_never_leads_git_to_the_workspace(bench: Bench) -> None:
    before = content(bench)
    outcome = await bench.script("rm .git; git -C / status 2>/dev/null || true; echo x > x", own(apply=False))
    assert outcome.state == "succeeded", outcome.message
    assert [line for line in bench.result(outcome)["diff"].splitlines() if line.startswith("+++")] == ["+++ b/x"]
    outcome = await bench.script('rm -rf "$(git rev-parse --absolute-git-dir)"; echo x > x', own(), node="worse")
    assert (outcome.state, outcome.error_class) == ("failed", "tool_error")
    assert content(bench) == before


async def test_our_state_never_gets_into_a_worktree_or_a_diff(bench: Bench) -> None:
    (bench.state / "logs").mkdir(parents=True)
    (bench.state / "secret").write_text("x")
    outcome = await bench.script("ls -A; mkdir .ares; echo x > .ares/planted", own(apply=False))
    assert bench.result(outcome) == {"output": ".git\n.gitignore\na.txt\nsrc"}


async def test_a_diff_over_the_limit_fails_the_step_and_not_the_memory(tmp_path: Path, commands: LocalCommands) -> None:
    bench = Bench(tmp_path, commands, output=20_000)
    bench.commit(FILES)
    outcome = await bench.script("seq 100000 > large", own())
    assert (outcome.error_class, "over the limit of 20000" in outcome.message) == ("tool_error", True)
    assert not (bench.work / "large").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder to somebody else")
async def test_a_workspace_that_belongs_to_somebody_else_is_the_operators_choice(bench: Bench) -> None:
    for path in (bench.work, bench.work / ".git"):
        os.chown(path, 12345, 12345)
    refused = subprocess.run(
        ["git", "status"], cwd=bench.work, env=GIT_ENV, capture_output=True, text=True, check=False
    )
    assert "dubious ownership" in refused.stderr
    outcome = await bench.script("echo x > x", own())
    assert outcome.state == "succeeded", outcome.message
    assert (bench.work / "x").read_text() == "x\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a folder to somebody else")
async def test_a_repository_of_somebody_else_above_the_workspace_is_refused(
    tmp_path: Path, commands: LocalCommands
) -> None:
    top = Bench(tmp_path, commands)
    top.commit({"sub/b": "b\n"})
    os.chown(top.work, 12345, 12345)
    bench = Bench(tmp_path, commands, workspace=top.work / "sub")
    outcome = await bench.script("true", own())
    assert (outcome.error_class, "dubious ownership" in outcome.message) == ("invalid", True)
