"""`runner route`, `mode` and `cost`: what a person sees of models, modes and money."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cli_project import Ended, Project
from upstreams import Upstreams

from runner.cli.completing import offered
from runner.clock import SystemClock
from runner.core.circuits import Circuit, cool
from runner.ports import Scope
from runner.store.sqlite import SqliteStore

SCHEMAS = Path(__file__).parents[2] / "schemas" / "v1"
KEYS = {"PROXY_KEY": "sk-proxy-0123456789", "GITHUB_LITELLM_KEY": "gh-0123456789"}

CONFIG = """
lite_llm_url: {proxy}
models:
  endpoints:
    proxy: {{kind: litellm_proxy, api_key: "${{PROXY_KEY}}"}}
    backup: {{kind: openai, url: "{backup}", role: backup}}
    local: {{kind: ollama, url: "http://127.0.0.1:9"}}
  catalog:
    fast: {{endpoint: proxy, model: fast, tier: free, capabilities: [tools], context: 100}}
    smart: {{endpoint: proxy, model: smart, tier: paid, price: {{in: 3, out: 15}}}}
    spare: {{endpoint: backup, model: spare, tier: paid}}
    llama: {{endpoint: local, model: llama3, tier: local}}
  chains: {{default: [fast, smart, spare, llama]}}
mcp_servers:
  claude-code: {{preset: claude-code}}
router:
  agents: [claude-code]
  models: default
  rules:
    - {{match: {{prompt: "(?i)translate"}}, models: [llama]}}
budget: {{per_run_usd: 1, per_day_usd: 2}}
fault_handler: {{failure_threshold: 2, open_for: 1m, min_dwell: 1m}}
"""
MANIFEST = """
ares: v1
name: report
inputs: {topic: {type: string, default: cats}}
steps:
  fetch: {run: [echo, hi], effects: none}
  short:
    model: "Summarise {{ inputs.topic }}"
    checks: [{judge: "is it short?", min: 0.5}]
    fallback: [{agent: "do it", errors: [quota]}, {tool: workspace.read_file, with: {path: x}}]
  long: {model: "Summarise {{ steps.fetch.text }}"}
  fix: {agent: "Fix {{ steps.fetch.text }}", route: {models: [smart]}}
  tools: {model: "x", route: {requires: [tools]}}
