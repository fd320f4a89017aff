"""`agent` steps of manifests, end to end: the router, the executor, a real session of MCP, and the fake agents of `agent_calls`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent_calls import FakeAgent, Json
from apply_project import PATIENCE, Project
from servers.fake_llm import FakeLlm

from runner.api.results import RunResult


def failed(kind: str, **more: Any) -> Json:
    error = {
        "kind": kind,
        "message": f"it was {kind}",
        "http_status": None,
        "resets_at": None,
        "retry_after_s": None,
        **more,
    }
    return {"answer": {"status": "error", "text": "", "turns": 0, "tool_calls": 0, "cost_usd": None, "error": error}}


def project(folder: Path, *agents: FakeAgent, **config: Any) -> Project:
    """A project whose agents are these, asked in their order."""
    servers = {agent.name: agent.config(tier="paid") for agent in agents}
    given = {
        "state": {"durability": "process"},
        "mcp_servers": servers,
        "router": {"agents": [agent.name for agent in agents]},
    }
    return Project(folder / "project", json.dumps(given | config))


def agents(folder: Path, *names: str) -> list[FakeAgent]:
    return [FakeAgent(folder, name=name) for name in names]


def attempts(home: Project, run: RunResult, step: str = "fix") -> list[tuple[str, str, str, int, str]]:
    """Each attempt of a step: executor, state, class, cost in micro-USD and who says so."""
    record = home.record()
    try:
        rows = record.attempts(run.run, step)
        return [(row.executor, row.state, row.error_class, row.cost, row.cost_source) for row in rows]
    finally:
        record.close()


def test_an_agent_step_does_its_work_in_the_workspace_and_its_answer_is_the_output(tmp_path: Path) -> None:
    (agent,) = agents(tmp_path, "coder")
    agent.play(
        [{"session": "s1"}, {"write": {"note.txt": "hello\n"}}, {"answer": {"text": "written", "cost_usd": 0.25}}]
    )
    home = project(tmp_path, agent)
    home.manifest(
        """
        steps:
          fix: {agent: "Write a note for {{ inputs.who }}", timeout: 30s}
        inputs: {who: {default: me, type: string}}
        outputs: {said: "{{ steps.fix.output }} by {{ steps.fix.executor }}"}
        """
    )
    run = home.run()
    assert (run.state, run.outputs) == ("succeeded", {"said": "written by coder"})
    assert home.read("note.txt") == "hello\n"
    assert attempts(home, run) == [("coder", "succeeded", "", 250_000, "billed")]
    (given,) = agent.given
    assert (given["prompt"], given["cwd"], given["timeout_s"]) == ("Write a note for me", str(home.folder), 27.0)


def test_what_it_returns_is_asked_of_the_agent_and_a_wrong_answer_costs_one_round_in_the_same_session(
    tmp_path: Path,
) -> None:
    (agent,) = agents(tmp_path, "coder")
    agent.play([{"session": "s1"}, {"answer": {"text": "seven"}}], [{"answer": {"structured": {"n": 7}}}])
    home = project(tmp_path, agent)
    home.manifest("steps: {fix: {agent: count, returns: {n: integer}}}\noutputs: {n: '{{ steps.fix.output.n }}'}")
    run = home.run()
    assert (run.state, run.outputs) == ("succeeded", {"n": 7})
    first, second = agent.given
    assert first["output_schema"]["required"] == ["n"] and "session" not in first
    assert second["session"] == "s1" and "not accepted" in second["prompt"]
    assert [row[1:3] for row in attempts(home, run)] == [("failed", "bad_output"), ("succeeded", "")]


def test_a_repair_round_goes_on_in_the_session_and_is_told_which_checks_failed(tmp_path: Path) -> None:
    (agent,) = agents(tmp_path, "coder")
    agent.play([{"session": "s1"}, {"write": {"n": "1"}}], [{"write": {"n": "2"}}])
    home = project(tmp_path, agent)
    home.manifest(
        """
        steps:
          fix:
            agent: make n two
            checks: [{run: [sh, -c, 'test "$(cat n)" = 2 || { echo "n is $(cat n)"; exit 1; }']}]
            repair: {max: 2}
          quotes:
            agent: "make n two{% if feedback is defined %} ({{ feedback }}){% endif %}"
            checks: [{expr: "text == 'no'"}]
            repair: {max: 1}
            optional: true
            needs: [fix]
        """
    )
    run = home.run()
    assert {name: step.state for name, step in run.steps.items()} == {"fix": "succeeded", "quotes": "failed"}
    assert [given.get("session") for given in agent.given] == [None, "s1", None, None]
    assert "n is 1" in agent.given[1]["prompt"] and agent.given[1]["prompt"].endswith("make n two")
    assert agent.given[3]["prompt"].startswith("make n two (") and "not accepted:" not in agent.given[3]["prompt"]


def test_a_chain_falls_through_and_the_record_tells_who_answered_and_what_each_attempt_cost(tmp_path: Path) -> None:
    gone, spent, good = made = agents(tmp_path, "gone", "spent", "good")
    gone.play([failed("unavailable", begun=False)])
    half = failed("quota", resets_at=4_000_000_000)
    half["answer"] |= {"turns": 3, "tool_calls": 2, "text": "half way there", "cost_usd": 0.5}
    spent.play([{"write": {"half.txt": "half"}}, half])
    good.play([{"answer": {"text": "done", "cost_usd": None}}])
    home = project(tmp_path, *made)
    home.manifest("steps: {fix: {agent: do it, faults: {retry: {max: 0}}}}\noutputs: {who: '{{ steps.fix.executor }}'}")
    run = home.run()
    assert (run.state, run.outputs) == ("succeeded", {"who": "good"})
    rows = attempts(home, run)
    assert [row[:3] for row in rows] == [
        ("gone", "failed", "unavailable"), ("spent", "failed", "quota"), ("good", "succeeded", ""),
    ]  # fmt: skip
    assert [row[4] for row in rows] == ["", "billed", "assumed"]  # an unknown price is never 0
    assert rows[0][3] == 0 and rows[1][3] == 500_000 and rows[2][3] > 0
    told = good.given[0]["prompt"]
    assert told.startswith("do it") and "spent failed (quota)" in told and "half way there" in told
    assert "gone failed" not in told  # it never began: there is nothing to learn from it


async def test_a_chain_of_agents_ends_in_a_model_that_is_told_why(tmp_path: Path) -> None:
    gone, spent = made = agents(tmp_path, "gone", "spent")
    gone.play([failed("unavailable", begun=False)])
    spent.play([failed("quota")])
    async with FakeLlm(says={"small": ["a patch"]}) as upstream:
        home = project(
            tmp_path, *made,
            models={
                "endpoints": {"local": {"kind": "openai", "url": upstream.url}},
                "catalog": {"small": {"endpoint": "local", "model": "small", "tier": "free"}},
            },
        )  # fmt: skip
        home.manifest(
            """
            steps:
              fix:
                agent: do it
                faults: {retry: {max: 0}}
                fallback: [{model: "Write a patch. Before: {{ error.message }}", errors: [quota, unavailable]}]
            outputs: {text: "{{ steps.fix.text }}"}
            """
        )
        [run] = (await home.applied()).runs
        assert (run.state, run.outputs) == ("succeeded", {"text": "a patch"})
        assert "it was quota" in json.dumps(upstream.seen[-1].body)
    assert [row[:3] for row in attempts(home, run)] == [
        ("gone", "failed", "unavailable"), ("spent", "failed", "quota"), ("local", "succeeded", ""),
    ]  # fmt: skip


def test_a_denied_tool_is_denied_and_goes_to_nobody_else(tmp_path: Path) -> None:
    first, second = made = agents(tmp_path, "first", "second")
    first.play([{"answer": {"denials": [{"tool": "Bash", "message": "not allowed"}]}}])
    home = project(tmp_path, *made)
    home.manifest("steps: {fix: {agent: do it}}")
    run = home.run()
    error = run.steps["fix"].error
    assert (run.state, error and error["class"], second.given) == ("failed", "denied", [])


def test_an_agent_that_claims_success_without_the_change_that_was_asked_for_fails_its_check(tmp_path: Path) -> None:
    (agent,) = agents(tmp_path, "coder")
    agent.play([{"answer": {"text": "All done!"}}])
    home = project(tmp_path, agent)
    home.manifest("steps: {fix: {agent: write note.txt, checks: [{changed: {only: ['*.txt']}}]}}")
    error = home.run().steps["fix"].error
    assert error and error["class"] == "check_failed"


def test_the_caps_of_a_step_reach_the_agent_and_its_tools_too(tmp_path: Path) -> None:
    (agent,) = agents(tmp_path, "coder")
    home = project(tmp_path, agent)
    home.manifest(
        """
        steps:
          fix:
            agent: {prompt: do it, allowed_tools: [Edit, "Bash(git:*)"], cwd: sub}
            route: {models: [opus]}
            budget: {usd: 0.75}
        """
    )
    (home.folder / "sub").mkdir()
    run = home.run()
    assert run.state == "succeeded", run
    (given,) = agent.given
    assert (given["max_usd"], given["allowed_tools"]) == (0.75, ["Edit", "Bash(git:*)"])
    assert (given["model"], given["cwd"]) == ("opus", str(home.folder / "sub"))


def test_a_usage_limit_that_says_when_it_ends_suspends_until_then_and_goes_on_by_itself(tmp_path: Path) -> None:
    (agent,) = agents(tmp_path, "coder")
    home = project(tmp_path, agent)
    soon = int(time.time()) + 2
    agent.play([failed("quota", resets_at=soon)], [{"answer": {"text": "done"}}])
    home.manifest(
        """
        steps:
          fix: {agent: do it, faults: {exhausted: suspend}}
          other: {wait: 3s}
        """
    )
    run = home.run()
    assert run.state == "succeeded", run
    events = [event.event for event in events_of(home, run)]
    suspended = next(event for event in events if event.kind == "step_suspended")
    assert suspended.data["reason"] == "quota"
    assert abs(suspended.data["until"] - soon * 1000) < 2_000
    assert [row[1:3] for row in attempts(home, run)] == [("failed", "quota"), ("succeeded", "")]


def test_a_usage_limit_alone_ends_the_apply_suspended_and_a_later_one_goes_on(tmp_path: Path) -> None:
    (agent,) = agents(tmp_path, "coder")
    home = project(tmp_path, agent)
    agent.play([failed("quota", resets_at=int(time.time()) + 1)], [{"answer": {"text": "done"}}])
    home.manifest("steps: {fix: {agent: do it, faults: {exhausted: suspend}}}")
    run = home.run()
    assert (run.state, run.reasons) == ("suspended", ("quota",))
    until = next(event.event.data["until"] for event in events_of(home, run) if event.event.kind == "step_suspended")
    wait_until(lambda: time.time() * 1000 > until)
    again = home.run()
    assert (again.run, again.state) == (run.run, "succeeded")


def test_worktree_of_one_agent_is_told_to_the_next_and_only_what_was_accepted_comes_back(tmp_path: Path) -> None:
    first, second = made = agents(tmp_path, "first", "second")
    first.play([{"write": {"bad.txt": "bad\n"}}])
    second.play([{"write": {"good.txt": "good\n"}}])
    home = project(tmp_path, *made)
    subprocess.run(["git", "init", "-q"], cwd=home.folder, check=True)
    home.manifest(
        """
        steps:
          fix:
            agent: write good.txt
            workspace: {git: worktree}
            checks: [{changed: {only: [good.txt]}}]
        """
    )
    run = home.run()
    assert run.state == "succeeded", run
    assert (home.folder / "good.txt").exists() and not (home.folder / "bad.txt").exists()
    told = second.given[0]["prompt"]
    assert "first failed (check_failed)" in told and "+bad" in told and "not in the files" in told


def events_of(home: Project, run: RunResult) -> Any:
    record = home.record()
    try:
        return record.events(run.run)
    finally:
        record.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_first_of_a_chain_is_waited_for_although_the_next_one_starts_faster(tmp_path: Path) -> None:
    slow, fast = made = agents(tmp_path, "slow", "fast")
    home = project(tmp_path, *made)
    command, *args = slow.command()
    config = json.loads(home.read("config.yaml"))
    config["mcp_servers"]["slow"] |= {"command": "sh", "args": ["-c", 'sleep 0.5; exec "$@"', "sh", command, *args]}
    home.write("config.yaml", json.dumps(config))
    home.manifest("steps: {fix: {agent: do it}}\noutputs: {who: '{{ steps.fix.executor }}'}")
    assert home.run().outputs == {"who": "slow"}
    assert fast.given == []
