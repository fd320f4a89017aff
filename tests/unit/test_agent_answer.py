"""What an agent's answer comes to: the contract of run_task and a mapping, without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from runner.executors.agent_answer import ended
from runner.executors.agent_spec import AgentSpec
from runner.ports import CallResult
from runner.redact import Redactor

Json = dict[str, Any]
NOW = 1_800_000_000_000
GOOD: Json = {
    "status": "ok", "text": "done", "structured": None, "session_id": None, "turns": 1, "usage": {"in": 10, "out": 5},
    "cost_usd": 0.01, "denials": [], "tool_calls": 1, "error": None,
}  # fmt: skip


def came_back(*, text: str = "", structured: Json | None = None, refused: bool = False) -> CallResult:
    """What MCP makes of a tool's answer."""
    output: Any = text if structured is None else structured
    error = {"error_class": "tool_error", "message": text} if refused else {}
    return CallResult(output=output, text=text, structured=structured is not None, **error)


def answer(spec: AgentSpec = AgentSpec("agent"), **changes: Any) -> CallResult:
    said = GOOD | changes
    raw = came_back(text=said["text"], structured=said, refused=said["status"] != "ok")
    return ended(spec, raw, "s1", "small", NOW).result


def failed(kind: str, *, turns: int = 0, tool_calls: int | None = 0, text: str = "", **more: Any) -> CallResult:
    status = kind if kind in ("timeout", "denied", "cancelled") else "error"
    error = {"kind": kind, "message": "no", "http_status": None, "resets_at": None, "retry_after_s": None, **more}
    return answer(status=status, text=text, turns=turns, tool_calls=tool_calls, cost_usd=None, error=error)


# ---------------------------------------------------------------- the contract


def test_a_structured_answer_is_the_output_and_its_words_stay_beside_it() -> None:
    result = answer(structured={"n": 7})
    assert (result.output, result.text, result.structured) == ({"n": 7}, "done", True)


def test_a_structured_answer_needs_no_words() -> None:
    assert answer(structured={"n": 7}, text="").error_class == ""


def test_a_price_that_nobody_knows_is_unknown_and_never_nothing() -> None:
    result = answer(cost_usd=None)
    assert (result.error_class, result.cost, result.cost_source) == ("", None, "")


def test_an_agent_that_is_declared_free_costs_nothing() -> None:
    result = answer(AgentSpec("agent", free=True), cost_usd=3)
    assert (result.cost, result.cost_source) == (0, "free")


def test_the_session_that_progress_named_holds_when_the_answer_names_none() -> None:
    assert (answer().session, answer(session_id="s2").session) == ("s1", "s2")


