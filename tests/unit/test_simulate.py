"""Simulated runs: what happens when, who answers, what is suspended, and that the promises are watched on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from compiling import graph_of

from runner.core import kernel, recover
from runner.core.modes import CloudEndpoint
from runner.core.policy import OperatorPolicy
from runner.core.roster import Entry, Roster
from runner.simulate.campaign import Simulated, Summary, every_death, every_seed, seeded, simulate, study
from runner.simulate.faults import ModeChange, parse
from runner.simulate.funds import SimulatedFunds
from runner.simulate.outcome import Ended
from runner.simulate.scenario import Case, Scenario

RETRY = "faults: {retry: {max: 2, delay: 2s, backoff: 2, jitter: 0, errors: [unavailable, timeout, tool_error]}}"


def case(text: str, **more: Any) -> Case:
    """A manifest named `m` with an MCP server `github`."""
    graph = graph_of(text)
    return Case("m", {"m": graph}, {}, servers={"github": 2}, **more)


def shown(text: str, *fail: str, **more: Any) -> Ended:
    """What a scenario of it shows; every promise is kept."""
    return kept(simulate(study(case(text)), Scenario(tuple(map(parse, fail)), **more))).ended


def kept(simulated: Simulated) -> Simulated:
    assert simulated.broken is None, simulated.broken
    return simulated


def states(ended: Ended) -> dict[str, str]:
    return {step.place: step.state for step in ended.steps}


def attempts(ended: Ended, step: str) -> list[tuple[int, str]]:
    """(when it began, who was asked) of each attempt of a step."""
    return [
        (told.at - ended.start, told.event.data["label"])
        for told in ended.told
        if told.event.kind == "attempt_started" and told.event.node == step
    ]


def test_without_faults_everything_succeeds_in_virtual_time() -> None:
    ended = shown("steps: {a: {run: [a], effects: none}, w: {wait: 3h, needs: [a]}, b: {tool: github.x, needs: [w]}}")
    assert ended.outcome == "succeeded"
    assert attempts(ended, "b") == [(5_000 + 3 * 3_600_000, "github")]


def test_a_fault_is_retried_when_the_policy_says() -> None:
    ended = shown(f"steps: {{a: {{run: [a], effects: none, {RETRY}}}}}", "local@a:tool_error*2")
    assert ended.outcome == "succeeded"
    assert [at for at, _ in attempts(ended, "a")] == [0, 7_000, 16_000], "2 s and then 4 s after attempts of 5 s"


def test_a_fault_for_ever_ends_in_the_fallback_and_then_in_failure() -> None:
    text = (
        "steps: {a: {tool: github.x, effects: none, faults: {retry: {max: 0}}, fallback: [{run: [b], effects: none}]}}"
    )
    ended = shown(text, "github@a:auth")
    assert (ended.outcome, [label for _, label in attempts(ended, "a")]) == ("succeeded", ["github", "local"])
    assert shown(text, "*@a:auth").outcome == "failed"


def test_a_time_out_takes_as_long_as_the_timeout() -> None:
    ended = shown("steps: {a: {run: [a], effects: none, timeout: 90s, faults: {retry: {max: 0}}}}", "*@a:timeout")
    assert (ended.outcome, ended.takes_ms) == ("failed", 90_000)


def test_a_once_step_without_an_answer_waits_for_a_person() -> None:
    ended = shown("steps: {send: {run: [send]}, b: {run: [b], needs: [send]}}", "local@send:timeout")
    assert ended.outcome == "suspended: unknown"
    [waiting] = ended.waiting
    assert (waiting.place, waiting.reason, waiting.until_ms) == ("send", "unknown", None)
    assert states(ended) == {"send": "suspended", "b": "pending"}


GATE = "steps: {ask: {approve: 'Go?', timeout: 24h}, b: {run: [b], needs: [ask], effects: none}}"


@pytest.mark.parametrize(
    ("people", "outcome"),
    [({}, "suspended: approval"), ({"approve": ("ask",)}, "succeeded"), ({"reject": ("*",)}, "failed")],
)
def test_people_answer_when_they_are_announced(people: Any, outcome: str) -> None:
    ended = shown(GATE, **people)
    assert ended.outcome == outcome
    assert [each.until_ms for each in ended.waiting] == ([86_400_000] if not people else [])


def test_the_operators_policy_asks_here_too() -> None:
    made = case("steps: {b: {tool: github.merge}}", policy=OperatorPolicy(approve=("github.*",)))
    assert kept(simulate(study(made), Scenario())).ended.outcome == "suspended: approval"
    assert kept(simulate(study(made), Scenario(approve=("b",)))).ended.outcome == "succeeded"


def test_the_mode_changes_when_a_step_starts() -> None:
    text = """
        defaults: {faults: {degraded: {skip: [optional]}}}
        steps:
          a: {run: [a], effects: none}
          extra: {run: [b], needs: [a], optional: true, effects: none}
    """
    assert states(shown(text))["extra"] == "succeeded"
    assert states(shown(text, modes=(ModeChange("degraded", "a"),)))["extra"] == "skipped"
    assert states(shown(text, modes=(ModeChange("degraded"),)))["extra"] == "skipped"
    assert states(shown(text, modes=(ModeChange("degraded"), ModeChange("normal", "a"))))["extra"] == "succeeded"


def test_what_is_not_configured_fails_as_it_would() -> None:
    ended = shown("steps: {a: {tool: other.x}}")
    assert "needs MCP server other" in str(ended.steps[0].error)


# ---------------------------------------------------------------- models, agents, modes, money

ROSTER = Roster(
    models={
        "smart": Entry("smart", "model", endpoint="proxy", tier="paid", price_in=1, price_out=2, lead=True),
        "spare": Entry("spare", "model", endpoint="backup", tier="paid", price_in=2, price_out=4, backup=True),
        "llama": Entry("llama", "model", endpoint="desk", tier="local", local=True),
    },
    agents={"claude-code": Entry("claude-code", "agent"), "openclaw": Entry("openclaw", "agent")},
    cloud=(CloudEndpoint("proxy", lead=True), CloudEndpoint("backup", lead=False)),
)
ASKS = """
defaults: {faults: {brainstem: {exhausted: suspend}}}
steps:
  a: {model: Hello, route: {models: [smart, spare]}}
  b: {model: "And {{ steps.a.text }}", route: {models: [smart, spare]}}
  c: {model: Here, route: {models: [llama]}}
