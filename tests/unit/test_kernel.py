"""The rules of one run's kernel, one sentence each. Crashes at random places: tests/properties/test_kernel_crash.py."""

from __future__ import annotations

from typing import Any

import pytest
from kernel_stage import T0, Stage, StageHost, failed, fan, go, graph, ok, step

from runner.core.graph import Body, Repair
from runner.core.messages import (
    Ask,
    Broken,
    Candidate,
    Computed,
    Delay,
    Expand,
    FallbackOption,
    Finish,
    Hidden,
    Item,
    NoCandidate,
    Note,
    NotNow,
    Options,
    Outcome,
    Policy,
    RetryPolicy,
    Reuse,
    Skip,
    Wake,
)
from runner.core.slots import Slots

DONE = {"value": {"output": 1}}


def retrying(*labels: str, max: int = 2, delay: int = 2_000, **more: Any) -> Options:
    retry = RetryPolicy(max=max, delay=delay, jitter=0)
    return Options(
        Policy(retry, exhausted=more.pop("exhausted", "fail")), tuple(Candidate(x) for x in labels or "a"), **more
    )


def items(*values: Any, max_parallel: int | None = None) -> Expand:
    return Expand(tuple(Item(str(n), value) for n, value in enumerate(values)), max_parallel)


# ---------------------------------------------------------------- edges


def test_a_run_goes_from_start_to_finish_along_its_edges() -> None:
    stage = Stage(graph(step("a"), step("b", "a")))
    assert stage.start() == ["run_started", "attempt_started a"]
    assert stage.end("a") == ["attempt_succeeded a", "attempt_started b"]
    assert stage.end("b") == ["attempt_succeeded b", "main_finished", "run_finished"]
    assert stage.commands == [Finish("r", "succeeded", {})]
    assert stage.kernel.result_of("a") == DONE


@pytest.mark.parametrize(
    ("edge", "bad", "optional", "expected"),
    [
        ("a", "failed", False, "blocked"),
        ("order:a", "failed", False, "blocked"),
        ("state:a", "failed", False, "running"),
        ("tolerant:a", "failed", False, "running"),
        ("a", "failed", True, "skipped"),
        ("order:a", "failed", True, "running"),
        ("a", "skipped", False, "skipped"),
        ("order:a", "skipped", False, "running"),
        ("state:a", "skipped", False, "running"),
        ("tolerant:a", "skipped", False, "running"),
    ],
)
def test_what_a_reader_does_depends_on_the_kind_of_edge(edge: str, bad: str, optional: bool, expected: str) -> None:
    said = Skip("when") if bad == "skipped" else Broken("invalid", "no")
    stage = Stage(graph(step("a", optional=optional), step("b", edge)), StageHost({"a": said}))
    stage.start()
    assert stage.states() == {"a": bad, "b": expected}


@pytest.mark.parametrize("order", [("good", "skip", "bad"), ("skip", "bad", "good"), ("bad", "good", "skip")])
def test_blocked_wins_over_skipped_whoever_ends_first(order: tuple[str, ...]) -> None:
    host = StageHost(
        {"skip": [go(), Skip("when")]}, {"skip": retrying(max=0, exhausted="skip"), "bad": retrying(max=0)}
    )
    stage = Stage(graph(step("skip"), step("bad"), step("good"), step("reader", "skip", "bad", "good")), host)
    stage.start()
    for node in order:
        assert stage.kernel.nodes["reader"].state == "pending"
        stage.end(node, ok() if node == "good" else failed())
    assert stage.kernel.nodes["reader"].state == "blocked"


def test_independent_branches_go_on_after_a_failure() -> None:
    stage = Stage(graph(step("a"), step("b"), step("c", "b")), StageHost(options={"a": retrying(max=0)}))
    stage.start()
    stage.end("a", failed())
    assert stage.end("b") == ["attempt_succeeded b", "attempt_started c"]
    assert stage.end("c")[-1] == "run_finished"
    assert stage.kernel.state == "failed"


def test_an_optional_failure_does_not_fail_the_run() -> None:
    stage = Stage(graph(step("a", optional=True), step("b")), StageHost({"a": Broken("invalid", "no")}))
    stage.start()
    stage.end("b")
    assert stage.kernel.state == "succeeded"


def test_what_holds_no_slot_is_done_without_one() -> None:
    plan = {
        "s": Computed(DONE),
        "w": Delay(T0 + 5_000),
        "q": Ask("?", (), None, "reject"),
        "x": Broken("tool_error", "no"),
    }
    g = graph(*(step(id, verb=verb) for id, verb in (("s", "set"), ("w", "wait"), ("q", "approve"), ("x", "fail"))))
    stage = Stage(g, StageHost(plan), Slots(0))
    stage.start()
    assert stage.states() == {"s": "succeeded", "w": "waiting", "q": "suspended", "x": "failed"}
    assert stage.commands == [Wake("r", T0 + 5_000)]
    assert stage.kernel.state == "running"  # a wait is not suspended
    assert stage.feed("timer", after=5_000) == ["step_resolved w", "run_suspended"]


def test_a_reused_step_is_good_and_keeps_its_producer() -> None:
    host = StageHost({"a": Reuse("key", "old/a/1", DONE, {"out": "d"})})
    stage = Stage(graph(step("a"), step("b", "a")), host)
    assert stage.start() == ["run_started", "step_reused a", "attempt_started b"]
    assert stage.kernel.nodes["a"].producer == "old/a/1"


