"""What an agent's tool came back with, as a CallResult: by the contract of `run_task`, or by the mapping that the config gives.

Honesty is the same for both: denials, no turn, a limit notice, no words are never a success (`bridges.task`). Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from runner.bridges.task import Answer, Problem, against
from runner.executors.agent_spec import AgentSpec
from runner.executors.mcp_results import MESSAGE_CHARS, Masked, shown
from runner.manifest.vocabulary import ERROR_CLASSES
from runner.ports import CallResult

MICRO: Final = 1_000_000
MOST_USD: Final = 1e9
"""What is said to have cost more is no price."""
MOST: Final = 1 << 53
LONGEST_MS: Final = 366 * 86_400_000
"""A limit that ends later is as good as one that does not say when."""
DENIAL_CHARS: Final = 500
_UNSENT: Final = frozenset({"unavailable", "auth", "invalid", "timeout"})
"""Classes with which our side of MCP says that the call was never made; its effect is then `none`."""
_IN_DOUBT: Final = frozenset({"timeout", "crash"})
"""Classes after which nobody knows how far an agent came."""
_CUT_OFF: Final = frozenset({"unavailable", "rate_limit", "quota", "auth", "context_overflow"})
"""Classes that meet an agent before its first step, or in the middle of its work."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended. `forgotten`: the agent does not have the conversation that it was to go on in."""

    result: CallResult
    forgotten: bool = False


def ended(
    spec: AgentSpec, raw: CallResult, session: str | None, model: str, now_ms: int, masked: Masked = str
) -> Ended:
    """`raw`: what the tool came back with. `session`: the one that progress named, or that it was to go on in. `masked`: of what is
    cut, and only of that."""
    answer = _read(spec, raw, masked)
    if answer is None:
        return Ended(_passed(spec, raw, session, model))
    answer = replace(answer, session_id=answer.session_id or session)
    problem = _problem(spec, answer, datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(), masked)
    result = _result(spec, answer, model, masked)
    if problem is None:
        return Ended(result)
    return Ended(_failed(result, answer, problem, now_ms, masked), forgotten=problem.session_unknown)


def _passed(spec: AgentSpec, raw: CallResult, session: str | None, model: str) -> CallResult:
    """A failure on the way to the agent or back: what it has cost is known only when the call was never made."""
    unsent = raw.effect == "none" and raw.error_class in _UNSENT
    cost, source = (0, "") if unsent else _cost(spec, None)
    return raw._replace(cost=cost, cost_source=source, executor=spec.name, model=model, session=session)


# ---------------------------------------------------------------- reading


def _read(spec: AgentSpec, raw: CallResult, masked: Masked) -> Answer | None:
    """The answer in what came back; None for a failure of MCP itself, in which there is none."""
    if raw.error_class not in ("", "tool_error") or raw.status is not None:
        return None
    return _mapped(spec, raw, masked) if spec.args is not None else _contract(raw)


def _contract(raw: CallResult) -> Answer:
    said = _map(raw.output)
    if not isinstance(said.get("status"), str):
        if raw.error_class:
            return Answer(problem=Problem("tool_error", raw.message))
        return Answer(
            text=raw.text or "", problem=Problem("bad_output", "the answer does not keep the contract of run_task")
        )
    denials = said.get("denials")
    return Answer(
        text=_text(said.get("text")) or "",
        structured=said.get("structured"),
        session_id=_text(said.get("session_id")),
        turns=_count(said.get("turns")) or 0,
        usage={name: count for name, count in _map(said.get("usage")).items() if _count(count) is not None},
        cost_usd=_number(said.get("cost_usd")),
        denials=tuple(map(_map, denials)) if isinstance(denials, list) else (),
        tool_calls=_count(said.get("tool_calls")),
        problem=_told(said, raw),
    )


def _told(said: Mapping[str, Any], raw: CallResult) -> Problem | None:
    """The problem that the contract names; one without a name for a status that is no `ok`."""
    status, error = said["status"], _map(said.get("error"))
    if status == "ok" and not raw.error_class and not said.get("error"):
        return None
    kind = str(error.get("kind") or status)
    if kind == "cancelled":
        kind = "crash"  # not by us: who cancels a call gets no answer
    return Problem(
        kind if kind in ERROR_CLASSES else "tool_error",
        _text(error.get("message")) or _text(said.get("text")) or f"its status is {status}, and it does not say why",
        _status(error.get("http_status")),
        _count(error.get("resets_at")),
        _number(error.get("retry_after_s")),
        session_unknown=error.get("session_unknown") is True,
        begun=error["begun"] if isinstance(error.get("begun"), bool) else None,
    )


