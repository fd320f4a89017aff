"""The recipes about models and agents are what they say: their config and manifest are read, and planned without a key and without anybody listening."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from runner.cli.main import run

FOLDER = ROOT / "docs" / "recipes"
PAGES = {"models.md": "*/config.yaml", "agents.md": "agents/*/config.yaml"}
"""Page → where the configs of its recipes are."""
RECIPES = sorted(path.parent for places in PAGES.values() for path in FOLDER.glob(places))
SECTION = re.compile(r"\[`(?P<name>[\w/-]+)/`\].*?```yaml config\n(?P<config>.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_recipe_is_on_its_page_with_the_config_of_its_folder(page: str) -> None:
    shown = {found["name"]: found["config"] for found in SECTION.finditer((FOLDER / page).read_text())}
    files = sorted(FOLDER.glob(PAGES[page]))
    assert shown == {str(file.parent.relative_to(FOLDER)): file.read_text() for file in files}


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What a command says as JSON, in a folder of its own and without any variable of the person who runs the tests."""
    for name in os.environ:
        if name.startswith("RUNNER_") or name.endswith("_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def ask(*argv: str) -> Any:
        capsys.readouterr()
        assert run([*argv, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.mark.parametrize("folder", RECIPES, ids=lambda folder: folder.name)
def test_a_recipe_is_valid_and_can_be_planned_without_a_key(
    folder: Path, tmp_path: Path, told: Callable[..., Any]
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert told("validate", "manifest.yaml")["diagnostics"] == []
    for mode in ("normal", "degraded", "brainstem"):
        (manifest,) = told("plan", "manifest.yaml", "--mode", mode)["manifests"]
        assert manifest["action"] == "create", mode
