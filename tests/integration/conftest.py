"""The real programs of agents, for tests that are marked slow: installed into a cache when a test first asks for one, else skipped with
the reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"


def installed(script: str) -> str:
    """The path of the program that `.ci/SCRIPT` installs."""
    done = subprocess.run(["bash", str(CI / script)], capture_output=True, text=True, timeout=900)
    if done.returncode == 75:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def claude() -> str:
    return installed("install-claude")


@pytest.fixture(scope="session")
def openclaw() -> str:
    return installed("install-openclaw")


@pytest.fixture(scope="session")
def codex() -> str:
    return installed("install-codex")
