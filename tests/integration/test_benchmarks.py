"""The benchmarks' way through the program: it must not rot while nobody measures."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture
def inprocess(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return import_module("inprocess")


def test_a_measured_workload_goes_through_the_application_with_a_step_that_does_nothing(
    inprocess: object, tmp_path: Path
) -> None:
    manifests = import_module("manifests")
    cost = inprocess.workload(manifests.chain(3), tmp_path, runs=2, at_once=2)  # type: ignore[attr-defined]
    assert cost.wall > 0
    assert (tmp_path / ".ares").is_dir()
