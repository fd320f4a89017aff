"""A root run and its sub-runs: one budget, one transaction a turn."""

from __future__ import annotations

from typing import Any

from kernel_stage import T0, StageHost, failed, fan, go, graph, ok, step

from runner.core.graph import Body, Repair, StepGraph
from runner.core.messages import (
    Ask,
    CallRun,
    Candidate,
    Expand,
    Finish,
    Hidden,
    Item,
    NodeView,
    Options,
    Outcome,
    Policy,
    Prepared,
    RetryPolicy,
    RunView,
    Start,
    StepTask,
)
from runner.core.slots import Slots
from runner.core.tree import Member, Tree


class Grove:
    """A tree driven by hand."""

    def __init__(self, host: StageHost, *graphs: StepGraph, members: Any = (), process: int = 16) -> None:
        self.host, self.graphs, self.slots = host, {g.name: g for g in graphs}, Slots(process)
        self.record: dict[str, Member] = {member.run: member for member in members}
        self.tree = Tree("r", "main", self.graphs, host, self.slots, members)
        self.commands: list[Any] = []
        self.children: list[Any] = []
        self.now = T0

    def feed(self, run: str, *message: Any) -> list[str]:
        return self._keep(self.tree.feed(run, message, self.now))

    def _keep(self, turn: Any) -> list[str]:
        for child in turn.children:
            self.record[child.run] = Member(child.run, child.graph, [], child.parent, child.node)
        self.record.setdefault("r", Member("r", self.graphs["main"], []))
        for run, event in turn.events:
            self.record[run].events.append(event)  # type: ignore[attr-defined]
        self.commands, self.children = turn.commands, turn.children
        return [f"{run}: {event.kind} {event.node}".strip() for run, event in turn.events]

    def start(self, **extra: Any) -> list[str]:
        return self.feed("r", "start", {}, None, extra)

    def end(self, run: str, node: str, outcome: Outcome | None = None) -> list[str]:
        return self.feed(run, "outcome", node, self.tree.kernels[run].nodes[node].attempt, outcome or ok())

    @property
    def tasks(self) -> list[StepTask]:
        return [command.task for command in self.commands if isinstance(command, Start)]

    def state(self, run: str, node: str = "") -> str:
        kernel = self.tree.kernels[run]
        return kernel.nodes[node].state if node else kernel.state

    def again(self) -> Grove:
        return Grove(self.host, *self.graphs.values(), members=sorted(self.record.values(), key=lambda m: m.run))


def calling(spec: Any = None, **more: Any) -> StageHost:
    host = StageHost({"c": lambda run, n: CallRun("sub", {"round": n.repair}, spec or {})}, **more)
    host.result = ({"answer": 42}, None)
    return host


SUB = graph(step("k"), name="sub")
MAIN = graph(step("c", verb="call"), step("b", "c"), name="main")
NO_RETRY = Options(Policy(RetryPolicy(max=0)), (Candidate("a"),))


def test_a_call_opens_a_sub_run_and_takes_its_outputs() -> None:
    grove = Grove(calling(), MAIN, SUB)
    assert grove.start() == ["r: run_started", "r: attempt_started c", "r.c: run_started", "r.c: attempt_started k"]
    child = grove.children[0]
    assert (child.run, child.parent, child.node, child.callee, child.inputs) == ("r.c", "r", "c", "sub", {"round": 0})
    assert grove.end("r.c", "k") == [
        "r.c: attempt_succeeded k",
        "r.c: main_finished",
        "r.c: run_finished",
        "r: attempt_succeeded c",
        "r: attempt_started b",
    ]
    assert grove.tree.kernels["r"].result_of("c") == {"value": {"output": {"answer": 42}}}
    grove.end("r", "b")
    assert grove.commands == [Finish("r", "succeeded", {"answer": 42})]


def test_callers_hold_no_slot_so_their_sub_runs_are_never_starved() -> None:
    main = graph(*(step(f"c{n}", verb="call") for n in range(4)), name="main", concurrency=1)
    grove = Grove(StageHost({f"c{n}": CallRun("sub", {}) for n in range(4)}), main, SUB, process=1)
    grove.start()
    for _ in range(4):
        running = next(f.run for f in grove.tree.inflight())
        grove.end(running, "k")
        while (run := grove.slots.next()) is not None:
            grove.feed(run, "slots")
    assert grove.state("r") == "succeeded"