def _mapped(spec: AgentSpec, raw: CallResult, masked: Masked) -> Answer:
    """By the paths of the mapping, into the structured answer, else into its text as JSON. Text that is neither is under `text`."""
    tree = _tree(raw)
    found = {part: _at(tree, path) for part, path in spec.paths.items()}
    text = found.get("text")
    turns = _count(found.get("turns"))
    problem = Problem("tool_error", raw.message) if raw.error_class else None
    if problem is None and text is None and found.get("structured") is None:
        where = spec.paths.get("text", "text")
        said = shown(raw.text or "", 200, masked)
        problem = Problem("bad_output", f"there is no `{where}` in the answer of {spec.tool}: {said}")
    return Answer(
        text=text
        if isinstance(text, str)
        else raw.text or ""
        if text is None
        else json.dumps(text, ensure_ascii=False),
        structured=found.get("structured"),
        session_id=_text(found.get("session_id")),
        turns=turns if turns is not None else 0 if "turns" in spec.paths else 1,
        cost_usd=_number(found.get("cost_usd")),
        problem=problem,
    )


def _tree(raw: CallResult) -> Any:
    if raw.structured:
        return raw.output
    try:
        tree = json.loads(raw.text or "")
    except (ValueError, RecursionError):
        tree = None
    return tree if isinstance(tree, dict | list) else {"text": raw.text}


def _at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(tree, Mapping):
            tree = tree.get(name)
        elif isinstance(tree, list) and name.isdecimal() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return None
    return tree


# ---------------------------------------------------------------- judging


def _problem(spec: AgentSpec, answer: Answer, now: datetime, masked: Masked) -> Problem | None:
    problem = against(_ruled(spec, answer, masked), now)
    if problem is None and answer.structured is None and not answer.text.strip():
        return Problem("bad_output", "it says that it is done, but gave no answer")
    return problem


def _ruled(spec: AgentSpec, answer: Answer, masked: Masked) -> Answer:
    """`answer` with the class that the first rule gives which finds its words."""
    said = f"{answer.problem.message}\n{answer.text}" if answer.problem is not None else answer.text
    for pattern, error_class in spec.rules:
        if re.search(pattern, said):
            known = answer.problem or Problem(error_class, shown(answer.text, 500, masked))
            return replace(answer, problem=replace(known, kind=error_class))
    return answer


def _result(spec: AgentSpec, answer: Answer, model: str, masked: Masked) -> CallResult:
    cost, source = _cost(spec, answer.cost_usd)
    if answer.problem is not None and answer.problem.begun is False and answer.cost_usd is None:
        cost, source = 0, ""
    structured = answer.structured is not None
    return CallResult(
        output=answer.structured if structured else answer.text,
        text=answer.text or None if structured else answer.text,
        structured=structured,
        cost=cost,
        cost_source=source,
        tokens=dict(answer.usage),
        executor=spec.name,
        model=model,
        session=answer.session_id,
        denials=tuple(_denial(denial, masked) for denial in answer.denials),
    )


def _cost(spec: AgentSpec, usd: float | None) -> tuple[int | None, str]:
    """(micro-USD, who says so); (None, "") when nobody knows, which is never nothing."""
    if spec.free:
        return 0, "free"
    return (None, "") if usd is None or usd > MOST_USD else (round(usd * MICRO), "billed")


def _failed(result: CallResult, answer: Answer, problem: Problem, now_ms: int, masked: Masked) -> CallResult:
    kept = result if problem.kind == "bad_output" else result._replace(output=None, structured=False)
    return kept._replace(
        error_class=problem.kind,
        message=shown(problem.message, MESSAGE_CHARS, masked) or "it failed without a word",
        effect=_effect(answer, problem),
        status=problem.http_status,
        retry_after_ms=_retry_after(problem, now_ms),
    )


def _effect(answer: Answer, problem: Problem) -> Literal["none", "maybe"]:
    """A refusal, and an answer that is not good enough, are known outcomes; where an agent broke off in the middle, nobody knows."""
    if problem.begun is False or problem.kind not in _IN_DOUBT | _CUT_OFF:
        return "none"
    idle = answer.turns == 0 and not answer.tool_calls and not answer.text
    if problem.kind == "unavailable":
        idle = idle and answer.tool_calls is not None  # it was counted: the task has not begun
    return "none" if idle and problem.kind in _CUT_OFF else "maybe"


def _retry_after(problem: Problem, now_ms: int) -> int | None:
    if problem.retry_after_s is not None:
        wait = problem.retry_after_s * 1000
    elif problem.resets_at is not None:
        wait = max(0, problem.resets_at * 1000 - now_ms)
    else:
        return None
    return round(wait) if wait <= LONGEST_MS else None


def _denial(denial: Mapping[str, Any], masked: Masked) -> str:
    tool, why = denial.get("tool") or "a tool", denial.get("message") or ""
    return shown(f"{tool}: {why}" if why else str(tool), DENIAL_CHARS, masked)


# ---------------------------------------------------------------- plain values


def _map(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST else None


def _status(value: Any) -> int | None:
    count = _count(value)
    return count if count is not None and count < 1000 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e300 else None