"""


def asked(text: str, *fail: str, extra: Any = None, **more: Any) -> Ended:
    """The same with models, agents and their endpoints."""
    made = replace(case(text), roster=ROSTER, servers={"claude-code": 1, "openclaw": 1}, extra=extra or {})
    return kept(simulate(study(made), Scenario(tuple(map(parse, fail)), **more))).ended


def answered(ended: Ended) -> dict[str, str]:
    return {step.place: step.model or step.executor for step in ended.steps if step.state == "succeeded"}


def modes(ended: Ended) -> list[str]:
    return [told.event.data["mode"] for told in ended.told if told.event.kind == "mode"]


def test_the_next_of_the_chain_answers_for_one_that_fails() -> None:
    text = "steps: {fix: {agent: Fix it, route: {executors: [claude-code, openclaw]}}}"
    assert answered(asked(text)) == {"fix": "claude-code"}
    ended = asked(text, "claude-code@fix:rate_limit")
    assert [label for _, label in attempts(ended, "fix")] == ["claude-code", "openclaw"]
    assert answered(ended) == {"fix": "openclaw"}


def test_a_dead_proxy_degrades_within_a_second_and_its_backup_answers() -> None:
    ended = asked(ASKS, "proxy@*")
    assert (ended.outcome, modes(ended)) == ("succeeded", ["degraded"])
    assert answered(ended) == {"a": "spare", "b": "spare", "c": "llama"}
    assert [label for _, label in attempts(ended, "b")] == ["spare"], "nobody asks the dead one again"


def test_with_every_cloud_away_only_local_work_runs_and_the_rest_is_suspended_not_failed() -> None:
    ended = asked(ASKS, "proxy@*", "backup@*")
    assert (ended.outcome, modes(ended)) == ("suspended: mode", ["degraded", "brainstem"])
    assert states(ended) == {"a": "suspended", "b": "pending", "c": "succeeded"}
    assert states(asked(ASKS, modes=(ModeChange("brainstem"),))) == states(ended)


def test_one_bad_call_moves_no_mode_and_a_mode_that_is_set_stays() -> None:
    assert modes(asked(ASKS, "proxy@a:timeout*1")) == []
    assert modes(asked(ASKS, "proxy@*", modes=(ModeChange("normal"),))) == []


def test_a_budget_suspends_what_it_has_no_room_for() -> None:
    ended = asked(ASKS, extra={"cap": 3_000, "finally_cap": 0})
    assert ended.outcome == "suspended: budget"
    assert states(ended)["a"] == "succeeded" and 0 < ended.cost <= 3_000
    assert asked(ASKS).cost > 3_000


def test_the_days_budget_suspends_until_the_next_day_begins() -> None:
    made = replace(case(ASKS), roster=ROSTER, day_cap=3_000)
    simulated = kept(simulate(study(made), Scenario()))
    ended = simulated.ended
    assert (ended.outcome, states(ended)["a"]) == ("suspended: budget", "succeeded")
    [waiting] = ended.waiting
    assert (waiting.place, waiting.detail) == ("b", "the budget of 2026-01-01 has no room")
    assert waiting.until_ms == 24 * 3_600_000
    assert ended.cost <= 3_000


def test_reservations_of_a_day_are_waited_for_while_they_may_come_back() -> None:
    text = "steps: {a: {foreach: [1, 2, 3], model: 'Hello {{ item }}', route: {models: [smart]}}}"
    ended = kept(simulate(study(replace(case(text), roster=ROSTER, day_cap=5_000)), Scenario())).ended
    begun = [at for item in "012" for at, _ in attempts(ended, f"a[{item}]")]
    assert begun == [0, 0], "there is room for two at once, and what they cost is what they had reserved"
    assert ended.outcome == "suspended: budget"


def test_requests_a_minute_are_spread_over_minutes() -> None:
    text = "steps: {a: {foreach: [1, 2, 3, 4, 5], model: 'Hello {{ item }}', route: {models: [smart]}}}"
    made = replace(case(text), roster=ROSTER, rpm={"smart": 2})
    ended = kept(simulate(study(made), Scenario())).ended
    begun = sorted(at for item in range(5) for at, _ in attempts(ended, f"a[{item}]"))
    assert begun == [0, 0, 60_000, 60_000, 120_000]
    [free] = [at for at, _ in attempts(kept(simulate(study(replace(made, rpm={})), Scenario())).ended, "a[4]")]
    assert free == 0


JUDGED = """
steps:
  a:
    run: [write]
    effects: idempotent
    checks: [{judge: {prompt: Is it kind?, route: {models: [smart, llama]}}, min: 0.5}]
    faults: {retry: {max: 0}}
