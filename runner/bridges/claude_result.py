"""What the events of `claude -p --output-format stream-json` mean. Pure.

Facts (2.1.330): `subtype` of the result says "success" also for API errors, so `is_error` counts; the word in `error` of the last
assistant event is the best name of a failure; `total_cost_usd` of a resumed session counts from its beginning, so the cost of a call
is the sum over `model_usage_since_last_result`; a task whose tools were denied ends without an error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from runner.bridges.command import amount, counts, one_line
from runner.bridges.stdio import Json
from runner.bridges.task import Answer, Problem

_WORDS = {
    "authentication_failed": "auth",
    "oauth_org_not_allowed": "auth",
    "billing_error": "quota",
    "rate_limit": "rate_limit",
    "server_error": "unavailable",
    "overloaded": "unavailable",
    "invalid_request": "invalid",
    "model_not_found": "invalid",
}
"""`error` of an assistant event that stands for a failure."""
_STATUSES = {401: "auth", 402: "quota", 403: "auth", 408: "timeout", 413: "context_overflow", 429: "rate_limit"}
_TOKENS = {
    "in": "input_tokens",
    "out": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}
_SUBTYPES = {"error_max_structured_output_retries": "bad_output"}
_UNKNOWN_SESSION = re.compile(r"(?i)no conversation found")
_NOT_OURS = re.compile(r"(?i)\b(unknown option|invalid (session|argument|value)|option .+ argument)")


@dataclass(slots=True)
class Seen:
    """What the events told so far."""

    session: str | None = None
    session_named: bool = False
    """It was told by claude, not only asked for."""
    turns: int = 0
    tool_calls: int = 0
    failure: str = ""
    """`error` of the last assistant event."""
    resets_at: int | None = None
    denied: dict[str, Json] = field(default_factory=dict)
    result: Json | None = None

    def take(self, event: Json) -> str:
        session = event.get("session_id")
        kind = event.get("type")
        if isinstance(session, str) and kind == "system" and event.get("subtype") == "init":
            self.session, self.session_named = session, True
        if kind == "assistant":
            self._assistant(event)
        elif kind == "system" and event.get("subtype") == "permission_denied":
            denial = {"tool": str(event.get("tool_name")), "message": str(event.get("message") or "")}
            self.denied[str(event.get("tool_use_id"))] = denial
        elif kind == "rate_limit_event":
            self._limit(event.get("rate_limit_info"))
        elif kind == "result":
            self.result = event
        return headline(event)

    def hopeless(self) -> None:
        """It is waited for as long as the task may take."""

    def last_word(self, tail: str) -> Answer | None:
        return None if self.result is None else answered(self.result, self, tail)

    def explained(self, code: int, tail: str) -> Problem | None:
        return Problem("invalid", "does not take these arguments") if code <= 128 and _NOT_OURS.search(tail) else None

    def ended(self, problem: Problem) -> Answer:
        """The answer of a task that never said its last word."""
        return Answer(
            session_id=self.session,
            turns=self.turns,
            denials=tuple(self.denied.values()),
            tool_calls=self.tool_calls,
            problem=problem,
        )

    def _assistant(self, event: Json) -> None:
        self.failure = str(event.get("error") or "")
        if not self.failure:
            self.turns += 1
        self.tool_calls += sum(1 for block in _blocks(event) if block.get("type") == "tool_use")

    def _limit(self, info: Any) -> None:
        if isinstance(info, dict) and info.get("status") == "rejected" and isinstance(info.get("resetsAt"), int):
            self.resets_at = info["resetsAt"]


def answered(result: Json, seen: Seen, tail: str) -> Answer:
    """The answer in a result line; `tail` is the end of stderr."""
    text = result.get("result")
    answer = Answer(
        text=text if isinstance(text, str) else "",
        structured=result.get("structured_output"),
        session_id=_text(result.get("session_id")) or seen.session,
        turns=_count(result.get("num_turns")),
        usage=counts(result.get("usage"), _TOKENS),
        cost_usd=_cost(result),
        denials=_denials(result.get("permission_denials"), seen),
        tool_calls=seen.tool_calls,
    )
    if not result.get("is_error"):
        return answer
    problem = _problem(result, seen, answer.text, tail)
    # What it says of an API error is no answer; it has done a turn only when it was heard.
    return replace(answer, text="", turns=seen.turns, problem=problem)


def _problem(result: Json, seen: Seen, text: str, tail: str) -> Problem:
    errors = result.get("errors")
    said = text or "; ".join(map(str, errors if isinstance(errors, list) else ())) or tail or "it failed without a word"
    status = result.get("api_error_status")
    status = status if isinstance(status, int) else None
    kind = "quota" if seen.resets_at is not None else _kind(result, status, seen.failure, said)
    unknown = _UNKNOWN_SESSION.search(said) is not None
    begun = None if seen.turns or seen.tool_calls else False
    return Problem(kind, said, status, seen.resets_at, session_unknown=unknown, begun=begun)


def _kind(result: Json, status: int | None, failure: str, said: str) -> str:
    special = _special(result, failure, said.lower())
    if special:
        return special
    if status is not None:
        return _STATUSES.get(status) or ("unavailable" if status >= 500 else "invalid")
    if result.get("api_error"):
        return "timeout" if "timeout" in str(result["api_error"]) else "unavailable"
    # Its own caps (turns, dollars) and whatever is new: a known answer that only the manifest can judge.
    return _WORDS.get(failure) or _SUBTYPES.get(str(result.get("subtype")), "tool_error")


def _special(result: Json, failure: str, said: str) -> str:
    """What counts before the status of the API; "" = nothing of it."""
    if result.get("stop_reason") == "refusal":
        return "denied"  # by the policy on content
    if result.get("terminal_reason") == "prompt_too_long" or "context window limit" in said:
        return "context_overflow"
    if result.get("api_error") == "max_output_tokens":
        return "bad_output"
    if failure == "billing_error":
        return "quota"
    if _UNKNOWN_SESSION.search(said):
        return "invalid"
    return "auth" if failure not in _WORDS and "not logged in" in said else ""


def headline(event: Json) -> str:
    """An event in a line for who watches."""
    kind = str(event.get("type"))
    if kind == "system" and event.get("subtype") == "api_retry":
        return f"retry {event.get('attempt')} after {event.get('error_status') or event.get('error')}"
    if kind == "system" and event.get("subtype") == "permission_denied":
        return f"denied: {event.get('tool_name')}"
    if kind == "assistant":
        return "; ".join(filter(None, map(_block_line, _blocks(event)))) or "thinks"
    if kind == "user":
        failed = any(block.get("is_error") for block in _blocks(event))
        return "tool failed" if failed else "tool answered"
    if kind == "result":
        return f"done after {event.get('num_turns')} turns" if not event.get("is_error") else "failed"
    return f"{kind}: {event['subtype']}" if event.get("subtype") else kind


def _block_line(block: Json) -> str:
    if block.get("type") == "tool_use":
        given = block.get("input")
        first = (
            next((value for value in given.values() if isinstance(value, str)), "") if isinstance(given, dict) else ""
        )
        return one_line(f"{block.get('name')} {first}")
    return one_line(str(block.get("text") or "")) if block.get("type") == "text" else ""


def _blocks(event: Json) -> list[Json]:
    message = event.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _denials(raw: Any, seen: Seen) -> tuple[Json, ...]:
    """Of the result line, with the reasons that the events gave."""
    found = dict(seen.denied)
    for denial in raw if isinstance(raw, list) else ():
        if isinstance(denial, dict):
            known = found.get(str(denial.get("tool_use_id")), {"message": ""})
            found[str(denial.get("tool_use_id"))] = {
                **known,
                "tool": str(denial.get("tool_name")),
                "input": denial.get("tool_input"),
            }
    return tuple(found.values())


def _cost(result: Json) -> float | None:
    """US dollars of this call alone."""
    models = result.get("model_usage_since_last_result")
    if isinstance(models, dict):
        costs = [amount(model.get("costUSD")) for model in models.values() if isinstance(model, dict)]
        if None not in costs:
            return sum((cost for cost in costs if cost is not None), 0.0)
    return amount(result.get("total_cost_usd"))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
