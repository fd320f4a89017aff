"""`runner fmt`: the usual form, and never another meaning."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_project import Project

from runner.api.formatting import formatting, write
from runner.api.load import load
from runner.api.settings import Settings, load_config
from runner.errors import UsageError

ROOT = Path(__file__).parent.parent.parent
MANIFESTS = sorted(
    path
    for folder in ("manifests", "tests/corpus/good", "tests/acceptance/language", "tests/acceptance/golden")
    for path in (ROOT / folder).rglob("*.yaml")
)
BLOCKS = [
    found[1]
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for found in re.finditer(r"^```yaml manifest\n((?:.*\n)*?)^```$", page.read_text(), re.MULTILINE)
]


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def settings(folder: Path) -> Settings:
    return load_config(None, start=folder, env={})


def meaning(path: Path) -> dict[str, Any]:
    """Each graph, but for the lines that its steps stand in."""
    loaded = load([path], settings(path.parent))
    found: dict[str, Any] = {}
    for entry in loaded.manifests:
        steps = [replace(step, line=0) for step in entry.graph.steps]
        found[entry.graph.name] = (entry.graph.digest, [step.id for step in steps], steps)
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_formatted_manifest_means_the_same_and_formatting_again_changes_nothing(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(path.parent, folder)
    here = folder / path.name
    before = meaning(here)
    found = formatting([str(here)], settings(folder)).files
    for file in found:
        assert file.after is not None, file.reason
        here.write_text(file.after)
    assert meaning(here) == before
    again = formatting([str(here)], settings(folder)).files
    assert [file.path for file in again if file.changed] == []


@pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))
def test_a_formatted_example_of_the_documentation_means_the_same(text: str, tmp_path: Path) -> None:
    here = tmp_path / "m.yaml"
    here.write_text(text)
    before = meaning(here)
    [file] = formatting([str(here)], settings(tmp_path)).files
    assert file.after is not None, file.reason
    here.write_text(file.after)
    assert meaning(here) == before


UNUSUAL = """\
# yaml-language-server: $schema=x
# about the file

steps:   # the work
    # first
    a:
        effects: none
        # why it waits
        needs: [b]   # only an order
        run: |
            # no comment
            echo '#'

        env:
          B: 0o17
          A: "2026-01-01"
    b: {effects: none, run: [echo, ~, 1e3, 'x']}   # second
name:   tidy
ares: v1
"""
USUAL = """\
# yaml-language-server: $schema=x
# about the file

ares: v1
name: tidy
steps: # the work
    # first
  a:
    run: |
      # no comment
      echo '#'
        # why it waits
    needs: [b] # only an order

    env:
      B: 0o17
      A: "2026-01-01"
    effects: none
  b: {run: [echo, ~, 1e3, 'x'], effects: none} # second