@pytest.mark.parametrize(
    ("claim", "error_class", "words"),
    [
        ({"denials": [{"tool": "Bash", "message": "not allowed"}]}, "denied", "not allowed to use Bash"),
        ({"turns": 0}, "bad_output", "took no turn"),
        ({"text": "  "}, "bad_output", "gave no answer"),
        ({"text": "Claude usage limit reached|1800003600"}, "quota", "limit reached"),
        ({"status": "error", "text": "it rains"}, "tool_error", "it rains"),
        ({"error": {"kind": "denied", "message": "by the policy"}}, "denied", "by the policy"),
        ({"status": "done", "text": ""}, "tool_error", "its status is done, and it does not say why"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_an_agent_only_claims_is_no_success(claim: Json, error_class: str, words: str) -> None:
    result = answer(**claim)
    assert (result.error_class, words in result.message) == (error_class, True), result


def test_denials_are_told_one_by_one() -> None:
    denials = [{"tool": "Bash", "message": "not allowed"}, {"tool": "Write"}]
    assert answer(denials=denials).denials == ("Bash: not allowed", "Write")


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (
            4_000,
            lambda text: (AgentSpec("agent"), GOOD | {"status": "error", "error": {"kind": "crash", "message": text}}),
        ),
        (494, lambda text: (AgentSpec("agent"), GOOD | {"denials": [{"tool": "Bash", "message": text}]})),
        (500, lambda text: (AgentSpec("agent", rules=(("no way", "denied"),)), GOOD | {"text": text + "no way"})),
        (200, lambda text: (AgentSpec("agent", "ask", {}, {"text": "answer"}), text)),
    ],
)
def test_no_cut_goes_through_a_secret(most: int, said: Callable[[str], tuple[AgentSpec, Json | str]]) -> None:
    secret = "correct-horse-battery"
    for before in range(most - len(secret), most + 1):
        spec, told = said("." * before + secret + "." * most)
        raw = came_back(text=told) if isinstance(told, str) else came_back(text=told["text"], structured=told)
        result = ended(spec, raw, None, "", NOW, Redactor({"s": secret}).text).result
        assert "[cut: " in f"{result.message} {result.denials}"
        assert "corr" not in f"{result.message} {result.denials}"


@pytest.mark.parametrize("raw", [came_back(text="all done!"), came_back(structured={"done": True})])
def test_an_answer_outside_of_the_contract_is_bad_output_of_unknown_cost(raw: CallResult) -> None:
    result = ended(AgentSpec("agent"), raw, None, "", NOW).result
    assert (result.error_class, "contract of run_task" in result.message, result.cost) == ("bad_output", True, None)


@pytest.mark.parametrize(
    ("told", "status", "retry_after_ms"),
    [
        ({"kind": "rate_limit", "http_status": 429, "retry_after_s": 1.5}, 429, 1_500),
        ({"kind": "quota", "resets_at": NOW // 1000 + 3_600}, None, 3_600_000),
        ({"kind": "quota", "resets_at": NOW // 1000 - 5}, None, 0),
        ({"kind": "auth", "http_status": 401}, 401, None),
        ({"kind": "unavailable", "http_status": 529}, 529, None),
        ({"kind": "denied"}, None, None),
        ({"kind": "context_overflow"}, None, None),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
def test_a_failure_keeps_its_class_its_status_and_when_to_come_back(
    told: Json, status: int | None, retry_after_ms: int | None
) -> None:
    result = failed(**told)
    assert (result.error_class, result.status, result.retry_after_ms) == (told["kind"], status, retry_after_ms)
    assert (result.effect, result.output) == ("none", None)


@pytest.mark.parametrize("kind", ["unavailable", "rate_limit", "timeout", "crash"])
def test_an_agent_that_broke_off_in_the_middle_of_its_work_leaves_a_doubt(kind: str) -> None:
    assert failed(kind, turns=3, tool_calls=2).effect == "maybe"


def test_an_agent_that_counts_nothing_leaves_a_doubt_unless_it_says_that_it_never_began() -> None:
    assert failed("unavailable", http_status=502, tool_calls=None).effect == "maybe"
    unsent = failed("unavailable", tool_calls=None, begun=False)
    assert (unsent.effect, unsent.cost) == ("none", 0)


def test_an_agent_that_says_it_was_cancelled_although_nobody_did_has_crashed() -> None:
    result = failed("cancelled")
    assert (result.error_class, result.effect) == ("crash", "maybe")


def test_an_unknown_kind_is_a_tool_error() -> None:
    assert failed("sunspots").error_class == "tool_error"


def test_a_schema_that_was_missed_keeps_what_there_was_for_the_next_round() -> None:
    result = failed("bad_output", text="n is seven")
    assert (result.error_class, result.output, result.message) == ("bad_output", "n is seven", "no")


# ---------------------------------------------------------------- a mapping

MAPPING = AgentSpec(
    "agent",
    "ask",
    {"question": "{{ prompt }}"},
    {
        "text": "answer.0.words",
        "cost_usd": "usage.usd",
        "session_id": "id",
        "turns": "usage.turns",
        "structured": "data",
    },
    (("(?i)come back (later|tomorrow)", "quota"), ("(?i)no such", "invalid")),
)


def mapped(raw: CallResult) -> CallResult:
    return ended(MAPPING, raw, None, "", NOW).result


def structured(**changes: Any) -> CallResult:
    return came_back(
        structured={"answer": [{"words": "fixed"}], "usage": {"usd": 0.5, "turns": 2}, "id": "t1"} | changes
    )


def test_a_mapped_answer_is_read_by_its_paths() -> None:
    result = mapped(structured())
    assert (result.error_class, result.text, result.cost, result.session) == ("", "fixed", 500_000, "t1")


def test_a_mapped_answer_in_text_is_read_as_json_and_data_is_the_output() -> None:
    result = mapped(
        came_back(text=json.dumps({"answer": [{"words": "fixed"}], "usage": {"turns": 1}, "data": {"n": 1}}))
    )
    assert (result.output, result.text, result.structured, result.cost) == ({"n": 1}, "fixed", True, None)


def test_a_mapped_answer_in_plain_words_is_under_text() -> None:
    spec = AgentSpec("agent", "ask", {"q": "{{ prompt }}"}, {"text": "text"})
    assert ended(spec, came_back(text="fixed"), None, "", NOW).result.text == "fixed"


@pytest.mark.parametrize(
    ("raw", "error_class"),
    [
        (structured(usage={"turns": 0}), "bad_output"),
        (structured(usage={}), "bad_output"),
        (structured(answer=[]), "bad_output"),
        (structured(answer=[{"words": ""}]), "bad_output"),
        (structured(answer=[{"words": "Come back tomorrow."}]), "quota"),
        (structured(answer=[{"words": "You've hit your usage limit. Resets in 2h"}]), "quota"),
        (came_back(text="no such folder", refused=True), "invalid"),
        (came_back(text="it is raining", refused=True), "tool_error"),
        (came_back(text="just words"), "bad_output"),
    ],
)
def test_a_mapped_server_is_held_to_the_same_honesty(raw: CallResult, error_class: str) -> None:
    assert mapped(raw).error_class == error_class


def test_a_limit_notice_of_a_mapped_server_says_when_to_come_back() -> None:
    result = mapped(structured(answer=[{"words": "You've hit your usage limit. Resets in 2h"}]))
    assert result.retry_after_ms == 2 * 3_600_000


# ---------------------------------------------------------------- numbers that no record can hold


@pytest.mark.parametrize("usd", [1e305, 1e15, 10**30])
def test_a_price_beyond_all_money_is_unknown(usd: float) -> None:
    result = answer(cost_usd=usd)
    assert (result.error_class, result.cost, result.cost_source) == ("", None, "")


@pytest.mark.parametrize("limit", [{"resets_at": 10**24}, {"retry_after_s": 1e306}, {"retry_after_s": 1e15}])
def test_a_limit_that_ends_later_than_in_a_year_is_as_good_as_one_that_does_not_say(limit: Json) -> None:
    result = failed("quota", **limit)
    assert (result.error_class, result.retry_after_ms) == ("quota", None)


def test_counts_beyond_all_counting_are_not_counted() -> None:
    result = failed("tool_error", http_status=10**24)
    assert result.status is None
    assert answer(usage={"in": 10**30, "out": 5}).tokens == {"out": 5}