# ---------------------------------------------------------------- attempts


def test_late_duplicate_and_stale_messages_do_nothing() -> None:
    stage = Stage(graph(step("a"), step("b", "a")), StageHost(options={"a": retrying()}))
    stage.start()
    stage.end("a", failed())
    for message in (
        ("outcome", "a", 1, ok()),
        ("lost", "a", 1),
        ("note", "a", 1, Note("s")),
        ("outcome", "zzz", 1, ok()),
    ):
        assert stage.feed(*message) == []
    stage.feed("timer", after=2_000)
    assert stage.feed("outcome", "a", 1, ok()) == []
    stage.end("a")
    assert stage.feed("outcome", "a", 2, ok()) == []
    assert stage.feed("answer", "a", "succeeded", DONE, "me", "") == []
    assert stage.feed("redo", "a", "me") == []
    assert stage.feed("start", {}, None, {}) == []


def test_a_retry_waits_and_a_timer_that_fires_early_is_armed_again() -> None:
    stage = Stage(graph(step("a")), StageHost(options={"a": retrying()}))
    stage.start()
    assert stage.end("a", failed()) == ["attempt_failed a", "choice_advanced a", "step_waiting a"]
    assert stage.commands == [Wake("r", T0 + 2_000)]
    assert stage.feed("timer", after=1_999) == []
    assert stage.commands == [Wake("r", T0 + 2_000)]
    assert stage.feed("timer", after=1) == ["step_woken a", "attempt_started a"]


def test_a_clock_that_jumps_back_never_un_happens_a_timer() -> None:
    stage = Stage(graph(step("a")), StageHost(options={"a": retrying()}))
    stage.start()
    stage.end("a", failed())
    stage.feed("slots", after=1_500)
    assert stage.feed("timer", after=-1_400) == []
    assert stage.kernel.now == T0 + 1_500


def test_the_chain_moves_on_and_a_round_clears_what_failed() -> None:
    host = StageHost(
        {"a": lambda run, n: go(next(x for x in "xy" if x not in n.failed))}, {"a": retrying("x", "y", max=1)}
    )
    stage = Stage(graph(step("a")), host)
    stage.start()
    labels = [stage.tasks[0].label]
    for _ in range(3):
        stage.end("a", failed())
        if not stage.tasks:
            assert stage.kernel.nodes["a"].failed == set()
            stage.feed("timer", after=2_000)
        labels.append(stage.tasks[0].label)
    assert labels == ["x", "y", "x", "y"]
    stage.end("a", failed())
    assert stage.kernel.state == "failed"


def test_repair_goes_to_the_same_entry_with_session_and_feedback() -> None:
    body = Body("agent", {}, repair=Repair(2))
    stage = Stage(graph(step("a", bodies=(body,))), StageHost(options={"a": retrying(max=0, repair_max=2)}))
    stage.start()
    bad = failed("check_failed", feedback="too long", result={"value": {"output": "draft"}}, session="S1")
    assert stage.end("a", bad) == ["attempt_failed a", "choice_advanced a", "step_woken a", "attempt_started a"]
    task, n = stage.tasks[0], stage.kernel.nodes["a"]
    assert (task.session, task.feedback, task.effect_key) == ("S1", "too long", "r/a/2")
    assert (n.repair, n.previous) == (1, {"value": {"output": "draft"}})
    stage.feed("lost", "a", 2)
    assert (stage.tasks[0].feedback, stage.tasks[0].attempt, n.repair) == ("too long", 3, 1)
    stage.end("a", bad)
    stage.end("a", bad)
    assert stage.kernel.nodes["a"].state == "failed"


def test_a_session_that_is_new_in_each_round_is_not_passed_on() -> None:
    body = Body("agent", {}, repair=Repair(1, "new"))
    stage = Stage(graph(step("a", bodies=(body,))), StageHost(options={"a": retrying(repair_max=1)}))
    stage.start()
    stage.end("a", failed("check_failed", feedback="no", session="S1"))
    assert (stage.tasks[0].session, stage.tasks[0].feedback) == (None, "no")


def test_a_fallback_entry_is_another_body_with_another_key() -> None:
    bodies = (Body("tool", {}), Body("set", {}))
    host = StageHost(
        {"a": lambda run, n: go() if n.level == 0 else Computed(DONE)},
        {"a": retrying(max=0, fallbacks=(FallbackOption(1),))},
    )
    stage = Stage(graph(step("a", bodies=bodies)), host)
    stage.start()
    assert stage.end("a", failed(effect="maybe"))[-3:] == ["step_resolved a", "main_finished", "run_finished"]
    assert stage.kernel.state == "succeeded" and stage.slots.used() == 0


def test_the_idempotency_key_is_kept_after_an_unknown_outcome_and_new_after_a_known_one() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": go(effects="idempotent")}, {"a": retrying(max=9)}))
    stage.start()
    keys = []
    for outcome in (None, failed("timeout", effect="maybe"), failed("rate_limit"), None):
        keys.append((stage.tasks[0].key, stage.tasks[0].effect_key))
        if outcome is None:
            stage.feed("lost", "a", stage.kernel.nodes["a"].attempt)
        else:
            stage.end("a", outcome)
            stage.feed("timer", after=60_000)
    keys.append((stage.tasks[0].key, stage.tasks[0].effect_key))
    assert keys == [(f"r/a/{n}", f"r/a/{first}") for n, first in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4))]


