"""What CI systems read of this repository: the hooks and the action have the shapes that their schemas want, and the scripts work."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema import builtin_schemas
from ruamel.yaml import YAML

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


@pytest.mark.slow
def test_pre_commit_itself_installs_the_hooks_and_they_pass_and_fail_as_they_should(tmp_path: Path) -> None:
    """The real program, from PyPI, which installs the last commit of this repository and all that it needs: a minute, and the network."""
    uv = shutil.which("uv")
    if uv is None or not (ROOT / ".git").exists():
        pytest.skip("needs uv, and a git repository of ours")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "VIRTUAL_ENV", "PYTHON"))}
    env |= {"PRE_COMMIT_HOME": str(tmp_path / "home"), "PRE_COMMIT_COLOR": "never"}
    folder = tmp_path / "work"
    (folder / "manifests").mkdir(parents=True)

    def done(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=1200)

    def pre_commit(*argv: str) -> subprocess.CompletedProcess[str]:
        found = done(uv, "tool", "run", "--quiet", "pre-commit", *argv)
        if found.returncode not in (0, 1):
            pytest.skip(
                f"pre-commit cannot be installed, or cannot install: {(found.stdout + found.stderr).strip()[-400:]}"
            )
        return found

    assert "pre-commit" in pre_commit("--version").stdout
    assert pre_commit("validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")).returncode == 0
    done("git", "init", "-q")
    good = folder / "manifests" / "a.yaml"
    good.write_text(MANIFEST)
    ours = done("git", "-C", str(ROOT), "rev-parse", "HEAD").stdout.strip()
    hooks = ("runner-fmt", "runner-validate")
    config = {"repos": [{"repo": str(ROOT), "rev": ours, "hooks": [{"id": hook} for hook in hooks]}]}
    (folder / ".pre-commit-config.yaml").write_text(json.dumps(config))
    done("git", "add", ".")
    for hook in hooks:
        tried = pre_commit("run", hook, "--files", "manifests/a.yaml")
        assert (tried.returncode, "Passed" in tried.stdout) == (0, True), tried.stdout + tried.stderr
    good.write_text(MANIFEST.replace("name: hello", "name: [hello]"))
    tried = pre_commit("run", "runner-validate", "--files", "manifests/a.yaml")
    assert (tried.returncode, "manifests/a.yaml:2:7: error[" in tried.stdout) == (1, True), tried.stdout


def public_schema(name: str) -> Any:
    """A schema that its makers publish, as the package check-jsonschema brings it."""
    return json.loads((resources.files(f"{builtin_schemas.__name__}.vendor") / f"{name}.json").read_text("utf-8"))


def recipe(heading: str) -> Any:
    """The file that docs/recipes/ci.md shows first under a heading, as YAML 1.2 reads it: `on` is a text there."""
    section = (ROOT / "docs" / "recipes" / "ci.md").read_text().partition(f"\n## {heading}\n")[2]
    return YAML(typ="safe").load(section.partition("```text\n")[2].partition("```")[0])


@pytest.mark.parametrize(("heading", "schema"), [("GitHub", "github-workflows"), ("GitLab", "gitlab-ci")])
def test_a_recipe_is_what_the_public_schema_of_its_service_wants(heading: str, schema: str) -> None:
    jsonschema.validate(recipe(heading), public_schema(schema))


def test_a_recipe_with_a_mistake_does_not_pass_the_public_schemas() -> None:
    """The schemas do say something."""
    for heading, schema, key in (("GitHub", "github-workflows", "jobs"), ("GitLab", "gitlab-ci", "stages")):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(recipe(heading) | {key: 3}, public_schema(schema))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(ACTION | {"runs": {"using": "composite"}}, public_schema("github-actions"))


def test_the_gitlab_recipe_writes_the_reports_that_gitlab_reads() -> None:
    jobs = recipe("GitLab")
    check, done = jobs["manifests:check"], jobs["manifests:apply"]
    for job, kind, option in ((check, "codequality", "--format gitlab >"), (done, "junit", "--junit")):
        file = job["artifacts"]["reports"][kind]
        assert any(f"{option} {file}" in line for line in job["script"]), kind
        assert job["artifacts"]["when"] == "always"
    for job in (check, done):
        for line in job["script"]:
            program, name, *options = shlex.split(line.partition(" >")[0])
            assert (program, name in VERBS) == ("runner", True)
            command = cli.get_command(None, name)  # type: ignore[arg-type]
            assert command is not None
            known = {opt for param in command.params for opt in param.opts}
            assert {option for option in options if option.startswith("-")} <= known


def test_the_action_has_the_shape_that_github_wants() -> None:
    jsonschema.validate(ACTION, public_schema("github-actions"))
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


def test_the_action_leaves_a_page_of_each_run_of_this_apply(folder: Path) -> None:
    (folder / "manifests" / "bad.yaml").write_text(
        "ares: v1\nname: bad\nsteps: {no: {run: [sh, -c, exit 3], effects: none}}\n"
    )
    code, _, outputs = action(folder, "apply")
    pages = {path.name.rpartition("-")[0]: path.read_text() for path in Path(outputs["pages"]).iterdir()}
    assert (code, sorted(pages)) == (1, ["bad", "hello"])
    assert all(text.startswith("<!doctype html>") for text in pages.values())
    assert "exit code 3" in pages["bad"]
    again = action(folder, "apply", "manifests/hello.yaml")[2]
    assert [*Path(again["pages"]).iterdir()] == [], "nothing was done: there is no page"


def test_the_pages_of_the_action_are_those_of_the_config_that_it_was_given(folder: Path) -> None:
    (folder / "base").mkdir()
    (folder / "base" / "config.yaml").write_text("state: {path: elsewhere.db}\n")
    code, said, outputs = action(folder, "apply", "manifests/", "--config\nbase/config.yaml")
    assert (code, len([*Path(outputs["pages"]).iterdir()])) == (0, 1), said


def test_the_action_fails_as_its_command_does_and_takes_no_code(folder: Path) -> None:
    code, _, outputs = action(folder, "plan", "none/")
    assert (code, outputs["exit-code"]) == (2, "2")
    assert "no file or folder" in Path(outputs["body"]).read_text()
    assert action(folder, "destroy")[0] == 2
    assert action(folder, "plan", "$(touch evil)\n; touch evil")[0] == 2
    assert not (folder / "evil").exists()