def test_a_failed_callee_fails_the_step_with_the_class_of_its_first_failed_step() -> None:
    sub = graph(step("k"), step("l"), name="sub")
    grove = Grove(calling(options={"k": NO_RETRY, "l": NO_RETRY, "c": NO_RETRY}), MAIN, sub)
    grove.start()
    grove.end("r.c", "l", failed("quota"))
    grove.end("r.c", "k", failed("auth"))
    assert grove.tree.kernels["r"].nodes["c"].error == {
        "class": "auth",
        "message": "r.c/k: it was auth",
        "status": None,
        "executor": "sub",
    }
    assert grove.state("r") == "failed"


def test_a_retried_call_goes_on_with_the_same_sub_run() -> None:
    sub = graph(step("k"), step("l"), name="sub")
    grove = Grove(calling(options={"l": NO_RETRY, "c": NO_RETRY}), MAIN, sub)
    grove.start()
    grove.end("r.c", "k")
    grove.end("r.c", "l", failed("auth"))
    assert grove.feed("r", "retry") == [
        "r: leg_started",
        "r: attempt_started c",
        "r.c: leg_started",
        "r.c: attempt_started l",
    ]
    assert grove.children == []
    grove.end("r.c", "l")
    assert grove.state("r", "c") == "succeeded"


def test_a_call_whose_checks_fail_repeats_in_a_fresh_sub_run() -> None:
    main = graph(step("c", bodies=(Body("call", {}, repair=Repair(1)),)), name="main")
    grove = Grove(calling({"checks": ["x"]}, options={"c": Options(repair_max=1)}), main, SUB)
    grove.start()
    assert grove.end("r.c", "k")[-1] == "r.c: run_finished"
    task = grove.tasks[0]
    assert (task.key, task.verb, task.spec) == ("r/c/1", "call", {"checks": ["x"]})
    assert task.inputs == {"result": {"value": {"output": {"answer": 42}}}}
    grove.end("r", "c", failed("check_failed", feedback="no"))
    assert [child.run for child in grove.children] == ["r.c~2"]
    assert grove.children[0].inputs == {"round": 1}
    grove.end("r.c~2", "k")
    grove.end("r", "c")
    assert grove.state("r") == "succeeded"


def test_a_crash_while_a_call_is_checked_checks_again() -> None:
    grove = Grove(calling({"checks": ["x"]}), MAIN, SUB)
    grove.start()
    grove.end("r.c", "k")
    again = grove.again()
    assert again.tree.inflight() == []
    again._keep(again.tree.resume(T0))
    assert [task.key for task in again.tasks] == ["r/c/1"]


def test_every_kernel_of_a_tree_is_resumed() -> None:
    grove = Grove(calling(options={"k": Options(Policy(RetryPolicy(max=1, jitter=0)), (Candidate("a"),))}), MAIN, SUB)
    grove.start()
    grove.end("r.c", "k", failed())
    again = grove.again()
    again.now += 60_000
    assert again._keep(again.tree.resume(again.now)) == ["r.c: step_woken k", "r.c: attempt_started k"]
    assert [(f.run, f.node, f.attempt, f.key) for f in again.tree.inflight()] == [("r.c", "k", 2, "r.c/k/2")]


def test_a_resumed_tree_looks_again_at_what_another_mode_had_hidden() -> None:
    host = calling(options={"k": Options(Policy(exhausted="suspend"), (Candidate("a", shown=False),))})
    host.plan["k"] = [Hidden("no cloud"), go()]
    grove = Grove(host, MAIN, SUB)
    grove.start()
    assert grove.tree.kernels["r.c"].reasons == ("mode",)
    host.ways["k"] = Options(candidates=(Candidate("a"),))
    again = grove.again()
    assert again._keep(again.tree.resume(T0))[:2] == ["r.c: step_woken k", "r.c: attempt_started k"]


def test_a_suspended_sub_run_suspends_its_caller_also_after_a_restart() -> None:
    host = calling()
    host.plan["k"] = Ask("?", (), None, "reject")
    grove = Grove(host, MAIN, SUB)
    assert grove.start()[-2:] == ["r.c: run_suspended", "r: run_suspended"]
    assert grove.tree.kernels["r"].reasons == ("child",)
    again = grove.again()
    assert again._keep(again.tree.resume(T0)) == []
    assert again.feed("r.c", "answer", "k", "succeeded", None, "me", "")[-1] == "r: attempt_started b"
    assert again.state("r") == "running"


