"""What is remembered of files that nobody changed: the same answer while nothing changed, none when anything did."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.api import cache
from runner.api.checking import Checked, Memory, checked_of
from runner.api.load import load
from runner.api.settings import load_config

MANIFEST = """\
ares: v1
name: report
extends: [part.yaml]
inputs: {who: string}
steps:
  a: {run: {file: a.sh}, effects: none, labels: {x: y}}
  b: {call: sub, with: {}, needs: [a]}
  c: {run: [echo, "{{ inputs.who }}"], timeout: 100h, save: "{{ inputs.who }}"}
"""
SUB = "ares: v1\nname: sub\nsteps:\n  a: {run: ['true'], effects: none}\n"
PART = "ares: v1\ndefaults: {timeout: 1m}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "manifests").mkdir(parents=True)
    (root / "manifests" / "report.yaml").write_text(MANIFEST)
    (root / "manifests" / "part.yaml").write_text(PART)
    (root / "manifests" / "a.sh").write_text("true\n")
    (root / "beside").mkdir()
    (root / "beside" / "alone.yaml").write_text(MANIFEST.replace("report", "alone").replace("sub", "missing"))
    for name in ("part.yaml", "a.sh"):
        (root / "beside" / name).write_bytes((root / "manifests" / name).read_bytes())
    (root / "manifests" / "sub.yaml").write_text(SUB)
    (root / "config.yaml").write_text("concurrency: {steps: 3}\n")
    (root / ".ares").mkdir()
    monkeypatch.chdir(root)
    return root


def env(root: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(root.parent / "cache")}


def memory(root: Path, *paths: str, config: str | None = None, **variables: str) -> Memory:
    return Memory(paths or ("manifests",), config, root, env(root) | variables)


def keep(root: Path, *paths: str) -> Checked:
    asked = memory(root, *paths)
    settings = load_config(None, start=root, env={})
    loaded = load(paths or ("manifests",), settings)
    checked = checked_of(loaded, settings)
    asked.keep(checked, loaded.looks)
    return checked


def entry(root: Path) -> Path:
    (found,) = (root.parent / "cache" / "runner").iterdir()
    return found


@pytest.mark.parametrize(
    "paths", [("manifests",), ("manifests/report.yaml",), ("beside", "manifests"), ("manifests/a.sh",)]
)
def test_an_unchanged_check_is_known_as_it_was(project: Path, paths: tuple[str, ...]) -> None:
    checked = keep(project, *paths)
    known = memory(project, *paths).recall()
    assert known is not None
    assert known.diagnostics == checked.diagnostics
    assert known.heads == checked.heads
    assert (known.files, known.config_diagnostics) == (checked.files, checked.config_diagnostics)
    assert (known.workspace, known.state_path) == (checked.workspace, checked.state_path)
    assert all(known.sources[file] == checked.sources[file] for file in known.sources)
    assert {d.file for d in checked.diagnostics if d.span} == set(known.sources)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a manifest": lambda root: (root / "manifests/report.yaml").write_text(MANIFEST.replace("100h", "99h")),
    "a partial": lambda root: (root / "manifests/part.yaml").write_text(PART.replace("1m", "2m")),
    "a partial that is gone": lambda root: (root / "manifests/part.yaml").unlink(),
    "a named file": lambda root: (root / "manifests/a.sh").write_text("false\n"),
    "a named file that is a link now": lambda root: (
        (root / "manifests/a.sh").rename(root / "a.sh") and (root / "manifests/a.sh").symlink_to("/dev/null")
    ),
    "a callee": lambda root: (root / "manifests/sub.yaml").write_text(SUB.replace("true", "false")),
    "another manifest": lambda root: (root / "manifests/new.yaml").write_text(SUB.replace("sub", "new")),
    "a callee that was missing": lambda root: (root / "beside/missing.yaml").write_text(SUB.replace("sub", "missing")),
    "the config": lambda root: (root / "config.yaml").write_text("limits: {steps: 2}\n"),
    "no config": lambda root: (root / "config.yaml").unlink(),
    "a config that is no file": lambda root: (root / "config.yaml").unlink() or (root / "config.yaml").mkdir(),
    "the project root": lambda root: (
        (root / ".ares").rmdir() or (root.parent / ".ares").mkdir() or (root / "config.yaml").unlink()
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_known_after_a_change_of(project: Path, change: str) -> None:
    keep(project, "manifests", "beside/alone.yaml")
    assert memory(project, "manifests", "beside/alone.yaml").recall() is not None
    CHANGES[change](project)
    assert memory(project, "manifests", "beside/alone.yaml").recall() is None


def test_other_paths_another_config_and_variables_are_other_questions(project: Path) -> None:
    keep(project)
    (project / "other.yaml").write_bytes((project / "config.yaml").read_bytes())
    assert memory(project, "manifests/report.yaml").recall() is None
    assert memory(project, config="other.yaml").recall() is None
    assert memory(project, RUNNER_LIMITS__STEPS="2").recall() is None
    assert memory(project, RUNNER_CONFIG="other.yaml").recall() is None
    assert memory(project / "manifests", str(project / "manifests")).recall() is None
    assert memory(project, LANG="C").recall() is not None


def test_an_answer_about_files_that_changed_meanwhile_is_not_kept(project: Path) -> None:
    asked = memory(project)
    settings = load_config(None, start=project, env={})
    loaded = load(["manifests"], settings)
    (project / "manifests/report.yaml").write_text(SUB.replace("sub", "report"))
    asked.keep(checked_of(loaded, settings), loaded.looks)
    assert memory(project).recall() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{}", b"\xff\x00", b"[" * 100_000, b'{"looks": [], "diagnostics": [[1]]}', b'{"looks": [[1, 2]]}',
     b'{"looks": 3}', b" " * (cache.MOST_BYTES + 1)],
)  # fmt: skip
def test_an_entry_that_we_did_not_write_is_no_answer(project: Path, content: bytes) -> None:
    keep(project)
    entry(project).write_bytes(content)
    assert memory(project).recall() is None


def test_an_entry_that_is_a_link_or_open_to_others_is_no_answer(project: Path) -> None:
    keep(project)
    found = entry(project)
    found.chmod(0o622)
    assert memory(project).recall() is None
    found.chmod(0o600)
    assert memory(project).recall() is not None
    moved = found.rename(project / "entry")
    found.symlink_to(moved)
    assert memory(project).recall() is None


def test_a_cache_folder_that_others_may_enter_is_not_used(project: Path) -> None:
    keep(project)
    folder = project.parent / "cache" / "runner"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    assert memory(project).recall() is None


@pytest.mark.parametrize(
    "where", [{}, {"HOME": "here"}, {"XDG_CACHE_HOME": ".cache"}, {"XDG_CACHE_HOME": "/dev/null/x"}]
)
def test_without_a_place_of_its_own_there_is_no_cache(where: dict[str, str]) -> None:
    assert cache.open_cache(where) is None


def test_a_pipe_is_not_read_by_asking(project: Path) -> None:
    os.mkfifo(project / "pipe.yaml")
    assert memory(project, "pipe.yaml").recall() is None


def test_the_entries_used_longest_ago_go_first(tmp_path: Path) -> None:
    folder = cache.open_cache({"XDG_CACHE_HOME": str(tmp_path)})
    assert folder is not None
    for number in range(cache.MOST_ENTRIES):
        cache.put(folder, f"e{number}", number)
        os.utime(folder / f"e{number}", (number, number))
    assert cache.get(folder, "e0") == 0
    cache.put(folder, "new", "n")
    assert cache.get(folder, "e0") == 0, "it has been used since"
    assert cache.get(folder, "e1") is None
    assert len(list(folder.iterdir())) == cache.MOST_ENTRIES


def test_what_is_too_large_is_not_kept(tmp_path: Path) -> None:
    folder = cache.open_cache({"XDG_CACHE_HOME": str(tmp_path)})
    assert folder is not None
    cache.put(folder, "large", "x" * cache.MOST_BYTES)
    assert list(folder.iterdir()) == []


# ---------------------------------------------------------------- by the command line

TOKEN = re.compile(r"[0-9a-f]{32}")
LOOK = "import sys; from runner.cli.main import run; code = run(sys.argv[1:]); print({name} in sys.modules, file=sys.stderr); sys.exit(code)"


def runner(root: Path, *args: str) -> tuple[int, str, bool]:
    """Exit code, stdout, and whether Pydantic was needed."""
    script = LOOK.replace("{name}", "'pydantic'")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *args], cwd=root, env={**os.environ, **env(root)}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr.splitlines()[-1] == "True"


@pytest.mark.parametrize("format_", ["text", "json", "github", "sarif"])
def test_validate_again_says_the_same_and_needs_no_pydantic(project: Path, format_: str) -> None:
    first = runner(project, "validate", "manifests", "beside", "--format", format_)
    again = runner(project, "validate", "manifests", "beside", "--format", format_)
    assert (first[0], again[0]) == (2, 2)
    assert TOKEN.sub("", first[1]) == TOKEN.sub("", again[1])
    assert first[2] and not again[2]


DONE = 'ares: v1\nname: {name}\nsteps:\n  a: {run: [echo, hello], effects: none, save: {name}.txt}\noutputs: {said: "{{ steps.a.text }}"}\n'


def apply(root: Path) -> tuple[list[tuple[str, str, str]], bool]:
    code, text, pydantic = runner(root, "apply", "work", "--json")
    document = json.loads(text)
    assert code == document["exit_code"] == 0
    return [(run["manifest"], run["action"], run["outputs"]["said"].strip()) for run in document["runs"]], pydantic


@pytest.fixture
def work(project: Path) -> Path:
    (project / "work").mkdir()
    for name in ("one", "two"):
        (project / "work" / f"{name}.yaml").write_text(DONE.replace("{name}", name))
    return project


def test_a_converged_apply_says_the_same_and_needs_no_pydantic(work: Path) -> None:
    assert apply(work) == ([("one", "create", "hello"), ("two", "create", "hello")], True)
    assert apply(work) == ([("one", "unchanged", "hello"), ("two", "unchanged", "hello")], False)
    (work / "two.txt").write_text("edited")
    assert apply(work) == ([("one", "unchanged", "hello"), ("two", "update", "hello")], True)
    assert apply(work) == ([("one", "unchanged", "hello"), ("two", "unchanged", "hello")], False)
    changed = (work / "work" / "one.yaml").read_text().replace("hello", "bye")
    (work / "work" / "one.yaml").write_text(changed)
    assert apply(work) == ([("one", "update", "bye"), ("two", "unchanged", "hello")], True)


def test_force_and_inputs_ask_for_more_than_what_is_known(work: Path) -> None:
    apply(work)
    _, text, pydantic = runner(work, "apply", "work", "--json", "--force")
    assert pydantic and [run["action"] for run in json.loads(text)["runs"]] == ["update", "update"]


def test_a_poisoned_entry_runs_nothing_but_what_the_files_say(work: Path) -> None:
    apply(work)
    found = entry(work)
    kept = json.loads(found.read_text())
    for head in kept["heads"]:
        head[0], head[1] = "evil", "0" * 32
    kept["steps"] = [{"run": ["touch", "evil"]}]
    found.write_text(json.dumps(kept))
    assert apply(work) == ([("one", "unchanged", "hello"), ("two", "unchanged", "hello")], True)
    assert not (work / "evil").exists()