"""


@pytest.fixture
def upstreams() -> Iterator[Upstreams]:
    found = Upstreams()
    yield found
    found.close()


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [name for name in os.environ if name.startswith("RUNNER_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, capsys)
    made.write("m/report.yaml", MANIFEST)
    made.write("config.yaml", CONFIG.format(proxy="http://127.0.0.1:9", backup="http://127.0.0.1:9/v1"))
    return made


def fits(name: str, document: Any) -> None:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(document)


def stands(ended: Ended, way: int = 0) -> dict[str, str]:
    fits("route", ended.json)
    return {one["target"]: one["stand"] for one in ended.json["ways"][way]["candidates"]}


def record(project: Project) -> SqliteStore:
    return SqliteStore.open(project.root / ".ares" / "state.db", clock=SystemClock())


# ---------------------------------------------------------------- route


def test_route_tells_every_way_and_every_candidate_with_its_reason(project: Project) -> None:
    done = project.cli("route", "m", "short")
    assert done.code == 0
    assert done.out == (
        "report/short  model, mode normal\n"
        "  → fast   proxy   free   router.models `default`, 1 of 4\n"
        "  · smart  proxy   paid   router.models `default`, 2 of 4: asked when those before it fail\n"
        "  × spare  backup  paid   a backup, which is asked only in degraded mode\n"
        "  · llama  local   local  router.models `default`, 4 of 4: asked when those before it fail\n"
        "  chain   router.models `default`\n"
        "  prompt  about 4 tokens\n"
        "\n"
        "report/short  judge of check 1  model, mode normal\n"
        "  → fast   proxy   free   router.models `default`, 1 of 4\n"
        "  · smart  proxy   paid   router.models `default`, 2 of 4: asked when those before it fail\n"
        "  × spare  backup  paid   a backup, which is asked only in degraded mode\n"
        "  · llama  local   local  router.models `default`, 4 of 4: asked when those before it fail\n"
        "  chain   router.models `default`\n"
        "  prompt  not known yet: it holds the result that is judged\n"
        "\n"
        "report/short  fallback 1  agent, mode normal\n"
        "  → claude-code  agent  paid  router.agents, 1 of 1\n"
        "  chain   router.agents\n"
        "  model   the agent's own choice (name one in route.models)\n"
        "  prompt  about 2 tokens\n"
        "\n"
        "report/short  fallback 2  tool, mode normal\n"
        "  → workspace  the server that the step names\n"
    )


def test_a_prompt_that_is_not_known_yet_is_said_to_be_so_with_what_depends_on_it(project: Project) -> None:
    done = project.cli("route", "m", "report/long")
    assert "prompt  not known yet: depends on steps.fetch" in done.out
    assert "note    rule 1 depends on the prompt, which is not known yet" in done.out


def test_inputs_are_part_of_the_prompt(project: Project) -> None:
    done = project.cli("route", "m", "short", "-i", "topic=cats. Translate it", "--json")
    assert stands(done) == {"llama": "taken"}
    assert done.json["ways"][0]["source"] == "rule 1"


def test_a_prompt_that_is_too_long_for_a_model_refuses_it(project: Project) -> None:
    done = project.cli("route", "m", "short", "-i", f"topic={'x' * 900}", "--json")
    assert stands(done)["fast"] == "refused"
    assert "its context holds 100" in done.json["ways"][0]["candidates"][0]["reason"]


def test_the_model_that_an_agent_is_asked_for_is_told(project: Project) -> None:
    done = project.cli("route", "m", "fix", "--json")
    fits("route", done.json)
    assert done.json["ways"][0]["model"] == "smart"


def test_a_missing_key_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXY_KEY")
    done = project.cli("route", "m", "tools")
    assert "× fast   proxy   free   needs PROXY_KEY, which is not set" in done.out
    assert "nobody  can do this as things are: the step would fail" in done.out
    assert "lacks the capability tools" in done.out.split("smart")[1]


def test_who_nobody_can_do_it_is_said(project: Project) -> None:
    done = project.cli("route", "m", "fix", "--mode", "brainstem")
    assert "~ claude-code  agent  paid  mode brainstem: only local work" in done.out
    assert "nobody  may start now: the step would wait" in done.out


def test_without_a_mode_the_one_that_holds_counts(project: Project) -> None:
    assert project.cli("mode", "set", "degraded").code == 0
    assert stands(project.cli("route", "m", "short", "--json"))["spare"] == "taken"
    assert stands(project.cli("route", "m", "short", "--json", "--mode", "normal"))["spare"] == "refused"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("shrot", "did you mean short?"),
        ("reprot/short", "manifests here: report"),
        ("report/x", "steps: fetch, short, long, fix, tools"),
    ],
)
def test_a_step_that_is_not_there_is_answered_with_what_is(project: Project, step: str, words: str) -> None:
    done = project.cli("route", "m", step)
    assert done.code == 2
    assert words in done.err


def test_a_step_name_that_two_manifests_have_must_be_told_apart(project: Project) -> None:
    project.write("m/other.yaml", "ares: v1\nname: other\nsteps: {short: {run: [ls]}}\n")
    done = project.cli("route", "m", "short")
    assert done.code == 2
    assert "report/short" in done.err and "other/short" in done.err
    assert project.cli("route", "m", "other/short").out == "other/short  run, mode normal\n  → local  a local command\n"


def test_inputs_that_are_needed_are_asked_for(project: Project) -> None:
    project.write(
        "m/asks.yaml", "ares: v1\nname: asks\ninputs: {n: integer}\nsteps: {a: {model: 'x {{ inputs.n }}'}}\n"
    )
    assert "add -i n=…" in project.cli("route", "m", "asks/a").err
    assert "declared inputs: n" in project.cli("route", "m", "asks/a", "-i", "m=1").err
    assert project.cli("route", "m", "asks/a", "-i", "n=1").code == 0


# ---------------------------------------------------------------- mode


def test_without_any_record_the_mode_is_normal(project: Project) -> None:
    done = project.cli("mode", "--json")
    fits("mode", done.json)
    assert (done.json["mode"], done.json["pinned"], done.json["since"]) == ("normal", False, None)
    assert {one["name"]: one["role"] for one in done.json["endpoints"]} == {
        "proxy": "lead", "backup": "backup", "local": "local",
    }  # fmt: skip
    assert not (project.root / ".ares" / "state.db").exists(), "looking makes nothing"


def test_a_mode_that_a_person_sets_holds_until_it_is_taken_back(project: Project) -> None:
    done = project.cli("mode", "set", "degraded", "--for", "1h", "--json")
    fits("mode", done.json)
    assert (done.code, done.json["mode"], done.json["pinned"], done.json["wants"]) == (0, "degraded", True, "normal")
    assert "`runner mode set auto` takes it back" in project.cli("mode").out
    assert project.cli("status", "--json").json["mode"] == "degraded"
    assert "the mode is degraded" in project.cli("status").err

    assert project.cli("mode", "set", "auto", "--json").json["mode"] == "normal"
    history = project.cli("mode", "history", "--json").json
    fits("mode-history", history)
    assert [one["mode"] for one in history["history"]] == ["normal", "degraded"]
    assert "set by" in project.cli("mode", "history").out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("auto", "--for", "1h"), "degraded --for 1h"),
        (("brainstem", "--for", "1"), "such as 30m"),
        (("worse",), "is not one of"),
    ],
)
def test_a_mode_that_makes_no_sense_is_refused(project: Project, words: tuple[str, ...], hint: str) -> None:
    done = project.cli("mode", "set", *words)
    assert done.code == 2
    assert hint in done.err
    assert project.cli("mode", "history").err == "the mode has always been normal\n"


def serve(project: Project, upstreams: Upstreams) -> None:
    project.write("config.yaml", CONFIG.format(proxy=upstreams.proxy.url, backup=f"{upstreams.backup.url}/v1"))


def test_a_probe_tells_who_is_there_and_what_follows(project: Project, upstreams: Upstreams) -> None:
    serve(project, upstreams)
    upstreams.stop(upstreams.proxy)
    done = project.cli("mode", "probe", "--json")
    fits("mode", done.json)
    asked = {one["name"]: (one["ok"], one["probes"], one["state"]) for one in done.json["asked"]}
    assert asked == {"proxy": (False, 2, "open"), "backup": (True, 1, "closed"), "local": (False, 2, "open")}
    assert (done.json["before"], done.json["mode"]) == ("normal", "degraded")
    assert "proxy down" in done.json["reason"] or "proxy (" in done.json["reason"]
    assert upstreams.backup.asked() == [], "no model is asked"

    upstreams.stop(upstreams.backup)
    assert project.cli("mode", "probe", "--json").json["mode"] == "brainstem"
    shown = project.cli("mode").out
    assert shown.startswith("brainstem  local work only; cloud steps wait\n")
    assert "~ proxy   decides the mode  half open  a probe failed: connection refused" in shown
    assert "✗ backup  backup            open       2 failures inside 60 s: connection refused" in shown


def test_an_endpoint_that_answers_again_is_trusted_after_one_real_call(project: Project, upstreams: Upstreams) -> None:
    serve(project, upstreams)
    upstreams.stop(upstreams.proxy)
    project.cli("mode", "probe")
    upstreams.start(upstreams.proxy)
    done = project.cli("mode", "probe")
    assert "✓ proxy" in done.out and "circuit half open" in done.out
    assert "one real call decides" in done.out
    assert done.out.split("\n\n")[1].startswith("degraded"), "a probe alone does not recover the mode"


def test_what_lacks_a_key_is_not_asked(project: Project, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(project, upstreams)
    monkeypatch.delenv("PROXY_KEY")
    done = project.cli("mode", "probe", "--json")
    proxy = next(one for one in done.json["asked"] if one["name"] == "proxy")
    assert (proxy["probes"], proxy["state"]) == (0, "closed")
    assert "PROXY_KEY" in proxy["reason"]
    assert upstreams.proxy.seen == []
    assert "needs PROXY_KEY, which is not set" in project.cli("mode").out


def test_what_cools_is_shown_and_a_probe_lifts_it(project: Project, upstreams: Upstreams) -> None:
    serve(project, upstreams)
    later = SystemClock().now() + 3_600_000

    async def cools(store: SqliteStore) -> None:
        await store.health.set_circuit("model:smart", cool(Circuit(), "quota", later, "quota: out of credit"), 0)
        await store.health.set_circuit("credential:proxy", cool(Circuit(), "auth", later, "401", "f" * 8), 0)

    with closing(record(project)) as store:
        asyncio.run(cools(store))
    done = project.cli("mode")
    assert "model smart  quota  asked again in 59m" in done.out
    assert "credential proxy  auth  asked again in 59m" in done.out
    assert "may be asked again: model smart (cooled after quota)" in project.cli("mode", "probe").out
    assert project.cli("mode", "--json").json["cooling"] == []


def test_without_endpoints_there_is_nobody_to_ask(project: Project) -> None:
    project.write("config.yaml", "timezone: UTC\n")
    done = project.cli("mode", "probe")
    assert (done.code, done.out) == (0, "")
    assert "no model endpoint is configured" in done.err


# ---------------------------------------------------------------- cost


def test_nothing_was_spent_yet(project: Project) -> None:
    done = project.cli("cost", "--json")
    fits("cost", done.json)
    assert (done.code, done.json["rows"], done.json["day"]["left_usd"], done.json["per_run_usd"]) == (0, [], 2.0, 1.0)


def test_the_money_of_a_day_is_told_with_what_is_left_and_what_nobody_billed(project: Project) -> None:
    today = project.cli("cost", "--json").json["day"]["id"]
    day = Scope("day", today, 2_000_000)

    async def spend(store: SqliteStore) -> None:
        await store.ledger.reserve("r/a/1", 400_000, [day])
        await store.ledger.settle("r/a/1", 300_000, "billed", [day])
        await store.ledger.settle("r/a/2", 50_000, "assumed", [day])
        await store.ledger.reserve("r/b/1", 150_000, [day])

    with closing(record(project)) as store:
        asyncio.run(spend(store))
    done = project.cli("cost", "--by", "day", "--json")
    fits("cost", done.json)
    assert done.json["day"] == {"id": today, "cap_usd": 2.0, "held_usd": 0.15, "spent_usd": 0.35, "left_usd": 1.5}
    assert done.json["total"] == {"cost_usd": 0.35, "assumed_usd": 0.05, "attempts": 2}
    shown = project.cli("cost", "--by", "day", "--since", "1d").out
    assert "$0.3500 in 2 attempts; $0.0500 of it assumed: nobody billed it" in shown
    assert f"today ({today}): $0.3500 spent, $0.1500 reserved of $2.0000; $1.5000 left" in shown


def test_runs_that_cost_nothing_are_counted_and_shown_on_request(project: Project) -> None:
    project.write("free.yaml", "ares: v1\nname: free\nsteps: {a: {run: ['true']}, b: {run: ['true']}}\n")
    assert project.cli("apply", "free.yaml").code == 0
    assert "2 more cost nothing (--all shows them)" in project.cli("cost").out
    assert "free/a" in project.cli("cost", "free", "--all").out
    assert project.cli("cost", "free", "--json").json["run_budget"]["spent_usd"] == 0


@pytest.mark.parametrize(
    ("argv", "hint"),
    [(("nothing",), "lists the runs"), (("--since", "soon"), "such as 7d"), (("--by", "week"), "is not one of")],
)
def test_a_question_about_money_that_makes_no_sense_is_refused(
    project: Project, argv: tuple[str, ...], hint: str
) -> None:
    done = project.cli("cost", *argv)
    assert done.code == 2
    assert hint in done.err


def test_a_day_before_all_calendars_is_refused(project: Project) -> None:
    project.write("config.yaml", "timezone: Asia/Tokyo\n")
    done = project.cli("cost", "--by", "day", "--since", "0001-01-01")
    assert (done.code, "such as 7d" in done.err) == (2, True)


# ---------------------------------------------------------------- plan


def test_a_plan_tells_who_is_asked_and_what_that_may_cost(project: Project) -> None:
    done = project.cli("plan", "m", "--format", "json")
    fits("plan", done.json)
    (manifest,) = done.json["manifests"]
    steps = {step["id"]: step for step in manifest["steps"]}
    assert [(one["target"], one["taken"]) for one in steps["tools"]["route"]] == [
        ("fast", True), ("smart", False), ("spare", False), ("llama", False),
    ]  # fmt: skip
    assert steps["tools"]["cost"] == {"low_usd": 0.0, "high_usd": 0.0, "unknown": []}, "only the free one has tools"
    assert steps["long"]["cost"] == {"low_usd": 0.0, "high_usd": None, "unknown": ["prompts that are not known yet"]}
    assert "cost" not in steps["fetch"]
    assert manifest["cost"]["high_usd"] == 1.0, "the cap of a run is the most that it can be"


def test_a_price_is_computed_from_what_is_declared_for_each_item(project: Project) -> None:
    project.write(
        "one.yaml",
        """
