"""The bundled MCP server `codex`: the tool `run_task`, done by `codex exec`.

Stand-alone: `python -P -m runner.bridges.codex [--command PATH] [--model M] [--sandbox S] [--config KEY=VALUE]… [--check]`. One process a
task, its prompt on stdin, its events as progress. (Releases before 0.17x had an MCP server of their own, `codex mcp-server`; 0.171.0
has none.)

Measured with 0.171.0: `exec --json` tells the thread first; `resume` works from any folder, and its usage counts from the beginning of the
thread; what its sandbox forbids it tells to the model alone, so there are no denials; it names no price; it waits for a network
without end; a JSON Schema must be strict, so ours is asked for in words."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.bridges.check import LOGIN_S, Check, ask, installed
from runner.bridges.command import Launch, counts, do, one_line
from runner.bridges.gateway import worded
from runner.bridges.stdio import Json, serve_stdio
from runner.bridges.task import Answer, Problem, Task, agent_server

HONOURED = ("prompt", "cwd", "model", "session", "timeout_s", "output_schema", "idempotency_key")
INSTALL = "npm install -g @openai/codex"
SANDBOXES = ("read-only", "workspace-write", "danger-full-access")
PATIENCE = 3
"""So often it may say that it waits for the network."""
_WAITS = "waiting for network"
_TOOLS = ("command_execution", "file_change", "mcp_tool_call", "web_search")
_STATUS = re.compile(r"(?:unexpected|last) status:? (\d{3})")
_STATUSES = {
    400: "invalid",
    401: "auth",
    402: "quota",
    403: "auth",
    404: "invalid",
    408: "timeout",
    413: "context_overflow",
    429: "rate_limit",
}
_WORDS = (
    (r"(?i)context window|ran out of room|too many tokens", "context_overflow"),
    (r"(?i)usage limit|quota|billing", "quota"),
    (r"(?i)not logged in|log in|authentication|api key", "auth"),
    (r"(?i)at capacity|overloaded|network|connection|stream disconnected|high demand", "unavailable"),
)
_REFUSALS = ("auth", "invalid", "rate_limit", "quota", "unavailable", "context_overflow")
"""Kinds that meet a task before it has begun, when nothing of it was seen."""
_TOKENS = {
    "in": "input_tokens",
    "out": "output_tokens",
    "cache_read": "cached_input_tokens",
    "cache_write": "cache_write_input_tokens",
}
_NO_THREAD = re.compile(r"(?i)no rollout found|thread not found|session not found")


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator fixed for all tasks."""

    command: str = "codex"
    model: str | None = None
    sandbox: str = "workspace-write"
    config: tuple[str, ...] = ()
    check: bool = False


def command_line(options: Options, task: Task) -> list[str]:
    """The arguments of `codex`; the prompt is read from stdin. Values that come with a task are joined to their option."""
    line = [options.command, "exec", "--json", "--skip-git-repo-check", f"--sandbox={options.sandbox}"]
    line += [f"--config={value}" for value in options.config]
    model = task.model or options.model
    line += [f"--model={model}"] if model is not None else []
    return [*line, "resume", "--", task.session, "-"] if task.session is not None else [*line, "--", "-"]