def test_a_note_is_recorded_and_its_session_kept() -> None:
    stage = Stage(graph(step("a")))
    stage.start()
    assert stage.feed("note", "a", 1, Note("S", 12, 34)) == ["attempt_noted a"]
    assert stage.record[-1].data == {"n": 1, "session": "S", "pid": 12, "pid_start": 34}
    assert stage.again().kernel.nodes["a"].session == "S"


# ---------------------------------------------------------------- what the next agent is told

CHAIN = Options(candidates=(Candidate("a"), Candidate("b"), Candidate("c")))


def test_the_next_agent_is_told_what_each_one_before_it_came_to_and_so_is_one_after_a_crash() -> None:
    stage = Stage(graph(step("s", verb="agent")), StageHost({"s": [go("a"), go("b"), go("c")]}, {"s": CHAIN}))
    stage.start()
    assert stage.tasks[0].tried == ()
    stage.end("s", failed("timeout", executor="a", tried={"text": "half way", "diff": "+1", "kept": True}))
    first = {
        "executor": "a",
        "class": "timeout",
        "message": "it was timeout",
        "text": "half way",
        "diff": "+1",
        "kept": True,
    }
    assert (stage.tasks[0].label, stage.tasks[0].tried) == ("b", (first,))
    stage.end("s", failed("quota", executor="b"))
    second = {"executor": "b", "class": "quota", "message": "it was quota"}
    assert (stage.tasks[0].label, stage.tasks[0].tried) == ("c", (first, second))
    again = stage.again()
    again.feed("lost", "s", 3)
    assert again.tasks[0].tried == (first, second)


def test_who_goes_on_in_its_conversation_is_told_its_feedback_and_nothing_twice() -> None:
    options = Options(candidates=(Candidate("a"), Candidate("b")), repair_max=1)
    stage = Stage(graph(step("s", verb="agent")), StageHost({"s": [go("a"), go("a"), go("b")]}, {"s": options}))
    stage.start()
    stage.end("s", failed("check_failed", executor="a", session="S", feedback="no", tried={"diff": "+1"}))
    assert (stage.tasks[0].session, stage.tasks[0].feedback, stage.tasks[0].tried) == ("S", "no", ())
    stage.end("s", failed("check_failed", executor="a", session="S", feedback="still no", tried={"diff": "+2"}))
    assert [one["diff"] for one in stage.tasks[0].tried] == ["+2"]  # the last attempt of each


def test_a_model_is_told_nothing_of_what_others_tried() -> None:
    stage = Stage(graph(step("s", verb="model")), StageHost({"s": [go("a"), go("b")]}, {"s": CHAIN}))
    stage.start()
    stage.end("s", failed("quota", executor="a"))
    assert stage.tasks[0].tried == ()


# ---------------------------------------------------------------- lost, unknown


def test_a_lost_attempt_goes_on_in_its_recorded_session_with_the_same_key() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": go(effects="idempotent")}))
    stage.start()
    stage.feed("note", "a", 1, Note("S"))
    again = stage.again()
    again.feed("lost", "a", 1)
    assert (again.tasks[0].session, again.tasks[0].effect_key, again.tasks[0].feedback) == ("S", "r/a/1", None)


def test_no_other_executor_and_no_later_retry_goes_on_in_the_session_of_a_lost_attempt() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": [go("a"), go("b")]}))
    stage.start()
    stage.feed("note", "a", 1, Note("S"))
    stage.feed("lost", "a", 1)
    assert (stage.tasks[0].label, stage.tasks[0].session) == ("b", None)

    stage = Stage(graph(step("a")), StageHost({"a": go()}))
    stage.start()
    stage.feed("note", "a", 1, Note("S"))
    stage.end("a", failed("timeout", effect="maybe", session="S"))
    stage.feed("timer", after=600_000)
    assert (stage.tasks[0].attempt, stage.tasks[0].session) == (2, None)


def test_a_lost_attempt_uses_nothing_up_and_five_losses_wait_for_a_person() -> None:
    stage = Stage(graph(step("a")), StageHost(options={"a": retrying(max=0)}))
    stage.start()
    for n in range(1, 5):
        assert stage.feed("lost", "a", n) == ["attempt_lost a", "step_woken a", "attempt_started a"]
    assert stage.feed("lost", "a", 5) == ["attempt_lost a", "step_suspended a", "run_suspended"]
    assert stage.kernel.reasons == ("unknown",)
    assert stage.feed("redo", "a", "me") == ["step_woken a", "attempt_started a", "run_woken"]
    assert stage.feed("lost", "a", 6)[1] == "step_woken a"


@pytest.mark.parametrize("message", ["lost", "outcome"])
def test_an_unknown_once_step_waits_for_a_person(message: str) -> None:
    host = StageHost({"a": go(effects="once")}, {"a": retrying("a", "b", fallbacks=(FallbackOption(1),))})
    stage = Stage(graph(step("a"), step("b", "a")), host)
    stage.start()
    what = ("lost", "a", 1) if message == "lost" else ("outcome", "a", 1, failed("timeout", effect="maybe"))
    assert stage.feed(*what)[1:] == ["step_suspended a", "run_suspended"]
    assert stage.feed("answer", "a", "succeeded", {"value": {"output": 7}}, "me", "")[0] == "step_resolved a"
    assert stage.kernel.result_of("a") == {"value": {"output": 7}}
    assert stage.kernel.nodes["b"].state == "running"


