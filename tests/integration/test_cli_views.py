"""Commands that look: graph as pictures, validate for machines, explain, executors, tools, doctor, and what Tab offers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_project import HELLO, Project, environment

from runner.cli.completing import SHELLS, offered, script
from runner.cli.registry import VERBS

SERVERS = Path(__file__).parent / "servers"
WRONG = """
ares: v1
name: wrong
steps:
  a: {run: [echo], foo: 1}
"""
GATE = """
ares: v1
name: gate
steps:
  before: {set: {x: 1}}
  ask: {approve: "Go on?", needs: [before]}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [name for name in os.environ if name.startswith(("RUNNER_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write("hello.yaml", HELLO)
    return project


# ---------------------------------------------------------------- graph


def test_graph_draws_a_manifest_as_svg_and_as_dot(project: Project) -> None:
    ended = project.cli("graph", "hello.yaml", "--format", "svg")
    assert ended.code == 0
    root = ElementTree.fromstring(ended.out)
    assert {"greet", "shout"} <= {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert '"greet" -> "shout"' in project.cli("graph", "hello.yaml", "--format", "dot").out


def test_graph_draws_a_run_with_its_states(project: Project) -> None:
    assert project.cli("apply", "hello.yaml").code == 0
    text = project.cli("graph", "hello", "--format", "svg").out
    assert text.count('class="step s-succeeded"') == 2
    assert "· succeeded ·" in text
    assert "✓ greet" in project.cli("graph", "hello", "--format", "dot").out


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("g.svg", "<svg"),
        ("g.dot", "digraph"),
        ("g.gv", "digraph"),
        ("g.mmd", "---"),
        ("g.txt", "hello"),
        ("g", "hello"),
    ],
)
def test_the_ending_of_a_file_tells_the_format(project: Project, name: str, begins: str) -> None:
    ended = project.cli("graph", "hello.yaml", "-o", name, "--color", "always")
    assert (ended.code, ended.out, ended.err) == (0, "", f"wrote {name}\n")
    text = (project.root / name).read_text("utf-8")
    assert text.startswith(begins) and text.endswith("\n") and "\x1b" not in text


@pytest.mark.parametrize("ending", [".png", ".PDF"])
def test_a_picture_that_is_not_made_here_is_refused_and_graphviz_named(project: Project, ending: str) -> None:
    project.write("hello.yaml", HELLO)
    done = project.cli("graph", "hello.yaml", "-o", f"graph{ending}")
    assert (done.code, f"dot -T{ending[1:].lower()}" in done.err) == (2, True)
    assert not (project.root / f"graph{ending}").exists()
    assert project.cli("graph", "hello.yaml", "--format", "dot", "-o", f"graph{ending}").code == 0


def test_a_format_that_is_named_wins_over_the_ending_and_a_file_that_cannot_be_written_is_told(
    project: Project,
) -> None:
    assert project.cli("graph", "hello.yaml", "--format", "dot", "-o", "g.svg").code == 0
    assert (project.root / "g.svg").read_text().startswith("digraph")
    ended = project.cli("graph", "hello.yaml", "-o", "nowhere/g.svg")
    assert ended.code == 2 and "cannot write nowhere/g.svg" in ended.err


# ---------------------------------------------------------------- validate


def test_validate_annotates_for_github_and_prints_everything_too(project: Project) -> None:
    project.write("m/wrong.yaml", WRONG)
    ended = project.cli("validate", "m", "--format", "github")
    lines = ended.out.splitlines()
    assert ended.code == 2
    stop = lines[0].removeprefix("::stop-commands::")
    assert len(stop) == 32 and f"::{stop}::" in lines
    assert any(line.startswith("m/wrong.yaml:5:20: error[unknown-key]") for line in lines)
    assert any(
        line.startswith("::error file=m/wrong.yaml,line=5,endLine=5,col=20,endColumn=23,title=unknown-key::")
        for line in lines
    )


def test_annotations_are_relative_to_the_checkout_of_the_workflow(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("sub/wrong.yaml", WRONG)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.root))
    monkeypatch.chdir(project.root / "sub")
    assert "::error file=sub/wrong.yaml," in project.cli("validate", "wrong.yaml", "--format", "github").out


def test_validate_writes_sarif(project: Project) -> None:
    project.write("m/wrong.yaml", WRONG)
    ended = project.cli("validate", "m", "--format", "sarif")
    assert ended.code == 2
    run = ended.json["runs"][0]
    assert [result["ruleId"] for result in run["results"]] == ["unknown-key"]
    assert ended.err == ""
    assert project.cli("validate", "hello.yaml", "--format", "sarif").json["runs"][0]["results"] == []


def test_validate_writes_a_code_quality_report_for_gitlab(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("m/wrong.yaml", WRONG)
    monkeypatch.setenv("CI_PROJECT_DIR", str(project.root.parent))
    ended = project.cli("validate", "m", "--format", "gitlab")
    [issue] = ended.json
    assert (ended.code, ended.err) == (2, "")
    assert issue["location"] == {"path": f"{project.root.name}/m/wrong.yaml", "lines": {"begin": 5}}
    assert project.cli("validate", "hello.yaml", "--format", "gitlab").json == []


def test_mistakes_of_the_config_are_annotations_too(project: Project) -> None:
    project.write("config.yaml", "mcp_servers:\n  a: {comand: x}\n")
    ended = project.cli("validate", "hello.yaml", "--format", "github")
    assert ended.code == 2 and "::error file=config.yaml,line=2," in ended.out
    assert project.cli("validate", "hello.yaml", "--format", "sarif").json["runs"][0]["results"]


def test_a_good_manifest_has_no_annotations(project: Project) -> None:
    ended = project.cli("validate", "hello.yaml", "--format", "github")
    assert (ended.code, ended.out) == (0, "")


# ---------------------------------------------------------------- explain


def test_explain_without_a_name_lists_what_there_is(project: Project) -> None:
    ended = project.cli("explain")
    assert ended.code == 0
    for heading in ("verbs of a step", "keys of config.yaml", "error classes", "exit codes", "rules"):
        assert f"\n{heading}\n" in f"\n{ended.out}"
    assert max(map(len, ended.out.splitlines())) <= 120


def test_explain_tells_of_keys_rules_classes_and_codes(project: Project) -> None:
    assert "min_files  The fewest files that must be touched." in project.cli("explain", "steps.*.checks.changed").out
    assert "# runner: ignore[unused-axis]" in project.cli("explain", "unused-axis").out
    assert "passed on" in project.cli("explain", "rate_limit").out
    assert "exit code 3" in project.cli("explain", "3").out
    assert project.cli("explain", "exit", "code", "3").code == 0


def test_explain_of_nothing_suggests_the_nearest_name(project: Project) -> None:
    ended = project.cli("explain", "rertry")
    assert ended.code == 2 and "did you mean 'retry'?" in ended.err


# ---------------------------------------------------------------- executors, tools, doctor


@pytest.fixture
def servers(project: Project) -> Project:
    talker = {"command": sys.executable, "args": [str(SERVERS / "talker.py")]}
    dies = {"command": sys.executable, "args": ["-c", "raise SystemExit(chr(27) + '[2Jno ' + chr(7) + 'database')"]}
    project.write("config.yaml", json.dumps({"mcp_servers": {"talker": talker, "dies": dies}}))
    return project


def test_executors_lists_them_and_starts_nothing(servers: Project) -> None:
    ended = servers.cli("executors")
    assert ended.code == 0 and "--probe" in ended.err
    assert [line.split()[0] for line in ended.out.splitlines()] == ["name", "run", "workspace", "talker", "dies"]
    found = {one["name"]: one["ready"] for one in servers.cli("executors", "--json").json["executors"]}
    assert found == {"run": "installed", "workspace": "installed", "talker": "installed", "dies": "installed"}


def test_a_probe_shows_last_words_harmlessly_and_ends_with_one_when_a_server_is_broken(servers: Project) -> None:
    ended = servers.cli("executors", "--probe")
    assert ended.code == 1
    assert "reachable: 22 tools" in ended.out
    assert "no database" in ended.out and "help: run it by hand" in ended.out
    assert "\x1b" not in ended.out and "\x07" not in ended.out


def test_tools_are_listed_with_arguments_and_effects(servers: Project) -> None:
    ended = servers.cli("tools", "talker")
    assert ended.code == 0
    assert "talker.get_issue  effects: none (read only)" in ended.out
    assert "talker.say  effects: once" in ended.out
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "number integer" in lines and "label? bug|feature" in lines
    document = servers.cli("tools", "talker", "--json").json
    assert (document["version"], document["server"], len(document["tools"])) == (1, "talker", 22)


def test_tools_of_a_server_that_does_not_start_is_a_clear_error(servers: Project) -> None:
    ended = servers.cli("tools", "dies")
    assert ended.code == 1 and ended.out == ""
    assert ended.err.startswith("error: dies: it ended during the handshake") and "no database" in ended.err
    assert "\x1b" not in ended.err and "help: " in ended.err
    assert servers.cli("tools", "talk").code == 2


def test_doctor_tells_what_is_broken_and_what_to_do(servers: Project) -> None:
    ended = servers.cli("doctor")
    assert ended.code == 1
    assert "✗  dies" in ended.out and "1 broken" in ended.out.splitlines()[-1]
    document = servers.cli("doctor", "--json").json
    assert document["ok"] is False
    assert [check["name"] for check in document["checks"] if check["verdict"] == "broken"] == ["dies"]


def test_doctor_is_content_with_a_fresh_project(project: Project) -> None:
    ended = project.cli("doctor")
    assert ended.code == 0 and ended.out.splitlines()[-1].startswith("all that is needed works")


def test_doctor_tells_of_a_config_with_mistakes_instead_of_refusing(project: Project) -> None:
    project.write("config.yaml", "timezone: Mars/Olympus\n")
    ended = project.cli("doctor")
    assert ended.code == 1 and "Mars/Olympus" in ended.out


# ---------------------------------------------------------------- completion


def values(args: list[str], incomplete: str = "") -> list[str]:
    return [str(item.value) for item in offered(args, incomplete)]


def test_tab_offers_verbs_options_and_choices(project: Project) -> None:
    assert values([]) == list(VERBS)
    assert values([], "exp") == ["explain"]
    assert {"--format", "--output"} <= set(values(["graph"], "--"))
    assert values(["graph", "--format"], "s") == ["svg"]
    assert values(["completion"]) == ["bash", "zsh", "fish"]
    assert values(["config"]) == ["show"]


def test_tab_offers_runs_by_name_and_id_and_their_steps(project: Project) -> None:
    project.cli("apply", "hello.yaml")
    runs = values(["show"])
    assert runs[0] == "hello" and len(runs) == 2
    assert values(["show"], runs[1][:3]) == [runs[1]]
    assert sorted(values(["logs", "hello"])) == ["greet", "shout"]
    assert values(["logs", runs[1]], "s") == ["shout"]
    assert [item.type for item in offered(["graph"], "")] == ["file", "plain", "plain"]


def test_tab_offers_only_steps_that_wait_to_who_answers_them(project: Project) -> None:
    project.write("gate.yaml", GATE)
    assert project.cli("apply", "gate.yaml").code == 3
    assert values(["approve", "gate"]) == ["ask"]
    assert sorted(values(["logs", "gate"])) == ["ask", "before"]


def test_tab_offers_servers_schemas_rules_and_keys(project: Project) -> None:
    project.write("config.yaml", json.dumps({"mcp_servers": {"git": {"command": "x"}}}))
    assert values(["tools"]) == ["workspace", "git"]
    assert "manifest" in values(["schema"])
    assert "unknown-step" in values(["explain"], "unknown-")


@pytest.mark.parametrize("args", [["logs", "nothing"], ["no-such-verb"], ["show", "--nonsense"], ["logs", ""]])
def test_tab_offers_nothing_where_nothing_is_known(project: Project, args: list[str]) -> None:
    project.write("config.yaml", "mcp_servers: 7\n")
    assert values(args) == []


def test_a_broken_state_database_stays_silent_under_tab(project: Project) -> None:
    (project.root / ".ares" / "state.db").write_text("no database" * 100)
    assert values(["show"]) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_says_how_it_is_installed_and_asks_the_program(project: Project, shell: str) -> None:
    text = project.cli("completion", shell).out
    assert f"runner completion {shell} > " in text
    assert text.count(f"_RUNNER_COMPLETE={shell}_complete") == 1
    assert (f"runner completion {shell})" in text) or (f"$1 completion {shell})" in text)
    assert script(shell).startswith("#compdef") == (shell == "zsh")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("words", [{}, {"COMP_WORDS": "runner show ", "COMP_CWORD": "x"}, {"COMP_WORDS": "runner 'x"}])
def test_a_script_that_asks_oddly_is_offered_nothing(
    project: Project, words: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_RUNNER_COMPLETE", "bash_complete")
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    done = project.cli("completion", "bash")
    assert (done.code, done.out.strip(), done.err) == (0, "", "")


def test_bash_completes_with_it(project: Project) -> None:
    program = project.write("bin/runner", f'#!/bin/sh\nexec "{sys.executable}" -P -m runner "$@"\n')
    program.chmod(0o755)
    ask = """
source <(runner completion bash)
complete -p runner
COMP_WORDS=(runner graph --format m); COMP_CWORD=3; COMPREPLY=()
_runner_completion runner
echo "${COMPREPLY[@]}"
"""
    path = f"{project.root / 'bin'}:{os.environ['PATH']}"
    package = str(Path(__file__).parents[2])
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=project.root, env={**environment(), "PATH": path, "PYTHONPATH": package},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["complete -o nosort -F _runner_completion runner", "mermaid"], done.stderr
