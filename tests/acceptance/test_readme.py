"""The README's commands do what it says, and what it shows is what they print."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT, copy_of_this_tree, environment, runner

from runner.cli.registry import VERBS

README = (ROOT / "README.md").read_text()
COMMANDS = [
    re.sub(r"\s+# .*$", "", line)
    for block in re.findall(r"^```bash\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
BARE = [line for line in COMMANDS if line.startswith("python3 -m venv .uv")]
TESTS = [line for line in COMMANDS if line.startswith("uv run pytest")]
DOCKER = [line for line in COMMANDS if line.startswith("docker ")]
QUICK = [line for line in COMMANDS if line not in (*BARE, *TESTS, *DOCKER, "uv sync")]
SCREENS = re.findall(r"^```console\n\$ (.*)\n((?:.*\n)*?)```$", README, re.MULTILINE)


def test_the_first_screen_leads_to_a_result() -> None:
    """A terminal shows some fifty lines."""
    head = README.splitlines()[:50]
    assert sum(line in BARE for line in (re.sub(r"\s+# .*$", "", line) for line in head)) == 2
    assert any("succeeded  repository-report" in line for line in head)


def test_every_section_of_the_first_design_is_there() -> None:
    wanted = [
        "Autonomous Reasoning & Execution System", "## Features", "## Prerequisites", "uv sync", "cp config.yaml.example config.yaml",
        "uv run python -m runner", "### Docker", "docker build -t omni-orchestrator .", "docker run --rm omni-orchestrator", "## Configuration",
        "| `github_key` |", "| `lite_llm_url` |", "| `mcp_servers` |", "| `fault_handler` |", "| `router` |", "## Architecture", "MCP Client",
        "State Manager", "Fault", "Router Decision", "OpenClaw", "Claude Code", "Moltworker", "### System States", "| **Normal** |",
        "| **Degraded** |", "| **Brainstem** |", "## Testing", "uv run pytest\n", "uv run pytest tests/unit/", "uv run pytest tests/integration/",
        "uv run pytest --cov=runner --cov-report=html", "## Tech Stack", "## License\n\nMIT",
    ]  # fmt: skip
    text = re.sub(r"[ \t]+# .*", "", README)
    assert [words for words in wanted if words not in text] == []


def test_it_names_every_command() -> None:
    said = " ".join(re.findall(r"^\| \*\*\w+\*\* \| (.*) \|$", README, re.MULTILINE))
    assert [verb for verb in VERBS if f"`{verb}`" not in said] == []


def comparable(screen: str) -> str:
    """Without what no two runs or trees have in common: run ids, times, sizes."""
    return re.sub(r"[\d.]+", "N", re.sub(r"\d[\d.]*(ms|s)\b", "TIME", re.sub(r"\b[0-9a-f]{10}\b", "RUN", screen)))


def test_what_it_shows_is_what_the_commands_print(tmp_path: Path) -> None:
    tree = copy_of_this_tree(tmp_path / "clone")
    assert [command for command, _ in SCREENS] == ["runner apply manifests/"] * 2
    for command, screen in SCREENS:
        done = runner(*command.split()[1:], cwd=tree)
        assert comparable(done.stdout) == comparable(screen), "record it again: the screens are what stdout says"


def run(line: str, cwd: Path, env: dict[str, str], timeout: int = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line], cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )


def installed() -> dict[str, str]:
    """The environment in which `uv run X` is X: the one that the tests run in."""
    here = Path(sys.executable).parent
    return environment(PATH=f"{here}{os.pathsep}{os.environ['PATH']}")


def test_each_command_of_a_set_up_project_works(tmp_path: Path) -> None:
    tree = copy_of_this_tree(tmp_path / "clone")
    assert "cp config.yaml.example config.yaml" in QUICK
    for line in QUICK:
        done = run(line.replace("uv run ", ""), tree, installed())
        helped = line.endswith("-m runner") and "Usage: runner" in done.stdout + done.stderr
        assert done.returncode == 0 or helped, f"{line}\n{done.stdout}\n{done.stderr}"
    assert (tree / "reports" / "repository.md").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", TESTS)
def test_each_test_command_finds_its_tests(line: str) -> None:
    """Collected only: this is one of the tests that it would run."""
    done = run(
        f"{line.replace('uv run ', '').replace(' --cov-report=html', '')} --collect-only -q --no-cov", ROOT, installed()
    )
    wanted = next((word for word in line.split() if word.startswith("tests/")), "tests/")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert wanted in done.stdout


@pytest.mark.slow
def test_the_first_command_works_in_a_fresh_clone_on_a_machine_without_uv(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in (
        "sh",
        "env",
        "cat",
        "cut",
        "sleep",
        "sha256sum",
        "sha1sum",
        "cksum",
        "md5sum",
        "touch",
        "grep",
        "wc",
        "tr",
        "uname",
    ):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    (tools / "echo").symlink_to("/bin/echo")
    (tools / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    tree = copy_of_this_tree(tmp_path / "clone")
    env = {**os.environ, "PATH": str(tools)}
    env.pop("VIRTUAL_ENV", None)
    assert run("command -v uv", tree, env).returncode != 0

    first = run(BARE[0], tree, env, 300)

    assert first.returncode == 0, first.stdout + first.stderr
    assert (tree / "reports" / "repository.md").is_file()
    again = run(BARE[0], tree, env, 300)
    assert again.stdout.count("= unchanged") == 4, again.stdout + again.stderr
    collected = run(f"{BARE[1]} --collect-only", tree, env, 300)
    assert collected.returncode == 0, collected.stdout[-2000:] + collected.stderr[-2000:]
    assert run(".uv/bin/uv sync", tree, env, 300).returncode == 0


def test_the_manifest_that_it_shows_runs(tmp_path: Path) -> None:
    tree = copy_of_this_tree(tmp_path / "clone")
    [manifest] = re.findall(r"^```yaml manifest\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tree / "shown.yaml").write_text(manifest)
    assert runner("apply", "shown.yaml", cwd=tree).returncode == 0
    assert "docs/architecture.md" in (tree / "reports" / "words.txt").read_text()
    assert "= unchanged" in runner("apply", "shown.yaml", cwd=tree).stdout