def test_a_redone_once_step_carries_the_same_idempotency_key() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": go(effects="once")}))
    stage.start()
    stage.feed("lost", "a", 1)
    stage.feed("redo", "a", "me")
    assert (stage.tasks[0].key, stage.tasks[0].effect_key) == ("r/a/2", "r/a/1")


# ---------------------------------------------------------------- fan-out


def test_a_fan_out_expands_runs_and_joins() -> None:
    stage = Stage(graph(step("a", fan=fan()), step("b", "a")), StageHost({"a": [items("p", "q"), go()]}))
    assert stage.start() == ["run_started", "items_expanded a", "attempt_started a[0]", "attempt_started a[1]"]
    assert stage.kernel.nodes["a[1]"].item == Item("1", "q")
    stage.end("a[1]", ok("Q"))
    assert stage.end("a[0]", ok("P")) == ["attempt_succeeded a[0]", "group_joined a", "attempt_started b"]
    assert stage.kernel.items_of("a") == [
        {"key": "0", "state": "succeeded", "result": {"value": {"output": "P"}}, "error": None},
        {"key": "1", "state": "succeeded", "result": {"value": {"output": "Q"}}, "error": None},
    ]
    assert stage.kernel.result_of("a") is None
    assert stage.kernel.nodes["a"].producer == stage.again().kernel.nodes["a"].producer != ""


def test_an_empty_list_succeeds_and_so_do_items_that_are_all_skipped() -> None:
    host = StageHost({"a": items(), "b": [items(1, 2), Skip("when")]})
    stage = Stage(graph(step("a", fan=fan()), step("b", fan=fan())), host)
    stage.start()
    assert stage.kernel.state == "succeeded"


@pytest.mark.parametrize(("join", "state"), [("all", "failed"), ("settled", "succeeded")])
def test_every_item_runs_and_join_decides_what_a_failed_one_means(join: Any, state: str) -> None:
    stage = Stage(
        graph(step("a", fan=fan(join=join))), StageHost({"a": [items(1, 2, 3), go()]}, {"a": retrying(max=0)})
    )
    stage.start()
    stage.end("a[0]", failed("tool_error"))
    stage.end("a[1]")
    stage.end("a[2]")
    assert (stage.kernel.nodes["a"].state, stage.kernel.state) == (state, state)
    error = stage.kernel.nodes["a"].error
    assert (error or {}).get("class") == ("tool_error" if join == "all" else None)


def test_a_sequence_stops_at_the_first_failure() -> None:
    host = StageHost({"a": [items(1, 2, 3, 4, max_parallel=1), go()]}, {"a": retrying(max=0)})
    stage = Stage(graph(step("a", fan=fan())), host)
    stage.start()
    assert stage.end("a[0]") == ["attempt_succeeded a[0]", "attempt_started a[1]"]
    stage.end("a[1]", failed())
    assert list(stage.states().values()) == ["failed", "succeeded", "failed", "blocked", "blocked"]


def test_a_sequence_waits_for_the_retry_of_an_item() -> None:
    host = StageHost({"a": [items(1, 2, max_parallel=1), go()]}, {"a": retrying()})
    stage = Stage(graph(step("a", fan=fan())), host)
    stage.start()
    stage.end("a[0]", failed())
    assert stage.kernel.nodes["a[1]"].state == "pending"
    crashed = stage.again()
    assert crashed.feed("timer", after=2_000) == ["step_woken a[0]", "attempt_started a[0]"]


def test_at_most_max_parallel_items_run_at_once() -> None:
    stage = Stage(graph(step("a", fan=fan())), StageHost({"a": [items(*range(5), max_parallel=2), go()]}))
    stage.start()
    assert [task.node for task in stage.tasks] == ["a[0]", "a[1]"]
    stage.end("a[1]")
    assert [task.node for task in stage.tasks] == ["a[2]"]


# ---------------------------------------------------------------- slots


def test_at_most_concurrency_steps_run_at_once() -> None:
    stage = Stage(graph(*(step(f"s{n}") for n in range(4)), concurrency=2))
    stage.start()
    assert [task.node for task in stage.tasks] == ["s0", "s1"]
    stage.end("s0")
    assert [task.node for task in stage.tasks] == ["s2"]


def test_no_intent_without_a_slot_of_the_process() -> None:
    slots = Slots(1)
    slots.take("")
    stage = Stage(graph(step("a")), slots=slots)
    assert stage.start() == ["run_started"]
    assert stage.host.asked == []
    slots.give("")
    assert slots.next() == "r"
    assert stage.feed("slots") == ["attempt_started a"]


def test_nothing_starts_while_the_process_drains() -> None:
    slots = Slots(9)
    stage = Stage(graph(step("a"), step("b", "a")), slots=slots)
    stage.start()
    slots.closed = True
    assert stage.end("a") == ["attempt_succeeded a"]
    assert stage.kernel.state == "running"


def test_a_thousand_items_on_a_small_server_are_not_looked_at_again_and_again() -> None:
    slots = Slots(64)
    slots.limit("srv", 4)

    def prepare(run: Any, n: Any) -> Any:
        if n.item is None:
            return items(*range(1_000))
        return go(lane="srv") if slots.free("srv") else NotNow("srv")

    stage = Stage(graph(step("a", fan=fan()), concurrency=64), StageHost({"a": prepare}), slots)
    stage.start()
    running = [task.node for task in stage.tasks]
    assert running == ["a[0]", "a[1]", "a[2]", "a[3]"]
    order = list(running)
    while running:
        stage.end(running.pop(0))
        started = [task.node for task in stage.tasks]
        running += started
        order += started
        assert len(running) <= 4
    assert order == [f"a[{n}]" for n in range(1_000)]
    assert len(stage.host.asked) <= 2_001
    assert stage.kernel.state == "succeeded"


