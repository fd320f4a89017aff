"""The contract `run_task` that all bundled agent executors share: what it takes, what it gives, and what counts as done.

Honesty lives here: an answer that holds denials, no turn, a limit notice or nothing at all is never `ok`. Not here: how an agent is
driven (`claude_code`, `openclaw`)."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from runner.bridges.limits import is_notice, resets_at, speaks_of_limit
from runner.bridges.quoting import first
from runner.bridges.stdio import Call, Fault, Json, Server, described, failed
from runner.patterns import ONE_ANSWER_S, PATIENCE, TooSlow, bounded

Status = Literal["ok", "error", "timeout", "cancelled", "denied"]
KINDS = (
    "rate_limit",
    "quota",
    "auth",
    "unavailable",
    "timeout",
    "crash",
    "context_overflow",
    "bad_output",
    "tool_error",
    "denied",
    "invalid",
    "cancelled",
)
"""What `error.kind` may be: the error classes of the runner that an executor can know of."""
REMEMBERED = 64
"""Answers that are kept for a call that comes again with the same idempotency key."""
MESSAGE_CHARS = 2000


class Refused(Exception):
    """The arguments make no sense; the message says why."""


@dataclass(frozen=True, slots=True)
class Task:
    """The arguments of run_task, checked. `cwd` is an existing folder."""

    prompt: str
    cwd: Path
    model: str | None = None
    allowed_tools: tuple[str, ...] = ()
    session: str | None = None
    timeout_s: float | None = None
    output_schema: Json | None = None
    max_usd: float | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """`kind` is one of KINDS. `resets_at`: Unix seconds at which a limit ends. `session_unknown`: the agent does not have
    the conversation that it was to go on in; a new one may do. `begun` False = the agent has done nothing of the task, and it cost
    nothing; None = nobody knows."""

    kind: str
    message: str
    http_status: int | None = None
    resets_at: int | None = None
    retry_after_s: float | None = None
    session_unknown: bool = False
    begun: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent came back with. `cost_usd` None = nobody knows, never nothing. `tool_calls` None = nobody counts."""

    text: str = ""
    structured: Any = None
    session_id: str | None = None
    turns: int = 0
    usage: Mapping[str, int] = field(default_factory=dict)
    """Tokens: `in`, `out`, and where the agent says so `cache_read`, `cache_write`."""
    cost_usd: float | None = None
    denials: tuple[Json, ...] = ()
    tool_calls: int | None = None
    problem: Problem | None = None

    @property
    def status(self) -> Status:
        if self.problem is None:
            return "ok"
        kind = self.problem.kind
        return kind if kind in ("timeout", "cancelled", "denied") else "error"  # type: ignore[return-value]


Run = Callable[[Task, Call], Answer]


# ---------------------------------------------------------------- what it takes and gives

_TEXT: Json = {"type": "string", "minLength": 1}
TAKES: Mapping[str, Json] = {
    "prompt": {**_TEXT, "description": "The task, in words"},
    "cwd": {**_TEXT, "description": "Folder that the agent works in; relative to the server's"},
    "model": {**_TEXT, "description": "Model of the agent; its own choice by default"},
    "allowed_tools": {
        "type": "array",
        "items": _TEXT,
        "description": "Tools, in the agent's notation, that it may use without asking",
    },
    "session": {**_TEXT, "description": "Conversation to go on in: `session_id` of an earlier answer"},
    "timeout_s": {"type": "number", "exclusiveMinimum": 0, "description": "Then it is ended with status `timeout`"},
    "output_schema": {"type": "object", "description": "JSON Schema of `structured`"},
    "max_usd": {"type": "number", "exclusiveMinimum": 0, "description": "The task ends when it has cost this much"},
    "idempotency_key": {**_TEXT, "description": "The same call again with the same key gives the first answer again"},
}
_NUMBER: Json = {"type": ["number", "null"]}
GIVES: Mapping[str, Json] = {
    "status": {"type": "string", "enum": ["ok", "error", "timeout", "cancelled", "denied"]},
    "text": {"type": "string"},
    "structured": {"description": "What `output_schema` describes, else null"},
    "session_id": {"type": ["string", "null"]},
    "turns": {"type": "integer", "minimum": 0},
    "usage": {"type": "object", "additionalProperties": {"type": "integer"}},
    "cost_usd": {**_NUMBER, "description": "Of this call alone; null = unknown"},
    "denials": {"type": "array", "items": {"type": "object"}, "description": "Tools that were refused, and why"},
    "tool_calls": {"type": ["integer", "null"], "description": "null = unknown"},
    "error": {
        "type": ["object", "null"],
        "properties": {
            "kind": {"type": "string", "enum": list(KINDS)},
            "message": {"type": "string"},
            "http_status": {"type": ["integer", "null"]},
            "resets_at": {"type": ["integer", "null"], "description": "Unix seconds at which the limit ends"},
            "retry_after_s": _NUMBER,
            "session_unknown": {"type": "boolean"},
            "begun": {"type": ["boolean", "null"], "description": "false = nothing of the task was done, at no cost"},
        },
        "required": ["kind", "message"],
    },
}


