"""Models through a whole apply, against upstreams on loopback: routing, the three modes, money, judges, repair."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from apply_project import PATIENCE, Project, states
from servers.fake_llm import FakeLlm

from runner.api.apply import resume
from runner.api.request import Control, Request
from runner.api.results import RunResult
from runner.clock import SystemClock
from runner.core.events import Event, Recorded
from runner.llms.classify import ROWS
from runner.store.sqlite import SqliteStore

CONFIG = """
lite_llm_url: "http://127.0.0.1:{proxy}"
models:
  endpoints:
    backup: {{kind: openai, url: "http://127.0.0.1:{backup}", role: backup, api_key: "${{NO_KEY_IS_NEEDED}}"}}
  catalog:
    fast: {{endpoint: proxy, model: fast, tier: free}}
    smart: {{endpoint: proxy, model: smart, tier: paid, price: {{in: 1000, out: 2000}}}}
    held: {{endpoint: proxy, model: slow, tier: paid, price: {{in: 1000, out: 2000}}}}
    spare: {{endpoint: backup, model: spare, tier: paid, price: {{in: 1000, out: 2000}}}}
  chains: {{default: [fast, smart, spare]}}
router: {{models: default}}
fault_handler: {{open_for: 50ms, probe_interval: 50ms, min_dwell: 100ms, policies: {{normal: {{retry: {{delay: 10ms}}}}, degraded: {{retry: {{delay: 10ms}}}}, brainstem: {{retry: {{delay: 10ms}}}}}}}}
state: {{durability: process}}
{more}
"""


class Stage:
    """A project, a proxy and a backup."""

    def __init__(self, project: Project, proxy: FakeLlm, backup: FakeLlm) -> None:
        self.project, self.proxy, self.backup = project, proxy, backup

    def config(self, more: str = "") -> None:
        self.project.write("config.yaml", CONFIG.format(proxy=self.proxy.port, backup=self.backup.port, more=more))

    async def run(self, **request: Any) -> RunResult:
        [run] = (await self.project.applied(**request)).runs
        return run

    async def resumed(self, **request: Any) -> RunResult:
        async with asyncio.timeout(PATIENCE):
            [run] = (await resume("m", self.project.settings, Request(**request))).runs
        return run

    def events(self, run: RunResult) -> list[Event]:
        store = self.project.record()
        try:
            return [recorded.event for recorded in store.events(run.run or "")]
        finally:
            store.close()

    def of(self, run: RunResult, node: str) -> list[str]:
        """The kinds of events of a step."""
        return [event.kind for event in self.events(run) if event.node == node]

    def days(self) -> tuple[int, int]:
        """Micro-USD of all days: settled, and what of it nobody billed."""
        store = SqliteStore.open(self.project.folder / ".ares" / "state.db", clock=SystemClock(), read_only=True)
        try:
            found = store.ledger.days()
            return sum(day.cost for day in found), sum(day.assumed for day in found)
        finally:
            store.close()


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setenv("NO_KEY_IS_NEEDED", "but-a-variable-is")
    async with FakeLlm() as proxy, FakeLlm() as backup:
        found = Stage(Project(tmp_path), proxy, backup)
        found.config()
        yield found


# ---------------------------------------------------------------- modes


async def test_a_step_whose_proxy_dies_in_mid_call_goes_on_at_the_backup_at_once(stage: Stage) -> None:
    stage.project.manifest("steps: {a: {model: hello, route: {models: [held, spare]}}}")
    going = asyncio.create_task(stage.run())
    await asyncio.wait_for(stage.proxy.held.wait(), PATIENCE)
    await stage.proxy.stop()
    run = await going
    assert (run.state, run.steps["a"].model, run.steps["a"].attempts) == ("succeeded", "spare", 2)
    assert "step_waiting" not in stage.of(run, "a"), "no retry delay stands between the two"
    await stage.proxy.start()


async def test_an_outage_of_both_suspends_cloud_steps_while_local_ones_go_on_and_resume_repeats_nothing(
    stage: Stage,
) -> None:
    stage.project.manifest("""
        steps:
          a: {model: hello}
          b: {model: "{{ steps.a.text }}", needs: [dies]}
          dies: {run: [echo, x], effects: none, needs: [a]}
          local: {run: [echo, "{{ steps.a.text }}"], effects: none, needs: [dies]}
        outputs: {by: "{{ steps.b.model }}"}
    """)
    await stage.backup.stop()
    stage.proxy.script = ["fast", "reset", "reset"]
    asked = stage.proxy.asked

    async def die() -> None:
        while len(asked()) < 2:
            await asyncio.sleep(0)
        await stage.proxy.stop()

    dying = asyncio.create_task(die())
    run = await stage.run()
    await dying
    assert run.exit_code == 5
    assert states(run) == {"a": "succeeded", "dies": "succeeded", "local": "succeeded", "b": "suspended"}
    assert run.reasons == ("mode",)
    stage.proxy.script = []
    await stage.proxy.start()
    run = await stage.resumed()
    assert (run.state, run.outputs) == ("succeeded", {"by": "fast"})
    assert stage.of(run, "a").count("attempt_started") == 1
    assert stage.of(run, "local").count("attempt_started") == 1
    await stage.backup.start()


async def test_a_refused_key_moves_on_and_is_not_asked_again(stage: Stage) -> None:
    stage.proxy.script = ["key401"]
    stage.project.manifest("steps: {a: {model: one}, b: {model: two, needs: [a]}}")
    run = await stage.run()
    assert run.steps["a"].error is not None
    assert run.steps["a"].error["class"] == "auth", (
        "fast and smart share the key that was refused, and spare is for degraded mode"
    )
    assert stage.proxy.asked() == ["fast"]


async def test_a_rate_limit_cools_one_model_and_the_next_answers(stage: Stage) -> None:
    stage.proxy.script = ["rate429"]
    stage.project.manifest("steps: {a: {model: one}, b: {model: two, needs: [a]}}")
    run = await stage.run()
    assert [run.steps[id].model for id in "ab"] == ["smart", "smart"], "fast cools for seven seconds"


async def test_apply_in_brainstem_mode_suspends_what_needs_the_cloud(stage: Stage) -> None:
    stage.project.manifest("steps: {a: {model: one}, b: {run: [echo, x], effects: none}}")
    run = await stage.run(mode="brainstem")
    assert (run.exit_code, states(run)) == (5, {"a": "suspended", "b": "succeeded"})
    assert stage.proxy.seen == []
    assert (await stage.run()).state == "succeeded"


# ---------------------------------------------------------------- answers


async def test_an_answer_that_misses_the_schema_is_repaired_in_the_same_conversation(stage: Stage) -> None:
    stage.proxy.says["fast"] = ["no json", '{"kind": "bug"}']
    stage.project.manifest("""
        steps:
          a: {model: classify, returns: {kind: {enum: [bug, feature]}}}
          b: {run: [echo, yes], effects: none, when: steps.a.output.kind == 'bug'}
    """)
    run = await stage.run()
    assert states(run) == {"a": "succeeded", "b": "succeeded"}
    said = stage.proxy.seen[-1].body["messages"]
    assert [message["role"] for message in said[-3:]] == ["user", "assistant", "user"]


async def test_a_prompt_that_names_feedback_is_not_told_twice(stage: Stage) -> None:
    stage.proxy.says["fast"] = ["bad", "good"]
    stage.project.manifest("""
        steps:
          a:
            model: "Say good.{% if feedback is defined %} Last time: {{ feedback }}{% endif %}"
            checks: [{expr: text == 'good'}]
            repair: {max: 1, session: new}
    """)
    run = await stage.run()
    assert run.state == "succeeded"
    [message] = stage.proxy.seen[-1].body["messages"]
    assert message["content"].count("is false") == 1


async def test_a_judge_is_asked_last_and_what_it_costs_counts(stage: Stage) -> None:
    stage.proxy.says["smart"] = ['{"score": 0.9, "reason": "fine"}']
    stage.project.manifest("""
        steps:
          a:
            model: hello
            route: {models: [fast]}
            checks:
              - {expr: text | length > 0}
              - {judge: {prompt: "It greets {{ text }}", route: {models: [smart]}}, min: 0.8}
    """)
    run = await stage.run()
    assert run.state == "succeeded"
    assert stage.proxy.asked() == ["fast", "smart"]
    assert "It greets hello from fast" in stage.proxy.seen[-1].body["messages"][-1]["content"]
    assert run.cost == 20_000, "the free answer, and the judge's tokens"
    assert stage.days()[0] == 20_000


JUDGED = "checks: [{judge: {prompt: It greets, route: {models: [smart]}}, min: 0.8}]"


@pytest.mark.parametrize("work", ["run: [echo, hello], effects: none", "call: inner"])
async def test_a_model_judges_what_a_command_or_another_manifest_gives(stage: Stage, work: str) -> None:
    stage.proxy.says["smart"] = ['{"score": 0.9, "reason": "it greets"}']
    stage.project.manifest("steps: {b: {run: [echo, hello], effects: none}}", "inner")
    stage.project.manifest(f"steps: {{a: {{{work}, {JUDGED}}}}}")
    [run] = (await stage.project.applied("m")).runs
    assert (run.state, run.cost) == ("succeeded", 20_000)
    assert stage.days() == (20_000, 0), "the day pays for judges, too"


async def test_nothing_is_done_that_nobody_could_judge(stage: Stage) -> None:
    stage.project.manifest(f"steps: {{a: {{run: [touch, done], {JUDGED}}}}}")
    run = await stage.run(mode="brainstem")
    assert states(run) == {"a": "suspended"}
    assert not (stage.project.folder / "done").exists()
    assert (await stage.resumed()).state == "failed", "smart gives no judgement"


async def test_a_failed_check_asks_no_judge(stage: Stage) -> None:
    stage.project.manifest("""
        steps:
          a: {model: hello, route: {models: [fast]}, checks: [{judge: x, min: 0.1}, {expr: text == 'other'}]}
    """)
    run = await stage.run()
    assert run.state == "failed"
    assert stage.proxy.asked() == ["fast"]


# ---------------------------------------------------------------- money


async def test_a_run_stops_at_its_cap_and_goes_on_with_more(stage: Stage) -> None:
    steps = ", ".join(f"s{n}: {{model: x, needs: [{f's{n - 1}' if n else ''}]}}" for n in range(3))
    stage.project.manifest(f"budget: {{usd: 2.01}}\ndefaults: {{route: {{models: [smart]}}}}\nsteps: {{{steps}}}")
    stage.config("budget: {per_run_usd: 5}")
    run = await stage.run()
    assert (run.exit_code, run.reasons) == (4, ("budget",)), "an answer of a thousand tokens is reserved: two dollars"
    assert states(run) == {"s0": "succeeded", "s1": "suspended"}
    again = await stage.resumed(add_usd=10.0)
    assert again.state == "succeeded"


async def test_the_budget_of_a_call_holds_for_what_its_sub_run_spends(stage: Stage) -> None:
    steps = "b: {model: x, route: {models: [smart]}}, c: {model: y, route: {models: [smart]}, needs: [b]}"
    stage.project.manifest(f"steps: {{{steps}}}", "inner")
    stage.project.manifest("steps: {a: {call: inner, budget: {usd: 2.01}}, d: {model: z, route: {models: [smart]}}}")
    [run] = (await stage.project.applied("m")).runs
    assert (run.exit_code, states(run)) == (4, {"a": "running", "d": "succeeded"})
    assert len(stage.proxy.asked()) == 2, "the first step of the sub-run, and d, which has no such budget"


async def test_free_only_goes_on_with_what_is_free(stage: Stage) -> None:
    stage.project.manifest(
        "budget: {usd: 0.5, exceed: free_only}\nsteps: {a: {model: x, route: {models: [smart, fast]}}}"
    )
    run = await stage.run()
    assert (run.state, run.steps["a"].model) == ("succeeded", "fast")


async def test_the_day_has_one_budget_for_all_runs(stage: Stage) -> None:
    stage.config("budget: {per_day_usd: 2.03}")
    stage.project.manifest("steps: {a: {model: x, route: {models: [smart]}}}")
    stage.project.manifest("steps: {a: {model: y, route: {models: [smart]}}}", "n")
    result = await stage.project.applied("m", "n")
    assert sorted(run.state for run in result.runs) == ["succeeded", "succeeded"], (
        "the second waits for the first one's money"
    )
    stage.project.manifest("steps: {a: {model: z, route: {models: [smart]}}}", "o")
    [third] = (await stage.project.applied("o")).runs
    assert (third.exit_code, third.reasons) == (4, ("budget",))
    assert stage.days() == (40_000, 0)


async def test_what_was_held_for_an_attempt_that_never_began_comes_back_to_the_day(stage: Stage) -> None:
    stage.config("budget: {per_day_usd: 2.03}")
    stage.project.manifest("budget: {usd: 1}\nsteps: {a: {model: x, route: {models: [smart]}}}")
    run = await stage.run()
    assert (run.exit_code, run.reasons) == (4, ("budget",)), "its own budget has no room"
    stage.project.manifest("steps: {a: {model: y, route: {models: [smart]}}}", "n")
    async with asyncio.timeout(20):
        [other] = (await stage.project.applied("n")).runs
    assert other.state == "succeeded"


@pytest.mark.parametrize("verb", ["run: [touch, done], effects: none", "model: x, route: {models: [fast]}"])
async def test_what_a_judge_may_cost_is_reserved_before_anything_is_done(stage: Stage, verb: str) -> None:
    stage.config("budget: {per_day_usd: 1.41}")
    stage.proxy.says["smart"] = ['{"score": 1, "reason": ""}']
    judged = "checks: [{judge: {prompt: fine?, route: {models: [smart]}}, min: 0.5}]"
    stage.project.manifest(f"budget: {{usd: 1.3}}\nsteps: {{a: {{{verb}, {judged}}}}}")
    run = await stage.run()
    assert (run.exit_code, run.reasons) == (4, ("budget",)), "a result of a thousand tokens to read: 1.4 dollars"
    assert not stage.proxy.asked() and not (stage.project.folder / "done").exists()
    run = await stage.resumed(add_usd=0.2)
    assert (run.state, stage.proxy.asked()[-1]) == ("succeeded", "smart")
    assert stage.days() == (20_000, 0), "the day pays for judges, too"
    stage.project.manifest(f"steps: {{a: {{{verb.replace('x', 'y')}, {judged}}}}}", "n")
    [other] = (await stage.project.applied("n", force=True)).runs
    assert (other.exit_code, other.reasons) == (4, ("budget",)), "the day has no room for another judge"


async def test_an_unknown_price_is_assumed_or_denied_never_nothing(stage: Stage) -> None:
    text = stage.project.read("config.yaml").replace(", price: {in: 1000, out: 2000}", "")
    stage.project.write("config.yaml", text)
    stage.project.manifest("steps: {a: {model: x, route: {models: [smart]}}}")
    run = await stage.run()
    assert run.cost > 0
    spent, assumed = stage.days()
    assert spent == assumed > 0
    stage.project.manifest("budget: {unpriced: deny}\nsteps: {a: {model: another, route: {models: [smart]}}}")
    denied = await stage.run()
    assert denied.steps["a"].error is not None
    assert "its price is unknown" in denied.steps["a"].error["message"]


@pytest.mark.parametrize("work", ["run: [echo, hello], effects: none", "call: inner"])
async def test_an_unknown_price_of_a_judge_is_never_nothing(stage: Stage, work: str) -> None:
    text = stage.project.read("config.yaml").replace(", price: {in: 1000, out: 2000}", "")
    stage.project.write("config.yaml", text)
    stage.proxy.says["smart"] = ['{"score": 0.9, "reason": "it greets"}']
    stage.project.manifest("steps: {b: {run: [echo, hello], effects: none}}", "inner")
    stage.project.manifest(f"steps: {{a: {{{work}, {JUDGED}}}}}")
    [run] = (await stage.project.applied("m")).runs
    spent, assumed = stage.days()
    assert (run.state, run.cost) == ("succeeded", spent)
    assert spent == assumed > 0


async def test_who_denies_unknown_prices_denies_them_to_judges_too(stage: Stage) -> None:
    text = stage.project.read("config.yaml").replace(", price: {in: 1000, out: 2000}", "")
    stage.project.write("config.yaml", text)
    stage.project.manifest(f"budget: {{unpriced: deny}}\nsteps: {{a: {{run: [touch, done], {JUDGED}}}}}")
    run = await stage.run()
    assert run.steps["a"].error is not None
    assert "its price is unknown" in run.steps["a"].error["message"]
    assert not (stage.project.folder / "done").exists()


BAD = {
    "server500": "server", "overloaded529": "server", "html": "page", "empty": "empty", "late408": "late", "midbody": "reset",
    "reset": "reset", "badjson": "not-json", "missing404": "missing", "overflow400": "overflow",
}  # fmt: skip
"""What an upstream plays, and the row of docs/error-classes.md that explains it."""
EXPLAINED = {name: next((r.error_class, r.effect) for r in ROWS if r.name == row) for name, row in BAD.items()}


def explained(stage: Stage, events: list[Event], prompt: str, node: str) -> None:
    """Every attempt of a step was chosen for a reason, ended as the table says for what its upstream played, and what followed has a
    reason."""
    asked = {
        name: [seen.played for seen in fake.seen if seen.method == "POST" and prompt in str(seen.body["messages"])]
        for name, fake in (("smart", stage.proxy), ("spare", stage.backup))
    }
    mine = [event for event in events if event.node == node and event.kind != "attempt_noted"]
    for event, ended, then in zip(mine, mine[1:], [*mine[2:], None], strict=False):
        if event.kind != "attempt_started":
            continue
        assert event.data["reason"]
        played = asked[event.data["label"].removeprefix("model:")].pop(0)
        if ended.kind == "attempt_succeeded":
            assert played not in BAD
            continue
        assert (ended.kind, ended.data["class"], ended.data["effect"]) == ("attempt_failed", *EXPLAINED[played]), played
        assert then is not None
        assert then.data["reason"], "what follows from a failure is told"
    assert not any(asked.values()), "nobody was asked without an attempt on record"


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_fails_the_ledger_is_what_was_billed(stage: Stage, seed: int) -> None:
    random = Random(seed)
    stage.proxy.usd = stage.backup.usd = 0.003
    steps = "\n".join(f"  s{n}: {{model: 'number {n}', optional: true}}" for n in range(4))
    stage.project.manifest(f"defaults: {{route: {{models: [smart, spare]}}}}\nsteps:\n{steps}")
    for fake in (stage.proxy, stage.backup):
        fake.script = [random.choice((*BAD, "smart", "smart")) for _ in range(random.randint(0, 9))]
    run = await stage.run()
    for _ in range(3):
        if run.state == "succeeded":
            break
        run = await stage.resumed() if run.state == "suspended" else await stage.run()
    spent, assumed = stage.days()
    assert spent - assumed == sum(stage.proxy.bills) + sum(stage.backup.bills)
    for n in range(4):
        explained(stage, stage.events(run), f"number {n}", f"s{n}")


class StopAfter:
    """Lets go of everything once so many events are recorded: what runs then is lost, as in a crash."""

    def __init__(self, control: Control, count: int) -> None:
        self._control, self._left = control, count

    def event(self, recorded: Recorded, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._control.interrupt(15)
            self._control.interrupt(15)

    def progress(self, run: str, node: str, text: str) -> None:
        """Not counted."""

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_fails_and_whenever_it_dies_the_result_is_the_same_and_the_money_is_told(
    stage: Stage, seed: int
) -> None:
    random = Random(seed)
    stage.proxy.usd = stage.backup.usd = 0.003
    steps = "\n".join(f"  s{n}: {{model: 'number {n}', needs: [{f's{n - 1}' if n else ''}]}}" for n in range(4))
    outputs = ", ".join(f"s{n}: '{{{{ steps.s{n}.state }}}}'" for n in range(4))
    stage.project.manifest(f"defaults: {{route: {{models: [smart, spare]}}}}\nsteps:\n{steps}\noutputs: {{{outputs}}}")
    for fake in (stage.proxy, stage.backup):
        fake.script = [random.choice((*BAD, "smart")) for _ in range(random.randint(0, 6))]
    run: RunResult | None = None
    for _ in range(12):
        control = Control()
        sink = StopAfter(control, random.randint(2, 12))
        [run] = (await stage.project.applied(control=control, sinks=[sink])).runs
        if run.state == "succeeded":
            break
    for _ in range(20):
        if run is not None and run.state == "succeeded":
            break
        run = await stage.resumed()
    assert run is not None
    assert run.outputs == {f"s{n}": "succeeded" for n in range(4)}
    kinds = [event.kind for event in stage.events(run)]
    assert all(stage.of(run, f"s{n}").count("attempt_succeeded") == 1 for n in range(4)), "no success is repeated"
    spent, assumed = stage.days()
    unheard = sum(stage.proxy.bills) + sum(stage.backup.bills) - (spent - assumed)
    assert 0 <= unheard <= 3_000 * kinds.count("attempt_lost"), "what nobody heard of is assumed, and marked so"
    assert assumed > 0 or not kinds.count("attempt_lost")
