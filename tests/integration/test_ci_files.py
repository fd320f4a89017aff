"""What CI systems read of this repository: the hooks and the action have the shapes that their schemas want, and the scripts work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from runner.cli.main import cli, run
from runner.cli.registry import VERBS

ROOT = Path(__file__).parent.parent.parent
TEXT = {"type": "string"}
TAGS = {"type": "array", "items": TEXT, "uniqueItems": True}

HOOKS_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["id", "name", "entry", "language"],
        "additionalProperties": False,
        "properties": {
            **dict.fromkeys(("id", "name", "entry", "files", "exclude", "description", "language_version", "minimum_pre_commit_version"), TEXT),
            "language": {"enum": ["python", "system", "script", "docker", "docker_image", "fail", "node", "pygrep"]},
            **dict.fromkeys(("types", "types_or", "exclude_types", "args", "stages"), TAGS),
            **{key: {"type": "boolean"} for key in ("always_run", "fail_fast", "verbose", "pass_filenames", "require_serial")},
        },
    },
}  # fmt: skip
"""Of the manifest that pre-commit documents under "Creating new hooks"."""

ACTION_SCHEMA = {
    "type": "object",
    "required": ["name", "description", "runs"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("name", "author", "description"), TEXT),
        "inputs": {
            "patternProperties": {
                "^[_a-zA-Z][a-zA-Z0-9_-]*$": {
                    "type": "object",
                    "required": ["description"],
                    "additionalProperties": False,
                    "properties": {"description": TEXT, "deprecationMessage": TEXT, "required": {"type": "boolean"}, "default": TEXT},
                }
            },
            "additionalProperties": False,
        },
        "outputs": {
            "patternProperties": {
                "^[_a-zA-Z][a-zA-Z0-9_-]*$": {
                    "type": "object",
                    "required": ["description", "value"],
                    "additionalProperties": False,
                    "properties": {"description": TEXT, "value": TEXT},
                }
            },
            "additionalProperties": False,
        },
        "branding": {"type": "object", "additionalProperties": False, "properties": {"icon": TEXT, "color": {"enum": ["white", "yellow", "blue", "green", "orange", "red", "purple", "gray-dark"]}}},
        "runs": {
            "type": "object",
            "required": ["using", "steps"],
            "additionalProperties": False,
            "properties": {
                "using": {"const": "composite"},
                "steps": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            **dict.fromkeys(("run", "uses", "shell", "name", "id", "if", "working-directory"), TEXT),
                            "env": {"type": "object", "additionalProperties": TEXT},
                            "with": {"type": "object"},
                            "continue-on-error": {"type": ["boolean", "string"]},
                        },
                        "oneOf": [{"required": ["run", "shell"]}, {"required": ["uses"]}],
                    },
                },
            },
        },
    },
}  # fmt: skip
"""Of github-action.json of schemastore.org, as far as it is about composite actions."""

HOOKS: list[dict[str, Any]] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
MANIFEST = "ares: v1\nname: hello\nsteps:\n  say: {run: [echo, '::error::no command'], effects: none}\noutputs: {said: '{{ steps.say.text }}'}\n"


def test_the_hooks_have_the_shape_that_pre_commit_wants() -> None:
    jsonschema.validate(HOOKS, HOOKS_SCHEMA)
    assert [hook["id"] for hook in HOOKS] == ["runner-validate", "runner-fmt", "runner-generate"]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_every_hook_is_a_command_with_options_that_it_has(hook: dict[str, Any]) -> None:
    program, name, *options = shlex.split(hook["entry"])
    assert program == "runner"
    assert name in VERBS
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert set(options) <= {opt for param in command.params for opt in param.opts}
    if "files" in hook:
        assert re.search(hook["files"], "services/manifests/a.yaml")
        assert not re.search(hook["files"], "templates/a.yaml")


def test_the_hooks_pass_and_fail_as_they_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    file = tmp_path / "manifests" / "a.yaml"
    file.write_text(MANIFEST)
    entries = {hook["id"]: shlex.split(hook["entry"])[1:] for hook in HOOKS}
    assert run([*entries["runner-validate"], "manifests/a.yaml"]) == 0
    assert run([*entries["runner-fmt"], "manifests/a.yaml"]) == 0
    (tmp_path / "t.yaml").write_text(MANIFEST.replace("hello", "[[ row.name ]]"))
    (tmp_path / "r.csv").write_text("name\nx\n")
    args = ["t.yaml", "--rows", "r.csv", "-o", "manifests/made"]
    assert run([*entries["runner-generate"], *args]) == 6
    assert run(["generate", *args]) == 0
    assert run([*entries["runner-generate"], *args]) == 0
    file.write_text("ares: v1\nname: 3\n")
    assert run([*entries["runner-validate"], "manifests/a.yaml"]) == 2


def test_the_action_has_the_shape_that_github_wants() -> None:
    jsonschema.validate(ACTION, ACTION_SCHEMA)
    ids = [step.get("id") for step in ACTION["runs"]["steps"]]
    for output in ACTION["outputs"].values():
        found = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.([\w-]+) \}\}", output["value"])
        assert found is not None
        assert found[1] in ids
        assert f"{found[2]}=" in ACTION["runs"]["steps"][ids.index(found[1])]["run"]


def test_no_script_of_the_action_holds_an_expression() -> None:
    """An input in a script would be shell code."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]
        for value in step.get("env", {}).values():
            name = re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", value)
            assert name is not None and name[1] in ACTION["inputs"]


