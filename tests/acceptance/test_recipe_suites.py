"""The manifests of the recipes, run from stubs and recordings as the recipe on testing says: each has a suite, in its folder or in `recipes/`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from project import QUICKSTART, ROOT, runner

RECIPES = ROOT / "docs" / "recipes"
SUITES = Path(__file__).parent / "recipes"
BLOCK = re.compile(r"^```yaml (?P<kind>manifest|suite)\n(?P<text>(?:.*\n)*?)^```$", re.MULTILINE)
NAME = re.compile(r"^name: (\S+)$", re.MULTILINE)
MANIFESTS = {
    NAME.findall(block["text"])[0]: block["text"]
    for page in sorted(RECIPES.glob("*.md"))
    for block in BLOCK.finditer(page.read_text())
    if block["kind"] == "manifest"
}


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_the_manifest_of_a_recipe_passes_its_suite(name: str, tmp_path: Path) -> None:
    suite = SUITES / f"{name}.yaml"
    assert suite.is_file(), f"a manifest of a recipe needs a suite: {suite.relative_to(ROOT)}"
    (tmp_path / f"{name}.yaml").write_text(MANIFESTS[name])
    shutil.copy(suite, tmp_path / "suite.yaml")
    done = runner("test", "suite.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in RECIPES.rglob("manifest.yaml")), ids=lambda path: path.name
)
def test_a_recipe_in_a_folder_keeps_what_its_suite_says(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / folder.name)
    done = runner("test", folder.name, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout


def test_the_suite_of_the_recipe_on_testing_passes_as_it_stands(tmp_path: Path) -> None:
    [text] = [
        block["text"] for block in BLOCK.finditer((RECIPES / "testing.md").read_text()) if block["kind"] == "suite"
    ]
    shutil.copytree(QUICKSTART, tmp_path / "manifests" / "quickstart")
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "report.yaml").write_text(text)
    shutil.copy(QUICKSTART / "tests" / "flaky.recording.yaml", tests / "report.recording.yaml")
    done = runner("test", "tests", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 passed"), done.stdout + done.stderr
