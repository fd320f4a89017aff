"""What steps get from layers: fault policies and routes per mode, `extends`, defaults."""

from __future__ import annotations

from typing import Any

import pytest
from compiling import Facts, data_of, step_of
from counting import calls

from runner.core.compile import compile_manifest, merge_partials, origin_of
from runner.manifest.model import Manifest
from runner.manifest.vocabulary import Mode

MODES: tuple[Mode, ...] = ("normal", "degraded", "brainstem")


def a(step: str, more: str = "", **facts: Any) -> Any:
    return step_of(f"{{steps: {{a: {step}}}{more}}}", facts=Facts(**facts))


def test_the_built_in_policy() -> None:
    step = a("{agent: x}")
    for mode in MODES:
        assert step.faults[mode]["retry"] == {
            "max": 2,
            "delay": 2000,
            "backoff": 2.0,
            "max_delay": 60_000,
            "jitter": 0.2,
            "errors": ["rate_limit", "unavailable", "timeout", "crash"],
        }
        assert step.faults[mode]["fallback"] is True
        assert step.faults[mode]["skip"] == []
    assert [step.faults[mode]["exhausted"] for mode in MODES] == ["fail", "suspend", "suspend"]
    assert set(step.origins.values()) == {"built-in"}


@pytest.mark.parametrize(
    ("step", "local"), [("{run: [x]}", True), ("{tool: files.read}", True), ("{tool: cloud.x}", False)]
)
def test_only_cloud_steps_are_suspended_in_degraded_mode(step: str, local: bool) -> None:
    assert a(step, local=frozenset({"files"})).faults["degraded"]["exhausted"] == ("fail" if local else "suspend")


def test_a_common_key_of_a_higher_layer_beats_a_mode_key_of_a_lower_one() -> None:
    step = a(
        "{agent: x, faults: {retry: {max: 5}}}",
        ", defaults: {faults: {retry: {max: 1, delay: 1s}, degraded: {retry: {max: 7}, exhausted: skip}}}",
    )
    assert [step.faults[mode]["retry"]["max"] for mode in MODES] == [5, 5, 5]
    assert [step.faults[mode]["retry"]["delay"] for mode in MODES] == [1000, 1000, 1000]
    assert step.faults["degraded"]["exhausted"] == "skip"
    assert step.origins["degraded.retry.max"] == "step"
    assert step.origins["degraded.retry.delay"] == "defaults"
    assert step.origins["normal.exhausted"] == "built-in"


def test_within_a_layer_the_mode_key_beats_the_common_key() -> None:
    step = a("{agent: x, faults: {exhausted: skip, brainstem: {exhausted: fail}}}")
    assert [step.faults[mode]["exhausted"] for mode in MODES] == ["skip", "skip", "fail"]


def test_config_lies_between_the_built_in_policy_and_defaults() -> None:
    policies = {"retry": {"max": 9, "delay": 5}, "degraded": {"skip": ["docs"], "route": {"tier": "free_only"}}}
    step = a("{agent: x}", ", defaults: {faults: {retry: {delay: 1s}}}", policies=policies)
    assert step.faults["normal"]["retry"]["max"] == 9
    assert step.faults["normal"]["retry"]["delay"] == 1000
    assert step.faults["degraded"]["skip"] == ["docs"]
    assert step.bodies[0].route["degraded"] == {"tier": "free_only"}
    assert step.origins["normal.retry.max"] == "config"
    assert step.origins["degraded.route.tier"] == "config"


def test_routes_merge_key_by_key_and_per_mode() -> None:
    step = a(
        "{agent: x, route: {requires: shell, locality: any}}",
        ", defaults: {route: {tier: free_only, requires: [web]}, faults: {brainstem: {route: {locality: local, prefer: cost}}}}",
    )
    assert step.bodies[0].route["normal"] == {"tier": "free_only", "requires": ["shell"], "locality": "any"}
    assert step.bodies[0].route["brainstem"] == {
        "tier": "free_only", "requires": ["shell"], "locality": "any", "prefer": "cost",
    }  # fmt: skip
    assert step.origins["brainstem.route.locality"] == "step"
    assert step.origins["brainstem.route.prefer"] == "defaults"


def test_a_fallback_entry_has_the_route_of_defaults_and_its_own_not_the_steps() -> None:
    step = a(
        """{agent: x, route: {executors: [e]}, faults: {brainstem: {route: {locality: local}}},
            fallback: [{model: x, route: {models: [m]}}, {model: y}]}""",
        ", defaults: {route: {tier: any}}",
    )
    assert step.bodies[1].route["normal"] == {"tier": "any", "models": ["m"]}
    assert step.bodies[1].route["brainstem"] == {"tier": "any", "models": ["m"], "locality": "local"}
    assert step.bodies[2].route["normal"] == {"tier": "any"}


