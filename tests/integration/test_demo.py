"""`runner demo outage`: the story is true, and nothing is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from runner.cli.main import run


def test_an_outage_is_survived_as_told_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("RUNNER_BUDGET__PER_RUN_USD", "0")  # a setting of whoever looks on changes nothing
    code = run(["demo", "outage"])
    told = capsys.readouterr()
    assert code == 0, told.err
    moments = [
        "$ runner apply story.yaml", "outline   ✓ answered by writer at proxy", "the proxy dies", "mode degraded:",
        "draft     ✓ answered by spare at backup", "the backup dies, too", "mode brainstem:",
        "headline  ✓ answered by little at local", "exit code 5: suspended", "the proxy is back",
        "review    ✓ answered by writer at proxy", "exit code 0: finished; no step that had succeeded was done again",
    ]  # fmt: skip
    places = [told.out.find(moment) for moment in moments]
    assert -1 not in places and places == sorted(places), told.out
    assert "review    ⏸ waits: mode" in told.out
    assert "mode normal:" in told.out
    assert list(tmp_path.iterdir()) == []


def test_a_story_that_is_told_to_end_leaves_nothing_behind_either(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "runner", "demo", "outage"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any("outline   ✓" in line for line in process.stdout)  # a runner of its own is at work
        assert list(tmp_path.iterdir())
        process.terminate()
        assert process.wait(30) == 143
    assert list(tmp_path.iterdir()) == []
