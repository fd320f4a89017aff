"""The command line on real files and a real database: every verb, what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_project import HELLO, Project, environment

FAILS = """
ares: v1
name: fails
steps:
  bad: {run: [sh, -c, "echo some output; exit 3"], effects: none}
  after: {run: [echo, done], needs: [bad], effects: none}
"""
UNKNOWN = """
ares: v1
name: pay
steps:
  send: {run: [sh, -c, 'kill -9 $$'], effects: once}
  then: {run: [echo, "sent {{ steps.send.output.id }}"], effects: none}
outputs: {text: "{{ steps.then.text }}"}
"""
FAN = """
ares: v1
name: fan
steps:
  each:
    foreach: {in: "{{ vars.names }}", key: "{{ item }}"}
    run: [sh, -c, "echo this is {{ item }}; test {{ item }} != b"]
    effects: none
vars: {names: [a, b, c]}
"""
EXHAUSTED = """
ares: v1
name: wait-for-it
steps: {try: {run: ["false"], effects: none, faults: {exhausted: suspend}}}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [name for name in os.environ if name.startswith("RUNNER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


# ---------------------------------------------------------------- init


def test_what_init_makes_validates_plans_and_applies(project: Project) -> None:
    assert project.cli("init", "new").code == 0
    os.chdir(project.root / "new")
    checked = project.cli("validate", "manifests", "config.yaml")
    assert (checked.code, checked.out) == (0, "")
    assert project.cli("fmt", "--check", "manifests").code == 0
    assert "Plan: 1 to create." in project.cli("plan", "manifests").out
    done = project.cli("apply", "manifests")
    assert done.code == 0
    assert "Hello, world!" in done.out and "hello.txt" in done.out
    assert (project.root / "new/hello.txt").read_text() == "Hello, world!\n"
    assert (project.root / "new/.ares/state.db").exists(), "the new folder is a project of its own"
    assert "unchanged" in project.cli("apply", "manifests").out


def test_init_overwrites_nothing(project: Project) -> None:
    project.write("config.yaml", "timezone: UTC\n")
    project.write(".gitignore", "*.log")
    assert project.cli("init").code == 0
    assert (project.root / "config.yaml").read_text() == "timezone: UTC\n"
    assert (project.root / ".gitignore").read_text() == "*.log\n.ares/\n"
    project.cli("init")
    assert (project.root / ".gitignore").read_text() == "*.log\n.ares/\n"


def test_init_does_not_wait_for_a_pipe_that_nobody_writes_into(project: Project) -> None:
    os.mkfifo(project.root / ".gitignore")
    command = [sys.executable, "-m", "runner", "init"]
    done = subprocess.run(command, cwd=project.root, env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "cannot make .gitignore: not a regular file" in done.stderr


def test_the_schemas_that_the_first_lines_name_are_where_they_say(project: Project) -> None:
    project.cli("init")
    for name in ("config.yaml", "manifests/hello.yaml"):
        file = project.root / name
        schema = file.read_text().splitlines()[0].partition("$schema=")[2]
        assert (file.parent / schema).is_file()


def test_init_where_nobody_may_write_is_refused(project: Project) -> None:
    ended = project.cli("init", "/proc/nowhere")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: cannot make /proc/nowhere: No such file or directory")


# ---------------------------------------------------------------- validate, plan


def test_validate_prints_every_mistake_on_stdout_and_ends_with_two(project: Project) -> None:
    project.write("m/a.yaml", "ares: v1\nname: a\nsteps: {x: {rum: [ls]}}\n")
    project.write("m/b.yaml", "ares: v1\nname: b\nsteps: {x: {run: [ls], needs: [y]}}\n")
    ended = project.cli("validate", "m")
    assert ended.code == 2
    assert "m/a.yaml:3" in ended.out and "m/b.yaml:3" in ended.out
    assert "2 files" in ended.err


def test_plan_tells_action_and_reason_of_each_step(project: Project) -> None:
    project.write("m/hello.yaml", HELLO)
    first = project.cli("plan", "m").out.splitlines()
    assert first[0] == "+ hello  create: no earlier run of this task  (m/hello.yaml)"
    assert first[1] == "    +  greet  run  run  no recorded result with this key"
    assert first[-1] == "Plan: 1 to create."
    project.cli("apply", "m")
    assert project.cli("plan", "m").out.endswith("Plan: 1 unchanged.\n")
    project.write("m/hello.yaml", HELLO.replace("tr a-z A-Z", "rev"))
    changed = project.cli("plan", "m").out
    assert "~ hello  update: the manifest changed" in changed
    assert "=  greet  run  reuse  same inputs as" in changed
    assert "Plan: 1 to update." in changed


def test_plan_with_detailed_exitcode_says_whether_there_is_something_to_do(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    assert project.cli("plan", "hello.yaml", "--detailed-exitcode").code == 6
    project.cli("apply", "hello.yaml")
    assert project.cli("plan", "hello.yaml", "--detailed-exitcode").code == 0


def test_plan_explain_names_the_layer_of_each_policy(project: Project) -> None:
    text = HELLO.replace("greet: {", "greet: {faults: {retry: {max: 7}, degraded: {exhausted: skip}}, ")
    text = text.replace("steps:\n", "defaults: {faults: {retry: {delay: 3s}}}\ntriggers: {files: ['src/**']}\nsteps:\n")
    project.write("hello.yaml", text)
    out = project.cli("plan", "hello.yaml", "--explain").out
    assert "max 7 [step]" in out and "delay 3s [defaults]" in out
    assert "degraded: " in out and "exhausted skip [step]" in out
    assert "trigger  files: src/**" in out
    assert "effects  none: free to repeat" in out


def test_plan_starts_nothing_and_leaves_no_state(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("plan", "hello.yaml")
    assert list((project.root / ".ares").iterdir()) == []


# ---------------------------------------------------------------- apply, resume, cancel, resolve


def test_apply_shows_outputs_and_again_has_nothing_to_do(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    first = project.cli("apply", "hello.yaml", "-i", "who=you")
    assert first.code == 0
    assert first.out.splitlines()[0].split()[:3] == ["✓", "succeeded", "hello"]
    assert "said:  HELLO YOU" in first.out
    assert "hello/greet" in first.err, "progress is on stderr"
    again = project.cli("apply", "hello.yaml", "-i", "who=you")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("= unchanged  hello")


def test_quiet_leaves_the_result_alone_and_may_stand_on_either_side(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    for argv in (("-q", "apply", "hello.yaml", "--force"), ("apply", "hello.yaml", "--force", "-q")):
        ended = project.cli(*argv)
        assert (ended.code, ended.err) == (0, "")
        assert "succeeded" in ended.out


def test_a_failed_run_says_what_why_where_and_what_next(project: Project) -> None:
    project.write("fails.yaml", FAILS)
    ended = project.cli("apply", "fails.yaml")
    assert ended.code == 1
    assert "✗ bad  tool_error: exit code 3" in ended.out
    log = ended.out.partition("log: ")[2].splitlines()[0]
    assert (project.root / log).read_text() == "some output\n"
    assert "blocked by that: after" in ended.out
    run = ended.out.split()[3]
    assert f"runner resume {run}" in ended.out
    project.write("fails.yaml", FAILS)
    assert project.cli("resume", run).code == 1


def test_resume_from_a_step_is_a_new_run_that_reuses_what_is_before(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml")
    ended = project.cli("resume", "hello", "--from", "shout", "--json")
    assert ended.code == 0
    assert {id: step["reused"] for id, step in ended.json["runs"][0]["steps"].items()} == {
        "greet": True,
        "shout": False,
    }
    assert project.cli("resume", "hello", "--from", "nothing").code == 2


def test_an_unknown_outcome_waits_for_a_person_and_goes_on_once_resolved(project: Project) -> None:
    project.write("pay.yaml", UNKNOWN)
    first = project.cli("apply", "pay.yaml")
    run = first.out.split()[3]
    assert first.code == 3
    assert f"runner resolve {run} send --done JSON | --redo" in first.out
    assert project.cli("apply", "pay.yaml").code == 3
    assert project.cli("apply", "pay.yaml", "--on-pause", "ok").code == 0
    resolved = project.cli("resolve", "pay", "send", "--done", '{"id": 42}')
    assert (resolved.code, resolved.out) == (
        0, f"pay {run}: send is recorded as done; go on with `runner resume {run}`\n",
    )  # fmt: skip
    last = project.cli("resume", run)
    assert last.code == 0 and "sent 42" in last.out


def test_resolve_wants_one_answer_in_json_for_a_step_that_waits(project: Project) -> None:
    project.write("pay.yaml", UNKNOWN)
    project.cli("apply", "pay.yaml")
    for argv in (
        ("pay", "send"),
        ("pay", "send", "--done", "1", "--redo"),
        ("pay", "send", "--done", "{"),
        ("pay", "send", "--done", "NaN"),
        ("pay", "send", "--done", "[" * 200 + "]" * 200),
        ("pay", "send", "--done", "[" * 50_000 + "]" * 50_000),
        ("pay", "nothing", "--redo"),
        ("pay", "then", "--redo"),
    ):
        ended = project.cli("resolve", *argv)
        assert (ended.code, ended.out) == (2, ""), argv
        assert ended.err.startswith("error: ")


def test_a_sub_run_that_waits_for_a_person_counts_as_that_and_is_resolved_by_its_id(project: Project) -> None:
    project.write("pay.yaml", UNKNOWN)
    project.write("parent.yaml", "ares: v1\nname: parent\nsteps: {many: {foreach: [1], call: pay}}\n")
    first = project.cli("apply", "parent.yaml")
    assert first.code == 3
    child = f"{first.out.split()[3]}.many[0]"
    assert f"runner resolve '{child}' send --done JSON" in first.out
    assert project.cli("status", "--json").json["runs"][0]["reason"] == "unknown"
    assert project.cli("resolve", child, "send", "--done", '{"id": 7}').code == 0
    assert project.cli("apply", "parent.yaml").code == 0
    assert "sent 7" in project.cli("show", child).out


def test_a_step_without_a_way_left_may_suspend_its_run(project: Project) -> None:
    project.write("wait.yaml", EXHAUSTED)
    ended = project.cli("apply", "wait.yaml")
    assert ended.code == 5
    assert "goes on with: runner resume" in ended.out


def test_a_suspended_run_can_be_cancelled_once(project: Project) -> None:
    project.write("wait.yaml", EXHAUSTED)
    project.cli("apply", "wait.yaml")
    assert project.cli("cancel", "wait-for-it").out.endswith(": cancelled\n")
    assert project.cli("cancel", "wait-for-it").code == 2


# ---------------------------------------------------------------- status, show, logs, graph


def test_status_is_a_table_newest_first(project: Project) -> None:
    assert "no runs yet" in project.cli("status").err
    project.write("hello.yaml", HELLO)
    project.write("fails.yaml", FAILS)
    project.cli("apply", "hello.yaml")
    project.cli("apply", "fails.yaml")
    lines = project.cli("status").out.splitlines()
    assert [line.split()[1] for line in lines] == ["MANIFEST", "fails", "hello"]
    assert project.cli("ps").out.splitlines()[1].split()[:2] == lines[1].split()[:2]
    assert len(project.cli("ps", "-n", "1").out.splitlines()) == 2


def test_show_tells_steps_as_written_with_attempts_and_outputs(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml")
    out = project.cli("show", "hello").out
    assert out.index("greet") < out.index("shout")
    assert "output: HELLO WORLD" in out and "said:  HELLO WORLD" in out
    assert "who=world" in out


def test_show_names_items_by_their_keys_and_says_what_failed(project: Project) -> None:
    project.write("fan.yaml", FAN)
    assert project.cli("apply", "fan.yaml").code == 1
    out = project.cli("show", "fan").out
    assert "[1] b" in out and "tool_error: exit code 1" in out


def test_logs_print_a_step_an_item_or_an_attempt(project: Project) -> None:
    project.write("fan.yaml", FAN)
    project.cli("apply", "fan.yaml")
    assert project.cli("logs", "fan").out.count("── each[") == 3
    assert project.cli("logs", "fan", "each").out.count("── each[") == 3
    assert project.cli("logs", "fan", "each[2]").out.splitlines()[1:] == ["this is c"]
    assert project.cli("logs", "fan", "each[2].1").out.splitlines()[1:] == ["this is c"]
    assert project.cli("logs", "fan", "each[2].9").code == 2
    missing = project.cli("logs", "fan", "eech")
    assert (missing.code, missing.err.splitlines()[0].endswith("did you mean 'each'?")) == (2, True)


def test_logs_cannot_move_the_cursor(project: Project) -> None:
    project.write(
        "a.yaml", 'ares: v1\nname: a\nsteps: {x: {run: [printf, "one\\\\033[2Jtwo\\\\n\\\\377\\\\n"], effects: none}}\n'
    )
    project.cli("apply", "a.yaml")
    out = project.cli("logs", "a").out
    assert "one\\x1b[2Jtwo" in out and "\x1b" not in out


def test_graph_draws_a_file_or_a_run(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    assert "← greet" in project.cli("graph", "hello.yaml").out
    project.cli("apply", "hello.yaml")
    assert "✓  shout" in project.cli("graph", "hello").out
    assert "class s_greet,s_shout succeeded" in project.cli("graph", "hello", "--format", "mermaid").out
    assert project.cli("graph", "nothing").code == 2


def test_schema_writes_what_it_checks(project: Project) -> None:
    assert "manifest" in project.cli("schema").out.split()
    assert project.cli("schema", "manifest").json["title"] == "ARES manifest"
    assert project.cli("schema", "--check").code == 6
    assert project.cli("schema", "--write", "schemas/v1").code == 0
    assert project.cli("schema", "--check").code == 0
    project.write("schemas/v1/plan.schema.json", "{}")
    assert "plan.schema.json" in project.cli("schema", "--check").err
    assert project.cli("schema", "manifst").err.startswith("error: no schema 'manifst'; did you mean 'manifest'?")


def test_config_show_tells_where_each_value_comes_from(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("config.yaml", "timezone: Europe/Vienna\n")
    monkeypatch.setenv("RUNNER_CONCURRENCY__RUNS", "2")
    rows = [line.split(maxsplit=2) for line in project.cli("config", "show", "--origin").out.splitlines()]
    found = {
        key: (value, origin)
        for key, value, origin in rows
        if key in ("timezone", "concurrency.runs", "concurrency.steps")
    }
    assert found == {
        "timezone": ("Europe/Vienna", "config.yaml:1"),
        "concurrency.runs": ("2", "environment RUNNER_CONCURRENCY__RUNS"),
        "concurrency.steps": ("16", "default"),
    }


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("aply", "x"), "no command 'aply'; did you mean 'apply'?"),
        (("apply", "--forse", "x"), "no option --forse; did you mean '--force'?"),
        (("apply",), "missing argument"),
        (("apply", "x", "-j", "0"), "invalid value for '-j'"),
        (("apply", "nowhere"), "no file or folder 'nowhere'"),
        (("apply", "hello.yaml", "-i", "whom=x"), "no manifest declares the input 'whom'"),
        (("apply", "hello.yaml", "-i", "who"), "-i who: expected NAME=VALUE"),
        (("apply", "hello.yaml", "-f", "nofile"), "-f nofile: No such file or directory"),
        (("plan", "hello.yaml", "-f", "list.yaml"), "-f list.yaml: expected one map of inputs"),
        (("plan", "hello.yaml", "-f", "broken.yaml"), "-f broken.yaml cannot be read"),
        (("plan", "callable.yaml"), "callable: required inputs are not set: x"),
        (("plan", "broken.yaml"), "mistake"),
        (("show", "nothing"), "no run 'nothing'"),
        (("show", ""), "no run"),
        (("logs", "\udcff\x1b[31m"), "no run '\\udcff\\x1b[31m'"),
        (("resume", "nothing"), "no run 'nothing'"),
        (("cancel", "nothing"), "no run 'nothing'"),
        (("--config", "nofile", "plan", "hello.yaml"), "no config file nofile"),
        (("--config", "hello.yaml", "plan", "hello.yaml"), "this is a manifest"),
        (("--config", "foreign.yaml", "plan", "hello.yaml"), "not ours"),
        (("plan", "hello.yaml", "--config", "list.yaml"), "list.yaml"),
    ],
)
def test_bad_input_ends_with_two_a_message_and_no_traceback(
    project: Project, argv: tuple[str, ...], message: str
) -> None:
    project.write("hello.yaml", HELLO)
    project.write("list.yaml", "[1, 2]\n")
    project.write("broken.yaml", "ares: v1\nx: [\n")
    project.write("foreign.yaml", "services: {web: {image: x}}\n")
    project.write("callable.yaml", "ares: v1\nname: callable\ninputs: {x: integer}\nsteps: {a: {set: {y: 1}}}\n")
    ended = project.cli(*argv)
    assert ended.code == 2
    assert ended.out == ""
    assert message in ended.err
    assert "Traceback" not in ended.err and "internal error" not in ended.err


def test_a_mistake_in_the_config_is_shown_at_its_line(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.write("config.yaml", "timezone: UTC\nconcurrency:\n  stpes: 4\n")
    ended = project.cli("plan", "hello.yaml")
    assert ended.code == 2
    assert "config.yaml:3:3: error[" in ended.err
    assert "3 |   stpes: 4\n  |   ^~~~~" in ended.err
    assert "3 |   stpes: 4" in project.cli("validate", "hello.yaml").err


def test_a_mistake_in_a_file_of_inputs_is_shown_at_its_line(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.write("broken.yaml", "who: world\nx: [\n")
    assert "| x: [\n" in project.cli("plan", "hello.yaml", "-f", "broken.yaml").err


@pytest.mark.parametrize(
    "line",
    [
        "github_key: correct-horse-battery",
        "lite_llm_url: http://me:correct-horse-battery@host/",
        "mcp_servers: {x: {url: 'https://host/', headers: {Authorization: correct-horse-battery}, nonsense: 1}}",
    ],
)
def test_no_line_of_the_config_that_may_hold_a_secret_is_shown(project: Project, line: str) -> None:
    project.write("hello.yaml", HELLO)
    project.write("config.yaml", f"{line}\n")
    ended = project.cli("plan", "hello.yaml")
    assert ended.code == 2
    assert "config.yaml:1" in ended.err and "battery" not in ended.err + ended.out


def test_a_start_that_fits_several_runs_is_refused_with_their_ids(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    for n in range(40):
        project.cli("apply", "hello.yaml", "-q", "-i", f"who=w{n}")
        runs = [run["run"] for run in project.cli("status", "--json", "-n", "100").json["runs"]]
        twins = [a for a in runs for b in runs if a != b and a[0] == b[0]]
        if twins:
            break
    ended = project.cli("show", twins[0][0])
    assert ended.code == 2
    assert "is the start of several runs" in ended.err and twins[0] in ended.err


def test_a_folder_without_manifests_is_no_mistake_and_not_silent(project: Project) -> None:
    (project.root / "empty").mkdir()
    project.write("other/x.yaml", "a: 1\n")
    for folder in ("empty", "other"):
        for verb in ("validate", "plan", "apply"):
            ended = project.cli(verb, folder)
            assert ended.code == 0
            assert f"no manifests in {folder}" in ended.err


def test_a_pipe_in_a_folder_is_not_read(project: Project) -> None:
    os.mkfifo(project.root / "x.yaml")
    assert project.cli("validate", ".").code == 0


def test_names_that_are_no_text_are_shown_as_escapes(project: Project) -> None:
    ended = project.program("validate", b"nowhere-\xff")
    assert ended.returncode == 2
    assert "no file or folder 'nowhere-\\udcff'" in ended.stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [("foreign.db", "no state database of this program"), ("/proc/none/state.db", "state database")],
)
def test_a_state_that_cannot_be_used_ends_with_seven_and_starts_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    project.write("a.yaml", "ares: v1\nname: a\nsteps: {x: {run: [touch, ran], effects: none}}\n")
    foreign = project.write("foreign.db", "something else")
    monkeypatch.setenv("RUNNER_STATE__PATH", place)
    ended = project.cli("apply", "a.yaml")
    assert ended.code == 7
    assert message in ended.err and "internal error" not in ended.err
    assert not (project.root / "ran").exists()
    assert foreign.read_text() == "something else"


# ---------------------------------------------------------------- borders


def test_a_reader_that_goes_away_is_no_failure_and_no_noise(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    for argv in (
        ["config", "show", "-q"],
        ["--help"],
        ["apply", "hello.yaml", "--events", "--force", "-q"],
        ["schema", "manifest"],
    ):
        process = project.begin(*argv)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "", argv
        assert process.wait(30) == 0, argv
        process.stderr.close()


def test_a_result_that_cannot_be_written_is_no_success(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    with Path("/dev/full").open("w") as full:
        for argv in (["plan", "hello.yaml", "--format", "json"], ["apply", "hello.yaml", "--json", "-q"]):
            ended = subprocess.run(
                [sys.executable, "-m", "runner", *argv],
                cwd=project.root,
                env=environment(),
                stdout=full,
                stderr=subprocess.PIPE,
            )
            assert ended.returncode == 8
            assert b"error: cannot write the result: No space left on device" in ended.stderr


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["show", "nothing"], 2),
        (["nothing"], 2),
        (["validate", "nothing"], 2),
        (["apply", "hello.yaml"], 0),
        (["plan", "hello.yaml", "--out", "plan.json"], 0),
        (["config", "show"], 0),
    ],
)
def test_progress_and_complaints_that_cannot_be_written_change_no_exit_code(
    project: Project, argv: list[str], code: int
) -> None:
    project.write("hello.yaml", HELLO)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "runner", *argv]
        ended = subprocess.run(
            command, cwd=project.root, env=environment(), stdout=subprocess.PIPE, stderr=full, timeout=60
        )
    assert ended.returncode == code
    assert bool(ended.stdout) is (code == 0)


def test_a_file_of_inputs_that_never_ends_is_too_large(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    done = project.cli("apply", "hello.yaml", "-f", "/dev/zero")
    assert done.code == 2
    assert "-f /dev/zero cannot be read; nothing ran" in done.err


def test_a_closed_stdout_is_no_crash(project: Project) -> None:
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m runner status >&-"], cwd=project.root, capture_output=True
    )
    assert (ended.returncode, ended.stderr) == (0, b"no runs yet: `runner apply PATH` makes the first one\n")


DEFECT = """
import runner.api.load, sys
def broken(paths, settings):
    password = sys.argv[1]
    raise KeyError("a defect with the password hunter2hunter2 in it")
runner.api.load.load = broken
from runner.cli.main import run
sys.exit(run(["validate", "."]))
"""


def test_a_defect_of_ours_leaves_a_report_that_only_we_can_read(project: Project) -> None:
    env = {**environment(), "TMPDIR": str(project.root), "MY_API_KEY": "hunter2hunter2"}
    ended = subprocess.run(
        [sys.executable, "-c", DEFECT, "x"], cwd=project.root, env=env, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 8
    assert ended.stderr.startswith("internal error: KeyError. This is a defect of runner, not of your manifest.\n")
    assert "Traceback" not in ended.stderr
    (report,) = project.root.glob("runner-crash-*.txt")
    assert report.name in ended.stderr
    assert report.stat().st_mode & 0o777 == 0o600
    text = report.read_text()
    assert "Traceback" in text and "KeyError" in text
    assert "hunter2" not in text, "what the environment calls a secret is masked"


FULL = f"""
import resource, signal, tempfile
tempfile.gettempdir()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
{DEFECT}"""
"""No file may grow any more, as on a disk that is full."""


def test_a_defect_of_ours_on_a_full_disk_is_told_on_the_terminal(project: Project) -> None:
    env = {**environment(), "TMPDIR": str(project.root)}
    ended = subprocess.run(
        [sys.executable, "-c", FULL, "x"], cwd=project.root, env=env, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 8
    assert ended.stderr.startswith("internal error: KeyError.")
    assert "help: no report file could be written (File too large)" in ended.stderr
    assert "runner/cli/crash.py" not in ended.stderr


IMPORTS = """
import contextlib, io, sys
from runner.cli.main import run
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    code = run(sys.argv[1:])
print(code, *sorted(name for name in sys.modules if "." not in name))
"""


@pytest.mark.parametrize(
    ("argv", "absent"),
    [
        (["--help"], {"pydantic", "jinja2", "asyncio", "rich", "mcp", "litellm", "apsw", "yaml", "jsonschema"}),
        (["apply", "--help"], {"jinja2", "rich", "mcp", "litellm", "jsonschema"}),
        (["validate", "hello.yaml"], {"mcp", "litellm", "rich", "starlette"}),
        (["plan", "hello.yaml"], {"mcp", "litellm", "rich", "starlette"}),
        (["status"], {"mcp", "litellm", "rich", "starlette"}),
        (["show", "hello"], {"mcp", "litellm", "rich", "starlette"}),
        (["apply", "hello.yaml", "--force"], {"mcp", "litellm", "rich", "starlette"}),
    ],
)
def test_commands_import_only_what_they_need(project: Project, argv: list[str], absent: set[str]) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml")
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTS, *argv],
        cwd=project.root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    code, *modules = ended.stdout.split()
    assert code == "0", ended.stderr
    assert absent & set(modules) == set()


WHOLE_PROGRAM = """
import atexit, os, sys
atexit.register(lambda: print("\\n" + " ".join(sys.modules)))
from runner.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("argv", "most", "absent"),
    [
        (["validate", "hello.yaml"], 105, {"importlib.metadata", "asyncio", "apsw"}),
        (
            ["apply", "hello.yaml"],
            220,
            {
                "runner.llms.executor", "runner.executors.agent", "runner.bridges", "runner.executors.mcp", "runner.api.servers",
                "runner.reporters.progress", "tempfile", "shutil", "getpass",
            },
        ),
    ],
)  # fmt: skip
def test_a_first_command_loads_nothing_for_models_tools_plugins_and_mistakes(
    project: Project, argv: list[str], most: int, absent: set[str]
) -> None:
    project.write("hello.yaml", HELLO)
    ended = subprocess.run(
        [sys.executable, "-c", WHOLE_PROGRAM, *argv],
        cwd=project.root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    modules = set(ended.stdout.splitlines()[-1].split())
    assert "pydantic" in modules
    rare = {"email", "zipfile", "jinja2", "runner.manifest.problems", "runner.syntax.wording"}
    assert (absent | rare) & modules == set()
    assert sum(name.partition(".")[0] == "runner" for name in modules) <= most, "of our own"


def test_what_pydantic_looks_for_beside_plugins_comes_from_its_own_module() -> None:
    script = (
        "from runner.__main__ import without_plugins; without_plugins(); "
        "from pydantic.plugin._loader import get_plugins, PYDANTIC_ENTRY_POINT_GROUP; "
        "print(get_plugins(), PYDANTIC_ENTRY_POINT_GROUP)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "() pydantic\n", ended.stderr


LEAVE = """
import atexit, sys, threading
from runner.__main__ import leave
atexit.register(print, "registered")
if sys.argv[1:] == ["thread"]:
    threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
print("said")
leave(3)
"""


@pytest.mark.parametrize(
    ("argv", "said"), [([], ["said", "registered"]), (["thread"], ["said", "thread", "registered"])]
)
def test_the_program_ends_at_once_but_not_before_what_was_left_for_the_end(argv: list[str], said: list[str]) -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVE, *argv], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (3, said, "")


def test_version_needs_no_library_at_all(project: Project) -> None:
    script = "import sys; sys.argv = ['runner', '--version']; from runner.__main__ import main; main(); print('click' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "runner 0.1.0\nFalse\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("apply", "m.yaml", "--max-usd", "nan"),
        ("apply", "m.yaml", "--max-usd", "inf"),
        ("resume", "m", "--add-usd", "nan"),
        ("resume", "m", "--add-usd", "1e300"),
        ("doctor", "--within", "nan"),
        ("executors", "--probe", "--within", "inf"),
        ("status", "-n", "9" * 30),
    ],
)
def test_a_number_that_nobody_can_count_with_is_a_mistake_of_who_typed_it(
    project: Project, argv: tuple[str, ...]
) -> None:
    done = project.cli(*argv)
    assert (done.code, done.err.splitlines()[0].startswith(f"error: invalid value for '{argv[-2]}'")) == (2, True)