def test_a_step_that_any_of_several_lanes_would_serve_starts_when_one_is_free() -> None:
    slots = Slots(64)
    slots.limit("x", 1)
    slots.limit("y", 1)

    def prepare(run: Any, n: Any) -> Any:
        lane = next((lane for lane in "xy" if slots.free(lane)), None)
        return NotNow("x", ("y",)) if lane is None else go(lane=lane)

    stage = Stage(graph(*(step(f"s{n}") for n in range(4))), StageHost({f"s{n}": prepare for n in range(4)}), slots)
    stage.start()
    assert [task.node for task in stage.tasks] == ["s0", "s1"]
    stage.end("s1")
    assert [task.node for task in stage.tasks] == ["s2"]
    stage.end("s2")
    stage.end("s0")
    stage.end("s3")
    assert stage.kernel.state == "succeeded"


# ---------------------------------------------------------------- modes


def shown(value: bool, **more: Any) -> Options:
    return Options(Policy(RetryPolicy(max=0), **more), (Candidate("a", shown=value),))


def test_a_step_that_the_mode_hides_is_suspended_until_the_mode_changes() -> None:
    host = StageHost({"a": [Hidden("no cloud"), go()]}, {"a": shown(False, exhausted="suspend")})
    stage = Stage(graph(step("a")), host)
    stage.feed("mode", "brainstem")
    assert stage.start() == ["run_started", "step_suspended a", "run_suspended"]
    assert stage.kernel.reasons == ("mode",)
    assert stage.feed("mode", "degraded") == []
    host.ways["a"] = shown(True)
    assert stage.feed("mode", "normal") == ["step_woken a", "attempt_started a", "run_woken"]


def chain(*entries: str) -> Options:
    """Entries of a chain; those with a `-` in front are hidden now."""
    candidates = tuple(Candidate(e.removeprefix("-"), shown=not e.startswith("-")) for e in entries)
    return Options(Policy(RetryPolicy(max=0), exhausted="suspend"), candidates)


@pytest.mark.parametrize(
    ("now", "woken"),
    [
        (("cloud", "-local"), False),
        (("cloud", "local"), {"reason": "mode degraded"}),
        (("cloud",), {"reason": "mode degraded", "restart": True}),
        (("-cloud",), False),
        ((), {"reason": "mode degraded"}),
    ],
    ids=["still hidden", "shown again", "no candidate any more", "nor may the failed one be asked", "nobody is left"],
)
def test_a_step_that_waits_for_a_hidden_entry_is_woken_by_whatever_ends_the_wait(
    now: tuple[str, ...], woken: dict[str, Any] | bool
) -> None:
    host = StageHost({"a": go("cloud")}, {"a": chain("cloud", "-local")})
    stage = Stage(graph(step("a")), host)
    stage.start()
    assert stage.end("a", failed()) == [
        "attempt_failed a", "choice_advanced a", "step_suspended a", "run_suspended",
    ]  # fmt: skip
    host.ways["a"] = chain(*now)
    kinds = stage.feed("mode", "degraded")
    assert [e.data for e in stage.record if e.kind == "step_woken"] == ([woken] if woken else [])
    assert bool(kinds) is bool(woken)
    stage.feed("mode", "degraded")
    assert sum(e.kind == "step_woken" for e in stage.record) == bool(woken), "it is woken once"


@pytest.mark.parametrize(("exhausted", "state"), [("fail", "failed"), ("skip", "skipped")])
def test_the_policy_of_a_mode_may_give_up_on_what_it_hides(exhausted: Any, state: str) -> None:
    stage = Stage(graph(step("a")), StageHost({"a": Hidden("no cloud")}, {"a": shown(False, exhausted=exhausted)}))
    stage.feed("mode", "brainstem")
    stage.start()
    assert stage.kernel.nodes["a"].state == state


def test_a_mode_change_looks_again_at_what_waits_for_a_lane() -> None:
    slots = Slots(9)
    slots.limit("cloud", 0)
    stage = Stage(graph(step("a")), StageHost({"a": [NotNow("cloud"), go("local")]}), slots)
    assert stage.start() == ["run_started"]
    assert stage.feed("mode", "brainstem") == ["attempt_started a"]


def test_exhausted_and_used_up_quota_start_over_on_retry_and_when_their_time_comes() -> None:
    host = StageHost(options={"a": retrying(max=0, exhausted="suspend"), "b": retrying(max=0, exhausted="suspend")})
    stage = Stage(graph(step("a"), step("b")), host)
    stage.start()
    stage.end("a", failed("auth"))
    stage.end("b", failed("quota", retry_after_ms=60_000))
    assert stage.kernel.reasons == ("exhausted", "quota")
    assert stage.kernel.next_wake == T0 + 60_000
    assert stage.feed("timer", after=60_000) == ["step_woken b", "attempt_started b", "run_woken"]
    assert stage.feed("retry") == ["step_woken a", "attempt_started a"]