@dataclass(slots=True)
class Seen:
    """What the events told so far. `resumed`: the conversation had begun before; its usage counts what was used then, too."""

    session: str | None = None
    resumed: bool = False
    session_named: bool = False
    text: str = ""
    done: bool = False
    tool_calls: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    waits: int = 0

    def take(self, event: Json) -> str:
        kind, item = event.get("type"), _dict(event.get("item"))
        if kind == "thread.started" and isinstance(event.get("thread_id"), str):
            self.session, self.session_named = event["thread_id"], True
        elif kind == "item.completed" and item.get("type") == "agent_message":
            self.text = str(item.get("text") or "")
        elif kind == "item.started" and item.get("type") in _TOOLS:
            self.tool_calls += 1
        elif kind == "item.completed" and item.get("type") == "file_change":
            self.tool_calls += 1  # it is told of once it is done
        elif kind == "turn.completed":
            self.done, self.usage = True, counts(event.get("usage"), _TOKENS)
        elif kind == "turn.failed":
            self.failure = str(_dict(event.get("error")).get("message") or "it failed without a word")
        elif kind == "error" and _WAITS in str(event.get("message")):
            self.waits += 1
        return headline(event)

    def hopeless(self) -> Problem | None:
        return Problem("unavailable", "it cannot reach its API") if self.waits >= PATIENCE else None

    def last_word(self, tail: str) -> Answer | None:
        if self.failure:
            return self._answer(failure(self.failure))
        return self._answer(None) if self.done else None

    def explained(self, code: int, tail: str) -> Problem | None:
        if _NO_THREAD.search(tail):
            return Problem("invalid", "does not have this conversation", session_unknown=True)
        return Problem("invalid", "does not take these arguments") if code == 2 else None

    def ended(self, problem: Problem) -> Answer:
        return self._answer(problem)

    def _answer(self, problem: Problem | None) -> Answer:
        idle = not self.text and not self.tool_calls
        if problem is not None and idle and problem.kind in _REFUSALS:
            problem = replace(problem, begun=False)
        return Answer(
            text=self.text if problem is None else "",
            session_id=self.session,
            turns=1 if self.done else 0,
            usage={} if self.resumed else self.usage,
            tool_calls=self.tool_calls,
            problem=problem,
        )


def failure(message: str) -> Problem:
    """What a failed turn means. Pure."""
    found = _STATUS.search(message)
    status = int(found[1]) if found else None
    kind = next((kind for words, kind in _WORDS if re.search(words, message)), None)
    if status is not None and kind not in ("quota", "context_overflow"):
        kind = "unavailable" if status >= 500 else _STATUSES.get(status, "invalid")
    return Problem(kind or "tool_error", message, status)


def headline(event: Json) -> str:
    """An event in a line for who watches; "" for one that says nothing new."""
    item = _dict(event.get("item"))
    kind = str(item.get("type") or event.get("type"))
    if event.get("type") == "item.started":
        return one_line(f"{kind} {item.get('command') or item.get('tool') or item.get('query') or ''}")
    if event.get("type") == "item.completed":
        if kind == "file_change":
            changes = item.get("changes")
            paths = [str(_dict(change).get("path")) for change in changes] if isinstance(changes, list) else []
            return one_line(f"edits {', '.join(paths)}")
        return one_line(str(item.get("text") or item.get("message") or f"{kind} {item.get('status') or 'done'}"))
    return one_line(str(event.get("message") or kind))


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def launch(options: Options, task: Task) -> Launch:
    return Launch(command_line(options, task), os.environ, worded(task), INSTALL)


def heard(task: Task) -> Seen:
    """Nothing yet."""
    return Seen(task.session, resumed=task.session is not None)


def parse(argv: list[str]) -> Options:
    """The options in the arguments. Exits with status 2 when they make no sense."""
    parser = argparse.ArgumentParser(prog="python -P -m runner.bridges.codex", allow_abbrev=False)
    parser.add_argument("--command", default="codex", help="the codex program")
    parser.add_argument("--model", help="model of tasks that name none")
    parser.add_argument("--sandbox", choices=SANDBOXES, default="workspace-write", help="what its commands may touch")
    parser.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="of its config.toml")
    parser.add_argument("--check", action="store_true", help="say how it stands, in a line of JSON, and end")
    given = vars(parser.parse_args(argv))
    return Options(**{**given, "config": tuple(given["config"])})


def check(options: Options, env: Mapping[str, str]) -> Check:
    """Is it installed, and has it a login? Asks no API."""
    found = installed(options.command, env, INSTALL)
    if not found.installed or env.get("CODEX_API_KEY") or env.get("OPENAI_API_KEY"):
        return replace(found, logged_in=True if found.installed else None)
    status = ask([options.command, "login", "status"], env, LOGIN_S)
    if status.code == 1:
        fix = f"run `{options.command} login`, or export CODEX_API_KEY=…"
        return replace(found, logged_in=False, detail="it is not logged in", fix=fix)
    return replace(found, logged_in=True if status.code == 0 else None)


def main(argv: list[str]) -> int:
    options = parse(argv)
    if options.check:
        print(check(options, os.environ).line())
        return 0
    serve_stdio(
        agent_server("codex", "Codex", HONOURED, lambda task, call: do(launch(options, task), task, call, heard(task)))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