def test_verbs_without_attempts_keep_only_what_is_skipped() -> None:
    step = a(
        "{fail: x}",
        ", defaults: {faults: {exhausted: skip, retry: {errors: [tool_error]}, degraded: {skip: [optional]}}}",
    )
    assert step.faults["degraded"] == {
        "retry": {"max": 0, "errors": []},
        "fallback": True,
        "exhausted": "fail",
        "skip": ["optional"],
    }


def test_consent_is_what_the_step_itself_names() -> None:
    step = a(
        "{run: [x], faults: {retry: {errors: [tool_error]}, degraded: {retry: {errors: [crash, tool_error]}}}}",
        ", defaults: {faults: {retry: {errors: [timeout]}}}",
    )
    assert step.own_retry_errors == ("tool_error", "crash")


# ---------------------------------------------------------------- extends


def extended(manifest: str, *partials: tuple[str, str]) -> Any:
    data, origins = merge_partials(data_of(manifest), [(path, data_of(text)) for path, text in partials])
    graph, problems = compile_manifest(Manifest.model_validate(data), data, origins=origins)
    assert problems == []
    assert graph is not None
    return graph


def test_partials_merge_below_the_manifest_at_every_depth_and_later_ones_win() -> None:
    merged, origins = merge_partials(
        data_of("{extends: [x.yaml, y.yaml], env: {C: own}, defaults: {faults: {retry: {max: 1}}}}"),
        [
            (
                "x.yaml",
                {
                    "ares": "v1",
                    "env": {"A": "x", "B": "x", "C": "x"},
                    "defaults": {"faults": {"retry": {"max": 8, "delay": "1s"}}},
                },
            ),
            ("y.yaml", {"ares": "v1", "env": {"B": "y"}, "budget": {"usd": 1}}),
        ],
    )
    assert merged["env"] == {"A": "x", "B": "y", "C": "own"}
    assert merged["defaults"] == {"faults": {"retry": {"max": 1, "delay": "1s"}}}
    assert merged["budget"] == {"usd": 1}
    assert origins == {
        ("env", "A"): "x.yaml",
        ("env", "B"): "y.yaml",
        ("defaults", "faults", "retry", "delay"): "x.yaml",
        ("budget", "usd"): "y.yaml",
    }


def test_lists_and_scalars_are_replaced_not_merged() -> None:
    merged, origins = merge_partials(
        data_of("{defaults: {timeout: 5m, faults: {retry: {errors: [timeout]}}}}"),
        [
            (
                "x.yaml",
                {
                    "defaults": {
                        "timeout": {"total": "1m", "idle": "1s"},
                        "faults": {"retry": {"errors": ["crash", "quota"]}},
                    }
                },
            )
        ],
    )
    assert merged["defaults"] == {"timeout": "5m", "faults": {"retry": {"errors": ["timeout"]}}}
    assert origins == {}


def test_merging_changes_neither_manifest_nor_partial() -> None:
    manifest, partial = data_of("{env: {A: own}}"), {"env": {"B": "x"}}
    merge_partials(manifest, [("x.yaml", partial), ("y.yaml", {"env": {"B": "y"}})])
    assert (manifest["env"], partial) == ({"A": "own"}, {"env": {"B": "x"}})


def test_a_value_from_a_partial_names_the_partial_as_its_origin() -> None:
    graph = extended(
        "{extends: [policies/careful.yaml], defaults: {faults: {retry: {max: 1}}}, steps: {a: {agent: x}}}",
        (
            "policies/careful.yaml",
            "{defaults: {route: {tier: any}, faults: {retry: {delay: 3s}, degraded: {retry: {max: 5}}}}}",
        ),
    )
    step = graph.by_id["a"]
    assert step.origins["normal.retry.delay"] == "extends policies/careful.yaml"
    assert step.origins["normal.route.tier"] == "extends policies/careful.yaml"
    assert origin_of({("env", "A"): "x.yaml"}, ("env", "A", 0)) == "x.yaml"
    assert origin_of({("env", "A"): "x.yaml"}, ("env", "B")) is None
    assert step.faults["degraded"]["retry"]["max"] == 1  # the manifest's common key beats the partial's mode key
    assert step.origins["degraded.retry.max"] == "defaults"


# ---------------------------------------------------------------- defaults