def test_nothing_in_the_chain_fails_or_falls_back() -> None:
    bodies = (Body("agent", {}), Body("tool", {}))
    host = StageHost(
        {"a": NoCandidate("invalid", "no such tool"), "b": [NoCandidate("unavailable", "no key"), go()]},
        {"b": retrying(max=3, fallbacks=(FallbackOption(1),))},
    )
    stage = Stage(graph(step("a"), step("b", bodies=bodies)), host)
    assert stage.start() == ["run_started", "step_failed a", "choice_advanced b", "attempt_started b"]
    assert stage.kernel.nodes["a"].error == {
        "class": "invalid",
        "message": "no such tool",
        "status": None,
        "executor": "",
    }


# ---------------------------------------------------------------- approvals


def asking(otherwise: Any = "reject") -> Stage:
    host = StageHost({"q": Ask("May I?", ("diff",), T0 + 9_000, otherwise)})
    stage = Stage(graph(step("q", verb="approve"), step("b", "q")), host)
    stage.start()
    return stage


def test_an_approval_survives_restarts_and_says_who_answered() -> None:
    stage = asking().again()
    assert stage.kernel.suspended()[0].ask == {"message": "May I?", "show": ["diff"], "otherwise": "reject"}
    assert stage.feed("answer", "q", "succeeded", None, "ann", "fine") == [
        "step_resolved q",
        "attempt_started b",
        "run_woken",
    ]
    assert stage.kernel.result_of("q") == {
        "value": {"output": {"by": "ann", "comment": "fine", "at": "1970-01-01T00:16:40Z"}}
    }


def test_a_rejection_is_denied() -> None:
    stage = asking()
    stage.feed("answer", "q", "failed", None, "ann", "not today")
    assert stage.kernel.nodes["q"].error == {
        "class": "denied",
        "message": "rejected by ann: not today",
        "status": None,
        "executor": "",
    }
    assert (stage.kernel.nodes["b"].state, stage.kernel.state) == ("blocked", "failed")


@pytest.mark.parametrize(
    ("otherwise", "state", "error_class"),
    [("reject", "failed", "denied"), ("fail", "failed", "timeout"), ("approve", "succeeded", None)],
)
def test_an_approval_that_nobody_answers_ends_otherwise(otherwise: str, state: str, error_class: str | None) -> None:
    stage = asking(otherwise)
    stage.feed("timer", after=9_000)
    n = stage.kernel.nodes["q"]
    assert (n.state, (n.error or {}).get("class")) == (state, error_class)


# ---------------------------------------------------------------- money


def test_a_step_waits_for_money_in_flight_and_is_suspended_only_when_it_is_gone() -> None:
    host = StageHost({id: go(estimate=60) for id in "abc"})
    stage = Stage(graph(step("a"), step("b"), step("c")), host)
    stage.start(cap=100)
    assert stage.states() == {"a": "running", "b": "pending", "c": "pending"}
    assert stage.end("a", ok(cost=10)) == ["attempt_succeeded a", "attempt_started b"]
    assert stage.end("b", ok(cost=55)) == ["attempt_succeeded b", "step_suspended c", "run_suspended"]
    assert (stage.kernel.spent, stage.kernel.reasons) == (65, ("budget",))
    assert stage.feed("raise", 25, "me") == ["budget_raised", "step_woken c", "attempt_started c", "run_woken"]


def test_an_unknown_price_and_a_lost_attempt_cost_what_was_reserved() -> None:
    stage = Stage(graph(step("a")), StageHost({"a": go(estimate=60)}))
    stage.start(cap=1_000)
    stage.feed("lost", "a", 1)
    stage.end("a", ok(cost=None, cost_source="declared"))
    assert stage.kernel.spent == stage.kernel.nodes["a"].cost == 120
    assert next(e for e in stage.record if e.kind == "attempt_succeeded").data["cost_source"] == "assumed"


def test_a_cancelled_attempt_that_may_have_cost_something_counts_what_was_reserved_and_one_that_cannot_nothing() -> (
    None
):
    stage = Stage(graph(step("a"), step("b")), StageHost({"a": go(estimate=60), "b": go()}))
    stage.start(cap=1_000)
    stage.feed("cancel", "me", "")
    for id in "ab":
        stage.end(id, Outcome("cancelled", effect="maybe", cost=None))
    ended = {e.node: e.data for e in stage.record if e.kind == "attempt_failed"}
    assert (ended["a"]["cost"], ended["a"]["cost_source"]) == (60, "assumed")
    assert ended["b"]["cost"] == 0 and "cost_source" not in ended["b"]
    assert stage.kernel.spent == 60


def test_exceed_fail_ends_what_has_not_started_and_throws_nothing_away() -> None:
    host = StageHost({id: go(estimate=60) for id in "abcd"})
    stage = Stage(graph(step("a"), step("b"), step("c", "a"), step("d", "b"), concurrency=2), host)
    stage.start(cap=130, exceed="fail")
    stage.end("a", ok(cost=60))
    stage.end("b", ok(cost=60))
    assert stage.states() == {"a": "succeeded", "b": "succeeded", "c": "failed", "d": "cancelled"}
    assert stage.kernel.state == "failed"


def test_exceed_free_only_asks_for_a_free_entry() -> None:
    host = StageHost(
        {"a": lambda run, n: go("free") if n.free_only else go("paid", estimate=60), "b": go("paid", estimate=60)}
    )
    stage = Stage(graph(step("a"), step("b")), host)
    stage.start(cap=10, exceed="free_only")
    assert [task.label for task in stage.tasks] == ["free"]
    assert stage.kernel.nodes["b"].reason == "budget"