ares: v1
name: one
steps:
  each: {foreach: [1, 2, 3], model: {prompt: "Say {{ item }}", max_tokens: 100}, route: {models: [smart]}}
  fixed: {model: {prompt: "Say hello to", max_tokens: 100}, route: {models: [smart]}}
  own: {model: "Say {{ steps.fixed.text }}", route: {models: [smart]}, budget: {usd: 0.01}}
""",
    )
    done = project.cli("plan", "one.yaml", "--format", "json")
    fits("plan", done.json)
    steps = {step["id"]: step.get("cost") for step in done.json["manifests"][0]["steps"]}
    assert steps["fixed"] == {"low_usd": 0.000024, "high_usd": 0.001509, "unknown": []}
    assert steps["each"]["high_usd"] is None, "the prompt of an item is not known before its item is"
    assert steps["own"] == {"low_usd": 0.0, "high_usd": 0.01, "unknown": ["prompts that are not known yet"]}
    shown = project.cli("plan", "one.yaml").out
    assert "one try of each step may cost $0.0000 to $1.0000; not known: prompts that are not known yet" in shown


def test_what_a_called_manifest_costs_is_not_known_unless_it_costs_nothing(project: Project) -> None:
    project.write("c/asks.yaml", "ares: v1\nname: asks\nsteps: {a: {model: x}}\n")
    project.write("c/free.yaml", "ares: v1\nname: free\nsteps: {a: {run: [ls]}}\n")
    project.write("c/top.yaml", "ares: v1\nname: top\nsteps: {a: {call: asks}, b: {call: free}}\n")
    steps = {
        one["id"]: one.get("cost") for one in project.cli("plan", "c", "--format", "json").json["manifests"][0]["steps"]
    }
    assert steps == {
        "a": {"low_usd": 0.0, "high_usd": None, "unknown": ["what asks costs (plan it by itself)"]},
        "b": None,
    }


def test_plan_explain_tells_every_way_of_a_step(project: Project) -> None:
    out = project.cli("plan", "m", "--explain").out
    assert "route             → fast   proxy   free   router.models `default`, 1 of 4" in out
    assert "judge of check 1  → fast   proxy   free   router.models `default`, 1 of 4" in out
    assert "fallback 1        → claude-code  agent  paid  router.agents, 1 of 1" in out
    assert "prompt  not known yet: depends on steps.fetch" in out
    out = project.cli("plan", "m", "--explain", "--mode", "degraded").out
    assert "~ fast   proxy   free   mode degraded: proxy has not recovered" in out
    assert "→ spare  backup  paid" in out


WAITS = """
ares: v1
name: waits
defaults: {faults: {brainstem: {route: {locality: local}}}}
steps:
  cloud: {model: hello, route: {models: [smart]}}
  skipped: {model: hello, route: {models: [smart]}, faults: {brainstem: {exhausted: skip}}}