"""


def test_keys_are_sorted_and_comments_quotes_and_steps_stay(project: Project) -> None:
    path = project.write("m.yaml", UNUSUAL)
    path.chmod(0o640)
    assert project.cli("fmt", "m.yaml", "--check").code == 6
    assert path.read_text() == UNUSUAL
    done = project.cli("fmt", ".")
    assert (done.code, done.out, done.err) == (0, "m.yaml\n", "1 of 1 changed\n")
    text = path.read_text()
    for comment in (
        "# about the file",
        "# the work",
        "# first",
        "# why it waits",
        "# only an order",
        "# second",
        "# no comment",
    ):
        assert text.count(comment) == 1
    assert re.findall(r"^ {4}(\w+):", text, re.MULTILINE) == ["run", "needs", "env", "effects"]
    assert text.index("# why it waits") < text.index("needs: [b]") < text.index("env:")
    assert "{run: [echo, ~, 1e3, 'x'], effects: none}" in text
    assert 'A: "2026-01-01"' in text
    assert path.stat().st_mode & 0o777 == 0o640
    assert project.cli("fmt", "m.yaml", "--check").code == 0


def test_what_is_no_yaml_is_refused_and_nothing_is_written(project: Project) -> None:
    project.write("bad.yaml", "ares: v1\nname: [\n")
    good = project.write("good.yaml", UNUSUAL)
    done = project.cli("fmt", ".")
    assert done.code == 2
    assert "bad.yaml:" in done.err
    assert good.read_text() == UNUSUAL


def test_the_manifests_and_recipes_of_this_repository_are_in_their_usual_form() -> None:
    found = formatting([str(ROOT / "manifests"), str(ROOT / "docs")], settings(ROOT)).files
    assert len(found) > 10
    assert [str(file.path) for file in found if file.changed or file.reason] == []


def test_a_file_that_was_saved_meanwhile_is_not_written_over(project: Project) -> None:
    project.write("m.yaml", "name: m\nares: v1\nsteps:\n  a: {set: {v: 1}}\n")
    done = formatting([str(project.root / "m.yaml")], settings(project.root))
    project.write("m.yaml", "what somebody has just saved\n")
    with pytest.raises(UsageError, match=r"m\.yaml was changed meanwhile"):
        write(done)
    assert (project.root / "m.yaml").read_text() == "what somebody has just saved\n"


def test_files_of_others_and_generated_files_are_left_alone(project: Project) -> None:
    project.write("other.yaml", "b:   1\na: 2\n")
    project.write(
        "made.yaml",
        "# Generated by `runner generate` from t, row 1 of r (0): x\nname: x\nares: v1\nsteps: {a: {set: {x: 1}}}\n",
    )
    done = project.cli("fmt", ".")
    assert (done.code, done.out) == (0, "")
    assert "made.yaml is generated" in done.err


@pytest.mark.parametrize(
    "text",
    [
        "ares: v1\nname: x\nsteps:\n  a: &a {set: {x: 1}}\n  b: *a\n",
        "ares: v1\nname: x\nsteps:\n  a: &a\n    effects: none\n    run: [x]\n  b:\n    <<: *a\n    env: {A: b}\n",
        "ares: v1\nname: x\nsteps: {a: {set: {x: 1, # one\n  y: 2}}}\n",
        "---\nname: x\nares: v1\nsteps: {a: {set: {x: 1}}}\n---\n# two\nname: y\nares: v1\nsteps: {a: {set: {x: 1}}}\n...\n",
        "ares: v1\r\nname: x\r\nsteps:\r\n    a: {set: {x: 1}}\r\n",
        "\ufeffname: x\nares: v1\nsteps: {a: {set: {x: 'é\\u2028'}}}",
        "ares: v1\nname: x\nsteps:\n  a:\n    when: true\n    set:\n      x: >2-\n          folded\n         text\n\n      y: |+\n        kept\n\n\n    needs: []\n",
        "ares: v1\nname: x\nsteps:\n  a:\n    effects: none\n# at the margin\n    run: [x]\n",
        "ares: v1\nname: x\nsteps: {a: {set: {}}, b: {set: {x: , y: ''}}}\n",
        "? ares\n: v1\n? name\n: x\n? steps\n: {a: {set: {x: 1}}}\n",
    ],
)
def test_odd_manifests_keep_their_data_whatever_happens_to_their_form(text: str, project: Project) -> None:
    from runner.syntax import read

    path = project.root / "m.yaml"
    path.write_bytes(text.encode())
    before = [document.data for document in read(path.read_bytes(), "m")[0]]
    assert project.cli("fmt", "m.yaml").code == 0
    after, diagnostics = read(path.read_bytes(), "m")
    assert diagnostics == []
    assert [document.data for document in after] == before
    assert path.read_text(encoding="utf-8").count("#") == text.count("#")


def test_a_comment_that_moves_is_where_it_stays(project: Project) -> None:
    path = project.write(
        "p.yaml",
        "ares: v1\ndefaults:\n    env: {A: b}\n      # deeper than both\n    labels: {x: true}\n   # between\n",
    )
    assert project.cli("fmt", "p.yaml").code == 0
    text = path.read_text()
    assert project.cli("fmt", "p.yaml", "--check").code == 0
    assert path.read_text() == text
