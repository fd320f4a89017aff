"""A stdio MCP server that plays an agent: the tool `run_task` (and `ask`, the same under another name) does what a script says.

`fake_agent.py SCRIPT [--offers NAME,NAME]`: SCRIPT is a JSON file: a list of turns, each a list of acts; call n gets turn n, the last one
again and again. Acts: {"session": id}, {"tell": progress}, {"write": {path below cwd: text}}, {"brood": true} (starts `sleep` and tells
its pid), {"hold": true} (until it is cancelled), {"die": true} (the server ends), {"answer": {…}} (structured content over a
good answer of the contract), {"refuse": text} (isError without structure), {"say": text} (text alone), {"structured": {…}} (as it is).
What each call was given goes to SCRIPT.given, one JSON object a line: arguments, idempotency key, and the word `cancelled` when it was.
No judgement of its own: what it is told to claim, it claims."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from runner.bridges.stdio import Call, Json, Server, described, serve_stdio
from runner.bridges.task import TAKES

GOOD: Json = {
    "status": "ok", "text": "done", "structured": None, "session_id": None, "turns": 1, "usage": {"in": 10, "out": 5},
    "cost_usd": 0.01, "denials": [], "tool_calls": 1, "error": None,
}  # fmt: skip


class Play:
    """The script, and which turn comes next (counted in its file, so that it goes on after a restart)."""

    def __init__(self, script: Path) -> None:
        self._script, self._given = script, script.with_suffix(".given")
        self._lock = threading.Lock()

    def note(self, entry: Json) -> int:
        """Write down a call; how many there were before it."""
        with self._lock:
            before = self._given.read_text().count('"arguments"') if self._given.exists() else 0
            with self._given.open("a") as file:
                file.write(json.dumps(entry) + "\n")
            return before

    def call(self, name: str, given: Any, call: Call) -> Json:
        at = self.note({"tool": name, "arguments": dict(given), "key": call.key, "pid": os.getpid()})
        turns = json.loads(self._script.read_text())
        held = threading.Event()
        call.on_cancel(held.set)
        session, result = given.get("session"), self._result({}, given.get("session"))
        for act in turns[min(at, len(turns) - 1)]:
            if "session" in act:
                session = act["session"]
                call.progress(f"session: {session}", session=session)
                result = self._result({}, session)
            elif "tell" in act:
                call.progress(act["tell"])
            elif "write" in act:
                for path, text in act["write"].items():
                    (Path(given.get("cwd") or ".") / path).write_text(text)
            elif "brood" in act:
                child = subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
                self.note({"child": child.pid})
                call.progress(f"pid {child.pid}")
            elif "hold" in act:
                held.wait()
                self.note({"cancelled": at})
            elif "die" in act:
                os._exit(3)
            elif "answer" in act:
                result = self._result(act["answer"], session)
            elif "refuse" in act:
                result = {"content": [{"type": "text", "text": act["refuse"]}], "isError": True}
            elif "say" in act:
                result = {"content": [{"type": "text", "text": act["say"]}]}
            elif "structured" in act:
                result = {
                    "content": [{"type": "text", "text": "see the structure"}],
                    "structuredContent": act["structured"],
                }
        return result

    def _result(self, answer: Json, session: Any) -> Json:
        said = {**GOOD, "session_id": session, **answer}
        failed = {"isError": True} if said["status"] != "ok" else {}
        return {"content": [{"type": "text", "text": str(said["text"])}], "structuredContent": said, **failed}


def main() -> int:
    offers = list(TAKES)
    if "--offers" in sys.argv:
        offers = sys.argv[sys.argv.index("--offers") + 1].split(",")
    takes = {name: TAKES[name] for name in offers}
    own = {
        "question": {"type": "string"},
        "dir": {"type": "string"},
        "thread": {"type": "string"},
        "model": {"type": "string"},
    }
    tools = [
        described("run_task", "Do it", takes, {}, ["prompt"], {}),
        described("ask", "Do it", own, {}, ["question"], {}),
    ]
    for tool in tools:
        del tool["outputSchema"]
    play = Play(Path(sys.argv[1]))
    serve_stdio(Server("fake-agent", tools, play.call, parallel=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
