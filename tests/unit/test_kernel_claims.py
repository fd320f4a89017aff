"""Steps that share the workspace or must have it alone: when they are intended, and what the record says of it."""

from __future__ import annotations

from typing import Any

from kernel_stage import Stage, StageHost, fan, go, graph, ok, step
from test_kernel_tree import Grove

from runner.core.events import Event
from runner.core.messages import CallRun, Expand, Item, NotNow
from runner.core.slots import WORKSPACE, Slots


def claims(**by_step: Any) -> StageHost:
    return StageHost({id: go(claim=claim) for id, claim in by_step.items()})


def started(stage: Stage) -> list[str]:
    return [task.node for task in stage.tasks]


def test_a_step_that_must_be_alone_is_not_intended_while_others_share_the_workspace() -> None:
    stage = Stage(graph(step("a"), step("b"), step("c"), step("d")), claims(a="shared", b="alone", c="shared", d=""))
    stage.start()
    assert started(stage) == ["a", "d"]  # c came after b, d needs no workspace
    assert stage.states() == {"a": "running", "b": "pending", "c": "pending", "d": "running"}
    assert stage.end("a") == ["attempt_succeeded a", "attempt_started b"]
    assert stage.end("b") == ["attempt_succeeded b", "attempt_started c"]
    stage.end("c")
    stage.end("d")
    assert stage.kernel.state == "succeeded"
    assert (stage.slots.claimed("shared"), stage.slots.claimed("alone")) == (0, 0)


def test_the_intent_names_the_claim_and_one_without_any_does_not() -> None:
    stage = Stage(graph(step("a"), step("b")), claims(a="shared", b=""))
    stage.start()
    said = {event.node: event.data.get("claim") for event in stage.record if event.kind == "attempt_started"}
    assert said == {"a": "shared", "b": None}
    assert "claim" not in stage.record[-1].data


def test_an_older_record_without_claims_folds() -> None:
    stage = Stage(graph(step("a"), step("b")), claims(a="shared", b="alone"))
    stage.start()
    old = [
        Event(kind, node, {key: value for key, value in data.items() if key != "claim"})
        for kind, node, data in stage.record
    ]
    again = Stage(stage.graph, stage.host, record=old)
    assert again.slots.used() == 1 and again.slots.claimed("shared") == 0
    again.feed("mode", "normal")
    assert started(again) == ["b"]
    again.end("a")
    again.end("b")
    assert again.kernel.state == "succeeded" and again.slots.used() == 0


def test_what_runs_holds_its_claim_again_after_a_crash() -> None:
    stage = Stage(graph(step("a"), step("b")), claims(a="alone", b="shared"))
    stage.start()
    again = stage.again()
    assert again.slots.claimed("alone") == 1
    again.feed("mode", "normal")
    assert started(again) == []
    assert again.feed("lost", "a", 1) == ["attempt_lost a", "step_woken a", "attempt_started b"]


def test_a_step_that_waits_for_the_workspace_when_the_process_dies_was_never_begun() -> None:
    host = StageHost({"a": go(claim="shared"), "b": go(claim="alone", effects="once")})
    stage = Stage(graph(step("a"), step("b")), host)
    stage.start()
    again = stage.again()
    assert [flight[0] for flight in again.kernel.inflight()] == ["a"]
    again.feed("lost", "a", 1)
    again.end("a")
    assert started(again) == ["b"]
    again.end("b")
    assert again.kernel.state == "succeeded"
    assert not any(event.node == "b" and event.kind == "attempt_lost" for event in again.record)


def test_a_cancelled_step_that_waited_for_the_workspace_stands_in_nobodys_way() -> None:
    slots = Slots(9)
    one = Stage(graph(step("a")), claims(a="shared"), slots)
    two = Stage(graph(step("b")), claims(b="alone"), slots)
    two.kernel.run = "r2"
    one.start()
    two.start()
    assert slots.waiting(WORKSPACE) == ("r2",)
    assert two.feed("cancel", "me", "")[1] == "step_cancelled b"
    assert slots.waiting(WORKSPACE) == ()
    assert slots.may_claim("shared", "r3")


def test_a_kernel_that_is_thrown_away_gives_its_claims_back() -> None:
    slots = Slots(9)
    one = Stage(graph(step("a"), step("b")), claims(a="alone", b="alone"), slots)
    one.start()
    one.kernel.release()
    assert (slots.claimed("alone"), slots.used(), slots.waiting(WORKSPACE)) == (0, 0, ())


def test_runs_and_their_callers_share_one_line_for_the_workspace() -> None:
    main = graph(step("a"), step("c", verb="call"), step("e"), name="main")
    sub = graph(step("k"), name="sub")
    host = StageHost({"a": go(claim="shared"), "k": go(claim="alone"), "e": go(claim="shared")})
    host.plan["c"] = CallRun("sub", {}, {})
    grove = Grove(host, main, sub)
    grove.start()
    assert [task.node for task in grove.tasks] == ["a", "e"]
    grove.end("r", "a")
    assert grove.tasks == []
    grove.end("r", "e")
    run = grove.slots.next()
    assert run == "r.c"
    grove.feed(run, "slots")
    assert [task.node for task in grove.tasks] == ["k"]


# ---------------------------------------------------------------- with lanes


def test_a_step_that_needs_a_server_and_the_workspace_gets_both_or_none() -> None:
    slots = Slots(9)
    slots.limit("srv", 1)

    def on_server(claim: Any) -> Any:
        return lambda run, n: go(lane="srv", claim=claim) if slots.free("srv") else NotNow("srv")

    host = StageHost({"a": on_server(""), "b": on_server("alone"), "c": go(claim="shared"), "d": on_server("")})
    stage = Stage(graph(step("a"), step("b"), step("c"), step("d")), host, slots)
    stage.start()
    assert started(stage) == ["a", "c"]  # b waits for the server first, so c may use the workspace
    stage.end("a")
    assert started(stage) == ["d"]  # b has the server's turn, but not the workspace: it lets the server go
    stage.end("c")
    assert started(stage) == []
    stage.end("d")
    assert started(stage) == ["b"]
    stage.end("b")
    assert stage.kernel.state == "succeeded"


def test_two_hundred_items_that_must_be_alone_run_one_by_one_and_are_looked_at_twice_at_most() -> None:
    def prepare(run: Any, n: Any) -> Any:
        if n.item is None:
            return Expand(tuple(Item(str(i), i) for i in range(200)), None)
        return go(claim="alone")

    stage = Stage(graph(step("a", fan=fan()), concurrency=64), StageHost({"a": prepare}), Slots(64))
    stage.start()
    order = started(stage)
    for n in range(200):
        stage.end(f"a[{n}]", ok())
        order += started(stage)
        assert stage.slots.claimed("alone") <= 1
    assert order == [f"a[{n}]" for n in range(200)]
    assert len(stage.host.asked) <= 401
    assert stage.kernel.state == "succeeded"
