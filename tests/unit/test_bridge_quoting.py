"""No bridge leaves half a secret where it cuts what an agent's program says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.bridges.child import TAIL_LINE_CHARS, Child
from runner.bridges.command import one_line
from runner.bridges.gateway import _said
from runner.bridges.task import MESSAGE_CHARS, Answer, Problem, result

SECRET = "correct-horse-battery"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_API_KEY", SECRET)


@pytest.mark.parametrize(
    ("most", "told"),
    [
        (MESSAGE_CHARS, lambda text: str(result(Answer(problem=Problem("crash", text)))["structuredContent"])),
        (160, one_line),
        (500, lambda text: _said({"error": {"message": text}}, 500).message),
        (500, lambda text: _said({"error": "no", "details": text}, 500).message),
    ],
)
def test_no_cut_goes_through_a_secret(most: int, told: Callable[[str], str]) -> None:
    for before in range(most - len(SECRET), most + 1):
        said = told("." * before + SECRET + "." * most)
        assert "." * (most - len(SECRET)) in said
        assert "corr" not in said


def test_no_line_of_the_end_of_stderr_ends_in_half_a_secret(tmp_path: Path) -> None:
    lines = f"import sys; [print('.' * n + '{SECRET}', file=sys.stderr) for n in range({TAIL_LINE_CHARS - 19}, {TAIL_LINE_CHARS})]"
    child = Child([sys.executable, "-c", lines], {}, tmp_path, "", 20.0)
    assert list(child.lines()) == []
    assert child.code() == 0
    assert len(child.tail().splitlines()) == 19
    assert "corr" not in child.tail()