def test_a_step_has_a_budget_of_its_own_that_its_items_share() -> None:
    host = StageHost({"a": [items(1, 2, 3), go(estimate=40, cap=100)]})
    stage = Stage(graph(step("a", fan=fan())), host)
    stage.start()
    assert stage.states() == {"a": "group", "a[0]": "running", "a[1]": "running", "a[2]": "pending"}
    stage.end("a[0]", ok(cost=40))
    stage.end("a[1]", ok(cost=40))
    assert stage.kernel.nodes["a[2]"].reason == "budget"


# ---------------------------------------------------------------- the run's timeout


def test_the_runs_timeout_counts_busy_time_only_and_across_restarts() -> None:
    host = StageHost({"q": Ask("?", (), None, "reject")})
    stage = Stage(graph(step("a"), step("q", "a", verb="approve"), step("b", "q")), host)
    stage.start(timeout_ms=10_000)
    assert stage.commands[-1] == Wake("r", T0 + 10_000)
    stage.end("a", after=6_000)
    stage = stage.again()
    stage.feed("answer", "q", "succeeded", None, "me", "", after=1_000_000)
    assert stage.commands[-1] == Wake("r", stage.now + 4_000)
    assert stage.feed("timer", after=3_999) == []
    assert stage.feed("timer", after=1) == ["run_timed_out"]


def test_a_run_that_times_out_cancels_runs_finally_and_fails() -> None:
    host = StageHost({"once": go(effects="once")})
    g = graph(step("a"), step("once"), step("b", "a"), step("done"), step("f", final=True))
    stage = Stage(g, host)
    stage.start(timeout_ms=10_000)
    stage.end("done")
    assert stage.feed("timer", after=10_000) == ["run_timed_out", "step_cancelled b"]
    assert sorted(command.key for command in stage.commands) == ["r/a/1", "r/once/1"]
    stage.end("a", Outcome("cancelled"))
    stage.end("once", Outcome("cancelled", effect="maybe"))
    why = "the run's timeout is over"
    assert stage.kernel.nodes["a"].error == {"class": "timeout", "message": why, "status": None, "executor": "a"}
    assert stage.kernel.nodes["once"].reason == "unknown"
    stage.end("f")
    assert (stage.kernel.state, stage.states()["done"], stage.states()["a"]) == ("failed", "succeeded", "failed")


# ---------------------------------------------------------------- cancel, finally, legs


def test_cancel_ends_everything_but_never_hides_an_unknown_outcome() -> None:
    host = StageHost({"once": go(effects="once"), "sus": go(effects="once")})
    stage = Stage(graph(step("a"), step("once"), step("sus"), step("b", "a"), step("f", final=True)), host)
    stage.start()
    stage.feed("lost", "sus", 1)
    assert stage.feed("cancel", "me", "enough") == ["cancel_requested", "step_failed sus", "step_cancelled b"]
    stage.end("a", Outcome("cancelled"))
    assert stage.end("once", Outcome("cancelled", effect="maybe"))[1:] == [
        "step_failed once",
        "main_finished",
        "attempt_started f",
    ]
    assert stage.feed("cancel", "me", "") == ["cancel_requested"]
    stage.end("f", Outcome("cancelled"))
    assert stage.states() == {"a": "cancelled", "once": "failed", "sus": "failed", "b": "cancelled", "f": "cancelled"}
    assert stage.kernel.state == "cancelled"


def test_a_run_that_never_started_can_be_cancelled() -> None:
    stage = Stage(graph(step("a")))
    assert stage.feed("cancel", "me", "") == ["cancel_requested", "run_finished"]
    assert stage.kernel.state == "cancelled"


def test_finally_runs_whatever_happened_and_can_fail_a_good_run() -> None:
    stage = Stage(graph(step("a"), step("f", "tolerant:a", final=True), step("g", "f", final=True)))
    stage.kernel.host.ways["f"] = retrying(max=0)  # type: ignore[attr-defined]
    stage.start()
    assert stage.end("a") == ["attempt_succeeded a", "main_finished", "attempt_started f"]
    assert stage.kernel.verdict == "succeeded"
    assert stage.end("f", failed()) == ["attempt_failed f", "step_failed f", "step_blocked g", "run_finished"]
    assert stage.kernel.state == "failed"


def test_finally_is_never_suspended() -> None:
    finals = [step(id, final=True) for id in ("hidden", "poor", "once", "tired")]
    host = StageHost(
        {"hidden": Hidden("no cloud"), "poor": go(estimate=999), "once": go(effects="once")},
        {"tired": retrying(max=0, exhausted="suspend"), "hidden": shown(False, exhausted="suspend")},
    )
    stage = Stage(graph(step("a"), *finals), host)
    stage.start(cap=10, finally_cap=10)
    stage.end("a")
    stage.feed("lost", "once", 1)
    stage.end("tired", failed())
    assert stage.states() == {
        "a": "succeeded",
        "hidden": "skipped",
        "poor": "skipped",
        "once": "failed",
        "tired": "failed",
    }
    assert stage.kernel.nodes["once"].reason == "unknown"
    assert stage.kernel.nodes["hidden"].reason == "mode: no cloud"


def test_finally_has_a_reserve_of_its_own() -> None:
    host = StageHost({"a": go(estimate=100), "f": go(estimate=30), "g": go(estimate=30)})
    stage = Stage(graph(step("a"), step("f", final=True), step("g", "f", final=True)), host)
    stage.start(cap=100, finally_cap=50)
    stage.end("a", ok(cost=100))
    stage.end("f", ok(cost=30))
    assert (stage.states()["f"], stage.states()["g"], stage.kernel.nodes["g"].reason) == (
        "succeeded",
        "skipped",
        "budget",
    )


