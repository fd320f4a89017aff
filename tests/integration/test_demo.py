"""`runner demo outage`: the story is true, and nothing is left of it."""

from __future__ import annotations

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