@pytest.mark.parametrize(
    ("step", "total"),
    [
        ("{tool: s.t}", 600_000),
        ("{model: x}", 600_000),
        ("{run: [x]}", 3_600_000),
        ("{agent: x}", 3_600_000),
        ("{call: n}", None),
        ("{approve: x}", None),
        ("{approve: x, timeout: 1h}", 3_600_000),
        ("{run: [x], timeout: 5s}", 5_000),
        ('{run: [x], timeout: "{{ inputs.t }}"}', "{{ inputs.t }}"),
    ],
)
def test_timeouts_by_verb(step: str, total: int | str | None) -> None:
    graph = compile_manifest(*_pair(f"{{inputs: {{t?: string}}, steps: {{a: {step}}}}}"), callees=_callee())[0]
    assert graph is not None
    assert graph.by_id["a"].bodies[0].timeout == total


def _pair(text: str) -> tuple[Manifest, dict[str, Any]]:
    data = data_of(text)
    return Manifest.model_validate(data), data


def _callee() -> Any:
    from compiling import graph_of

    from runner.core.compile import Callees

    return Callees({"n": graph_of("{name: n, steps: {a: {run: [x]}}}")})


def test_the_default_timeout_is_for_working_verbs_and_merges_with_idle() -> None:
    text = """
        defaults: {timeout: {total: 7s, idle: 3s}}
        steps:
          a: {run: [x], timeout: {idle: 1s}, fallback: [{tool: s.t, timeout: 2s, errors: [tool_error]}]}
          b: {approve: x}
          c: {call: n}
    """
    graph, _ = compile_manifest(*_pair(text), callees=_callee())
    assert graph is not None
    ways = graph.by_id["a"].bodies
    assert [(way.timeout, way.idle) for way in ways] == [(7_000, 1_000), (2_000, 3_000)]
    assert [(graph.by_id[id].bodies[0].timeout, graph.by_id[id].bodies[0].idle) for id in "bc"] == [(None, None)] * 2


def test_checks_have_a_timeout_of_their_own() -> None:
    step = a("{run: [x], timeout: 1s, checks: [{run: [y]}, {run: y, timeout: 2s}]}")
    assert [check.spec for check in step.bodies[0].checks] == [
        {"run": {"argv": ["y"]}, "timeout": 600_000},
        {"run": {"script": "y"}, "timeout": 2_000},
    ]


def test_labels_are_inherited_from_the_manifest_and_defaults() -> None:
    step = a("{wait: 1s, labels: [slow]}", ", labels: {team: core, kind: code}, defaults: {labels: {kind: docs}}")
    assert step.labels == {"team": "core", "kind": "docs", "slow": True}


def test_env_of_the_manifest_is_for_commands_only() -> None:
    text = """
        env: {A: top, B: top, C: top}
        defaults: {env: {B: defaults, C: defaults}}
        steps:
          a: {run: [x], env: {C: step}}
          b: {model: x}
          c: {model: x, fallback: [{run: [x]}]}
    """
    assert step_of(text, "a").env == {"A": "top", "B": "defaults", "C": "step"}
    assert step_of(text, "b").env == {}
    assert step_of(text, "c").env == {"A": "top", "B": "defaults", "C": "defaults"}


def test_budget_and_workspace_merge_key_by_key() -> None:
    more = ", defaults: {budget: {usd: 2.5, exceed: fail}, workspace: {git: worktree, keep: always}, cwd: sub, reuse: never}"
    step = a("{agent: x, budget: {tokens: 2k}, workspace: {git: worktree, apply: false}}", more)
    assert step.budget == {"usd": 2_500_000, "exceed": "fail", "tokens": 2000}
    assert step.workspace == {"git": "worktree", "keep": "always", "apply": False}
    assert (step.cwd, step.reuse) == ("sub", "never")
    tool = a("{tool: s.t}", more)
    assert (tool.workspace, tool.cwd) == (None, None)


def test_a_budget_template_stays_a_template() -> None:
    assert a('{agent: x, budget: {usd: "{{ inputs.cap }}"}}', ", inputs: {cap: number}").budget == {
        "usd": "{{ inputs.cap }}"
    }


def test_a_value_that_stands_over_nothing_of_a_partial_is_the_manifests_own() -> None:
    merged, origins = merge_partials(data_of("{env: {A: own}}"), [("x.yaml", {"env": {"A": None}})])
    assert (merged["env"], origins) == ({"A": "own"}, {})


def test_merging_looks_at_what_is_replaced_alone() -> None:
    def work(values: int) -> int:
        env = {"env": {f"K{n}": "x" for n in range(values)}}
        return calls(lambda: merge_partials({**data_of("{}"), **env}, [("x.yaml", env)]), most=10_000_000)

    assert work(2_000) < 2.5 * work(1_000)
