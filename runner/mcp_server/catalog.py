"""The tools as clients see them. Only values: a tool's module is imported when it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.bridges.stdio import described
from runner.manifest.vocabulary import MODES, McpTool

Json = dict[str, Any]

INSTRUCTIONS = """\
Pipelines of steps (manifests, YAML `ares: v1`) that run in this project, are recorded, and can be resumed. Order of work: `validate`, \
`plan`, `apply`; then `show`, `logs`. RUN is a run's id, a unique prefix of it, or a manifest's name (its latest run). Paths start from \
the project root. A run that is `suspended` waits for a person (`approval`, `unknown`), for money, or for an executor: say so to the \
person you work for. Which tools there are is the operator's decision."""


@dataclass(frozen=True, slots=True)
class Tool:
    """`takes`, `gives`: {property: schema}. `where`: `module:function`. `hints`: MCP's annotations."""

    says: str
    takes: Mapping[str, Json]
    needs: tuple[str, ...]
    gives: Mapping[str, Json]
    hints: Mapping[str, bool]
    where: str


_ANY: Json = {}
_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer"}
_NUMBER: Json = {"type": "number"}
_FLAG: Json = {"type": "boolean"}
_OBJECT: Json = {"type": "object"}
_OBJECTS: Json = {"type": "array", "items": _OBJECT}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_VERSION: Json = {"const": 1}


def _said(schema: Mapping[str, Any], text: str, **more: Any) -> Json:
    return {**schema, "description": text, **more}


