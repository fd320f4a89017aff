"""The bundled MCP server `claude-code`: the tool `run_task`, done by the `claude` command.

Stand-alone: `python -P -m runner.bridges.claude_code [--command PATH] [--model M] [--permission-mode M] [--setting-sources S]
[--max-usd N] [--check]`. One process of `claude -p` a task, its prompt on stdin, its events as progress. Not here: the contract
(`task`), what its events mean (`claude_result`), its process (`command`).

Measured with 2.1.330: 0.4 s to the first request; `--resume` works from any folder; a session that is killed can be resumed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from runner.bridges.check import LOGIN_S, Check, ask, installed, parsed
from runner.bridges.claude_result import Seen
from runner.bridges.command import Launch, do
from runner.bridges.stdio import serve_stdio
from runner.bridges.task import Task, agent_server

HONOURED = (
    "prompt",
    "cwd",
    "model",
    "allowed_tools",
    "session",
    "timeout_s",
    "output_schema",
    "max_usd",
    "idempotency_key",
)
QUIET: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_MAX_RETRIES": "1",  # more, and an outage gives no answer for minutes: retries are the caller's
    "API_TIMEOUT_MS": "120000",
}
"""What the environment holds unless the operator set it otherwise."""
NESTED = ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_CODE_SESSION_ID")
"""What a `claude` leaves in the environment of its commands: should we be one, ours must not think that it is a part of it."""
INSTALL = "npm install -g @anthropic-ai/claude-code"
MODES = ("acceptEdits", "auto", "bypassPermissions", "dontAsk", "manual", "plan")


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator fixed for all tasks. `max_usd` is the most that a task may ask for, and what it gets when it asks for none."""

    command: str = "claude"
    model: str | None = None
    permission_mode: str | None = None
    setting_sources: str | None = None
    max_usd: float | None = None
    check: bool = False


def command_line(options: Options, task: Task) -> list[str]:
    """The arguments of `claude`. Values that come with a task are joined to their option: none can become an option itself."""
    line = [options.command, "-p", "--output-format=stream-json", "--verbose", "--strict-mcp-config"]
    caps = [usd for usd in (options.max_usd, task.max_usd) if usd is not None]
    named = {
        "--model": task.model or options.model,
        "--permission-mode": options.permission_mode,
        "--setting-sources": options.setting_sources,
        "--max-budget-usd": f"{min(caps):.9f}" if caps else None,
        "--resume": task.session,
        "--json-schema": json.dumps(task.output_schema) if task.output_schema is not None else None,
    }
    line += [f"{name}={value}" for name, value in named.items() if value is not None]
    return [*line, "--allowedTools", *task.allowed_tools] if task.allowed_tools else line


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The environment of `claude`."""
    return {**QUIET, **{name: value for name, value in ours.items() if name not in NESTED}}


def launch(options: Options, task: Task) -> Launch:
    return Launch(command_line(options, task), environment(os.environ), task.prompt, INSTALL)


def parse(argv: list[str]) -> Options:
    """The options in the arguments. Exits with status 2 when they make no sense."""
    parser = argparse.ArgumentParser(prog="python -P -m runner.bridges.claude_code", allow_abbrev=False)
    parser.add_argument("--command", default="claude", help="the claude program")
    parser.add_argument("--model", help="model of tasks that name none")
    parser.add_argument("--permission-mode", choices=MODES, help="its own default denies edits and commands")
    parser.add_argument("--setting-sources", help="user,project,local: which settings files it reads")
    parser.add_argument("--max-usd", type=float, help="most that one task may cost")
    parser.add_argument("--check", action="store_true", help="say how it stands, in a line of JSON, and end")
    return Options(**vars(parser.parse_args(argv)))


def check(options: Options, env: Mapping[str, str]) -> Check:
    """Is it installed, and has it a login? Asks no API."""
    found = installed(options.command, env, INSTALL)
    if not found.installed:
        return found
    status = parsed(ask([options.command, "auth", "status"], env, LOGIN_S))
    known = status.get("loggedIn") if isinstance(status, dict) else None
    if known is False:
        fix = f"run `{options.command}` and type /login, or export ANTHROPIC_API_KEY=…"
        return replace(found, logged_in=False, detail="it is not logged in", fix=fix)
    return replace(found, logged_in=True if known else None)


def main(argv: list[str]) -> int:
    options = parse(argv)
    if options.check:
        print(check(options, environment(os.environ)).line())
        return 0
    serve_stdio(
        agent_server(
            "claude-code",
            "Claude Code",
            HONOURED,
            lambda task, call: do(launch(options, task), task, call, Seen(task.session)),
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
