"""`from runner import …`: the names that the package promises, and the calls behind them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cli_project import HELLO

import runner
from runner.errors import UsageError


@pytest.mark.parametrize("name", runner.__all__)
def test_every_public_name_is_there(name: str) -> None:
    once, again = getattr(runner, name), getattr(runner, name)
    assert once is again
    assert name == "__version__" or callable(once), "not a module of the same name"


def test_a_project_is_validated_applied_and_looked_at_without_a_command_line(tmp_path: Path) -> None:
    (tmp_path / ".ares").mkdir(mode=0o700)
    (tmp_path / "hello.yaml").write_text(HELLO)
    (tmp_path / "bad.yaml").write_text("ares: v1\nname: bad\nsteps: {a: {rum: [x]}}\n")
    settings = runner.load_config(None, start=tmp_path, env={})
    assert runner.validate([tmp_path / "hello.yaml"], settings) == ()
    assert [each.severity for each in runner.validate([tmp_path], settings)].count("error") >= 1
    with pytest.raises(UsageError):
        runner.validate([tmp_path / "nothing.yaml"], settings)
    assert runner.status(settings) == ()
    assert not (tmp_path / ".ares/state.db").exists(), "looking makes nothing"
    done = asyncio.run(runner.apply(runner.load([tmp_path / "hello.yaml"], settings), settings))
    assert [(row.run, row.state) for row in runner.status(settings)] == [(done.runs[0].run, "succeeded")]
