"""What the tests of `runner mcp` share: the server as a process, spoken to line by line, and manifests that wait to be let go."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge_calls import PATIENCE_S, Bridge, Json

from runner.api.queries import find_run, shown_state
from runner.clock import SystemClock
from runner.store.sqlite import SqliteStore

HELLO = """
ares: v1
name: hello
inputs: {who: {type: string, default: world}}
steps:
  greet: {run: [echo, "hello {{ inputs.who }}"], effects: none}
  shout: {run: 'echo "$TEXT" | tr a-z A-Z', env: {TEXT: "{{ steps.greet.text }}"}, effects: none}
outputs: {said: "{{ steps.shout.text }}"}
"""
SLOW = """
ares: v1
name: NAME
steps:
  first: {run: 'echo first >> NAME.ledger', effects: once}
  wait: {run: 'echo wait >> NAME.ledger; seq 500; echo $$ > NAME.began; cat NAME.go', needs: [first], effects: once}
  beside: {run: 'echo beside | tee -a NAME.ledger', needs: [wait], effects: once}
"""
GATE = """
ares: v1
name: gate
steps:
  ask: {approve: "Ship it?"}
  ship: {run: 'echo shipped', needs: [ask], effects: none}
"""
ALL = "[validate, plan, route, status, show, logs, events, apply, resume, cancel, approve, reject, resolve]"


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change which config is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNNER_", "NO_COLOR", "CI"))}
    return kept | more


def project(root: Path, config: str = "", **manifests: str) -> Path:
    """A project in `root`: config.yaml, and a file for each manifest."""
    (root / ".ares").mkdir(mode=0o700, parents=True)
    if config:
        (root / "config.yaml").write_text(config)
    for name, text in manifests.items():
        (root / f"{name}.yaml").write_text(text)
    return root


class Served(Bridge):
    """`runner mcp` in `root`. `with Served(root) as server:`"""

    def __init__(self, root: Path, *args: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "runner", "mcp", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**env),
            cwd=root,
            bufsize=0,
        )
        self.progress: list[Json] = []
        self._last = 0
        self._rest = b""
        self._answers: dict[int, Json] = {}
        self.answer(
            self.request(
                "initialize",
                protocolVersion="2025-11-25",
                capabilities={},
                clientInfo={"name": "a test", "version": "1"},
            )
        )

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.ended()

    def hang_up(self) -> None:
        """The end of stdin."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def answer(self, request: int) -> Json:
        """The answer to `request`, whatever else comes before it."""
        while request not in self._answers:
            message = self.read()
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.progress.append(message["params"])
        return self._answers.pop(request)

    def started(self, tool: str, **arguments: Any) -> int:
        """Begin a call; its id, which is its progress token too."""
        return self.request("tools/call", name=tool, arguments=arguments, _meta={"progressToken": self._last + 1})

    def call(self, tool: str, **arguments: Any) -> Json:
        """The structured content of a call that went well."""
        result = self.answer(self.started(tool, **arguments))["result"]
        assert not result["isError"], result["content"][0]["text"]
        return result["structuredContent"]

    def refused(self, tool: str, **arguments: Any) -> str:
        """The text of a call that did not."""
        result = self.answer(self.started(tool, **arguments))["result"]
        assert result["isError"]
        return result["content"][0]["text"]

    def ended(self) -> int:
        """The exit code, once it has ended."""
        code = self.process.wait(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


def cli(root: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The command line on the same project."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "runner", *argv],
        cwd=root,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


@dataclass(frozen=True)
class Slow:
    """A manifest (SLOW) in `root` whose step `wait` runs until it is let go. (The end of what a step says is held back while it may be
    the beginning of a secret, so it says a lot.)"""

    root: Path
    name: str

    def __post_init__(self) -> None:
        (self.root / self.file).write_text(SLOW.replace("NAME", self.name))
        for pipe in ("began", "go"):
            os.mkfifo(self.root / f"{self.name}.{pipe}")

    @property
    def file(self) -> str:
        return f"{self.name}.yaml"

    def begun(self) -> int:
        """Wait until the step `wait` runs; its process."""
        return int(self._meet("began", 'cat "$0"'))

    def let_go(self) -> None:
        """Let it end."""
        self._meet("go", ': > "$0"')

    def _meet(self, pipe: str, command: str) -> str:
        """Open a named pipe, which waits for its other end; bounded, should nobody come."""
        path = str(self.root / f"{self.name}.{pipe}")
        bounded = ["timeout", str(int(PATIENCE_S)), "sh", "-c", command, path]
        done = subprocess.run(bounded, capture_output=True, text=True)
        assert done.returncode == 0, f"nobody came to {path}"
        return done.stdout

    @property
    def ledger(self) -> list[str]:
        return (self.root / f"{self.name}.ledger").read_text().split()

    @property
    def state(self) -> str:
        """The state of its latest run, as a second terminal sees it."""
        store = SqliteStore.open(self.root / ".ares" / "state.db", clock=SystemClock(), read_only=True)
        try:
            return shown_state(find_run(store, self.name))
        finally:
            store.close()
