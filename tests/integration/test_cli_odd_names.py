"""Names and texts that are chosen to mislead: what they cannot do to a terminal, to a command, or to who reads a result."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli_project import HELLO, Project

NEVER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What no terminal is sent: controls, and what turns the direction of text."""
ODD_FILE = "m/x\x1b]0;pwned\x1b[31m\n::error::forged.yaml"


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


@pytest.mark.parametrize(
    "argv",
    [
        ("validate", "m", "--verbose"),
        ("plan", "m"),
        ("plan", "m", "--explain"),
        ("graph", "m"),
        ("simulate", "m"),
        ("simulate", "m", "--seeds", "2"),
        ("route", "m", "greet"),
        ("fmt", "m", "--check"),
        ("apply", "m"),
    ],
)
def test_the_name_of_a_file_is_one_line_and_sends_nothing_to_a_terminal(
    project: Project, argv: tuple[str, ...]
) -> None:
    project.write(ODD_FILE, HELLO)
    done = project.cli(*argv)
    assert NEVER.search(done.out + done.err) is None
    assert not [line for line in (done.out + done.err).splitlines() if line.startswith("::")]


def test_labels_of_an_explained_plan_cannot_turn_the_direction_of_text(project: Project) -> None:
    labels = '{"\\u202ekey": "\\u2066value"}'
    project.write("m.yaml", f"ares: v1\nname: m\nsteps: {{a: {{run: [x], effects: none, labels: {labels}}}}}\n")
    done = project.cli("plan", "m.yaml", "--explain")
    assert done.code == 0
    assert "key=" in done.out
    assert NEVER.search(done.out) is None


def test_the_name_of_a_tool_cannot_turn_the_direction_of_a_graph(project: Project) -> None:
    project.write("m.yaml", 'ares: v1\nname: m\nsteps: {a: {tool: "workspace.\\u202etool"}}\n')
    done = project.cli("graph", "m.yaml")
    assert (done.code, "tool workspace" in done.out) == (0, True)
    assert NEVER.search(done.out) is None


def test_the_name_of_a_model_that_an_input_gives_is_one_line_and_sends_nothing_to_a_terminal(project: Project) -> None:
    agent = "{tool: ask, args: {question: '{{ prompt }}'}, result: {text: answer}}"
    project.write(
        "config.yaml", f"mcp_servers: {{my: {{command: 'false', agent: {agent}}}}}\nrouter: {{agents: [my]}}\n"
    )
    step = "{agent: hi, route: {models: ['{{ inputs.m }}']}, faults: {retry: {max: 0}}}"
    project.write("m.yaml", f"ares: v1\nname: m\ninputs: {{m: string}}\nsteps: {{a: {step}}}\n")
    assert project.cli("apply", "m.yaml", "-i", "m=big\x1b[31m\r\n::error::forged").code == 1
    for argv in (("show", "m"), ("cost", "--by", "model", "--all"), ("diff", "m", "m"), ("status",), ("graph", "m")):
        done = project.cli(*argv)
        assert done.code == 0
        assert NEVER.search(done.out) is None, argv
        assert "\n::" not in done.out, argv
    assert "my big" in project.cli("show", "m").out


@pytest.mark.parametrize("option", ["--json", "--events"])
def test_json_holds_texts_as_they_are_and_sends_nothing_to_a_terminal(project: Project, option: str) -> None:
    printed = r"printf '\302\233\062\112\342\200\256abc\177.'"
    project.write(
        "odd.yaml",
        f'ares: v1\nname: odd\nsteps:\n  a: {{run: "{printed}", effects: none}}\noutputs: {{o: "{{{{ steps.a.text }}}}"}}\n'.replace(
            "\\", "\\\\"
        ),
    )
    done = project.cli("apply", ".", option, "--quiet")
    assert done.code == 0
    assert NEVER.search(done.out) is None
    assert json.loads(done.out if option == "--json" else done.out.splitlines()[-1])["runs"][0]["outputs"] == {
        "o": "\x9b2J\u202eabc\x7f."
    }
    assert NEVER.search(project.cli("events", "odd", "--json").out) is None


@pytest.mark.parametrize("verb", ["show", "cancel", "resume", "logs", "events", "graph"])
def test_an_empty_reference_means_no_run(project: Project, verb: str) -> None:
    project.write("gate.yaml", "ares: v1\nname: gate\nsteps: {g: {approve: ok?}}\n")
    assert project.cli("apply", ".").code == 3
    done = project.cli(verb, "")
    assert done.code == 2
    assert "no run ''" in done.err or "run ''" in done.err
    assert project.cli("status", "--json").json["runs"][0]["state"] == "suspended"


@pytest.mark.parametrize("verb", ["validate", "plan", "apply", "simulate", "fmt", "watch"])
def test_an_empty_path_is_not_the_folder_that_we_are_in(project: Project, verb: str) -> None:
    project.write("hello.yaml", HELLO)
    done = project.cli(verb, "")
    assert done.code == 2
    assert "''" in done.err
    assert project.cli("status", "--json").json["runs"] == []


def test_an_input_that_holds_a_secret_is_recorded_and_not_without_a_word(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_VAULT", "correct-horse-battery")
    project.write("config.yaml", 'secrets: {VAULT: "${MY_VAULT}"}\n')
    project.write("m/hello.yaml", HELLO)
    done = project.cli("apply", "m", "-i", "who=it is correct-horse-battery", "--quiet")
    assert done.code == 0
    assert (
        "warning: hello: the input `who` holds a secret of the config, and inputs are recorded as they are" in done.err
    )
    assert "horse" not in done.err
    assert "warning" not in project.cli("apply", "m", "-i", "who=it is correct-horse-battery", "--quiet").err, (
        "it did not run"
    )
    assert "warning" not in project.cli("apply", "m", "-i", "who=you", "--quiet").err


def test_a_config_in_the_home_of_nobody_is_a_mistake_of_who_typed_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("hello.yaml", HELLO)
    for argv in (("status",), ("apply", "."), ("doctor",)):
        done = project.cli("--config", "~no-such-user/config.yaml", *argv)
        assert done.code == 2
        assert "no config file ~no-such-user/config.yaml" in done.err
    monkeypatch.setenv("RUNNER_CONFIG", "~no-such-user/config.yaml")
    assert project.cli("status").code == 2


def test_a_file_of_inputs_whose_name_begins_with_a_tilde_is_shown_at_its_line(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.write("~inputs.yaml", "who: [\n")
    done = project.cli("apply", "hello.yaml", "-f", "~inputs.yaml")
    assert done.code == 2
    assert "who: [" in done.err


def test_the_next_command_of_init_can_be_typed_whatever_the_folder_is_called(project: Project) -> None:
    assert project.cli("init", "my project").out == "next: cd 'my project' && runner apply manifests/\n"
    done = project.cli("init", "a\x1b[31mb\nc")
    assert done.code == 0
    assert NEVER.search(done.out) is None
    assert len(done.out.splitlines()) == 1


def test_a_fork_takes_no_money_that_its_run_would_never_see(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    assert project.cli("apply", ".").code == 0
    done = project.cli("resume", "hello", "--from", "greet", "--add-usd", "2")
    assert done.code == 2
    assert "--add-usd" in done.err
    assert len(project.cli("status", "--json").json["runs"]) == 1