"""


def test_a_judge_that_fails_is_followed_by_the_next_and_without_any_the_check_fails() -> None:
    assert asked(JUDGED).takes_ms == 5_000 + 8_000
    assert asked(JUDGED, "smart@a:quota").outcome == "succeeded"
    ended = asked(JUDGED, "smart@a:quota", "llama@a:quota")
    assert ended.outcome == "failed"
    assert "nobody could judge: llama: quota" in str(ended.steps[0].error)
    assert asked(JUDGED, "smart@a:invalid").outcome == "failed", "what is invalid for one is for all"


def test_a_dead_endpoint_that_only_judges_moves_the_mode_too() -> None:
    ended = asked(JUDGED, "proxy@*")
    assert (ended.outcome, modes(ended)) == ("succeeded", ["degraded"])


MONEY = """
budget: {usd: 0.02, exceed: suspend}
steps:
  a: {foreach: [1, 2, 3, 4], model: 'Hello {{ item }}', route: {models: [smart, spare]}, max_parallel: 2}
  b:
    model: "And {{ steps.a.output | length }}"
    route: {models: [smart, spare]}
    checks: [{judge: {prompt: Is it kind?, route: {models: [spare, llama, smart]}}, min: 0.5}]
    repair: {max: 2}
  c: {agent: Fix it, route: {executors: [claude-code, openclaw]}, optional: true, budget: {usd: 0.01}}
finally:
  d: {model: Bye, route: {models: [smart]}}
"""


def test_seeds_with_budgets_rates_and_judges_break_nothing() -> None:
    made = replace(
        case(MONEY),
        roster=ROSTER,
        servers={"claude-code": 1, "openclaw": 1},
        day_cap=15_000,
        rpm={"smart": 2, "spare": 3},
    )
    seen = [kept(one).ended for one in every_seed(study(made), Scenario(), range(1, 61))]
    assert {"succeeded", "failed", "suspended: budget"} <= {ended.outcome for ended in seen}
    assert all(kept(one) for one in every_death(study(made), Scenario()))


def test_an_attempt_that_took_no_room_of_its_day_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedFunds, "may_spend", lambda self, attempt, amount, now: "yes")
    made = replace(case(ASKS), roster=ROSTER, day_cap=3_000)
    broken = simulate(study(made), Scenario()).broken
    assert broken is not None and broken.promise == "limits"


def test_seeds_with_endpoints_that_are_away_break_nothing() -> None:
    made = replace(case(ASKS), roster=ROSTER)
    outcomes = {kept(one).ended.outcome for one in every_seed(study(made), Scenario(), range(1, 101))}
    assert {"succeeded", "suspended: mode"} <= outcomes


# ---------------------------------------------------------------- outputs


BRANCH = """
steps:
  triage: {run: [t], effects: none, returns: {type: {enum: [feature, bug]}, files: {type: array, items: {type: string}}}}
  fix: {run: [f], when: steps.triage.output.type == 'bug', effects: none}
  each: {foreach: "{{ steps.triage.output.files }}", run: [c, "{{ item }}"], effects: none}