def test_outputs_are_computed_when_the_run_succeeds_and_may_fail_it() -> None:
    host = StageHost()
    host.result = (None, "no such field")
    stage = Stage(graph(step("a")), host)
    stage.start()
    stage.end("a")
    assert (stage.kernel.state, stage.record[-1].data["reason"]) == ("failed", "outputs: no such field")


def test_a_new_leg_repeats_what_ended_badly_and_nothing_else() -> None:
    host = StageHost(
        {"fan": [items(1, 2), go()], "once": go(effects="once")},
        {id: retrying(max=0) for id in ("bad", "fan", "opt")},
    )
    g = graph(
        step("good"), step("bad"), step("blocked", "bad"), step("opt", optional=True), step("fan", fan=fan()),
        step("once"),
        step("f", final=True),
    )  # fmt: skip
    stage = Stage(g, host)
    stage.start()
    stage.end("good")
    for node in ("bad", "opt", "fan[0]"):
        stage.end(node, failed())
    stage.end("fan[1]")
    stage.feed("cancel", "me", "")
    stage.end("once", Outcome("cancelled", effect="maybe"))
    stage.end("f")
    assert stage.kernel.state == "cancelled"
    assert stage.feed("retry") == ["leg_started", "attempt_started bad", "attempt_started fan[0]"]
    assert stage.record[-3].data == {"leg": 2, "reset": ["bad", "blocked", "fan", "fan[0]", "f"], "suspend": ["once"]}
    again = stage.again()
    assert again.states() == stage.states()
    assert again.states() == {
        "good": "succeeded", "bad": "running", "blocked": "pending", "opt": "failed", "fan": "group",
        "once": "suspended",
        "f": "pending", "fan[0]": "running", "fan[1]": "succeeded",
    }  # fmt: skip
    assert stage.tasks[0].key == "r/bad/2" and stage.kernel.leg == 2
    stage.end("bad")
    stage.end("fan[0]")
    stage.feed("answer", "once", "succeeded", DONE, "me", "")
    stage.end("blocked")
    assert stage.end("f")[-1] == "run_finished"
    assert stage.kernel.state == "succeeded"


def test_a_finally_fan_out_is_made_anew_in_the_next_leg_and_its_attempts_are_numbered_on() -> None:
    host = StageHost({"f": [items(1, 2), go(), go(), items(9), go()]}, {"a": retrying(max=0)})
    stage = Stage(graph(step("a"), step("f", fan=fan(), final=True)), host)
    stage.start()
    stage.end("a", failed())
    stage.end("f[0]")
    stage.end("f[1]")
    stage.feed("retry")
    assert stage.states() == {"a": "running", "f": "pending"}
    stage.end("a")
    assert stage.states() == {"a": "succeeded", "f": "group", "f[0]": "running"}
    assert stage.tasks[0].key == "r/f[0]/2"
    assert stage.again().states() == stage.states()


def test_a_succeeded_run_has_no_further_leg() -> None:
    stage = Stage(graph(step("a")))
    stage.start()
    stage.end("a")
    assert stage.feed("retry") == [] and stage.feed("cancel", "me", "") == []


# ---------------------------------------------------------------- start


def test_what_the_run_started_with_is_recorded() -> None:
    stage = Stage(graph(step("a")))
    stage.feed("start", {"x": 1}, {"b", "a"}, {"timeout_ms": 5_000, "files": {"f": "d"}})
    again = stage.again().kernel
    assert (again.inputs, again.refresh, again.timeout_ms) == ({"x": 1}, frozenset({"a", "b"}), 5_000)
    assert again.extra["files"] == {"f": "d"}


def test_a_kernel_that_is_thrown_away_gives_its_slots_back() -> None:
    slots = Slots(4)
    stage = Stage(graph(step("a"), step("b")), StageHost({"a": go(lane="x")}), slots)
    stage.start()
    assert (slots.used(), slots.used("x")) == (2, 1)
    stage.kernel.release()
    assert (slots.used(), slots.used("x")) == (0, 0)
    again = stage.again()
    assert (again.slots.used(), again.slots.used("x")) == (2, 1)


# ---------------------------------------------------------------- resolving


@pytest.mark.parametrize(("state", "error_class"), [("failed", "timeout"), ("skipped", "timeout")])
def test_a_person_may_resolve_an_unknown_step_as_failed_or_skipped(state: str, error_class: str) -> None:
    stage = Stage(graph(step("a"), step("b", "a")), StageHost({"a": go(effects="once")}))
    stage.start()
    stage.end("a", failed("timeout", effect="maybe"))
    stage.feed("answer", "a", state, None, "ann", "")
    n = stage.kernel.nodes["a"]
    assert (n.state, (n.error or {}).get("class")) == (state, error_class)
    assert stage.kernel.nodes["b"].state == ("blocked" if state == "failed" else "skipped")
    assert stage.again().states() == stage.states()


def test_retry_of_a_suspended_run_looks_again_at_what_the_mode_hides() -> None:
    host = StageHost({"a": [Hidden("no cloud"), go()]}, {"a": shown(False, exhausted="suspend")})
    stage = Stage(graph(step("a")), host)
    stage.start()
    assert stage.feed("retry") == []
    host.ways["a"] = shown(True)
    assert stage.feed("retry")[0] == "step_woken a"
