"""The bundled MCP server `openclaw`: the tool `run_task`, done by OpenClaw; with `--moltworker` by one behind a Cloudflare Worker.

Stand-alone: `python -P -m runner.bridges.openclaw [--url URL [--moltworker]] [--agent NAME] [--command PATH] [--config PATH]
[--check]`. With a URL it asks that gateway (`gateway`); without one it starts `openclaw agent exec` for each task, the prompt on stdin.
Secrets come from the environment: OPENCLAW_GATEWAY_TOKEN, and OPENCLAW_GATEWAY_HEADERS (a JSON object of more headers); so may the
URL (OPENCLAW_GATEWAY_URL) and --start-s (OPENCLAW_GATEWAY_START_S).

Measured with 2026.9.6: `agent exec` takes 9–15 s for a task of one turn, says nothing until its end, and cannot resume a session.
Neither way takes a list of tools or a spend cap, and a gateway works in a folder of its own: these arguments are not offered."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from runner.bridges.check import LOGIN_S, Check, ask, installed, parsed
from runner.bridges.child import CANNOT_RUN, LINE_BYTES, Child
from runner.bridges.command import amount
from runner.bridges.gateway import Exchange, Gateway, kind_of, worded
from runner.bridges.gateway_check import looked_at
from runner.bridges.stdio import Call, Json, serve_stdio
from runner.bridges.task import Answer, Problem, Run, Task, agent_server

BY_GATEWAY = ("prompt", "model", "session", "timeout_s", "output_schema", "idempotency_key")
BY_EXEC = ("prompt", "cwd", "model", "timeout_s", "output_schema", "idempotency_key")
TOKEN, HEADERS = "OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_GATEWAY_HEADERS"
URL, START_S = "OPENCLAW_GATEWAY_URL", "OPENCLAW_GATEWAY_START_S"
PROBE = "/api/status"
"""Of Moltworker; public, and asking it starts the gateway."""
_NO_LOGIN = "no route-compatible authentication source"
"""It has no key to ask its model with. Of other failures it does not tell how far it came."""
INSTALL = "npm install -g openclaw (Node 24.16 or later)"
OWN_DEADLINE_S = 86_400
"""`agent exec` has one of 10 minutes unless it is told; ours is the one that counts."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator fixed for all tasks. `gateway` None = `agent exec`."""

    gateway: Gateway | None
    command: str
    config: str | None
    check: bool = False


def run(options: Options, task: Task, call: Call) -> Answer:
    """Do one task."""
    if options.gateway is not None:
        return Exchange(options.gateway, task, call).answer()
    return _exec(options, task, call)


# ---------------------------------------------------------------- openclaw agent exec


def command_line(options: Options, task: Task) -> list[str]:
    """The arguments of `openclaw`; the prompt is read from stdin."""
    line = [
        options.command,
        "agent",
        "exec",
        "--json",
        "--message-file=-",
        f"--cwd={task.cwd}",
        f"--timeout={OWN_DEADLINE_S}",
    ]
    named = {"--config": options.config, "--model": task.model}
    return line + [f"{name}={value}" for name, value in named.items() if value is not None]


def _exec(options: Options, task: Task, call: Call) -> Answer:
    try:
        child = Child(command_line(options, task), os.environ, task.cwd, worded(task), task.timeout_s)
    except (OSError, ValueError) as error:
        return Answer(problem=Problem("unavailable", f"cannot start {options.command}: {error}", begun=False))
    call.on_cancel(child.stop)
    call.progress("started")
    try:
        said = _kept(child)
    finally:
        code = child.code()
    if call.cancelled:
        return Answer(problem=Problem("cancelled", "the call was cancelled"))
    if child.late:
        return Answer(problem=Problem("timeout", f"no result within {task.timeout_s:g} s"))
    if len(said) > LINE_BYTES:
        return Answer(problem=Problem("bad_output", f"its answer is longer than {LINE_BYTES} bytes"))
    return envelope(said, options.command, code, child.tail())


def _kept(child: Child) -> bytes:
    """What it prints; one that prints more than anybody may say is ended."""
    said = bytearray()
    for line in child.lines():
        if len(said) > LINE_BYTES:
            child.stop()
        else:
            said += line
    return bytes(said)


def envelope(said: bytes, command: str, code: int, tail: str) -> Answer:
    """The answer in the JSON envelope of `agent exec`. Pure."""
    try:
        body: Any = json.loads(said)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or "status" not in body:
        return Answer(problem=_unanswered(command, code, tail))
    answer = Answer(
        text=str(body.get("final") or ""),
        turns=_count(body.get("assistantTurns")),
        usage=_usage(body.get("usage")),
        cost_usd=amount(body.get("costUsd")),
        tool_calls=_count(_dict(body.get("toolSummary")).get("calls")),
    )
    if body.get("ok") is True and body["status"] == "ok":
        return answer
    return Answer(turns=answer.turns, usage=answer.usage, cost_usd=answer.cost_usd, problem=_problem(body, tail))