"""


def test_a_plan_for_an_outage_tells_what_would_wait_and_apply_does_it(project: Project) -> None:
    project.write("waits.yaml", WAITS)
    steps = project.cli("plan", "waits.yaml", "--mode", "brainstem", "--format", "json").json["manifests"][0]["steps"]
    assert [(step["action"], step["reason"]) for step in steps] == [
        ("run", "would be suspended (mode): smart: mode brainstem: is not local"),
        ("skip", "exhausted: skip; smart: mode brainstem: is not local"),
    ]
    done = project.cli("apply", "waits.yaml", "--mode", "brainstem", "--json")
    assert (done.code, done.json["runs"][0]["steps"]["cloud"]["state"]) == (5, "suspended")
    assert done.json["runs"][0]["steps"]["skipped"]["state"] == "skipped"


def test_whom_a_step_waits_for_is_told_although_nothing_was_tried(project: Project) -> None:
    project.write("waits.yaml", WAITS)
    why = "mode: smart: mode brainstem: is not local"
    done = project.cli("apply", "waits.yaml", "--mode", "brainstem")
    assert f"⏸ cloud  {why}\n" in done.out
    assert re.search(rf"⏸ suspended +cloud +{re.escape(why)}$", project.cli("show", "waits").out, re.MULTILINE)
    assert "mode: cloud: smart: mode brainstem: is not local" in project.cli("status").out
    assert project.cli("show", "waits", "--json").json["waits"] == {"cloud": "smart: mode brainstem: is not local"}
    [run] = project.cli("status", "--json").json["runs"]
    assert run["reason"] == "mode"
    project.cli("report", "waits", "--html", "page.html")
    page = (project.root / "page.html").read_text()
    assert page.count(f">{why}<") == 3, "beside the step, where troubles are listed, and among the events"


def test_a_plan_says_which_key_is_missing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROXY_KEY")
    project.write("waits.yaml", WAITS)
    step = project.cli("plan", "waits.yaml", "--format", "json").json["manifests"][0]["steps"][0]
    assert step["reason"] == "would fail (invalid): no model can do this: smart: needs PROXY_KEY, which is not set"


# ---------------------------------------------------------------- what was spent


def test_what_a_run_has_cost_is_told_by_step_model_and_executor(project: Project, upstreams: Upstreams) -> None:
    serve(project, upstreams)
    upstreams.proxy.usd = 0.002
    project.write(
        "pays.yaml",
        """
