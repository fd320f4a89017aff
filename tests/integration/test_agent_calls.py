"""The executor of the verb `agent`, with a fake agent behind a real session of MCP: what it is asked, and what its answers come to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent_calls import Bench, FakeAgent, Json
from mcp_calls import until

from runner.clock import FakeClock
from runner.ports import CallResult

NOW = 1_800_000_000_000


def failed(kind: str, **more: Any) -> Json:
    status = kind if kind in ("timeout", "denied", "cancelled") else "error"
    error = {"kind": kind, "message": "no", "http_status": None, "resets_at": None, "retry_after_s": None, **more}
    return {"answer": {"status": status, "text": "", "turns": 0, "tool_calls": 0, "cost_usd": None, "error": error}}


async def answer(folder: Path, *acts: Json, **request: Any) -> CallResult:
    """What the executor makes of one call in which the agent does `acts`."""
    async with Bench(FakeAgent(folder, list(acts)), clock=FakeClock(NOW)) as bench:
        return await bench.call(**request)


# ---------------------------------------------------------------- what it is asked


async def test_an_agent_is_given_its_task_with_all_that_it_offers_to_keep_to(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    async with Bench(agent) as bench:
        await bench.call(
            "fix it", inputs={"allowed_tools": ["Edit"], "model": "small"}, returns=schema, max_micro_usd=2_500_000, deadline_s=30
        )  # fmt: skip
    (given,) = agent.given
    assert given == {
        "prompt": "fix it",
        "cwd": str(tmp_path),
        "allowed_tools": ["Edit"],
        "model": "small",
        "output_schema": schema,
        "max_usd": 2.5,
        "timeout_s": 27.0,
    }
    assert agent.keys == ["key"]


async def test_a_limit_that_an_agent_does_not_offer_to_keep_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    async with Bench(agent, "prompt", "cwd") as bench:
        result = await bench.call(inputs={"allowed_tools": ["Read"]})
    assert (result.error_class, result.effect, agent.given) == ("invalid", "none", [])
    assert "agent cannot keep to `allowed_tools`" in result.message


async def test_what_an_agent_does_not_take_is_left_out_and_told_in_the_log(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    async with Bench(agent, "prompt") as bench:
        result = await bench.call(
            "fix it", inputs={"model": "small"}, max_micro_usd=1, session="s0", returns={"type": "object"}
        )  # fmt: skip
    (given,) = agent.given
    assert (result.error_class, list(given)) == ("", ["prompt"])
    assert given["prompt"].startswith("fix it\n") and '{"type": "object"}' in given["prompt"]
    for name in ("cwd", "model", "max_usd", "session"):
        assert f"agent takes no `{name}`" in bench.logged()


# ---------------------------------------------------------------- what it answers


async def test_a_good_answer_is_told_with_its_cost_its_tokens_and_who_gave_it(tmp_path: Path) -> None:
    said = {"answer": {"text": "fixed", "cost_usd": 0.25, "usage": {"in": 7, "out": 3, "cache_read": 2}}}
    result = await answer(tmp_path, {"session": "s1"}, said, inputs={"model": "small"})
    assert (result.error_class, result.output, result.text, result.structured) == ("", "fixed", "fixed", False)
    assert (result.cost, result.cost_source) == (250_000, "billed")
    assert result.tokens == {"in": 7, "out": 3, "cache_read": 2}
    assert (result.executor, result.model, result.session) == ("agent", "small", "s1")


async def test_a_structured_answer_is_the_output_and_its_words_stay_beside_it(tmp_path: Path) -> None:
    result = await answer(tmp_path, {"answer": {"structured": {"n": 7}}}, returns={"type": "object"})
    assert (result.output, result.text, result.structured) == ({"n": 7}, "done", True)


async def test_a_price_that_nobody_knows_is_unknown_and_never_nothing(tmp_path: Path) -> None:
    result = await answer(tmp_path, {"answer": {"cost_usd": None}})
    assert (result.error_class, result.cost, result.cost_source) == ("", None, "")


async def test_an_agent_that_is_declared_free_costs_nothing(tmp_path: Path) -> None:
    async with Bench(FakeAgent(tmp_path, [{"answer": {"cost_usd": 3}}]), spec={"free": True}) as bench:
        result = await bench.call()
    assert (result.cost, result.cost_source) == (0, "free")


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
async def test_what_an_agent_only_claims_is_no_success(
    claim: Json, error_class: str, words: str, tmp_path: Path
) -> None:
    result = await answer(tmp_path, {"answer": claim})
    assert (result.error_class, words in result.message) == (error_class, True), result


async def test_denials_are_told_one_by_one(tmp_path: Path) -> None:
    denials = [{"tool": "Bash", "message": "not allowed"}, {"tool": "Write"}]
    assert (await answer(tmp_path, {"answer": {"denials": denials}})).denials == ("Bash: not allowed", "Write")


async def test_an_answer_outside_of_the_contract_is_bad_output(tmp_path: Path) -> None:
    for act in ({"say": "all done!"}, {"structured": {"done": True}}):
        result = await answer(tmp_path, act)
        assert (result.error_class, "contract of run_task" in result.message, result.cost) == ("bad_output", True, None)
    refused = await answer(tmp_path, {"refuse": "it is raining"})
    assert (refused.error_class, refused.message) == ("tool_error", "it is raining")


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
async def test_a_failure_keeps_its_class_its_status_and_when_to_come_back(
    told: Json, status: int | None, retry_after_ms: int | None, tmp_path: Path
) -> None:
    result = await answer(tmp_path, failed(**told))
    assert (result.error_class, result.status, result.retry_after_ms) == (told["kind"], status, retry_after_ms)
    assert (result.effect, result.output) == ("none", None)


async def test_an_agent_that_broke_off_in_the_middle_of_its_work_leaves_a_doubt(tmp_path: Path) -> None:
    for kind in ("unavailable", "rate_limit", "timeout", "crash"):
        act = failed(kind)
        act["answer"] |= {"turns": 3, "tool_calls": 2}
        assert (await answer(tmp_path, act)).effect == "maybe", kind
    uncounted = failed("unavailable", http_status=502)
    uncounted["answer"] |= {"tool_calls": None}
    assert (await answer(tmp_path, uncounted)).effect == "maybe"
    unsent = failed("unavailable", begun=False)
    unsent["answer"] |= {"tool_calls": None}
    result = await answer(tmp_path, unsent)
    assert (result.effect, result.cost) == ("none", 0)


async def test_an_agent_that_says_it_was_cancelled_although_nobody_did_has_crashed(tmp_path: Path) -> None:
    result = await answer(tmp_path, failed("cancelled"))
    assert (result.error_class, result.effect) == ("crash", "maybe")


async def test_an_unknown_kind_is_a_tool_error(tmp_path: Path) -> None:
    assert (await answer(tmp_path, failed("sunspots"))).error_class == "tool_error"


async def test_a_server_that_dies_in_the_call_is_a_crash_of_unknown_cost_that_keeps_its_session(tmp_path: Path) -> None:
    result = await answer(tmp_path, {"session": "s1"}, {"die": True})
    assert (result.error_class, result.effect, result.cost, result.session) == ("crash", "maybe", None, "s1")


async def test_a_server_that_cannot_start_costs_nothing(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    async with Bench(agent) as bench:
        agent.script.unlink()
        bench.servers._slots[agent.name].spec = agent.server(cwd=str(tmp_path / "gone"))
        result = await bench.call()
    assert (result.error_class, result.effect, result.cost, result.executor) == ("unavailable", "none", 0, "agent")


# ---------------------------------------------------------------- sessions


async def test_the_session_is_noted_as_soon_as_progress_names_it_and_every_event_is_shown(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, [{"session": "s1"}, {"tell": "Edit a.py"}, {"hold": True}])
    async with Bench(agent) as bench:
        call = asyncio.create_task(bench.call())
        await bench.log.seen("progress", "Edit a.py")
        assert [note.session for note in bench.notes] == ["s1"]
        assert bench.shown == ["1 session: s1", "2 Edit a.py"]
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: any("cancelled" in entry for entry in agent.entries))


async def test_a_repair_round_goes_on_in_the_session_and_is_told_what_failed(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    async with Bench(agent) as bench:
        await bench.call("fix it", session="s1", feedback="two tests fail")
        await bench.call("fix it; two tests fail", session="s1", feedback="two tests fail")
        await bench.call("fix it", feedback="two tests fail")
    told, quoted, anew = agent.given
    assert told["session"] == "s1" and "two tests fail" in told["prompt"] and told["prompt"].endswith("fix it")
    assert quoted["prompt"] == "fix it; two tests fail"
    assert "session" not in anew and anew["prompt"].startswith("fix it\n") and "two tests fail" in anew["prompt"]


async def test_an_agent_that_is_resumed_after_a_crash_is_told_to_go_on(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    async with Bench(agent) as bench:
        await bench.call("fix it", session="s1")
    (given,) = agent.given
    assert given["session"] == "s1" and "interrupted" in given["prompt"] and given["prompt"].endswith("fix it")


async def test_a_forgotten_session_costs_one_more_call_without_it_and_the_log_says_so(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, [failed("invalid", session_unknown=True)], [{"session": "s2"}, {"answer": {}}])
    async with Bench(agent) as bench:
        result = await bench.call("fix it", session="s1", feedback="two tests fail")
    assert (result.error_class, result.session) == ("", "s2")
    assert [given.get("session") for given in agent.given] == ["s1", None]
    assert agent.given[1]["prompt"].startswith("fix it")
    assert "does not know the conversation s1" in bench.logged()


# ---------------------------------------------------------------- time


async def test_an_agent_that_does_not_answer_in_its_time_is_cancelled_and_late(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, [], [{"session": "s1"}, {"hold": True}])
    async with Bench(agent) as bench:
        await bench.call()  # its server runs from here on
        result = await bench.call(deadline_s=1.5)
        await until(lambda: any("cancelled" in entry for entry in agent.entries))
    assert (result.error_class, result.effect, result.session, result.cost) == ("timeout", "maybe", "s1", None)


async def test_an_agent_that_says_nothing_for_too_long_is_cancelled(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path, [], [{"hold": True}])
    async with Bench(agent) as bench:
        await bench.call()
        result = await bench.call(idle_s=0.5)
        await until(lambda: any("cancelled" in entry for entry in agent.entries))
    assert (result.error_class, "idle" in result.message) == ("timeout", True)


# ---------------------------------------------------------------- any server, by a mapping

MAPPING: Json = {
    "tool": "ask",
    "args": {"question": "Please: {{ prompt }}", "dir": "{{ cwd }}", "thread": "{{ session }}", "model": "{{ model }}"},
    "paths": {
        "text": "answer.0.words",
        "cost_usd": "usage.usd",
        "session_id": "id",
        "turns": "usage.turns",
        "structured": "data",
    },
    "rules": (("(?i)come back (later|tomorrow)", "quota"), ("(?i)no such", "invalid")),
}


async def mapped(folder: Path, *acts: Json, **request: Any) -> tuple[CallResult, Json]:
    agent = FakeAgent(folder, list(acts))
    async with Bench(agent, spec=MAPPING, clock=FakeClock(NOW)) as bench:
        return await bench.call("fix it", **request), (agent.given or [{}])[-1]


def structured(**changes: Any) -> Json:
    good = {"answer": [{"words": "fixed"}], "usage": {"usd": 0.5, "turns": 2}, "id": "t1"}
    return {"structured": good | changes}


async def test_a_mapped_server_is_asked_by_its_templates_and_read_by_its_paths(tmp_path: Path) -> None:
    result, given = await mapped(tmp_path, structured())
    assert given == {"question": "Please: fix it", "dir": str(tmp_path)}  # what gives none is left out
    assert (result.error_class, result.text, result.cost, result.session) == ("", "fixed", 500_000, "t1")
    _, given = await mapped(tmp_path, structured(), session="t1", inputs={"model": "small"}, feedback="no")
    assert (given["thread"], given["model"]) == ("t1", "small") and "not accepted" in given["question"]


async def test_a_mapped_answer_in_text_is_read_as_json_and_data_is_the_output(tmp_path: Path) -> None:
    result, _ = await mapped(
        tmp_path, {"say": '{"answer": [{"words": "fixed"}], "usage": {"turns": 1}, "data": {"n": 1}}'}
    )
    assert (result.output, result.text, result.structured, result.cost) == ({"n": 1}, "fixed", True, None)


@pytest.mark.parametrize(
    ("act", "error_class"),
    [
        (structured(usage={"turns": 0}), "bad_output"),
        (structured(usage={}), "bad_output"),
        (structured(answer=[]), "bad_output"),
        (structured(answer=[{"words": ""}]), "bad_output"),
        (structured(answer=[{"words": "Come back tomorrow."}]), "quota"),
        (structured(answer=[{"words": "You've hit your usage limit. Resets in 2h"}]), "quota"),
        ({"refuse": "no such folder"}, "invalid"),
        ({"refuse": "it is raining"}, "tool_error"),
        ({"say": "just words"}, "bad_output"),
    ],
)  # fmt: skip
async def test_a_mapped_server_is_held_to_the_same_honesty(act: Json, error_class: str, tmp_path: Path) -> None:
    result, _ = await mapped(tmp_path, act)
    assert result.error_class == error_class, result


async def test_a_limit_notice_of_a_mapped_server_says_when_to_come_back(tmp_path: Path) -> None:
    result, _ = await mapped(tmp_path, structured(answer=[{"words": "You've hit your usage limit. Resets in 2h"}]))
    assert result.retry_after_ms == 2 * 3_600_000