"""


def test_branches_that_read_a_made_up_value_are_named() -> None:
    ended = shown(BRANCH)
    assert ended.invented == ("each", "fix", "triage")
    assert [(each.place, each.reads, each.took) for each in ended.assumptions] == [
        ("fix", ("triage",), "ran"), ("each", ("triage",), "2 items"),
    ]  # fmt: skip


def test_a_stub_is_what_a_step_gives_and_no_assumption() -> None:
    ended = shown(BRANCH, stubs={"triage": {"type": "feature", "files": ["x"]}})
    assert ended.assumptions == ()
    assert (states(ended)["fix"], states(ended)["each[0]"]) == ("skipped", "succeeded")


def test_what_is_computed_from_a_made_up_value_is_an_assumption_as_well() -> None:
    ended = shown("""
        steps:
          t: {run: [t], effects: none, returns: {n: {type: integer, minimum: 5}}}
          s: {set: {n: "{{ steps.t.output.n }}"}}
          b: {run: [b], when: steps.s.output.n > 2, effects: none}
    """)
    assert [(each.place, each.reads) for each in ended.assumptions] == [("b", ("s",))]


def test_a_made_up_value_passes_the_steps_own_checks_when_one_can() -> None:
    text = "steps: {a: {run: [a], effects: none, returns: {n: {type: integer}}, checks: [{expr: output.n == 7}]}}"
    assert shown(text, stubs={"a": {"n": 7}}).outcome == "succeeded"
    ended = shown(text, stubs={"a": {"n": 8}})
    assert (ended.outcome, ended.steps[0].error and ended.steps[0].error["class"]) == ("failed", "check_failed")
    assert shown(text).outcome == "succeeded"


def test_what_never_happens_is_said() -> None:
    ended = shown("steps: {a: {run: [a], when: inputs is none, effects: none}}", "local@a", kills=frozenset({99}))
    assert ended.unused == ("--fail local@a", "--kill 99")


# ---------------------------------------------------------------- deaths


CALLS = """
steps:
  a: {run: [a], effects: idempotent}
  b: {run: [b, "{{ steps.a.text }}"], effects: once}
  c: {foreach: [1, 2, 3], max_parallel: 1, run: [c], effects: idempotent, needs: [b]}
finally: {z: {run: [z], effects: idempotent}}
"""


def test_a_death_after_every_commit_changes_no_result() -> None:
    known = study(case(CALLS))
    found = list(every_death(known, Scenario()))
    assert len(found) == known.commits == 7
    assert all(kept(one).compared and one.ended.deaths == 1 for one in found)
    assert {one.ended.outcome for one in found} == {"succeeded", "suspended: unknown"}


def test_a_death_is_told_with_what_was_lost() -> None:
    ended = shown(CALLS, kills=frozenset({1}))
    kinds = [told.event.kind for told in ended.told]
    assert kinds[:5] == ["run_started", "attempt_started", "killed", "attempt_lost", "step_woken"]
    assert next(step for step in ended.steps if step.place == "a").lost == 1


# ---------------------------------------------------------------- seeds


def test_a_seed_gives_the_same_simulation_again_and_again() -> None:
    known = study(case(CALLS))
    one, other = (simulate(known, seeded(known, Scenario(), 7)) for _ in range(2))
    assert one == other
    assert [told.event for told in one.ended.told] == [told.event for told in other.ended.told]


def test_seeds_show_many_ends_and_break_nothing() -> None:
    summary = Summary()
    for one in every_seed(study(case(CALLS)), Scenario(), range(1, 151)):
        summary.add(kept(one))
    assert summary.count == 150
    assert len(summary.outcomes) >= 3
    assert summary.compared > 20 and summary.deaths > 50 and summary.failures


def test_a_run_that_goes_round_for_ever_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recover, "ROWS", (lambda c: recover.Retry(c.now, "for ever"),))
    found = simulate(study(case("steps: {a: {run: [a], effects: none}}")), Scenario((parse("local@a:tool_error"),)))
    assert found.broken is not None and found.broken.promise == "ends"


def test_a_kernel_that_waits_for_nothing_is_a_broken_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.RunKernel, "_arm", lambda self, *, rearm: None)
    found = simulate(study(case("steps: {a: {wait: 1m}}")), Scenario())
    assert found.broken is not None and found.broken.promise == "ends"
    assert "a waiting" in found.broken.message


def test_an_error_of_the_kernel_is_a_broken_promise_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise KeyError("oh")

    known = study(case("steps: {a: {run: [a], effects: none}}"))
    monkeypatch.setitem(kernel.MESSAGES, "outcome", breaks)  # type: ignore[misc]
    found = simulate(known, replace(Scenario(), seed=3, kills=frozenset({9})))
    assert found.broken is not None
    assert (found.broken.promise, found.broken.seed, found.broken.kills) == ("no-defect", 3, (9,))