def description(agent: str, honoured: tuple[str, ...]) -> Json:
    """The entry of tools/list. `honoured`: the arguments that this agent can keep to; the others are not offered, because a
    limit that is taken and not kept is worse than a refusal."""
    takes = {name: TAKES[name] for name in honoured}
    says = f"Have {agent} do a task and wait for the result. A result that is not `ok` is an error, with its kind."
    hints = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": True}
    return described("run_task", says, takes, dict(GIVES), ["prompt"], hints)


def read_task(given: Mapping[str, Any], honoured: tuple[str, ...], key: str | None) -> Task:
    """The task in the arguments; `key` is the idempotency key of `_meta`. Raises Refused."""
    for name in given:
        if name not in honoured:
            raise Refused(f"run_task: this agent takes no `{name}`: it takes {', '.join(honoured)}")
    if not isinstance(given.get("prompt"), str) or not given["prompt"].strip():
        raise Refused("run_task: `prompt` must be a text")
    for name in ("cwd", "model", "session", "idempotency_key"):
        _check(name, given, lambda value: isinstance(value, str) and bool(value) and "\0" not in value, "a text")
    for name in ("timeout_s", "max_usd"):
        _check(name, given, _positive, "a number above 0")
    _check("output_schema", given, lambda value: isinstance(value, dict), "an object")
    _check("allowed_tools", given, _tool_names, "a list of tool names")
    cwd = Path(given.get("cwd") or ".").resolve()
    if not cwd.is_dir():
        raise Refused(f"run_task: `cwd` {given['cwd']} is not a folder")
    fields = {name: value for name, value in given.items() if value is not None}
    fields["allowed_tools"] = tuple(fields.get("allowed_tools", ()))
    return Task(**{"idempotency_key": key, **fields, "cwd": cwd})


def _check(name: str, given: Mapping[str, Any], fits: Callable[[Any], bool], what: str) -> None:
    if given.get(name) is not None and not fits(given[name]):
        raise Refused(f"run_task: `{name}` must be {what}")


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _tool_names(value: Any) -> bool:
    # One that begins with a dash would be an option of the agent's command.
    return isinstance(value, list) and all(
        isinstance(tool, str) and tool.strip() and not tool.startswith("-") and "\0" not in tool for tool in value
    )


# ---------------------------------------------------------------- what counts as done


def judged(answer: Answer, task: Task, now: datetime) -> Answer:
    """`answer` as it may be told: `ok` only when nothing speaks against it."""
    problem = against(answer, now)
    if problem is None and task.output_schema is not None:
        return _structured(answer, task.output_schema)
    if problem is None and not answer.text.strip():
        problem = Problem("bad_output", "it gave no answer")
    return replace(answer, problem=problem)


def against(answer: Answer, now: datetime) -> Problem | None:
    """What speaks against an answer, whatever it is about; a failure that names a usage limit is `quota`."""
    problem = answer.problem
    if problem is not None:
        if problem.kind in ("rate_limit", "quota", "tool_error", "unavailable") and speaks_of_limit(problem.message):
            return replace(problem, kind="quota", resets_at=problem.resets_at or resets_at(problem.message, now))
        return problem
    if is_notice(answer.text):
        return Problem("quota", answer.text, resets_at=resets_at(answer.text, now))
    if answer.denials:
        tools = ", ".join(dict.fromkeys(str(denial.get("tool", "a tool")) for denial in answer.denials))
        return Problem("denied", f"it was not allowed to use {tools}")
    if answer.turns == 0:
        return Problem("bad_output", "it says that it is done, but it took no turn")
    return None


