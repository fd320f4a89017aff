"""Can anybody that config defines do a step? Found before anything runs, with its place and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from compiling import compiled, only

from runner.api.facts import facts_of
from runner.core.compile import Facts
from runner.manifest.config import Config
from runner.manifest.config_complete import complete

STEP = ("steps", "a")
CONFIG: dict[str, Any] = {
    "lite_llm_url": "http://127.0.0.1:4000",
    "models": {
        "endpoints": {
            "backup": {"kind": "openai", "url": "https://api.example.com/v1", "role": "backup"},
            "local": {"kind": "ollama", "url": "http://127.0.0.1:11434"},
        },
        "catalog": {
            "smart": {"endpoint": "proxy", "model": "s", "tier": "paid", "capabilities": ["tools"], "context": 100},
            "spare": {"endpoint": "backup", "model": "m", "tier": "paid"},
            "llama": {"endpoint": "local", "model": "l", "tier": "local", "context": 50},
        },
        "chains": {"default": ["smart", "spare"], "late": ["spare", "smart"]},
    },
    "mcp_servers": {"claude-code": {"preset": "claude-code"}, "claw": {"preset": "openclaw"}},
    "router": {
        "agents": ["claude-code"],
        "models": "default",
        "rules": [
            {"match": {"labels": {"kind": "chat"}}, "executors": ["claw"]},
            {"match": {"prompt": "translate"}, "models": ["llama"]},
        ],
    },
}  # fmt: skip
FACTS = facts_of(complete(Config.model_validate(CONFIG), "python"))


@pytest.mark.parametrize(
    ("step", "loc", "words", "fix"),
    [
        ("model: x, route: {requires: [vision]}", ("route", "requires"), "lacks the capability vision", None),
        ("model: x, route: {requires: tools, models: [llama]}", ("route", "requires"), "lacks the capability tools", "`smart` could"),
        ("model: x, route: {locality: local}", ("route", "locality"), "is not local", "`llama` could"),
        ("model: x, route: {tier: free_only}", ("route", "tier"), "only what is free may be used", "`llama` could"),
        ("model: x, route: {models: [spare]}", ("route", "models"), "asked only in degraded mode", "`smart` or `llama` could"),
        ("model: x, route: {models: []}", ("route", "models"), "the step's chain is empty", "`smart` or `llama` could"),
        ("agent: x, route: {requires: [teleport]}", ("route", "requires"), "claude-code: lacks the capability teleport", None),
        ("agent: x, route: {requires: [browser]}", ("route", "requires"), "lacks the capability browser", "`claw` could"),
        ("model: x, fallback: [{agent: y, route: {requires: [teleport]}}]", ("fallback", 0, "route", "requires"), "teleport", None),
        (
            "run: [x], checks: [{judge: {prompt: good?, route: {locality: local}}, min: 1}]",
            ("checks", 0, "judge", "route", "locality"),
            "is not local",
            "`llama` could",
        ),
    ],
)  # fmt: skip
def test_a_step_that_nobody_could_do_is_a_warning_at_the_hint_that_leaves_nobody(
    step: str, loc: tuple[str | int, ...], words: str, fix: str | None
) -> None:
    problem = only(f"{{steps: {{a: {{{step}}}}}}}", facts=FACTS)
    assert (problem.rule, problem.loc) == ("no-candidate", (*STEP, *loc))
    assert words in problem.message
    assert (problem.fix or "").startswith(fix or "")
    assert bool(problem.fix) == bool(fix)


def test_a_known_prompt_that_fits_in_no_context_is_found() -> None:
    text = f"{{steps: {{a: {{model: '{'x' * 900}', route: {{models: [smart, llama]}}}}}}}}"
    problem = only(text, facts=FACTS)
    assert "its context holds 100" in problem.message and "its context holds 50" in problem.message


@pytest.mark.parametrize(
    "step",
    [
        "model: x",
        "model: x, route: {models: late}",  # a backup that stands first in its chain is fine
        "model: x, route: {requires: tools}",
        "model: 'about {{ inputs.m }}', route: {tier: free_only}",  # a rule on the prompt may choose llama
        "model: translate, route: {tier: free_only}",
        "model: x, route: {locality: '{{ inputs.m }}'}",
        "agent: x, route: {requires: [browser]}, labels: {kind: chat}",
        "agent: x, route: {models: [sonnet]}",  # an agent's own name for it
        "run: [x]",
        "model: x, faults: {degraded: {route: {models: [spare]}}}",
        "agent: x, faults: {brainstem: {route: {locality: local}}}",  # it waits for a better mode
    ],
)
def test_what_somebody_may_do_is_no_mistake(step: str) -> None:
    assert compiled(f"{{inputs: {{m: {{type: string, default: x}}}}, steps: {{a: {{{step}}}}}}}", facts=FACTS)[1] == []


def test_an_unknown_name_is_told_once() -> None:
    problem = only("{steps: {a: {model: x, route: {models: [smrat]}}}}", facts=FACTS)
    assert (problem.rule, problem.fix) == ("not-configured", "did you mean `smart`?")


def test_a_chain_among_models_is_told_to_stand_alone() -> None:
    problem = only("{steps: {a: {model: x, route: {models: [smart, default]}}}}", facts=FACTS)
    assert (problem.rule, problem.loc) == ("not-configured", (*STEP, "route", "models", 1))
    assert problem.message == "`default` is a chain, which stands alone"


def test_without_config_nobody_is_judged() -> None:
    assert compiled("{steps: {a: {model: x, route: {requires: [teleport]}}}}", facts=Facts())[1] == []