_READS = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
_CONVERGES = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True, "openWorldHint": True}
_RUNS = _CONVERGES | {"idempotentHint": False}
_ANSWERS = {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": False, "openWorldHint": False}

_MANIFESTS: dict[str, Json] = {
    "paths": _said(_TEXTS, "Manifests, or folders that hold some, from the project root.", minItems=1),
    "manifest": _said(
        _TEXT, "Instead or besides: the text of a manifest. Paths in it start from the folder .ares/submitted."
    ),
}
_INPUTS: dict[str, Json] = {"inputs": _said(_OBJECT, "Inputs by name, for every manifest that declares them.")}
_MAX_USD: dict[str, Json] = {
    "max_usd": _said(
        _NUMBER,
        "US dollars that each new run may spend, besides the caps of config and manifest.",
        minimum=0,
        maximum=1e6,
    )
}
_RUN: dict[str, Json] = {
    "run": _said(_TEXT, "A run's id, a unique prefix of it, or a manifest's name (its latest run).")
}
_STEP: dict[str, Json] = {"step": _said(_TEXT, "A step's id, or `STEP[n]` for an item of a fan-out.")}
_WAIT: dict[str, Json] = {
    "wait": _said(
        _FLAG,
        "Wait for the end, with progress (default: true). false: return once it has begun; it goes on in this server.",
    )
}

_STANDS: dict[str, Json] = {"manifest": _TEXT, "run": _TEXT, "state": _TEXT, "reasons": _TEXTS}
_APPLIED: dict[str, Json] = {
    "version": _VERSION,
    "outcome": {"enum": ["succeeded", "failed", "suspended", "cancelled", "invalid", "busy", "error", "running"]},
    "exit_code": {"type": ["integer", "null"]},
    "runs": _OBJECTS,
}
_ROUTED: dict[str, Json] = {
    "version": _VERSION,
    "manifest": _TEXT,
    "file": _TEXT,
    "step": _TEXT,
    "mode": _TEXT,
    "ways": _OBJECTS,
}
_SHOWN: dict[str, Json] = {
    "version": _VERSION,
    **_STANDS,
    "action": _TEXT,
    "steps": _OBJECT,
    "outputs": _ANY,
    "cost_usd": _NUMBER,
    "attempts": _OBJECTS,
    "attempts_total": _WHOLE,
    "waiting": _OBJECTS,
    "output": _ANY,
    "sub_runs": _TEXTS,
}
_ANSWERED: dict[str, Json] = {"version": _VERSION, **_STANDS, "next": _TEXT}

TOOLS: Mapping[McpTool, Tool] = {
    "validate": Tool(
        "Find every mistake of manifests at once, each with its place and what to do about it. Runs nothing.",
        _MANIFESTS,
        (),
        {"version": _VERSION, "files": _WHOLE, "diagnostics": _OBJECTS},
        _READS,
        "runner.mcp_server.checking:validate",
    ),
    "plan": Tool(
        "What `apply` would do with each manifest and step, and why. Runs nothing.",
        _MANIFESTS
        | _INPUTS
        | {"mode": _said(_TEXT, "The system mode to plan for (default: the one that holds now).", enum=list(MODES))},
        (),
        {"version": _VERSION, "manifests": _OBJECTS},
        _READS,
        "runner.mcp_server.checking:plan",
    ),
    "route": Tool(
        "Who would do a step and why: every candidate, taken or not. Asks nobody, runs nothing.",
        {
            **_MANIFESTS,
            "step": _said(_TEXT, "A step's id, or MANIFEST/STEP."),
            **_INPUTS,
            "mode": _said(_TEXT, "As if this mode held (default: the one that holds now).", enum=list(MODES)),
        },
        ("step",),
        _ROUTED,
        _READS,
        "runner.mcp_server.checking:route",
    ),
    "status": Tool(
        "The newest runs and how they stand.",
        {"limit": _said(_WHOLE, "How many (default: 20).", minimum=1, maximum=200)},
        (),
        {"version": _VERSION, "mode": _TEXT, "runs": _OBJECTS},
        _READS,
        "runner.mcp_server.reading:status",
    ),
    "show": Tool(
        "One run: its steps, attempts, outputs, and what it waits for. With `step` also the output of that step.",
        {
            **_RUN,
            **_STEP,
            "wait_s": _said(
                _NUMBER, "Seconds to wait until the run has ended or is suspended (default: 0).", minimum=0, maximum=600
            ),
            "attempts": _said(_WHOLE, "How many of the last attempts to tell (default: 50).", minimum=0, maximum=1000),
        },
        ("run",),
        _SHOWN,
        _READS,
        "runner.mcp_server.reading:show",
    ),
    "logs": Tool(
        "What the attempts of a run wrote: the last lines, or what came after an earlier answer.",
        {
            **_RUN,
            **_STEP,
            "tail": _said(_WHOLE, "How many of the last lines (default: 200).", minimum=0, maximum=5000),
            "after": _said(_TEXT, "`next` of an earlier answer: what was written since."),
        },
        ("run",),
        {"run": _TEXT, "state": _TEXT, "entries": _OBJECTS, "next": _TEXT, "more": _FLAG},
        _READS,
        "runner.mcp_server.logs:logs",
    ),
    "events": Tool(
        "What is recorded of a run: every decision with its reason, in order.",
        {
            **_RUN,
            "after": _said(_WHOLE, "`next` of an earlier answer: what was recorded since.", minimum=0, maximum=1 << 53),
            "limit": _said(_WHOLE, "At most so many (default: 100).", minimum=1, maximum=1000),
        },
        ("run",),
        {"run": _TEXT, "events": _OBJECTS, "next": _WHOLE, "more": _FLAG, "sub_runs": _TEXTS},
        _READS,
        "runner.mcp_server.reading:events",
    ),
    "apply": Tool(
        "Converge manifests: run what is new or changed, resume what is unfinished, leave the rest. To cancel this call lets running "
        "steps end and leaves the runs resumable; `cancel` ends a run for good.",
        _MANIFESTS | _INPUTS | _MAX_USD | _WAIT,
        (),
        _APPLIED,
        _CONVERGES,
        "runner.mcp_server.driving:apply",
    ),
    "resume": Tool(
        "Go on with one run: what has succeeded stands, the rest is tried again.",
        {
            **_RUN,
            "from_step": _said(_TEXT, "A new run instead: this step and all that depends on it run again."),
            **_WAIT,
        },
        ("run",),
        _APPLIED,
        _RUNS,
        "runner.mcp_server.driving:resume",
    ),
    "cancel": Tool(
        "End a run as cancelled; its `finally` steps run.",
        _RUN,
        ("run",),
        _ANSWERED,
        _ANSWERS,
        "runner.mcp_server.answering:cancel",
    ),
    "approve": Tool(
        "Say yes to a step that waits for a person. `show` tells what is asked.",
        {**_RUN, **_STEP, "comment": _said(_TEXT, "Why; later steps may read it.")},
        ("run", "step"),
        _ANSWERED,
        _ANSWERS,
        "runner.mcp_server.answering:approve",
    ),
    "reject": Tool(
        "Say no to a step that waits for a person: it fails, and what depends on it is blocked.",
        {**_RUN, **_STEP, "comment": _said(_TEXT, "Why; later steps may read it.")},
        ("run", "step"),
        _ANSWERED,
        _ANSWERS,
        "runner.mcp_server.answering:reject",
    ),
    "resolve": Tool(
        "Say what became of a step whose outcome nobody knows: `done` with its output, or `redo`. Look before you answer.",
        {
            **_RUN,
            **_STEP,
            "done": _said(_ANY, "It happened; this is its output."),
            "redo": _said(_FLAG, "It did not happen, or may happen twice: run it again."),
        },
        ("run", "step"),
        _ANSWERED,
        _ANSWERS,
        "runner.mcp_server.answering:resolve",
    ),
}


def descriptions(names: Iterable[McpTool]) -> list[Json]:
    """The entries of tools/list."""
    return [_described(name, TOOLS[name]) for name in names]


def _described(name: str, tool: Tool) -> Json:
    return described(name, tool.says, dict(tool.takes), dict(tool.gives), tool.needs, tool.hints)
