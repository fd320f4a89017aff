"""The executor of the verb `agent`, with a fake agent behind a real session of MCP: what it is asked, and what its answers come to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agent_calls import Bench, FakeAgent, Json
from mcp_calls import until


def failed(kind: str, **more: Any) -> Json:
    status = kind if kind in ("timeout", "denied", "cancelled") else "error"
    error = {"kind": kind, "message": "no", "http_status": None, "resets_at": None, "retry_after_s": None, **more}
    return {"answer": {"status": status, "text": "", "turns": 0, "tool_calls": 0, "cost_usd": None, "error": error}}


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
    async with Bench(FakeAgent(tmp_path, [{"session": "s1"}, said])) as bench:
        result = await bench.call(inputs={"model": "small"})
    assert (result.error_class, result.output, result.text, result.structured) == ("", "fixed", "fixed", False)
    assert (result.cost, result.cost_source) == (250_000, "billed")
    assert result.tokens == {"in": 7, "out": 3, "cache_read": 2}
    assert (result.executor, result.model, result.session) == ("agent", "small", "s1")


async def test_denials_no_contract_and_a_refusal_are_no_success(tmp_path: Path) -> None:
    denied = {"answer": {"denials": [{"tool": "Bash", "message": "not allowed"}]}}
    async with Bench(FakeAgent(tmp_path, [denied], [{"say": "all done!"}], [{"refuse": "it rains"}])) as bench:
        found = [await bench.call() for _ in range(3)]
    assert [result.error_class for result in found] == ["denied", "bad_output", "tool_error"]
    assert (found[0].denials, found[2].message) == (("Bash: not allowed",), "it rains")


async def test_a_server_that_dies_in_the_call_is_a_crash_of_unknown_cost_that_keeps_its_session(tmp_path: Path) -> None:
    async with Bench(FakeAgent(tmp_path, [{"session": "s1"}, {"die": True}])) as bench:
        result = await bench.call()
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
        await bench.call("fix it", session="s1", interrupted=True)
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
}


async def test_a_mapped_server_is_asked_by_its_templates_and_read_by_its_paths(tmp_path: Path) -> None:
    agent = FakeAgent(
        tmp_path, [{"structured": {"answer": [{"words": "fixed"}], "usage": {"usd": 0.5, "turns": 2}, "id": "t1"}}]
    )
    async with Bench(agent, spec=MAPPING) as bench:
        result = await bench.call("fix it")
        await bench.call("fix it", session="t1", inputs={"model": "small"}, feedback="no")
    assert (result.error_class, result.text, result.cost, result.session) == ("", "fixed", 500_000, "t1")
    first, second = agent.given
    assert first == {"question": "Please: fix it", "dir": str(tmp_path)}  # what gives none is left out
    assert (second["thread"], second["model"]) == ("t1", "small") and "not accepted" in second["question"]
