"""A project on disk and the command line on it, for tests. In this process where it makes no difference, else as a program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.cli.main import run

HELLO = """
ares: v1
name: hello
inputs: {who: {type: string, default: world}}
steps:
  greet: {run: [echo, "hello {{ inputs.who }}"], effects: none}
  shout: {run: [sh, -c, 'echo "$TEXT" | tr a-z A-Z'], env: {TEXT: "{{ steps.greet.text }}"}, effects: none}
outputs: {said: "{{ steps.shout.text }}"}
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """A folder with manifests. `cli` runs a command in it, in this process."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        (root / ".ares").mkdir(mode=0o700)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def cli(self, *argv: str) -> Ended:
        self._capsys.readouterr()
        code = run(argv)
        found = self._capsys.readouterr()
        return Ended(code, found.out, found.err)

    def program(self, *argv: str | bytes, **options: Any) -> subprocess.CompletedProcess[str]:
        """The command as a program of its own."""
        return subprocess.run(
            [sys.executable, "-m", "runner", *argv], cwd=self.root, env=environment(), capture_output=True, text=True,
            timeout=60, **options,
        )  # fmt: skip

    def begin(self, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """The same, still running."""
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "runner", *argv], cwd=self.root, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options,
        )  # fmt: skip


def environment() -> dict[str, str]:
    """Ours, without what would change how a program prints or which config it finds."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "NO_COLOR", "CI"))}
