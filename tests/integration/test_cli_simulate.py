"""`runner simulate` as people use it: files, options, the document, exit codes; and nothing real is called."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import jsonschema
import pytest
from cli_project import Project, environment

from runner.core import kernel
from runner.manifest.schema import SCHEMAS

DEPLOY = """
ares: v1
name: deploy
inputs: {version: string}
steps:
  look: {tool: github.get_issue, with: {n: 1}, effects: none}
  triage: {run: [triage], returns: {type: {enum: [bug, feature]}}, effects: none}
  build: {run: [build, "{{ inputs.version }}"], when: steps.triage.output.type == 'bug', effects: idempotent}
  gate: {approve: "Deploy {{ inputs.version }}?", timeout: 24h}
  push: {run: [push], needs: [gate, look], effects: once}
outputs: {type: "{{ steps.triage.output.type }}"}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    for name in ("RUNNER_CONFIG", "CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, capsys)
    made.write("deploy.yaml", DEPLOY)
    made.write("config.yaml", "mcp_servers: {github: {command: no-such-program}}\n")
    return made


def test_the_document_keeps_its_contract(project: Project) -> None:
    for more in (
        [],
        ["--fail", "*@push:timeout", "--approve", "*"],
        ["--seeds", "20"],
        ["--kill", "all"],
        ["--seed", "5"],
    ):
        ended = project.cli("simulate", "deploy.yaml", "-i", "version=1", "--format", "json", *more)
        assert ended.code == 0, ended.err
        jsonschema.Draft7Validator(SCHEMAS["simulate"]()).validate(ended.json)


def test_a_suspended_run_is_no_failure_of_simulate(project: Project) -> None:
    [told] = project.cli("simulate", "deploy.yaml", "-i", "version=1", "--format", "json").json["manifests"]
    assert (told["outcome"], told["reasons"]) == ("suspended", ["approval"])
    [waiting] = told["suspended"]
    assert waiting == {
        "step": "gate", "reason": "approval", "detail": "Deploy 1?", "until_ms": 86_400_000,
        "help": "`runner approve RUN gate` or `runner reject RUN gate`",
    }  # fmt: skip
    assert [each["step"] for each in told["assumptions"]] == ["build"]


def test_the_days_budget_is_told_with_what_makes_it_go_on(project: Project) -> None:
    project.write(
        "config.yaml",
        """
        lite_llm_url: http://127.0.0.1:4000
        models: {catalog: {smart: {endpoint: proxy, model: smart, tier: paid, price: {in: 3, out: 15}}}}
        router: {models: [smart]}
        budget: {per_day_usd: 0.001}
        """,
    )
    project.write("asks.yaml", "ares: v1\nname: asks\nsteps: {a: {model: hello}}\n")
    out = project.cli("simulate", "asks.yaml").out
    why = "budget: the budget of 2026-01-01 has no room"
    assert re.search(rf"⏸ +a +model +suspended +{why}$", out, re.MULTILINE)
    assert (
        "a waits (budget): the next apply, once the next day has begun or config's `budget.per_day_usd` is higher"
        in out
    )
    assert "at the latest 24h 00m after the start" in out


def test_the_timeline_says_what_happens_when(project: Project) -> None:
    ended = project.cli(
        "simulate", "deploy.yaml", "-i", "version=1", "--approve", "gate", "--fail", "github@look:rate_limit*1"
    )
    assert ended.code == 0
    lines = [line.split(maxsplit=3) for line in ended.out.splitlines() if "look" in line]
    assert lines[0][:2] == ["0ms", "look"]
    assert any("rate_limit: simulated (github@look:rate_limit*1), 1 of 1" in line for line in ended.out.splitlines())
    assert (
        "assumed: build ran, by when: steps.triage.output.type == 'bug': the output of triage is made up" in ended.out
    )
    assert "All 12 promises are kept. Nothing was called." in ended.out


def test_stubs_come_from_the_command_line_and_from_a_file(project: Project) -> None:
    project.write("stubs.yaml", "triage: {type: feature}\n")
    for stub in ('triage={"type": "feature"}', "stubs.yaml"):
        [told] = project.cli("simulate", "deploy.yaml", "-i", "version=1", "--stub", stub, "--format", "json").json[
            "manifests"
        ]
        assert told["steps"]["build"]["state"] == "skipped"
        assert told["assumptions"] == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--fail", "nonsense"], "expected X@STEP"),
        (["--fail", "githb@look"], "did you mean `github`?"),
        (["--fail", "github@lok"], "did you mean `look`?"),
        (["--mode", "worse"], "expected MODE or MODE@STEP"),
        (["--mode", "degraded@nowhere"], "there is no step 'nowhere'"),
        (["--kill", "first"], "expected the number of a commit"),
        (["--kill", "all", "--seeds", "3"], "goes with no other"),
        (["--seed", "1", "--seeds", "3"], "give one of them"),
        (["--approve", "gaet"], "did you mean `gate`?"),
        (["--stub", "triage=bug"], "is not of type 'object'"),
        (["--stub", "gate=1"], "use --approve or --reject"),
        (["--stub", "push=[1]"], "without `returns` the output of a `run` is text"),
        (["--stub", "nowhere=1"], "there is no step 'nowhere'"),
        (["--stub", "missing.yaml"], "No such file"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_what_would(project: Project, argv: list[str], says: str) -> None:
    ended = project.cli("simulate", "deploy.yaml", "-i", "version=1", *argv)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_required_inputs_and_mistakes_are_refused_as_by_plan(project: Project) -> None:
    assert project.cli("simulate", "deploy.yaml").code == 2
    project.write("bad.yaml", "ares: v1\nname: bad\nsteps: {a: {rum: [x]}}\n")
    assert project.cli("simulate", ".", "-i", "version=1").code == 2


def test_a_broken_promise_ends_with_1_and_the_command_that_shows_it_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = ["simulate", "deploy.yaml", "-i", "version=a b", "--fail", "*@look:unavailable*1", "--approve", "*"]
    with monkeypatch.context() as patch:
        patch.setattr("runner.core.recover.ROWS", _repeats_what_is_unknown())
        ended = project.cli(*argv, "--seeds", "150", "--format", "json")
        assert ended.code == 1
        assert not ended.json["kept"]
        first = ended.json["manifests"][0]["broken"][0]
        assert first["promise"] == "once"
        again = shlex.split(first["replay"])
        assert again[:2] == ["runner", "simulate"] and again[-2:] == ["--seed", str(first["seed"])]
        replayed = project.cli(*again[1:])
        assert replayed.code == 1
        assert first["message"] in replayed.out and "BROKEN once" in replayed.out
    assert project.cli(*again[1:]).code == 0, "the kernel without that bug"


def _repeats_what_is_unknown() -> tuple[object, ...]:
    from runner.core import recover

    return tuple(row for row in recover.ROWS if row not in (recover._unknown, recover._unknown_loss))


def test_an_unexpected_error_inside_is_reported_not_thrown(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "drain", lambda k: 1 / 0)
    ended = project.cli("simulate", "deploy.yaml", "-i", "version=1")
    assert ended.code == 1
    assert "BROKEN no-defect" in ended.out and "ZeroDivisionError" in ended.out


RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
PAGE = (RECIPES / "simulate.md").read_text()


def test_the_recipe_says_what_is_printed(project: Project) -> None:
    [manifest] = re.findall(r"^```yaml manifest\n((?:.*\n)*?)^```$", PAGE, re.MULTILINE)
    project.write("release.yaml", manifest)
    for name in ("config.yaml", "manifest.yaml"):
        project.write(name, (RECIPES / "backup-key" / name).read_text())
    parts = re.findall(r"^```console\n\$ runner (.*)\n^```$(?:[^`]*^```text\n((?:.*\n)*?)^```$)?", PAGE, re.MULTILINE)
    assert len(parts) == 6 and sum(bool(said) for _, said in parts) == 4
    for command, said in parts:
        done = project.cli(*shlex.split(command.replace("--seeds 1000", "--seeds 30")))
        assert done.code == 0, done.err
        printed = [" ".join(line.split()) for line in done.out.splitlines()]
        assert [line for line in said.splitlines() if " ".join(line.split()) not in printed] == []


WATCHED = """
import sys
seen = []
def hook(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if writes or event.startswith(("subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "socket.", "os.mkdir", "sqlite3.")):
        seen.append((event, args[:1]))
sys.addaudithook(hook)
from runner.cli.main import run
code = run(sys.argv[1:])
sys.stdout = sys.stderr
print("seen", seen)
sys.exit(code if not seen else 99)
"""


def test_nothing_real_is_called_and_nothing_is_written(project: Project) -> None:
    import subprocess
    import sys

    argv = [
        "simulate",
        "deploy.yaml",
        "-i",
        "version=1",
        "--seeds",
        "5",
        "--fail",
        "github@*:crash",
        "--format",
        "json",
    ]
    done = subprocess.run(
        [sys.executable, "-B", "-P", "-c", WATCHED, *argv], cwd=project.root, env=environment(), capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["manifests"][0]["simulations"]["count"] == 5
    assert list((project.root / ".ares").iterdir()) == []