def _problem(body: Json, tail: str) -> Problem:
    error = _dict(body.get("error"))
    said = str(error.get("message") or body.get("final") or tail or "it failed without a word")
    if body.get("status") == "timeout":
        return Problem("timeout", said)
    return Problem(kind_of(said) or "tool_error", said, begun=False if _NO_LOGIN in said.lower() else None)


def _unanswered(command: str, code: int, tail: str) -> Problem:
    last = f"; its last output:\n{tail}" if tail else ""
    if code == CANNOT_RUN:
        hint = "install it with `npm install -g openclaw` (Node 24.16 or later), or name it with --command"
        return Problem("unavailable", f"cannot run {command}: {hint}{last}", begun=False)
    if "requires Node" in tail:
        return Problem("unavailable", f"{command} does not run with this Node{last}", begun=False)
    return Problem("crash", f"{command} ended with status {code} and no result{last}")


def _usage(raw: Any) -> dict[str, int]:
    names = {"in": "input", "out": "output", "cache_read": "cacheRead", "cache_write": "cacheWrite"}
    usage = _dict(raw)
    return {ours: usage[theirs] for ours, theirs in names.items() if isinstance(usage.get(theirs), int)}


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


# ---------------------------------------------------------------- the program


def parse(argv: list[str], env: Mapping[str, str]) -> Options:
    """The options in arguments and environment. Exits with status 2 when they make no sense."""
    parser = argparse.ArgumentParser(prog="python -P -m runner.bridges.openclaw", allow_abbrev=False)
    parser.add_argument(
        "--url", default=env.get(URL) or None, help="of the gateway; without it `openclaw agent exec` is started"
    )
    parser.add_argument("--agent", default="openclaw/default", help="which agent of the gateway")
    parser.add_argument("--moltworker", action="store_true", help="it sleeps: ask /api/status until it has started")
    parser.add_argument("--start-s", type=float, default=env.get(START_S) or 200.0, help="how long that may take")
    parser.add_argument("--probe-every-s", type=float, default=2.0)
    parser.add_argument("--command", default="openclaw", help="the openclaw program")
    parser.add_argument("--config", help="configuration of `agent exec`")
    parser.add_argument("--check", action="store_true", help="say how it stands, in a line of JSON, and end")
    given = parser.parse_args(argv)
    if given.url is None:
        if given.moltworker:
            parser.error("--moltworker needs --url")
        return Options(None, given.command, given.config, given.check)
    if not _is_plain(given.url):
        parser.error("--url must be http(s)://host[:port][/path]; the token belongs into the environment")
    try:
        headers = json.loads(env.get(HEADERS) or "{}")
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        parser.error(f"{HEADERS} must be a JSON object of texts")
    gateway = Gateway(
        given.url,
        env.get(TOKEN, "").strip() or None,  # a file that it was read from ends in a line break
        headers,
        given.agent,
        PROBE if given.moltworker else None,
        given.probe_every_s,
        given.start_s,
    )
    return Options(gateway, given.command, given.config, given.check)


def _is_plain(url: str) -> bool:
    """A URL of HTTP, without a name and a password in it."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:  # a port that is none
        return False


def check(options: Options, env: Mapping[str, str]) -> Check:
    """Is the gateway up, and does it take our token? Or: is the program installed, and has it a login for the model that it would use?
    No task is begun, but a sleeping Moltworker is woken."""
    if options.gateway is not None:
        return looked_at(options.gateway)
    found = installed(options.command, env, INSTALL)
    if not found.installed:
        return found
    status = parsed(ask([options.command, "models", "status", "--json"], env, LOGIN_S))
    missing = _dict(_dict(status).get("auth")).get("missingProvidersInUse")
    if isinstance(missing, list) and missing:
        fix = f"run `{options.command} configure`, or put the key of {missing[0]} into the env of its entry"
        return replace(found, logged_in=False, detail=f"it has no login for {', '.join(map(str, missing))}", fix=fix)
    return replace(found, logged_in=True if isinstance(missing, list) else None)


def main(argv: list[str]) -> int:
    options = parse(argv, os.environ)
    if options.check:
        print(check(options, os.environ).line())
        return 0
    honoured = BY_EXEC if options.gateway is None else BY_GATEWAY
    does: Run = lambda task, call: run(options, task, call)  # noqa: E731
    serve_stdio(agent_server("moltworker" if "--moltworker" in argv else "openclaw", "OpenClaw", honoured, does))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
