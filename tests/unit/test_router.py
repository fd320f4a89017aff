"""Who does a step: the chain, and the reason of every candidate."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.circuits import Circuit, Limits, Sign, as_of, cool, feed
from runner.core.learning import Rank
from runner.core.messages import Hidden, NoCandidate
from runner.core.modes import CloudEndpoint
from runner.core.policy import OperatorPolicy
from runner.core.roster import Entry, Roster, Rule, roster
from runner.core.router import Outlook, Routed, Verdict, Want, estimate_tokens, route, route_in
from runner.manifest.config import Config
from runner.manifest.config_complete import complete

NOW = 1_000_000
CONFIG: dict[str, Any] = {
    "lite_llm_url": "http://127.0.0.1:4000",
    "models": {
        "endpoints": {
            "backup": {"kind": "openai", "url": "https://api.example.com/v1", "role": "backup"},
            "local": {"kind": "ollama", "url": "http://127.0.0.1:11434"},
        },
        "catalog": {
            "smart": {"endpoint": "proxy", "model": "smart", "tier": "paid", "price": {"in": 3.0, "out": 15.0}},
            "fast-free": {
                "endpoint": "proxy", "model": "fast", "tier": "free", "capabilities": ["tools", "json_schema"], "context": 8000,
            },
            "spare": {"endpoint": "backup", "model": "m", "tier": "paid", "context": 32000},
            "llama": {"endpoint": "local", "model": "llama3", "tier": "local", "context": 4000},
        },
        "chains": {"default": ["fast-free", "smart", "spare", "llama"], "hollow": []},
    },
    "mcp_servers": {
        "claude-code": {"preset": "claude-code"},
        "molt": {"preset": "moltworker", "url": "https://molt.example.dev"},
        "mine": {
            "command": "x", "capabilities": ["code_edit"],
            "agent": {"tool": "ask", "args": {"q": "{{ prompt }}"}, "result": {"text": "answer"}},
        },
    },
    "router": {
        "agents": ["claude-code", "molt", "mine"],
        "models": "default",
        "rules": [
            {"match": {"labels": {"kind": "code"}, "requires": ["browser"]}, "executors": ["molt"]},
            {"match": {"labels": {"kind": "code"}}, "executors": ["mine", "claude-code"]},
            {"match": {"prompt": "(?i)translate"}, "models": ["fast-free"]},
            {"match": {"labels": {"cheap": True}}, "models": ["llama"]},
        ],
    },
}  # fmt: skip
ROSTER = roster(complete(Config.model_validate(CONFIG), "python"))
LIMITS = Limits()


def model(
    mode: str = "normal", *, hints: dict[str, Any] | None = None, at: Outlook | None = None, **want: Any
) -> Routed:
    outlook = at or Outlook(NOW, mode=mode)  # type: ignore[arg-type]
    return route(Want("model", hints or {}, **want), ROSTER, outlook)


def agent(hints: dict[str, Any] | None = None, *, at: Outlook | None = None, **want: Any) -> Routed:
    return route(Want("agent", hints or {}, **want), ROSTER, at or Outlook(NOW))


def stands(routed: Routed) -> dict[str, str]:
    return {verdict.label: verdict.stand for verdict in routed.verdicts}


def reason(routed: Routed, label: str) -> str:
    verdict = routed.verdict(label)
    assert verdict is not None
    return verdict.reason


def labels(picked: Any) -> list[str]:
    assert isinstance(picked, tuple), picked
    return [verdict.label for verdict in picked]


def nobody(routed: Routed) -> NoCandidate:
    picked = routed.pick()
    assert isinstance(picked, NoCandidate), picked
    return picked


# ---------------------------------------------------------------- the roster


def test_the_roster_is_what_the_config_says() -> None:
    assert ROSTER.cloud == (CloudEndpoint("proxy", lead=True), CloudEndpoint("backup", lead=False))
    assert ROSTER.models["smart"] == Entry(
        "smart", "model", endpoint="proxy", tier="paid", price_in=3.0, price_out=15.0, lead=True
    )
    spare, llama, mine = ROSTER.models["spare"], ROSTER.models["llama"], ROSTER.agents["mine"]
    assert (spare.backup, spare.lead, spare.local) == (True, False, False)
    assert (llama.backup, llama.lead, llama.local) == (False, False, True)
    assert (mine.tool, mine.local, ROSTER.agents["claude-code"].tool) == ("ask", True, "run_task")
    assert list(ROSTER.agents) == ["claude-code", "molt", "mine"]


def test_a_config_with_nothing_but_a_backup_asks_it_in_normal_mode() -> None:
    models = {
        "endpoints": {"backup": CONFIG["models"]["endpoints"]["backup"]},
        "catalog": {"spare": CONFIG["models"]["catalog"]["spare"]},
    }
    only = roster(complete(Config.model_validate({"models": models}), "python"))
    assert only.cloud == (CloudEndpoint("backup", lead=True),)
    assert labels(route(Want("model"), only, Outlook(NOW)).pick()) == ["spare"]


def test_the_cost_of_a_call_is_its_declared_price_or_unknown_but_never_nothing() -> None:
    assert ROSTER.models["smart"].cost(1_000, 100) == 4_500
    assert ROSTER.models["spare"].cost(1_000, 100) is None
    assert ROSTER.models["llama"].cost(1_000, 100) == 0


# ---------------------------------------------------------------- which chain


def test_the_chain_of_the_step_wins_over_rules_and_defaults() -> None:
    routed = model(hints={"models": ["llama", "smart"]}, prompt="Translate this")
    assert labels(routed.pick()) == ["llama", "smart"]
    assert reason(routed, "smart") == "the step's chain, 2 of 2"


def test_one_word_may_name_a_chain() -> None:
    routed = model(hints={"models": ["default"]})
    assert [verdict.label for verdict in routed.verdicts] == ["fast-free", "smart", "spare", "llama"]
    assert routed.source == "the step's chain `default`"


def test_the_first_rule_whose_keys_all_hold_and_that_has_such_a_chain_wins() -> None:
    both = agent({"requires": ["browser"]}, labels={"kind": "code"})
    assert (both.source, labels(both.pick())) == ("rule 1", ["molt"])
    one = agent(labels={"kind": "code", "more": True})
    assert (one.source, labels(one.pick())) == ("rule 2", ["mine", "claude-code"])
    prompt = model(prompt="please TRANSLATE it", labels={"kind": "code", "cheap": True})
    assert (prompt.source, labels(prompt.pick())) == ("rule 3", ["fast-free"])
    assert model(prompt="no such word", labels={"cheap": True}).source == "rule 4"


def test_a_label_must_have_the_very_value_of_the_rule() -> None:
    assert agent(labels={"kind": "docs"}).source == "router.agents"
    assert model(prompt="", labels={"cheap": 1}).source == "router.models `default`"


def test_a_rule_about_a_prompt_that_is_not_known_yet_is_passed_over_and_said_so() -> None:
    routed = model(prompt=None)
    assert routed.source == "router.models `default`"
    assert routed.notes == ("rule 3 depends on the prompt, which is not known yet",)


def test_without_any_chain_everybody_is_a_candidate_free_ones_first() -> None:
    everybody = ROSTER._replace(default_models=(), rules=())
    routed = route(Want("model"), everybody, Outlook(NOW, mode="normal"))
    assert [verdict.label for verdict in routed.verdicts] == ["fast-free", "llama", "smart", "spare"]
    assert reason(routed, "smart") == "all models, 3 of 4"


@pytest.mark.parametrize(
    ("tier", "order"),
    [
        ("paid_first", ["smart", "spare", "fast-free", "llama"]),
        ("any", ["smart", "fast-free", "spare", "llama"]),
        ("free_only", ["fast-free", "llama", "smart", "spare"]),
    ],
)
def test_the_tier_orders_a_chain_that_nobody_gave(tier: str, order: list[str]) -> None:
    everybody = ROSTER._replace(default_models=(), rules=())
    routed = route(Want("model", {"tier": tier}), everybody, Outlook(NOW))
    assert [verdict.label for verdict in routed.verdicts] == order


def test_neither_tier_nor_preference_orders_a_chain_that_somebody_gave() -> None:
    ranks = {("model", "speed"): {"fast-free": Rank(9, "slow"), "llama": Rank(1, "fast")}}
    hints = {"models": ["llama", "smart", "fast-free"], "tier": "free_first", "prefer": "speed"}
    routed = model(hints=hints, at=Outlook(NOW, ranks=ranks))  # type: ignore[arg-type]
    assert labels(routed.pick()) == ["llama", "smart", "fast-free"]
    assert reason(routed, "llama") == "the step's chain, 1 of 3"


def test_what_was_learned_orders_entries_of_one_tier_and_says_so() -> None:
    everybody = ROSTER._replace(default_models=(), rules=())
    ranks = {("model", "speed"): {"smart": Rank(2.0, "2 s"), "spare": Rank(1.0, "1 s")}}
    routed = route(Want("model", {"prefer": "speed"}), everybody, Outlook(NOW, ranks=ranks))  # type: ignore[arg-type]
    assert [verdict.label for verdict in routed.verdicts] == ["fast-free", "llama", "spare", "smart"]
    assert reason(routed, "smart") == "all models, 4 of 4 (2 s)"


def test_an_agent_is_asked_to_use_the_first_of_the_models() -> None:
    assert agent({"models": ["opus", "haiku"]}).model == "opus"
    assert agent().model is None
    assert model(hints={"models": ["smart"]}).model is None


# ---------------------------------------------------------------- no chain at all


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["smrt"], "needs model or chain smrt, which is not configured (models.catalog); did you mean smart?"),
        (["defaul"], "needs model or chain defaul, which is not configured (models.catalog); did you mean default?"),
        (
            ["x1", "x2"],
            "needs model x1, which is not configured (models.catalog); needs model x2, which is not configured (models.catalog)",
        ),
        (["hollow"], "the step's chain `hollow` is empty: name at least one model"),
        ([], "the step's chain is empty: name at least one model"),
    ],
)
def test_an_unknown_or_empty_chain_is_no_candidate(names: list[str], message: str) -> None:
    found = nobody(model(hints={"models": names}))
    assert (found.error_class, found.message) == ("invalid", message)


def test_an_unknown_executor_is_named_with_what_may_have_been_meant() -> None:
    found = nobody(agent({"executors": ["claude-cod"]}))
    assert found.message == (
        "needs agent executor claude-cod, which is not configured (mcp_servers); did you mean claude-code?"
    )


def test_an_unknown_name_in_a_chain_is_refused_and_the_others_go_on() -> None:
    routed = agent({"executors": ["openclaw", "claude-code"]})
    assert stands(routed) == {"openclaw": "refused", "claude-code": "taken"}
    assert reason(routed, "openclaw") == "not configured (mcp_servers)"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("model", "needs a model endpoint, which is not configured"),
        ("agent", "needs an agent executor, which is not configured"),
    ],
)
def test_with_nothing_configured_the_step_says_what_it_needs(kind: str, message: str) -> None:
    assert nobody(route(Want(kind), Roster(), Outlook(NOW))) == NoCandidate("invalid", message)  # type: ignore[arg-type]


def test_a_capability_that_nobody_has_is_no_candidate() -> None:
    found = nobody(agent({"requires": ["telepathy"]}))
    assert found.error_class == "invalid"
    assert found.message.startswith(
        "no agent executor can do this: claude-code, molt, mine: lacks the capability telepathy"
    )


# ---------------------------------------------------------------- filters


def test_required_capabilities_filter_and_the_reason_names_the_missing_ones() -> None:
    routed = model(hints={"requires": ["tools", "json_schema", "vision"]})
    assert set(stands(routed).values()) == {"refused"}
    assert reason(routed, "fast-free") == "lacks the capability vision"
    assert labels(model(hints={"requires": ["tools"]}).pick()) == ["fast-free"]


def test_local_only_leaves_what_is_local() -> None:
    assert labels(model(hints={"locality": "local"}).pick()) == ["llama"]
    assert labels(agent({"locality": "local"}).pick()) == ["mine"]
    assert reason(agent({"locality": "local"}), "molt") == "is not local"


def test_free_only_leaves_what_costs_nothing() -> None:
    assert labels(model(hints={"tier": "free_only"}).pick()) == ["fast-free", "llama"]
    spent = model(free_only=True)
    assert labels(spent.pick()) == ["fast-free", "llama"]
    assert reason(spent, "smart") == "the budget is used up, and its tier is paid"
    assert reason(agent(free_only=True), "mine") == "the budget is used up, and its tier is unknown"


def test_an_unknown_price_is_refused_where_the_budget_denies_it() -> None:
    routed = model("degraded", deny_unpriced=True)
    assert reason(routed, "spare") == "its price is unknown, and the budget denies that (unpriced: deny)"
    assert stands(routed)["llama"] == "taken"
    assert stands(agent(deny_unpriced=True))["claude-code"] == "taken"


def test_a_prompt_that_does_not_fit_the_context_refuses_the_entry() -> None:
    routed = model(tokens=6_000)
    assert labels(routed.pick()) == ["fast-free", "smart"]
    assert reason(routed, "llama") == "the prompt needs about 6000 tokens, its context holds 4000"
    assert stands(model(tokens=None))["llama"] == "taken"


def test_tokens_are_estimated_from_bytes_and_rather_too_low() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "日本語の", "\ud800")] == [0, 1, 1, 2, 3, 1]


def test_the_policy_of_the_operator_filters_agents_by_the_tool_that_they_are_called_by() -> None:
    routed = agent(at=Outlook(NOW, policy=OperatorPolicy(deny=("molt.*", "mine.run_task"))))
    assert stands(routed) == {"claude-code": "taken", "molt": "refused", "mine": "taken"}
    assert reason(routed, "molt") == "the operator's policy denies molt.run_task (policy.tools.deny: molt.*)"


def test_a_missing_key_refuses_all_that_would_need_it() -> None:
    routed = model(at=Outlook(NOW, missing={"proxy": "LITELLM_PROXY_API_KEY, which is not set"}))
    assert labels(routed.pick()) == ["llama"]
    assert reason(routed, "smart") == "needs LITELLM_PROXY_API_KEY, which is not set"


# ---------------------------------------------------------------- modes and circuits


def opened() -> Circuit:
    circuit = Circuit()
    for _ in range(3):
        circuit = feed(circuit, Sign("failed", NOW, "refused"), LIMITS)
    return circuit


def half_open() -> Circuit:
    later = as_of(opened(), NOW + LIMITS.open_for)
    return feed(later, Sign("probe_passed", NOW + LIMITS.open_for), LIMITS)


LATER = NOW + LIMITS.open_for


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("normal", {"fast-free": "taken", "smart": "taken", "spare": "refused", "llama": "taken"}),
        ("degraded", {"fast-free": "hidden", "smart": "hidden", "spare": "taken", "llama": "taken"}),
        ("brainstem", {"fast-free": "hidden", "smart": "hidden", "spare": "hidden", "llama": "taken"}),
    ],
)
def test_each_mode_shows_its_own_entries(mode: str, expected: dict[str, str]) -> None:
    assert stands(model(mode)) == expected


def test_cloud_executors_are_hidden_in_brainstem_and_only_there() -> None:
    assert stands(agent(at=Outlook(NOW, mode="degraded")))["claude-code"] == "taken"
    hidden = agent(at=Outlook(NOW, mode="brainstem"))
    assert stands(hidden) == {"claude-code": "hidden", "molt": "hidden", "mine": "taken"}
    assert reason(hidden, "molt") == "mode brainstem: only local work"


def test_when_all_is_hidden_the_step_waits_and_the_reasons_are_told() -> None:
    picked = model("brainstem", hints={"models": ["smart", "spare"]}).pick()
    assert picked == Hidden("smart, spare: mode brainstem: only local work")


def test_a_backup_in_normal_mode_is_no_candidate_so_nothing_waits_for_it() -> None:
    routed = model(hints={"models": ["smart", "spare"]})
    assert [candidate.label for candidate in routed.candidates()] == ["smart"]
    assert nobody(model(hints={"models": ["spare"]})).message == (
        "no model can do this: spare: a backup, which is asked only in degraded mode"
    )


def test_an_open_circuit_hides_until_it_is_half_open() -> None:
    routed = model(at=Outlook(NOW + 1, circuits={"endpoint:proxy": opened()}))
    assert stands(routed)["smart"] == "hidden"
    assert reason(routed, "smart") == "circuit open (3 failures inside 60 s: refused)"
    assert routed.wake_at() == LATER


@pytest.mark.parametrize("mode", ["degraded", "brainstem"])
def test_the_trial_call_of_a_half_open_endpoint_passes_through_a_worse_mode(mode: str) -> None:
    outlook = Outlook(LATER, mode=mode, circuits={"endpoint:proxy": half_open()})  # type: ignore[arg-type]
    routed = model(at=outlook)
    assert stands(routed)["smart"] == "trial"
    assert reason(routed, "smart").endswith("; half open: one real call to see whether it is back")
    assert stands(model(at=outlook._replace(pinned=True)))["smart"] == "hidden"


def test_a_closed_circuit_is_not_asked_before_the_mode_has_recovered() -> None:
    assert stands(model("degraded"))["smart"] == "hidden"
    assert reason(model("degraded"), "smart") == "mode degraded: proxy has not recovered"


def test_a_model_that_cools_is_hidden_alone() -> None:
    cooling = cool(Circuit(), "rate_limit", NOW + 500, "429")
    routed = model(at=Outlook(NOW, circuits={"model:smart": cooling}))
    assert labels(routed.pick()) == ["fast-free", "llama"]
    assert (reason(routed, "smart"), routed.wake_at()) == ("cools after rate_limit", NOW + 500)
    assert labels(model(at=Outlook(NOW + 500, circuits={"model:smart": cooling})).pick()) == [
        "fast-free",
        "smart",
        "llama",
    ]


def test_a_model_that_cools_makes_no_trial_call() -> None:
    circuits = {"endpoint:proxy": half_open(), "model:smart": cool(Circuit(), "quota", LATER + 1, "used up")}
    assert stands(model(at=Outlook(LATER, mode="degraded", circuits=circuits)))["smart"] == "hidden"


def test_what_only_a_quota_hides_waits_for_the_quota_and_anything_else_for_the_mode() -> None:
    used_up = {f"model:{name}": cool(Circuit(), "quota", NOW + 9, "used up") for name in ("fast-free", "smart")}
    chain = {"models": ["fast-free", "smart"]}
    assert model(hints=chain, at=Outlook(NOW, circuits=used_up)).suspension() == "quota"
    limited = {**used_up, "model:smart": cool(Circuit(), "rate_limit", NOW + 5, "429")}
    routed = model(hints=chain, at=Outlook(NOW, circuits=limited))
    assert (routed.suspension(), routed.suspension({"smart"}), routed.wake_at()) == ("mode", "quota", NOW + 5)
    assert model("brainstem", hints=chain, at=Outlook(NOW, mode="brainstem", circuits=used_up)).suspension() == "mode"


def test_a_refused_credential_refuses_all_that_carry_it() -> None:
    circuits = {"credential:proxy": cool(Circuit(), "auth", NOW + 500, "401 of the proxy", credential="k1")}
    chain = {"models": ["fast-free", "smart"]}
    routed = model(hints=chain, at=Outlook(NOW, circuits=circuits, credentials={"proxy": "k1"}))
    assert nobody(routed) == NoCandidate(
        "unavailable",
        "no model can do this: fast-free, smart: its credential was refused (401 of the proxy)",
    )
    renewed = model(hints=chain, at=Outlook(NOW, circuits=circuits, credentials={"proxy": "k2"}))
    assert labels(renewed.pick()) == ["fast-free", "smart"]


# ---------------------------------------------------------------- after a failure


def test_entries_that_failed_are_not_picked_again_in_the_round() -> None:
    routed = model()
    assert labels(routed.pick({"fast-free"})) == ["smart", "llama"]
    assert routed.pick({"fast-free", "smart", "llama", "spare"}) == NoCandidate(
        "unavailable", "every model of the chain has failed already"
    )


def test_after_an_overflow_only_larger_or_unknown_contexts_remain() -> None:
    larger = {candidate.label: candidate.larger_context for candidate in model("degraded").candidates("fast-free")}
    assert larger == {"fast-free": False, "smart": True, "spare": True, "llama": False}


def test_candidates_are_the_chain_without_what_is_refused_but_with_what_has_just_failed() -> None:
    circuits = {"endpoint:proxy": opened()}
    routed = model(hints={"models": ["smart", "spare", "llama"]}, at=Outlook(NOW, mode="degraded", circuits=circuits))
    assert [(candidate.label, candidate.shown) for candidate in routed.candidates("smart")] == [
        ("smart", False),
        ("spare", True),
        ("llama", True),
    ]


def test_rules_and_defaults_may_be_anything_the_config_allows() -> None:
    rules = (Rule(prompt="x", models=("default",)),)
    routed = route(Want("model", prompt="xyz"), ROSTER._replace(rules=rules), Outlook(NOW))
    assert routed.source == "rule 1 `default`"
    assert isinstance(routed.verdicts[0], Verdict)


def test_an_agent_that_cannot_keep_to_the_tools_that_a_step_allows_is_passed_over() -> None:
    assert labels(agent().pick()) == ["claude-code", "molt", "mine"]
    limited = agent(tools=True)
    assert labels(limited.pick()) == ["claude-code"]
    assert limited.verdict("molt").reason == "cannot keep to `allowed_tools`"  # type: ignore[union-attr]


# ---------------------------------------------------------------- hints of one mode


def in_mode(mode: str, hints: dict[str, Any], usual: dict[str, Any]) -> Routed:
    return route_in(Want("model", hints), usual, ROSTER, Outlook(NOW, mode=mode))  # type: ignore[arg-type]


def test_whom_only_the_hints_of_this_mode_refuse_is_hidden_and_the_step_waits() -> None:
    routed = in_mode("brainstem", {"models": ["smart"], "locality": "local"}, {"models": ["smart"]})
    assert stands(routed) == {"smart": "hidden"}
    assert reason(routed, "smart") == "mode brainstem: is not local"
    assert isinstance(routed.pick(), Hidden)
    assert [candidate.shown for candidate in routed.candidates()] == [False]


def test_a_chain_of_this_mode_that_nobody_can_do_leaves_the_usual_one_to_wait_for() -> None:
    routed = in_mode("degraded", {"models": ["llama"], "requires": ["tools"]}, {"models": ["fast-free"]})
    assert stands(routed) == {"llama": "refused", "fast-free": "hidden"}
    assert reason(routed, "fast-free") == "mode degraded: asks others"


@pytest.mark.parametrize(
    ("hints", "usual"),
    [
        ({"models": ["smart"], "locality": "local"}, {"models": ["smart"], "locality": "local"}),  # the step's own wish
        (
            {"models": ["smart"], "locality": "local"},
            {"models": ["smart"], "requires": ["teleport"]},
        ),  # no better there
    ],
)
def test_whom_the_usual_hints_refuse_too_stays_refused(hints: dict[str, Any], usual: dict[str, Any]) -> None:
    assert isinstance(in_mode("brainstem", hints, usual).pick(), NoCandidate)


def test_somebody_whom_this_mode_leaves_is_taken() -> None:
    routed = in_mode("brainstem", {"models": ["smart", "llama"], "locality": "local"}, {"models": ["smart", "llama"]})
    assert stands(routed) == {"smart": "refused", "llama": "taken"}


def test_a_rule_whose_pattern_takes_too_long_with_a_prompt_is_passed_over_and_said_so() -> None:
    rules = (Rule(prompt=r"^(a|aa)+$", models=("smart",)), Rule(prompt="aaa", models=("llama",)))
    routed = route(Want("model", prompt="a" * 60 + "!"), ROSTER._replace(rules=rules), Outlook(NOW))
    assert (routed.source, len(routed.notes)) == ("rule 2", 1)
    assert routed.notes[0].startswith("rule 1 is passed over: the pattern ")