def test_a_cancel_goes_down_and_comes_up_again() -> None:
    sub = graph(step("k"), step("f", final=True), name="sub")
    grove = Grove(calling(), MAIN, sub)
    grove.start()
    assert grove.feed("r", "cancel", "me", "enough") == [
        "r: cancel_requested",
        "r: step_cancelled b",
        "r.c: cancel_requested",
    ]
    assert [command.key for command in grove.commands] == ["r.c/k/1"]
    grove.end("r.c", "k", Outcome("cancelled"))
    assert (grove.state("r.c", "f"), grove.state("r")) == ("running", "running")
    grove.end("r.c", "f")
    assert (grove.state("r.c"), grove.state("r", "c"), grove.state("r")) == ("cancelled", "cancelled", "cancelled")


def test_a_cancel_does_not_cut_the_finally_of_a_sub_run_short() -> None:
    sub = graph(step("k"), step("f", final=True), name="sub")
    grove = Grove(calling(), MAIN, sub)
    grove.start()
    grove.end("r.c", "k")
    grove.feed("r", "cancel", "me", "")
    assert grove.commands == [] and grove.state("r.c", "f") == "running"
    grove.end("r.c", "f")
    assert (grove.state("r.c"), grove.state("r")) == ("succeeded", "cancelled")


def test_the_budget_is_the_trees() -> None:
    main = graph(step("c", verb="call"), step("a"), name="main")
    grove = Grove(StageHost({"c": CallRun("sub", {}), "a": go(estimate=60), "k": go(estimate=60)}), main, SUB)
    grove.start(cap=100)
    assert (grove.state("r", "a"), grove.state("r.c", "k")) == ("running", "pending")
    assert grove.end("r", "a", ok(cost=10)) == ["r: attempt_succeeded a", "r.c: attempt_started k"]
    grove.feed("r.c", "lost", "k", 1)
    assert grove.tree.kernels["r.c"].reasons == ("budget",)
    assert grove.feed("r", "raise", 100, "me") == [
        "r: budget_raised",
        "r.c: step_woken k",
        "r.c: attempt_started k",
        "r.c: run_woken",
        "r: run_woken",
    ]
    assert (grove.tree.purse.spent, grove.tree.purse.held, grove.tree.purse.cap) == (70, 60, 200)


TWO = graph(step("k"), step("l"), name="sub")


def test_the_budget_of_a_call_is_for_its_sub_runs_and_counts_in_that_of_the_tree() -> None:
    main = graph(step("c", verb="call"), step("a"), name="main")
    paid = go(estimate=60)
    grove = Grove(StageHost({"c": CallRun("sub", {}, cap=100), "a": paid, "k": paid, "l": paid}), main, TWO)
    grove.start(cap=1_000)
    assert [grove.state("r", "a"), grove.state("r.c", "k"), grove.state("r.c", "l")] == [
        "running",
        "running",
        "pending",
    ]
    assert "r.c: attempt_started l" in grove.end("r.c", "k", ok(cost=10)), "what was reserved comes back"
    grove.end("r.c", "l", failed("quota", cost=80, retry_after_ms=5))
    grove = grove.again()
    purse = grove.tree.kernels["r.c"].purse
    assert (purse.spent, purse.held, purse.room) == (90, 0, 10)
    assert (grove.tree.purse.spent, grove.tree.purse.held, grove.tree.purse.room) == (90, 60, 850)
    grove.end("r", "a", ok(cost=1))
    assert (purse.spent, grove.tree.purse.spent) == (90, 91)


def test_a_step_of_a_sub_run_for_which_its_callers_budget_has_no_room_is_suspended() -> None:
    host = StageHost({"c": CallRun("sub", {}, token_cap=50), "k": go(tokens=20), "l": go(tokens=20)})
    grove = Grove(host, graph(step("c", verb="call"), name="main"), graph(step("k"), step("l", "k"), name="sub"))
    grove.start()
    grove.end("r.c", "k", ok(tokens={"in": 40}))
    assert grove.state("r.c", "l") == grove.state("r") == "suspended"
    assert grove.tree.kernels["r.c"].reasons == ("budget",)


