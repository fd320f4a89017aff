"""The operator's policy: what is refused, and what waits for a person before it does something."""

from __future__ import annotations

from typing import Any

import pytest
from kernel_stage import Stage, StageHost, go, graph, step

from runner.core.graph import Body
from runner.core.messages import Ask, Prepared
from runner.core.policy import OperatorPolicy

TOOL = Body("tool", {"server": "github", "tool": "delete_repo", "with": {}})
COMMAND = Body("run", {"argv": ["true"]})


@pytest.mark.parametrize(
    ("policy", "body", "refused"),
    [
        (OperatorPolicy(), TOOL, None),
        (OperatorPolicy(deny=("github.delete_*",)), TOOL, "policy.tools.deny: github.delete_*"),
        (OperatorPolicy(allow=("workspace.*",)), TOOL, "policy.tools.allow"),
        (OperatorPolicy(allow=("github.*",), deny=("*.delete_*",)), TOOL, "policy.tools.deny"),
        (OperatorPolicy(run_allowed=False), COMMAND, "policy.run"),
        (OperatorPolicy(allow=()), COMMAND, None),
    ],
)
def test_a_refusal_names_the_key_that_refuses(policy: OperatorPolicy, body: Body, refused: str | None) -> None:
    found = policy.refusal(body)
    assert found is None if refused is None else refused in (found or "")


def test_a_person_is_asked_for_tools_and_labels_that_the_policy_names() -> None:
    policy = OperatorPolicy(approve=("github.*", "label:risky"))
    assert "github.delete_repo" in (policy.asks(step("a", bodies=(TOOL,)), TOOL) or "")
    assert "label risky" in (policy.asks(step("a", bodies=(COMMAND,), labels={"risky": True}), COMMAND) or "")
    assert policy.asks(step("a", bodies=(COMMAND,), labels={"risky": False}), COMMAND) is None
    assert policy.asks(step("a", bodies=(COMMAND,)), COMMAND) is None


def gated(run: Any, node: Any) -> Prepared:
    return go() if node.approved else Ask("really?", (), None, "reject", gate=True)


def test_a_gated_step_runs_once_it_is_approved_also_after_a_restart() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": gated}))
    stage.start()
    assert stage.kernel.state == "suspended" and not stage.tasks
    stage.feed("answer", "a", "succeeded", None, "ann", "")
    assert [task.node for task in stage.tasks] == ["a"]
    again = stage.again()
    again.feed("lost", "a", 1)
    assert [task.node for task in again.tasks] == ["a"], "what was approved in this leg is not asked again"
    again.end("a")
    assert again.kernel.state == "succeeded"


def test_a_rejected_gate_is_denied_and_nothing_runs() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": gated}))
    stage.start()
    stage.feed("answer", "a", "failed", None, "ann", "not today")
    assert stage.states() == {"a": "failed"} and stage.kernel.nodes["a"].error["class"] == "denied"


def test_the_next_leg_asks_again() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": gated}))
    stage.start()
    stage.feed("answer", "a", "failed", None, "ann", "")
    stage.feed("retry")
    assert stage.kernel.state == "suspended" and stage.kernel.nodes["a"].reason == "approval"
