"""Approvals, events, logs that are followed, differences and gc: the command line over a real database, second terminals as real processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cli_project import Project

from runner.api.apply import apply
from runner.api.load import load
from runner.api.settings import load_config
from runner.clock import FakeClock
from runner.manifest.schema import SCHEMAS

GATED = """
ares: v1
name: gated
steps:
  make: {run: [echo, the parcel], effects: none}
  gate:
    approve: "Ship {{ steps.make.text }}?"
    show: ["{{ steps.make.text }}", "two\\nlines"]
  ship: {run: [echo, shipped], needs: [gate], effects: none}
finally:
  told: {run: [sh, -c, "echo $STATE > state.txt"], env: {STATE: "{{ run.state }}"}, effects: none}
outputs: {by: "{{ steps.gate.output.by }}", why: "{{ steps.gate.output.comment }}"}
"""
BESIDE = """
ares: v1
name: beside
steps:
  gate: {approve: Go on?}
  busy: {run: "echo begun; while [ ! -e go ]; do sleep 0.02; done; echo seen", effects: idempotent}
  last: {run: [echo, "by {{ steps.gate.output.by }}"], needs: [busy], effects: none}
"""
CALLER = """
ares: v1
name: caller
steps: {inner: {call: inner-part}}
---
ares: v1
name: inner-part
steps: {gate: {approve: Inside?}}
"""
LATE = """
ares: v1
name: late
steps:
  gate: {approve: Still?, timeout: 1h, otherwise: %s}
  then: {run: [echo, yes], needs: [gate], effects: none}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    for name in ("RUNNER_CONFIG", "CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def states(project: Project, run: str) -> dict[str, str]:
    return {name: step["state"] for name, step in project.cli("show", run, "--json").json["steps"].items()}


def lines_until(process: subprocess.Popen[str], kind: str, node: str) -> Iterator[Any]:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        yield event
        if (event.get("kind"), event.get("node")) == (kind, node):
            return
    raise AssertionError(f"it ended without {kind} of {node}: {process.communicate()[1]}")


# ---------------------------------------------------------------- approvals


def test_a_manifest_that_asks_ends_with_3_and_says_what_resumes_it(project: Project) -> None:
    project.write("gated.yaml", GATED)
    ended = project.cli("apply", "gated.yaml")
    assert ended.code == 3
    assert "Ship the parcel?" in ended.out
    assert "| the parcel" in ended.out and "| two" in ended.out and "| lines" in ended.out
    assert "runner approve" in ended.out and "runner reject" in ended.out and "runner resume" in ended.out
    shown = project.cli("show", "gated").out
    assert "asks: Ship the parcel?" in shown and "| lines" in shown
    assert project.cli("apply", "gated.yaml").code == 3


def test_after_an_approval_apply_goes_on_and_the_answer_can_be_read(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    answered = project.cli("approve", "gated", "gate", "--as", "Eve", "--comment", "looks good")
    assert (answered.code, "approved by Eve" in answered.out) == (0, True)
    done = project.cli("apply", "gated.yaml", "--json").json
    assert (done["exit_code"], done["runs"][0]["action"]) == (0, "resume")
    assert done["runs"][0]["outputs"] == {"by": "Eve", "why": "looks good"}
    assert project.cli("apply", "gated.yaml", "--json").json["runs"][0]["action"] == "unchanged"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("approve", "gated", "gate", "--as", "Eve", "--comment", "looks good"), "approved by Eve: looks good"),
        (("reject", "gated", "gate", "--as", "Eve"), "rejected by Eve"),
    ],
)
def test_show_says_who_answered(project: Project, argv: tuple[str, ...], said: str) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    assert "by Eve" not in project.cli("show", "gated").out
    project.cli(*argv)
    assert f"      {said}\n" in project.cli("show", "gated").out
    answered = project.cli("show", "gated", "--json").json["answers"]["gate"]
    assert (answered, project.cli("apply", "gated.yaml").code) == (said, int(argv[0] == "reject"))


def test_show_says_who_resolved_a_step(project: Project) -> None:
    project.write("lost.yaml", "ares: v1\nname: lost\nsteps: {pay: {run: 'kill -9 $$', effects: once}}\n")
    project.cli("apply", "lost.yaml")
    project.cli("resolve", "lost", "pay", "--done", '"it was paid"')
    assert re.search("^      resolved as done by .+$", project.cli("show", "lost").out, re.MULTILINE)


