"""The contract run_task: what counts as done, and what the lines of `claude` mean for it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.bridges.claude_result import Seen, answered, headline
from runner.bridges.stdio import Call, Fault, Server, serve
from runner.bridges.task import KINDS, Answer, Problem, Task, judged, result
from runner.manifest.vocabulary import ERROR_CLASSES

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
TASK = Task(prompt="x", cwd=Path("."))


def test_every_kind_of_error_is_an_error_class_of_the_runner() -> None:
    assert set(KINDS) <= set(ERROR_CLASSES)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(text="done", turns=1), None),
        (Answer(text="done", turns=0), "bad_output"),
        (Answer(text=" ", turns=3), "bad_output"),
        (Answer(text="done", turns=1, denials=({"tool": "Write"},)), "denied"),
        (Answer(text="Weekly limit reached · resets 9pm", turns=1), "quota"),
        (Answer(problem=Problem("rate_limit", "5-hour limit reached ∙ resets 9pm", 429)), "quota"),
        (Answer(problem=Problem("rate_limit", "slow down", 429)), "rate_limit"),
        (Answer(problem=Problem("auth", "Not logged in")), "auth"),
    ],
)
def test_only_an_answer_that_nothing_speaks_against_is_ok(answer: Answer, kind: str | None) -> None:
    told = judged(answer, TASK, NOW)
    assert (told.problem.kind if told.problem else None) == kind
    assert (told.status == "ok") == (kind is None) == ("isError" not in result(told))


def test_a_limit_tells_when_it_ends() -> None:
    told = judged(Answer(text="Weekly limit reached · resets 9pm", turns=1), TASK, NOW)
    assert told.problem is not None
    assert told.problem.resets_at == int(datetime(2026, 11, 22, 21, 0, tzinfo=UTC).timestamp())


def test_a_schema_that_never_ends_is_told_and_not_fallen_over() -> None:
    told = judged(Answer(text="{}", turns=1), replace(TASK, output_schema={"$ref": "#"}), NOW)
    assert told.problem is not None
    assert told.problem.message == "`output_schema` cannot be used: it refers to itself without end"


def line(**changes: Any) -> dict[str, Any]:
    return {"type": "result", "is_error": True, "subtype": "success", "num_turns": 1, "result": "API Error"} | changes


@pytest.mark.parametrize(
    ("changes", "failure", "kind"),
    [
        ({"api_error_status": 401}, "authentication_failed", "auth"),
        ({"api_error_status": 429}, "rate_limit", "rate_limit"),
        ({"api_error_status": 529}, "server_error", "unavailable"),
        ({"api_error_status": 402}, "", "quota"),
        ({"api_error_status": 413}, "invalid_request", "context_overflow"),
        ({"api_error_status": 400, "terminal_reason": "prompt_too_long"}, "invalid_request", "context_overflow"),
        ({"api_error_status": 400, "result": "Credit balance is too low"}, "billing_error", "quota"),
        ({"api_error": "connection_failed"}, "server_error", "unavailable"),
        ({"api_error": "max_output_tokens"}, "max_output_tokens", "bad_output"),
        ({"stop_reason": "refusal"}, "invalid_request", "denied"),
        ({"api_error": "request_timeout"}, "server_error", "timeout"),
        ({"result": "Not logged in · Please run /login"}, "", "auth"),
        (
            {"subtype": "error_max_turns", "result": None, "errors": ["Reached maximum number of turns (2)"]},
            "",
            "tool_error",
        ),
        ({"subtype": "error_max_structured_output_retries", "result": None}, "", "bad_output"),
        ({"result": None, "errors": ["No conversation found with session ID: x"]}, "", "invalid"),
    ],
)
def test_a_failed_result_line_has_the_class_of_its_cause(changes: dict[str, Any], failure: str, kind: str) -> None:
    answer = answered(line(**changes), Seen(failure=failure), "")
    assert answer.problem is not None
    assert (answer.problem.kind, answer.problem.http_status) == (kind, changes.get("api_error_status"))


def test_a_rejected_subscription_limit_is_quota_until_it_is_reset() -> None:
    seen = Seen()
    seen.take({"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", "resetsAt": 1}})
    assert seen.resets_at is None
    seen.take({"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 1_900_000_000}})
    answer = answered(line(api_error_status=429), seen, "")
    assert answer.problem is not None
    assert (answer.problem.kind, answer.problem.resets_at) == ("quota", 1_900_000_000)


def test_an_unknown_cost_is_not_nothing() -> None:
    assert answered(line(), Seen(), "").cost_usd is None
    assert answered(line(total_cost_usd=0.5), Seen(), "").cost_usd == 0.5
    models = {"a": {"costUSD": 0.25}, "b": {"costUSD": 0.5}}
    assert answered(line(total_cost_usd=9, model_usage_since_last_result=models), Seen(), "").cost_usd == 0.75


@pytest.mark.parametrize(
    "event", [{}, {"type": "assistant", "message": 5}, {"type": "user", "message": {"content": ["x", 1]}}]
)
def test_events_of_an_unknown_shape_are_lines_and_nothing_breaks(event: dict[str, Any]) -> None:
    Seen().take(event)
    assert headline(event)


def said(server: Server, *lines: bytes) -> list[dict[str, Any]]:
    sink = io.BytesIO()
    serve(server, io.BytesIO(b"\n".join(lines) + b"\n"), sink)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def request(number: int, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()


def test_progress_goes_only_to_a_client_that_gave_a_token() -> None:
    def tool(name: str, given: Any, call: Call) -> dict[str, Any]:
        call.progress("one", session="s")
        return {"content": []}

    server = Server("s", (), tool)
    asked = said(server, request(1, name="t", _meta={"progressToken": "p"}))
    assert asked[0]["params"] == {"progressToken": "p", "progress": 1, "message": "one", "_meta": {"ares/session": "s"}}
    assert [answer.get("id") for answer in said(server, request(2, name="t"))] == [2]


def test_a_tool_that_breaks_off_with_a_fault_gives_an_error_answer() -> None:
    def tool(name: str, given: Any, call: Call) -> dict[str, Any]:
        raise Fault(-32602, "no such tool")

    (answer,) = said(Server("s", (), tool), request(1, name="t"))
    assert answer["error"] == {"code": -32602, "message": "no such tool"}


@pytest.mark.parametrize("depth", [1, 500, 900, 990])
def test_an_id_that_is_neither_text_nor_a_number_is_refused_however_deep_it_is(depth: int) -> None:
    deep = b'{"jsonrpc": "2.0", "id": ' + b"[" * depth + b"]" * depth + b', "method": "ping"}\n'
    sink = io.BytesIO()
    serve(Server("s", (), lambda name, given, call: {}), io.BytesIO(deep + request(1, name="t")), sink)
    refused, answered = map(json.loads, sink.getvalue().splitlines())
    assert (refused["id"], refused["error"]["code"] in (-32600, -32700), answered["id"]) == (None, True, 1)


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), 10**400, True, "1"])
def test_a_cost_that_is_no_amount_is_unknown(usd: Any) -> None:
    assert answered(line(is_error=False, total_cost_usd=usd), Seen(), "").cost_usd is None
    assert answered(line(model_usage_since_last_result={"m": {"costUSD": usd}}), Seen(), "").cost_usd is None