def _structured(answer: Answer, schema: Json) -> Answer:
    value = answer.structured
    if value is None:
        try:
            value = json.loads(_unfenced(answer.text))
        except ValueError:
            return replace(
                answer, problem=Problem("bad_output", "the answer is not JSON, but `output_schema` was given")
            )
    wrong = _mismatch(value, schema) if _finite(value) else "a number in the answer is one that JSON cannot hold"
    value = None if wrong and not _finite(value) else value
    return replace(answer, structured=value, problem=Problem("bad_output", wrong) if wrong else None)


def _finite(value: Any) -> bool:
    """False when there is a NaN or an infinite number in it (`1e999`): no client could read that."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _unfenced(text: str) -> str:
    """What is inside of a Markdown fence around the whole text, which models like to put there."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```"):
        return text[3:-3].partition("\n")[2]
    return text


def _mismatch(value: Any, schema: Json) -> str:
    """How `value` misses the schema; "" = not at all."""
    from jsonschema import SchemaError  # 60 ms, and only for tasks that have a schema
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
        with PATIENCE.within(ONE_ANSWER_S):
            validator = bounded(kind)(schema, registry=Registry())  # no `$ref` may open a socket
            error = best_match(validator.iter_errors(value))
    except (SchemaError, Unresolvable, TooSlow) as wrong:
        return f"`output_schema` cannot be used: {first(str(wrong), 200)}"
    except RecursionError:
        return "`output_schema` cannot be used: it refers to itself without end"
    return "" if error is None else f"{error.json_path}: {first(error.message, 500)}"


# ---------------------------------------------------------------- the server


class Memo:
    """Answers by idempotency key, and one run at a time for each: a repeated call waits for the first and gets its answer.

    Only what went well is remembered: after a failure the same key is allowed to try again."""

    def __init__(self) -> None:
        self._done: OrderedDict[str, Answer] = OrderedDict()
        self._running: set[str] = set()
        self._changed = threading.Condition()

    def once(self, key: str | None, run: Callable[[], Answer], call: Call) -> Answer:
        if key is None:
            return run()
        call.on_cancel(self._wake)
        with self._changed:
            self._changed.wait_for(lambda: call.cancelled or key not in self._running)
            if call.cancelled:
                return Answer(problem=Problem("cancelled", "the call was cancelled", begun=False))
            if key in self._done:
                return self._done[key]
            self._running.add(key)
        answer: Answer | None = None
        try:
            answer = run()
        finally:
            self._settle(key, answer)
        return answer

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _settle(self, key: str, answer: Answer | None) -> None:
        with self._changed:
            self._running.remove(key)
            if answer is not None and answer.problem is None:
                self._done[key] = answer
                if len(self._done) > REMEMBERED:
                    self._done.popitem(last=False)
            self._changed.notify_all()


def agent_server(name: str, agent: str, honoured: tuple[str, ...], run: Run) -> Server:
    """The MCP server that offers `run` as run_task; several tasks run at once."""
    memo = Memo()

    def tool(tool_name: str, given: Mapping[str, Any], call: Call) -> Json:
        if tool_name != "run_task":
            raise Fault(-32602, f"unknown tool `{tool_name}`: there is run_task")
        try:
            task = read_task(given, honoured, call.key)
        except Refused as refused:
            return result(Answer(problem=Problem("invalid", str(refused), begun=False)))
        key = _digest([task.idempotency_key, given]) if task.idempotency_key else None
        return result(memo.once(key, lambda: judged(run(task, call), task, datetime.now().astimezone()), call))

    return Server(name, (description(agent, honoured),), tool, parallel=True)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def result(answer: Answer) -> Json:
    """The result of tools/call: the contract as structured content; an error unless it is ok."""
    problem, error = answer.problem, None
    if problem is not None:
        error = {
            "kind": problem.kind,
            "message": first(problem.message, MESSAGE_CHARS),
            "http_status": problem.http_status,
            "resets_at": problem.resets_at,
            "retry_after_s": problem.retry_after_s,
            "session_unknown": problem.session_unknown,
            "begun": problem.begun,
        }
    text = answer.text
    structured = {
        "status": answer.status,
        "text": text,
        "structured": answer.structured,
        "session_id": answer.session_id,
        "turns": answer.turns,
        "usage": dict(answer.usage),
        "cost_usd": answer.cost_usd,
        "denials": list(answer.denials),
        "tool_calls": answer.tool_calls,
        "error": error,
    }
    if error is None:
        return {"content": [{"type": "text", "text": text}], "structuredContent": structured}
    said = f"{error['kind']}: {error['message']}"
    return {**failed(f"{said}\n\n{text}" if text else said), "structuredContent": structured}