def action(folder: Path, command: str, paths: str = "manifests/", args: str = "") -> tuple[int, str, dict[str, str]]:
    """Runs the action's script as GitHub does: exit code, what it printed, its outputs."""
    temp = folder / "temp"
    temp.mkdir(exist_ok=True)
    outputs = folder / "outputs"
    outputs.write_text("")
    [step] = [step for step in ACTION["runs"]["steps"] if step.get("id") == "run"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env = kept | {
        "GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_ACTION_PATH": str(ROOT), "GITHUB_OUTPUT": str(outputs), "RUNNER_TEMP": str(temp),
        "RUNNER_OS": "Linux", "RUNNER_NAME": "x", "RUNNER_ARCH": "X64", "RUNNER_TOOL_CACHE": "/x", "RUNNER_ENVIRONMENT": "github-hosted",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "ARES_COMMAND": command, "ARES_PATHS": paths, "ARES_ARGS": args,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    found = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return done.returncode, done.stdout + done.stderr, found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if not (ROOT / ".venv" / "bin" / "runner").exists():
        pytest.skip("the action runs what `uv sync` installs in .venv")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "hello.yaml").write_text(MANIFEST)
    (tmp_path / ".ares").mkdir()
    return tmp_path


def test_the_action_plans_into_a_body_for_a_comment(folder: Path) -> None:
    code, _, outputs = action(folder, "plan")
    assert (code, outputs["exit-code"], outputs["changes"]) == (0, "0", "true")
    head, _, *lines = Path(outputs["body"]).read_text().splitlines()
    assert head == "### runner plan"
    assert any("hello" in line for line in lines)
    assert all(line.startswith("    ") for line in lines)


def test_the_action_applies_and_then_there_is_nothing_to_plan(folder: Path) -> None:
    code, said, outputs = action(folder, "apply", "manifests/hello.yaml\n", "--on-pause=ok\n-j\n2")
    assert (code, outputs["exit-code"]) == (0, "0")
    assert '<testcase name="say" classname="hello"' in Path(outputs["junit"]).read_text()
    assert "<code>hello</code>" in (folder / "summary.md").read_text()
    assert re.search(r"^::stop-commands::([0-9a-f]{32})$(?s:.*)^::\1::$", said, re.MULTILINE)
    assert action(folder, "plan")[2]["changes"] == "false"


def test_the_action_fails_as_its_command_does_and_takes_no_code(folder: Path) -> None:
    code, _, outputs = action(folder, "plan", "none/")
    assert (code, outputs["exit-code"]) == (2, "2")
    assert "no file or folder" in Path(outputs["body"]).read_text()
    assert action(folder, "destroy")[0] == 2
    assert action(folder, "plan", "$(touch evil)\n; touch evil")[0] == 2
    assert not (folder / "evil").exists()