def test_the_items_of_a_call_share_its_budget_with_their_judges() -> None:
    items = Expand(tuple(Item(str(n), n) for n in range(2)), None)
    judged = {"checks": [{"kind": "judge"}]}

    def call(run: RunView, node: NodeView) -> Prepared:
        return items if node.item is None else CallRun("sub", {}, judged, cap=100)

    main = graph(step("c", verb="call", fan=fan()), name="main")
    grove = Grove(StageHost({"c": call, "k": go(estimate=40)}), main, SUB)
    grove.start()
    assert [grove.state(f"r.c[{n}]", "k") for n in (0, 1)] == ["running", "running"]
    grove.end("r.c[0]", "k", ok(cost=40))
    grove.end("r", "c[0]", ok(cost=25))
    purse = grove.tree.kernels["r.c[1]"].purse
    assert (purse.spent, purse.held, grove.tree.purse.spent) == (65, 40, 65)
    assert grove.again().tree.kernels["r.c[1]"].purse.spent == 65


def test_retry_of_an_open_tree_tries_again_what_is_exhausted_in_its_sub_runs() -> None:
    grove = Grove(
        calling(options={"k": Options(Policy(RetryPolicy(max=0), exhausted="suspend"), (Candidate("a"),))}), MAIN, SUB
    )
    grove.start()
    grove.end("r.c", "k", failed("auth"))
    assert grove.state("r") == "suspended"
    assert "r.c: attempt_started k" in grove.feed("r", "retry")


def test_force_goes_down_but_named_steps_do_not() -> None:
    for refresh, below in (("all", "all"), ({"c"}, None)):
        grove = Grove(calling(), MAIN, SUB)
        grove.feed("r", "start", {}, refresh, {})
        assert grove.tree.kernels["r.c"].refresh == below


def test_a_tree_that_is_thrown_away_gives_its_slots_back() -> None:
    grove = Grove(calling(), MAIN, SUB)
    grove.start()
    assert grove.slots.used() == 1
    grove.tree.release()
    assert grove.slots.used() == 0


def test_what_a_callee_gives_is_held_as_the_host_holds_results() -> None:
    class Keeps(StageHost):
        def keep(self, result: Any) -> Any:
            return {"ref": "digest", "size": len(str(result))}

    host = Keeps({"c": CallRun("sub", {}, {})})
    host.result = ({"answer": 42}, None)
    grove = Grove(host, MAIN, SUB)
    grove.start()
    grove.end("r.c", "k")
    assert grove.tree.kernels["r"].nodes["c"].result == {"ref": "digest", "size": 26}


def test_the_size_of_a_tree_counts_every_step_and_item_once_and_again_after_a_crash() -> None:
    main = graph(step("c", verb="call", fan=fan()), name="main")
    sub = graph(step("k"), step("f", fan=fan()), name="sub")
    items = Expand(tuple(Item(str(n), n) for n in range(3)), None)
    sizes: list[int] = []

    def call(run: RunView, node: NodeView) -> Prepared:
        if node.item is None:
            return items
        sizes.append(run.size)
        return CallRun("sub", {}, steps=2)

    grove = Grove(StageHost({"c": call, "f": lambda run, n: go() if n.item else items}), main, sub)
    grove.start()
    assert sizes == [4, 6, 8]  # who calls in the same turn knows of the steps that those before it bring
    assert grove.tree.purse.nodes == 1 + 3 + 3 * (2 + 3)
    assert grove.again().tree.purse.nodes == grove.tree.purse.nodes


def test_the_items_of_finally_are_counted_anew_in_the_next_leg() -> None:
    main = graph(step("a"), step("f", fan=fan(), final=True), name="main")
    items = Expand(tuple(Item(str(n), n) for n in range(3)), None)
    host = StageHost({"f": lambda run, n: go() if n.item else items}, {"a": NO_RETRY})
    grove = Grove(host, main)
    grove.start()
    for leg in (1, 2):
        grove.end("r", "a", failed())
        for n in range(3):
            grove.end("r", f"f[{n}]")
        assert (grove.state("r"), grove.tree.purse.nodes) == ("failed", 5)
        if leg == 1:
            grove.feed("r", "retry")
            assert grove.tree.purse.nodes == 2
    assert grove.again().tree.purse.nodes == 5