ares: v1
name: pays
steps:
  one: {model: {prompt: a, max_tokens: 5}, route: {models: [smart]}}
  two: {model: {prompt: b, max_tokens: 5}, route: {models: [smart]}, foreach: [1, 2]}
  free: {model: c}
""",
    )
    assert project.cli("apply", "pays.yaml").code == 0
    by_step = project.cli("cost", "pays", "--json")
    fits("cost", by_step.json)
    assert {row["key"]: (row["cost_usd"], row["attempts"]) for row in by_step.json["rows"]} == {
        "pays/two": (0.004, 2), "pays/one": (0.002, 1), "pays/free": (0.0, 1),
    }  # fmt: skip
    assert by_step.json["run_budget"]["spent_usd"] == 0.006
    assert by_step.json["run_budget"]["left_usd"] == 0.994
    models = project.cli("cost", "--by", "model", "--json").json["rows"]
    assert {row["key"]: row["cost_usd"] for row in models} == {"smart": 0.006, "fast": 0.0}
    executors = project.cli("cost", "--by", "executor", "--json").json["rows"]
    assert [(row["key"], row["cost_usd"]) for row in executors] == [("proxy", 0.006)]
    assert project.cli("cost", "--json").json["day"]["spent_usd"] == 0.006
    assert sum(upstreams.proxy.bills) == 8_000, "the free model's bill is not ours"


def test_a_tab_offers_the_steps_of_the_manifests_that_stand_before(project: Project) -> None:
    assert [str(item.value) for item in offered(["route", "m"], "f")] == ["fetch", "fix"]
    assert offered(["route", "nowhere"], "") == []
    project.write("m/other.yaml", "ares: v1\nname: other\nsteps: {short: {run: [ls]}}\n")
    assert "other/short" in [str(item.value) for item in offered(["route", "m"], "")]


def test_a_key_that_an_endpoint_says_back_is_in_no_record(project: Project, upstreams: Upstreams) -> None:
    catalog = "fast: {endpoint: proxy, model: echo401, tier: free}"
    project.write(
        "config.yaml",
        f"lite_llm_url: {upstreams.proxy.url}\nmodels:\n  endpoints: {{proxy: {{kind: litellm_proxy, api_key: '${{PROXY_KEY}}'}}}}\n"
        f"  catalog: {{{catalog}}}\n",
    )
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {model: hi, route: {models: [fast]}}}\n")

    failed, mode = project.cli("apply", "m.yaml"), project.cli("mode", "--json")

    assert failed.code == 1
    assert "Received API key: Bearer ***" in mode.out
    assert KEYS["PROXY_KEY"] not in failed.out + failed.err + mode.out
    for file in (project.root / ".ares").glob("state.db*"):
        assert KEYS["PROXY_KEY"].encode() not in file.read_bytes()
