"""What the tests of the bridges share: a bridge as a process and its lines, a command that plays a script, and the end of processes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SERVERS = Path(__file__).parent / "servers"
PATIENCE_S = 120.0
Json = dict[str, Any]


class Bridge:
    """A bridge and what it says, line by line. `with Bridge("claude_code", ...) as bridge:`"""

    def __init__(self, name: str, *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"runner.bridges.{name}", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | {"PYTHONPATH": str(Path(__file__).parents[2])} | dict(env or {}),
            cwd=cwd,
            bufsize=0,
        )
        self.progress: list[Json] = []
        self._last = 0
        self._rest = b""

    def __enter__(self) -> Bridge:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()

    def write(self, message: Json) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def read(self) -> Json:
        """The next line; a bound on the wait."""
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "the bridge says nothing"
            more = os.read(self.process.stdout.fileno(), 65_536)
            assert more, "the bridge has ended"
            self._rest += more
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def request(self, method: str, **params: Any) -> int:
        self._last += 1
        self.write({"id": self._last, "method": method, "params": params})
        return self._last

    def begin(self, meta: Json | None = None, **arguments: Any) -> int:
        """Begin run_task; its id, which is its progress token too."""
        return self.request(
            "tools/call",
            name="run_task",
            arguments={"prompt": "do it", **arguments},
            _meta={"progressToken": self._last + 1, **(meta or {})},
        )

    def answer(self, request: int) -> Json:
        """The answer to `request`; notifications before it are kept."""
        while (message := self.read()).get("id") != request:
            self.progress.append(message["params"])
        return message

    def told(self, words: str) -> str:
        """The message of the next progress that contains `words`."""
        while True:
            params = self.read()["params"]
            self.progress.append(params)
            if words in params["message"]:
                return params["message"]

    def run(self, meta: Json | None = None, **arguments: Any) -> Json:
        """run_task to its end: the structured content, which is an error if and only if it is not ok."""
        result = self.answer(self.begin(meta, **arguments))["result"]
        structured = result["structuredContent"]
        assert result.get("isError", False) == (structured["status"] != "ok")
        return structured

    def cancel(self, request: int) -> None:
        self.write({"method": "notifications/cancelled", "params": {"requestId": request, "reason": "a test"}})


class Script:
    """A command that plays `acts` at each start; `given` = what it got, one entry a start."""

    def __init__(self, folder: Path, *acts: Json) -> None:
        self._file = folder / "script.json"
        self.command = folder / "fake"
        program = SERVERS / "fake_claude.py"
        self.command.write_text(f'#!/bin/sh\nexec {sys.executable} -S -P {program} {self._file} "$@"\n')
        self.command.chmod(0o755)
        self.play(acts)

    def play(self, acts: Sequence[Json]) -> None:
        self._file.write_text(json.dumps(list(acts)))

    @property
    def given(self) -> list[Json]:
        return [json.loads(line) for line in self._file.with_suffix(".given").read_text().splitlines()]


def ends(pid: int) -> bool:
    """Does this process end, soon?"""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], PATIENCE_S)[0])
    finally:
        os.close(descriptor)