def test_after_a_rejection_the_run_fails_and_finally_sees_it(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    assert project.cli("reject", "gated", "gate", "--as", "Eve", "--comment", "not today").code == 0
    done = project.cli("apply", "gated.yaml", "--json").json
    steps = done["runs"][0]["steps"]
    assert done["exit_code"] == 1
    assert steps["gate"]["error"] == {"class": "denied", "message": "rejected by Eve: not today"}
    assert (steps["ship"]["state"], (project.root / "state.txt").read_text()) == ("blocked", "failed\n")


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_there_is_nothing_to_answer_twice(project: Project, verb: str) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    project.cli("approve", "gated", "gate")
    again = project.cli(verb, "gated", "gate")
    assert (again.code, "gate of run" in again.err, "has succeeded: it waits for nobody" in again.err) == (
        2,
        True,
        True,
    )
    assert project.cli(verb, "gated", "nope").code == 2
    assert project.cli(verb, "nope", "gate").code == 2


def test_a_run_that_waits_for_two_kinds_of_answers_names_both(project: Project) -> None:
    steps = "steps:\n  gate: {approve: 'ok?'}\n  pay: {run: 'kill -9 $$', effects: once}\n"
    project.write("both.yaml", f"ares: v1\nname: both\n{steps}")
    told = project.cli("apply", "both.yaml")
    assert (told.code, "next: once all of that is answered" in told.out) == (3, True)


def test_a_misspelt_step_is_told_which_one_waits(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    done = project.cli("approve", "gated", "gat")
    assert (done.code, "help: it is gate that waits" in done.err) == (2, True)


def test_a_step_that_has_not_begun_has_no_logs_yet(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    none = project.cli("logs", "gated", "ship")
    assert (none.code, none.out, "0 attempts, none wrote anything" in none.err) == (0, "", True)
    assert project.cli("logs", "gated", "ship.1").code == 2
    wrong = project.cli("logs", "gated", "shp")
    assert (wrong.code, "steps: make, gate, ship" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("otherwise", "code", "state"), [("approve", 0, "succeeded"), ("reject", 1, "failed"), ("fail", 1, "failed")]
)
async def test_an_approval_that_nobody_gives_in_time_ends_as_the_manifest_says(
    project: Project, otherwise: str, code: int, state: str
) -> None:
    project.write("late.yaml", LATE % otherwise)
    settings = load_config(None, start=project.root, env={})
    loaded = load(["late.yaml"], settings)
    clock = FakeClock()
    assert (await apply(loaded, settings, clock=clock)).exit_code == 3
    clock.advance(3_599_000)
    assert (await apply(loaded, settings, clock=clock)).exit_code == 3
    clock.advance(2_000)
    late = await apply(loaded, settings, clock=clock)
    assert (late.exit_code, late.runs[0].steps["gate"].state) == (code, state)


def test_a_step_of_a_sub_run_is_answered_by_either_name(project: Project) -> None:
    project.write("caller.yaml", CALLER)
    assert project.cli("apply", "caller.yaml").code == 3
    run = project.cli("status", "--json").json["runs"][0]["run"]
    assert project.cli("approve", f"{run}.inner", "gate").code == 0
    assert project.cli("apply", "caller.yaml").code == 0
    project.cli("apply", "caller.yaml", "--force")
    assert project.cli("approve", "caller", "gate").code == 0
    assert project.cli("apply", "caller.yaml").code == 0


def test_an_answer_in_a_sub_run_says_how_the_whole_run_goes_on(project: Project) -> None:
    project.write(
        "caller.yaml",
        CALLER.replace(
            "{call: inner-part}", "{call: inner-part}, then: {run: [echo, x], effects: none, needs: [inner]}"
        ),
    )
    assert project.cli("apply", "caller.yaml").code == 3
    run = project.cli("status", "--json").json["runs"][0]["run"]
    said = project.cli("approve", "caller", "gate").out
    assert said.endswith(f"; go on with `runner resume {run}`\n")
    assert project.cli("resume", run).code == 0


def test_a_second_terminal_approves_while_the_first_drives_the_run(project: Project) -> None:
    project.write("beside.yaml", BESIDE)
    first = project.begin("apply", "beside.yaml", "--events")
    seen = list(lines_until(first, "step_suspended", "gate"))
    told = project.program("approve", "beside", "gate", "--as", "Eve")
    assert (told.returncode, told.stderr) == (0, "")
    seen += lines_until(first, "step_resolved", "gate")
    (project.root / "go").touch()
    rest = first.communicate(timeout=30)[0].splitlines()
    assert first.returncode == 0
    assert "busy" in {event["node"] for event in seen if event["kind"] == "attempt_started"}
    assert json.loads(rest[-1])["runs"][0]["steps"]["last"]["state"] == "succeeded"


def test_a_second_terminal_that_resolves_says_that_the_first_was_told(project: Project) -> None:
    project.write("beside.yaml", BESIDE.replace("approve: Go on?", "run: 'kill -9 $$', effects: once"))
    first = project.begin("apply", "beside.yaml", "--events")
    list(lines_until(first, "step_suspended", "gate"))
    os.kill(first.pid, signal.SIGSTOP)  # it drives the run, and does not look into its inbox
    told = project.program("resolve", "beside", "gate", "--done", '{"by": "Eve"}')
    os.kill(first.pid, signal.SIGCONT)
    (project.root / "go").touch()
    assert first.communicate(timeout=30)[0] and first.returncode == 0
    assert "the runner that drives it was told that gate is done" in told.stdout
    assert "runner resume" not in told.stdout, "somebody drives it already"


def test_an_approval_survives_a_kill_of_the_runner_that_asked(project: Project) -> None:
    project.write("beside.yaml", BESIDE)
    first = project.begin("apply", "beside.yaml", "--events")
    list(lines_until(first, "step_suspended", "gate"))
    first.kill()
    first.communicate(timeout=30)
    (project.root / "go").touch()
    assert project.program("approve", "beside", "gate").returncode == 0
    assert project.program("apply", "beside.yaml").returncode == 0
    assert states(project, "beside") == {"gate": "succeeded", "busy": "succeeded", "last": "succeeded"}


def test_of_a_run_that_somebody_drives_plan_says_so_and_show_until_when_it_waits(project: Project) -> None:
    project.write("late.yaml", "ares: v1\nname: late\nsteps: {w: {wait: 1h}}\n")
    first = project.begin("apply", "late.yaml", "--events")
    list(lines_until(first, "step_waiting", "w"))
    shown, planned = project.program("show", "late").stdout, project.program("plan", "late.yaml").stdout
    first.kill()
    first.communicate(timeout=30)
    assert re.search(r"waiting  w +wait, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", shown)
    assert "is at work in another runner; apply would be told busy" in planned
    assert "was interrupted" in project.program("plan", "late.yaml").stdout


# ---------------------------------------------------------------- events and logs


def test_events_are_every_decision_with_its_reason_as_text_and_as_json(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    events = [json.loads(line) for line in project.program("events", "gated", "--json").stdout.splitlines()]
    for event in events:
        jsonschema.validate(event, SCHEMAS["events"]())
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["kind"] == "run_suspended"
    text = project.program("events", "gated").stdout
    assert "gated/gate" in text and "approval: Ship the parcel?" in text
    assert len(text.splitlines()) == len(events)
    [made] = [line for line in text.splitlines() if "attempt_succeeded" in line]
    assert "cost $0.0000, executor local" in made
    project.cli("approve", "gated", "gate", "--as", "Eve")
    project.cli("apply", "gated.yaml")
    assert 'outputs {"by": "Eve"' in project.cli("events", "gated").out


def test_events_of_sub_runs_are_among_those_of_their_run(project: Project) -> None:
    project.write("caller.yaml", CALLER)
    project.cli("apply", "caller.yaml")
    found = [json.loads(line) for line in project.program("events", "caller", "--json").stdout.splitlines()]
    assert {event["manifest"] for event in found} == {"caller", "inner-part"}


def test_followed_events_and_logs_end_with_the_run(project: Project) -> None:
    project.write(
        "beside.yaml",
        BESIDE.replace("  gate: {approve: Go on?}\n", "").replace(', "by {{ steps.gate.output.by }}"', ", end"),
    )
    first = project.begin("apply", "beside.yaml", "--events")
    list(lines_until(first, "attempt_started", "busy"))
    events = project.begin("events", "beside", "-f", "--json")
    logs = project.begin("logs", "beside", "-f")
    waiting = project.begin("logs", "beside", "last", "-f")
    list(lines_until(events, "attempt_started", "busy"))
    assert logs.stdout is not None
    assert logs.stdout.readline() == "── busy, attempt 1\n"
    assert logs.stdout.readline() == "begun\n"
    (project.root / "go").touch()
    first.communicate(timeout=30)
    last = [json.loads(line) for line in events.communicate(timeout=30)[0].splitlines()][-1]
    assert last["kind"] == "run_finished"
    assert logs.communicate(timeout=30)[0] == "seen\n── last, attempt 1\nend\n"
    assert waiting.communicate(timeout=30)[0] == "── last, attempt 1\nend\n"
    assert (events.returncode, logs.returncode, waiting.returncode) == (0, 0, 0)


def test_following_ends_when_the_runner_was_killed(project: Project) -> None:
    project.write("beside.yaml", BESIDE)
    first = project.begin("apply", "beside.yaml", "--events")
    list(lines_until(first, "attempt_started", "busy"))
    follower = project.begin("events", "beside", "-f")
    assert follower.stdout is not None
    follower.stdout.readline()
    first.kill()
    first.communicate(timeout=30)
    follower.communicate(timeout=30)
    assert follower.returncode == 0


def test_following_what_has_ended_prints_it_and_ends(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    assert project.program("logs", "gated", "-f").stdout == "── make, attempt 1\nthe parcel\n"
    assert "run_suspended" in project.program("events", "gated", "-f").stdout
    assert project.program("logs", "gated", "nope", "-f").returncode == 2


# ---------------------------------------------------------------- diff


def test_two_runs_are_compared_by_inputs_manifest_steps_and_outputs(project: Project) -> None:
    text = "ares: v1\nname: hello\ninputs: {who: {type: string, default: you}}\nsteps:\n  a: {run: [echo, 'hi {{ inputs.who }}'], effects: none}\n  b: {run: [echo, b], effects: none}\noutputs: {a: '{{ steps.a.text }}'}\n"
    project.write("d.yaml", text)
    project.cli("apply", "d.yaml")
    project.write("d.yaml", text.replace("echo, b", "'false'") + "# more\n")
    project.cli("apply", "d.yaml", "-i", "who=me")
    a, b = (run["run"] for run in reversed(project.cli("status", "--json").json["runs"]))
    found = project.cli("diff", a, b, "--json").json
    jsonschema.validate(found, SCHEMAS["diff"]())
    assert found["inputs"] == {"who": {"a": "you", "b": "me"}}
    assert found["run"] == {"state": {"a": "succeeded", "b": "failed"}}
    changed = {step["step"]: step for step in found["steps"]}
    assert changed["a"]["output"] == ["@@ -1 +1 @@", "-hi you", "+hi me"]
    assert changed["b"]["changes"]["state"] == {"a": "succeeded", "b": "failed"}
    assert "+# more" in found["manifest"]
    shown = project.cli("diff", "hello").out
    assert "    -hi you" in shown and "state:" in shown and f"- hello {a}" in shown
    assert project.cli("diff", a, a, "--json").json["same"] is True


def test_diff_needs_two_runs(project: Project) -> None:
    project.write("gated.yaml", GATED)
    project.cli("apply", "gated.yaml")
    alone = project.cli("diff", "gated")
    assert (alone.code, "no run before" in alone.err) == (2, True)


# ---------------------------------------------------------------- gc

TREE = """
ares: v1
name: tree
steps: {work: {run: 'echo x > left.txt', effects: idempotent, workspace: {git: worktree, keep: always, apply: false}}}
"""
FILES = """
ares: v1
name: files
steps: {a: {run: 'echo x > "$ARES_RUN_DIR/kept"; echo log', effects: idempotent}}
"""


def test_gc_removes_old_runs_with_all_that_is_theirs_and_keeps_the_newest(project: Project) -> None:
    project.write("files.yaml", FILES)
    for _ in range(3):
        project.cli("apply", "files.yaml", "--force")
    newest, *old = (run["run"] for run in project.cli("status", "--json").json["runs"])
    logs, dirs = project.root / ".ares" / "logs", project.root / ".ares" / "runs"
    assert {path.name for path in logs.iterdir()} == {path.name for path in dirs.iterdir()} == {newest, *old}
    notes = project.root / ".ares" / "touched"
    for run in (newest, *old):  # as failed steps with a `changed` check leave them
        (notes / run).mkdir(parents=True)
        (notes / run / "a.0.json").write_text("[]")
    assert project.cli("gc", "--json").json["removed"] == []
    dry = project.cli("gc", "--keep", "0s", "--dry-run", "--json").json
    assert {run["run"] for run in dry["removed"]} == set(old)
    assert len(list(logs.iterdir())) == 3
    done = project.cli("gc", "--keep", "0s", "--json").json
    jsonschema.validate(done, SCHEMAS["gc"]())
    assert {run["run"] for run in done["removed"]} == set(old)
    assert [path.name for path in logs.iterdir()] == [path.name for path in dirs.iterdir()] == [newest]
    assert [path.name for path in notes.iterdir()] == [newest]
    assert [run["run"] for run in project.cli("status", "--json").json["runs"]] == [newest]
    assert project.cli("apply", "files.yaml", "--json").json["runs"][0]["action"] == "unchanged"


def test_gc_never_removes_a_run_that_can_be_resumed(project: Project) -> None:
    """Promise 22: suspended, failed, cancelled and interrupted runs, and those with an outcome that nobody knows."""
    project.write("m/gated.yaml", GATED)
    project.write("m/fails.yaml", "ares: v1\nname: fails\nsteps: {a: {run: ['false'], effects: none}}\n")
    project.write("m/unknown.yaml", "ares: v1\nname: unknown\nsteps: {a: {run: 'kill -9 $$', effects: once}}\n")
    project.write("m/ended.yaml", "ares: v1\nname: ended\nsteps: {gate: {approve: x}}\n")
    project.write("beside.yaml", BESIDE)
    project.cli("apply", "m")
    project.cli("cancel", "ended")
    first = project.begin("apply", "beside.yaml", "--events")
    list(lines_until(first, "attempt_started", "busy"))
    first.kill()
    first.communicate(timeout=30)
    before = {run["manifest"]: run["state"] for run in project.cli("status", "--json").json["runs"]}
    assert before == {
        "gated": "suspended", "fails": "failed", "unknown": "suspended", "ended": "cancelled", "beside": "interrupted",
    }  # fmt: skip
    done = project.cli("gc", "--keep", "0s", "--json").json
    assert (done["removed"], len(done["kept"])) == ([], 5)
    assert {run["manifest"]: run["state"] for run in project.cli("status", "--json").json["runs"]} == before
    project.cli("approve", "gated", "gate")
    assert project.cli("resume", "gated").code == 0


def test_gc_removes_folders_that_a_killed_gc_left_and_nothing_else(project: Project) -> None:
    project.write("files.yaml", FILES)
    project.cli("apply", "files.yaml")
    logs = project.root / ".ares" / "logs"
    for name in ("0123456789", "0123456789%2e%step", "mine", "%ffffffff%"):
        (logs / name).mkdir()
    project.cli("gc")
    assert len(list(logs.iterdir())) == 3
    assert (logs / "mine").is_dir()


def test_gc_takes_nothing_from_runs_of_another_database_in_the_same_folder(project: Project) -> None:
    project.write("files.yaml", FILES)
    project.write("ci.yaml", "state: {path: .ares/ci.db}\n")
    assert project.cli("--config", "ci.yaml", "apply", "files.yaml").code == 0
    project.cli("apply", "files.yaml")
    project.cli("gc", "--keep", "0s")
    assert project.cli("--config", "ci.yaml", "logs", "files").out.endswith("log\n")
    assert len(list((project.root / ".ares" / "runs").iterdir())) == 2


@pytest.mark.parametrize("follow", [[], ["-f"]], ids=["logs", "logs -f"])
def test_logs_that_gc_removes_while_a_pager_stands_still_are_said_to_be_gone(
    project: Project, follow: list[str]
) -> None:
    long = "steps: {a: {run: 'seq 60000', effects: idempotent}, b: {run: 'echo end', needs: [a], effects: idempotent}}"
    project.write("long.yaml", f"ares: v1\nname: long\n{long}\n")
    for _ in range(2):
        project.cli("apply", "long.yaml", "--force")
    old = project.cli("status", "--json").json["runs"][1]["run"]
    process = project.begin("logs", old, *follow)
    assert process.stdout is not None
    assert process.stdout.read(1)  # it is on its way, and more than the pipe holds is still to come
    assert project.cli("gc", "--keep", "0s").code == 0
    out, err = process.communicate(timeout=30)
    assert process.returncode == 7
    assert "60000" in out and "end" not in out  # what was opened is read to its end
    assert f"run {old} was removed meanwhile" in err


@pytest.mark.parametrize("outcome", ["true", "false"])
def test_a_run_that_gc_removed_between_plan_and_apply_is_told_and_the_others_run(
    project: Project, outcome: str
) -> None:
    project.write("m/one.yaml", f"ares: v1\nname: one\nsteps: {{a: {{run: ['{outcome}'], effects: none}}}}\n")
    project.cli("apply", "m")
    project.write("m/two.yaml", "ares: v1\nname: two\nsteps: {a: {set: {b: 1}}}\n")
    settings = load_config(None, start=project.root, env={})
    loaded = load(["m"], settings)

    def meanwhile(planned: object, store: object) -> None:
        project.program("apply", "m/one.yaml", "--force")
        assert project.program("gc", "--keep", "0s").returncode == 0

    ended = asyncio.run(apply(loaded, settings, confirm=meanwhile))
    assert ended.exit_code == 7
    told = {run.manifest: (run.state, run.error or "") for run in ended.runs}
    assert told["two"] == ("succeeded", "")
    assert told["one"][0] == "busy" and "was removed meanwhile" in told["one"][1]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_worktree_that_is_kept_is_told_and_gc_makes_git_forget_it(project: Project) -> None:
    def git(*argv: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *argv], check=True, capture_output=True, text=True
        ).stdout

    project.write("m/tree.yaml", TREE)
    project.write(".gitignore", ".ares/\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    project.cli("apply", "m")
    old = project.cli("status", "--json").json["runs"][0]["run"]
    project.cli("apply", "m", "--force")
    new = project.cli("status", "--json").json["runs"][0]["run"]
    trees = {run: project.root / ".ares" / "worktrees" / run / "work.1" for run in (old, new)}
    assert f"      worktree: .ares/worktrees/{old}/work.1\n" in project.cli("show", old).out
    assert project.cli("show", old, "--json").json["worktrees"] == {"work": [str(trees[old])]}
    assert all((path / "left.txt").exists() for path in trees.values())
    lost = project.root / ".ares" / "worktrees" / "0123456789"
    git("worktree", "add", "-q", "--detach", str(lost / "x.1"))
    git("worktree", "add", "-q", "--detach", str(project.root / "mine"))
    shutil.rmtree(lost)
    shutil.rmtree(project.root / "mine")
    assert [run["run"] for run in project.cli("gc", "--keep", "0s", "--json").json["removed"]] == [old]
    known = re.findall("^worktree (.*)$", git("worktree", "list", "--porcelain"), re.MULTILINE)
    assert set(known) == {str(project.root), str(trees[new]), str(project.root / "mine")}
    assert not trees[old].exists() and (trees[new] / "left.txt").exists()
    assert "worktree" not in project.cli("gc", "--keep", "0s", "--dry-run").err


def test_gc_without_a_state_does_nothing_and_makes_none(project: Project) -> None:
    assert project.cli("gc").code == 0
    assert not (project.root / ".ares" / "state.db").exists()
    assert project.cli("gc", "--keep", "soon").code == 2


def test_gc_beside_a_running_apply_keeps_what_it_may_reuse(project: Project) -> None:
    project.write(
        "beside.yaml",
        BESIDE.replace("  gate: {approve: Go on?}\n", "").replace(', "by {{ steps.gate.output.by }}"', ", end"),
    )
    (project.root / "go").touch()
    project.cli("apply", "beside.yaml")
    project.cli("apply", "beside.yaml", "--force")
    (project.root / "go").unlink()
    first = project.begin("apply", "beside.yaml", "--force", "--events")
    list(lines_until(first, "attempt_started", "busy"))
    assert project.cli("gc", "--keep", "0s", "--json").json["removed"] == []
    (project.root / "go").touch()
    first.communicate(timeout=30)
    assert len(project.cli("gc", "--keep", "0s", "--json").json["removed"]) == 2


def test_gc_gives_space_back(project: Project) -> None:
    big = "ares: v1\nname: big\nsteps: {a: {run: 'head -c 3000000 /dev/zero | tr \"\\\\0\" x', effects: none, reuse: never}, b: {run: 'head -c 900000 /dev/zero | tr \"\\\\0\" y; date +%N', effects: none}}\n"
    project.write("big.yaml", big)
    for _ in range(3):
        project.cli("apply", "big.yaml", "--force")
    size = os.path.getsize(project.root / ".ares" / "state.db")
    assert project.cli("gc", "--keep", "0s", "--json").json["freed_bytes"] > 1_000_000
    assert os.path.getsize(project.root / ".ares" / "state.db") < max(size, 3_000_000)
    with sqlite3.connect(project.root / ".ares" / "state.db") as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()
    assert project.cli("apply", "big.yaml", "--json").json["runs"][0]["action"] == "unchanged"
