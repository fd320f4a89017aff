"""Fan-outs, calls, triggers, config's names, and what is hardly meant."""

from __future__ import annotations

import pytest
from compiling import Facts, compiled, data_of, found, graph_of, only
from counting import calls

from runner.core.compile import Callees, call_order, callee_names, compile_manifest, file_references
from runner.manifest.model import Manifest

STEP = ("steps", "a")


# ---------------------------------------------------------------- fan-out


def test_an_axis_that_nothing_uses_is_a_warning_on_its_key() -> None:
    graph, problems = compiled('{steps: {a: {run: [x, "{{ matrix.os }}"], matrix: {os: [1, 2], py: [3]}}}}')
    assert graph is not None
    assert [(p.rule, p.loc, p.on) for p in problems] == [("unused-axis", (*STEP, "matrix", "py"), "key")]


@pytest.mark.parametrize(
    "use", ["when: matrix.py > 1", 'timeout: "{{ matrix.py }}"', 'env: {M: "{{ matrix | tojson }}"}']
)
def test_an_axis_is_used_wherever_it_is_named(use: str) -> None:
    graph_of(f"{{steps: {{a: {{run: [x], matrix: {{py: [3]}}, {use}}}}}}}")


@pytest.mark.parametrize(
    ("matrix", "rule", "loc"),
    [
        ("{os: []}", "empty-axis", ("os",)),
        ("{os: [1, 1]}", "duplicate-item", ()),
        ("{os: ['1', 1]}", "duplicate-item", ()),
        ("{os: '{{ vars.twice }}'}", "duplicate-item", ()),
        ("{os: [1], exclude: [{oss: 1}]}", "matrix-row", ("exclude", 0, "oss")),
        ("{os: [1], include: [{os: 2}, {os: 2, x: 1}, {os: 2}]}", "duplicate-item", ()),
    ],
)
def test_what_is_known_of_a_matrix_is_checked(matrix: str, rule: str, loc: tuple[str | int, ...]) -> None:
    text = f"{{vars: {{twice: [1, 1]}}, steps: {{a: {{run: [x, '{{{{ matrix.os }}}}'], matrix: {matrix}}}}}}}"
    assert found(text) == [(rule, (*STEP, "matrix", *loc))]


def test_what_is_known_later_is_not_judged() -> None:
    graph_of("""
        inputs: {xs: array}
        vars: {ys: ["{{ inputs.xs }}", "{{ inputs.xs }}"]}
        steps:
          a: {run: [x, "{{ matrix.os }}"], matrix: {os: "{{ inputs.xs }}"}}
          b: {run: [x, "{{ matrix.os }}"], matrix: {os: "{{ vars.ys | unique }}"}}
          c: {run: [x, "{{ matrix.os }}"], matrix: {os: "{{ vars.ys }}"}}
          d: {run: [x], foreach: "{{ steps.a.output }}"}
    """)


def test_a_matrix_beyond_the_limit_names_it_without_building_it() -> None:
    axes = ", ".join(f"a{n}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]" for n in range(12))
    names = "".join(f"{{{{ matrix.a{n} }}}}" for n in range(12))
    problem = only(f'{{steps: {{a: {{run: ["{names}"], matrix: {{{axes}}}}}}}}}')
    assert (problem.rule, problem.message) == ("limit", "more than 10000 items (limit `steps`)")


@pytest.mark.parametrize(
    ("foreach", "rule", "loc"),
    [
        ("{in: [a, a], key: '{{ item }}'}", "duplicate-item", ("in",)),
        ("{in: '{{ vars.twice }}', key: '{{ item }}'}", "duplicate-item", ("in",)),
        ("[1, 2, 3, 4]", "limit", ()),
    ],
)
def test_what_is_known_of_a_list_is_checked(foreach: str, rule: str, loc: tuple[str, ...]) -> None:
    text = f"{{vars: {{twice: [1, 1]}}, steps: {{a: {{run: [x], foreach: {foreach}}}}}}}"
    assert found(text, facts=Facts(max_steps=3)) == [(rule, (*STEP, "foreach", *loc))]


# ---------------------------------------------------------------- call


def callees() -> Callees:
    return Callees(
        {
            "review-file": graph_of(
                "{name: review-file, inputs: {path: string, n: {type: integer, default: 1}}, steps: {a: {run: [x]}}}"
            )
        }
    )


@pytest.mark.parametrize(
    ("step", "rule", "loc"),
    [
        ("call: reveiw-file", "unknown-callee", ("call",)),
        ("call: m", "recursion", ("call",)),
        ("call: review-file", "call-inputs", ("call",)),
        ("call: review-file, with: {n: 1}", "call-inputs", ("with",)),
        ("call: review-file, with: {path: x, pth: y}", "call-inputs", ("with", "pth")),
        ("call: review-file, with: {path: x, n: many}", "call-inputs", ("with", "n")),
        ("run: [x], fallback: [{call: review-file, errors: [tool_error]}]", "call-inputs", ("fallback", 0, "call")),
    ],
)
def test_a_call_must_fit_its_callee(step: str, rule: str, loc: tuple[str | int, ...]) -> None:
    assert found(f"{{steps: {{a: {{{step}}}}}}}", callees=callees()) == [(rule, (*STEP, *loc))]


def test_an_unknown_callee_offers_the_nearest_name() -> None:
    assert only("{steps: {a: {call: reveiw-file}}}", callees=callees()).fix == "did you mean `review-file`?"


def test_a_template_may_give_any_input_of_a_callee() -> None:
    graph = graph_of(
        '{steps: {a: {call: review-file, with: {path: "{{ run.name }}", n: "{{ run.name }}"}}}}', callees=callees()
    )
    assert graph.callees == {"review-file": callees().graphs["review-file"].digest}


def test_a_callee_with_mistakes_of_its_own_is_not_reported_twice() -> None:
    assert found("{steps: {a: {call: other}}}", callees=Callees(broken=frozenset({"other"}))) == []


def test_a_circle_of_calls_is_spelled_out() -> None:
    problem = only("{name: a, steps: {x: {call: b}}}", callees=Callees(cycles={"a": ("a", "b", "a")}))
    assert (problem.rule, problem.message) == ("recursion", "a manifest cannot call itself: a → b → a")


def test_callees_come_before_their_callers() -> None:
    order, circles = call_order({"a": ["b", "c"], "b": ["c"], "c": ["gone"], "d": ["a"]})
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("c") < order.index("b") < order.index("a") < order.index("d")
    assert circles == {}


def test_circles_of_calls_are_found() -> None:
    order, circles = call_order({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d"]})
    assert sorted(order) == ["a", "b", "c", "d"]
    assert circles == {"b": ("b", "c", "b"), "c": ("c", "b", "c"), "d": ("d", "d")}


def test_a_long_chain_of_calls_needs_no_deep_stack() -> None:
    order, _ = call_order({f"m{n}": [f"m{n + 1}"] for n in range(20_000)} | {"m20000": []})
    assert order[0] == "m20000"


def test_callees_and_files_are_listed_with_their_places() -> None:
    manifest = Manifest.model_validate(
        data_of("""
            steps:
              a: {agent: {file: p.md}, checks: [{run: {file: c.sh}}], fallback: [{run: {file: f.sh}}, {call: n}]}
              b: {call: o}
            finally: {f: {run: {file: z.sh}}}
        """)
    )
    assert callee_names(manifest) == [((*STEP, "fallback", 1, "call"), "n"), (("steps", "b", "call"), "o")]
    assert file_references(manifest) == [
        ((*STEP, "agent", "file"), "p.md"),
        ((*STEP, "checks", 0, "run", "file"), "c.sh"),
        ((*STEP, "fallback", 0, "run", "file"), "f.sh"),
        (("finally", "f", "run", "file"), "z.sh"),
    ]


# ---------------------------------------------------------------- triggers


def test_triggers_need_every_input_optional() -> None:
    text = "{inputs: {n: integer, m: {type: integer, default: 1}, o?: string}, triggers: {files: src}, steps: {a: {run: [x], files: src}}}"
    assert found(text) == [("trigger-inputs", ("inputs", "n"))]


@pytest.mark.parametrize(
    ("schedule", "dead"), [("0 0 31 2 *", True), ("0 0 29 2 *", False), ("0 6 * * 1-5", False), ("0 0 30 2 1", False)]
)
def test_a_schedule_that_never_fires_is_a_warning(schedule: str, dead: bool) -> None:
    rules = found(f"{{triggers: {{schedule: '{schedule}'}}, steps: {{a: {{run: [x]}}}}}}")
    assert rules == ([("dead-cron", ("triggers", "schedule"))] if dead else [])


@pytest.mark.parametrize(
    ("steps", "idle"),
    [
        ("a: {run: [x]}", True),
        ("a: {run: [x]}, b: {set: {v: 1}}", True),
        ("a: {model: x}, b: {agent: y}", True),
        ("a: {run: [x]}, b: {run: [y], files: [data/x.csv]}", False),
        ("a: {run: [x]}, b: {run: [y], reuse: never}", False),
        ('a: {run: [x, "{{ run.id }}"]}', False),
        ("a: {run: [x]}, b: {approve: Go?}", False),
    ],
)
def test_a_file_trigger_whose_run_would_reuse_everything_is_a_warning(steps: str, idle: bool) -> None:
    rules = found(f"{{triggers: {{files: data/*}}, steps: {{{steps}}}}}")
    assert rules == ([("idle-trigger", ("triggers", "files"))] if idle else [])
    assert found(f"{{triggers: {{files: data/*}}, defaults: {{reuse: never}}, steps: {{{steps}}}}}") == []


# ---------------------------------------------------------------- config's names

CONFIG = Facts(
    servers=frozenset({"github", "workspace"}),
    executors=frozenset({"claude-code"}),
    models=frozenset({"smart"}),
    chains=frozenset({"default"}),
    secrets=frozenset({"GITHUB_TOKEN"}),
    tools={
        "workspace": {
            "read_file": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
                "required": ["path"],
                "additionalProperties": False,
            },
            "anything": None,
        }
    },
    deny_tools=("github.delete_*",),
)


@pytest.mark.parametrize(
    ("step", "rule", "loc"),
    [
        ("tool: githbu.get_issue", "not-configured", ("tool",)),
        ("agent: x, route: {executors: [claude-code, claude]}", "not-configured", ("route", "executors", 1)),
        ("model: x, route: {models: smrat}", "not-configured", ("route", "models")),
        (
            "model: x, fallback: [{model: y, route: {models: [big]}}]",
            "not-configured",
            ("fallback", 0, "route", "models", 0),
        ),
        (
            "model: x, faults: {degraded: {route: {models: [big]}}}",
            "not-configured",
            ("faults", "degraded", "route", "models", 0),
        ),
        (
            "model: x, checks: [{judge: {prompt: x, route: {models: [big]}}, min: 1}]",
            "not-configured",
            ("checks", 0, "judge", "route", "models", 0),
        ),
        ("run: [x], env: {T: '{{ secrets.GITHUB_TOKN }}'}", "not-configured", ("env", "T")),
        ("tool: github.delete_repo", "policy", ("tool",)),
        ("tool: workspace.reed_file", "unknown-tool", ("tool",)),
        ("tool: workspace.read_file", "tool-arguments", ("tool",)),
        ("tool: workspace.read_file, with: {limit: 1}", "tool-arguments", ("with",)),
        ("tool: workspace.read_file, with: {path: a, pth: b}", "tool-arguments", ("with", "pth")),
        ("tool: workspace.read_file, with: {path: 3}", "tool-arguments", ("with", "path")),
    ],
)
def test_names_are_compared_with_config(step: str, rule: str, loc: tuple[str | int, ...]) -> None:
    assert found(f"{{steps: {{a: {{{step}}}}}}}", facts=CONFIG) == [(rule, (*STEP, *loc))]


def test_what_config_defines_is_accepted_and_templates_are_not_judged() -> None:
    graph_of(
        """
        inputs: {m: string}
        defaults: {route: {models: [default]}}
        steps:
          a: {tool: github.get_issue}
          b: {tool: workspace.read_file, with: {path: "{{ inputs.m }}", limit: 3}}
          c: {tool: workspace.anything, with: {x: 1}}
          d: {model: x, route: {models: [smart, "{{ inputs.m }}"]}}
          e: {agent: x, route: {executors: [claude-code]}}
        """,
        facts=CONFIG,
    )


def test_names_in_defaults_are_compared_too() -> None:
    text = "{defaults: {route: {models: [big]}, faults: {normal: {route: {executors: x}}}}, steps: {a: {run: [x]}}}"
    assert found(text, facts=CONFIG) == [
        ("not-configured", ("defaults", "route", "models", 0)),
        ("not-configured", ("defaults", "faults", "normal", "route", "executors")),
    ]


def test_without_config_nothing_is_called_not_configured() -> None:
    graph_of("{steps: {a: {tool: nobody.knows}, b: {model: x, route: {models: [y]}}, c: {agent: x}}}")


@pytest.mark.parametrize(("step", "key"), [("agent: x", "agent"), ("model: x", "model")])
def test_a_step_that_nothing_configured_can_do_is_a_warning(step: str, key: str) -> None:
    facts = Facts(executors=frozenset(), models=frozenset())
    assert found(f"{{steps: {{a: {{{step}}}}}}}", facts=facts) == [("no-candidate", (*STEP, key))]


@pytest.mark.parametrize(
    ("step", "warned"),
    [
        ("agent: x, route: {requires: [shell]}", False),
        ("agent: x, route: {requires: [shell, teleport]}", True),
        ("agent: x, route: {requires: shell, executors: [openclaw]}", True),
        ("model: x, route: {requires: tools}", False),
        ("model: x, route: {requires: shell}", True),
    ],
)
def test_required_capabilities_are_compared_with_what_config_declares(step: str, warned: bool) -> None:
    facts = Facts(
        executors=frozenset({"claude-code", "openclaw"}),
        models=frozenset({"smart"}),
        capabilities={"claude-code": frozenset({"shell"}), "smart": frozenset({"tools"})},
    )
    rules = found(f"{{steps: {{a: {{{step}}}}}}}", facts=facts)
    assert rules == ([("no-candidate", (*STEP, "route", "requires"))] if warned else [])


def test_local_commands_that_the_operator_denies_are_a_warning() -> None:
    assert found("{steps: {a: {run: [x]}}}", facts=Facts(run_allowed=False)) == [("policy", (*STEP, "run"))]


# ---------------------------------------------------------------- hardly meant


@pytest.mark.parametrize(
    ("step", "loc"),
    [
        ("model: x, fallback: [{model: y}], faults: {fallback: false}", ("fallback",)),
        ("model: x, fallback: [{model: y, errors: [invalid, cancelled]}]", ("fallback", 0, "errors")),
        ("run: [x], fallback: [{run: [y]}]", ("fallback", 0, "run")),
        ("tool: s.t, effects: once, fallback: [{run: [y]}]", ("fallback", 0, "run")),
    ],
)
def test_fallback_entries_that_are_never_tried_are_warnings(step: str, loc: tuple[str | int, ...]) -> None:
    graph, problems = compiled(f"{{steps: {{a: {{{step}}}}}}}")
    assert [(p.rule, p.loc) for p in problems] == [("unreachable-fallback", (*STEP, *loc))]
    assert graph is not None


@pytest.mark.parametrize(
    "step",
    [
        "run: [x], fallback: [{run: [y], errors: [tool_error]}]",
        "run: [x], effects: idempotent, fallback: [{run: [y]}]",
        "run: [x], faults: {retry: {errors: [tool_error]}}, fallback: [{run: [y]}]",
        "tool: s.t, fallback: [{run: [y]}]",
        "model: x, fallback: [{run: [y], errors: [timeout]}, {run: [z]}]",
        "model: x, fallback: [{model: y, errors: [denied]}]",
        "model: x, fallback: [{model: y}], faults: {fallback: false, degraded: {fallback: true}}",
    ],
)
def test_fallback_entries_that_may_be_tried_are_fine(step: str) -> None:
    graph_of(f"{{steps: {{a: {{{step}}}}}}}")


@pytest.mark.parametrize(
    ("step", "loc"),
    [
        ("run: [x], faults: {retry: {max: 3}}", ("retry",)),
        ("run: [x], effects: once, faults: {retry: {delay: 1s}}", ("retry",)),
        ("tool: s.t, effects: once, faults: {degraded: {retry: {max: 1}}}", ("degraded", "retry")),
    ],
)
def test_retries_that_never_happen_are_warnings(step: str, loc: tuple[str, ...]) -> None:
    graph, problems = compiled(f"{{steps: {{a: {{{step}}}}}}}")
    assert [(p.rule, p.loc) for p in problems] == [("unreachable-retry", (*STEP, "faults", *loc))]
    assert graph is not None


@pytest.mark.parametrize(
    "step",
    [
        "run: [x], faults: {retry: {max: 3, errors: [tool_error]}}",
        "run: [x], faults: {retry: {max: 0}}",
        "run: [x], effects: none, faults: {retry: {max: 3}}",
        "run: [x], faults: {retry: {max: 3}}, fallback: [{run: [y], errors: [timeout]}]",
        "run: [x], faults: {retry: {max: 3}}, checks: [{expr: 'true'}], repair: {max: 1}",
        "tool: s.t, faults: {retry: {max: 3}}",
        "model: x, faults: {retry: {max: 3}}",
    ],
)
def test_retries_that_may_happen_are_fine(step: str) -> None:
    assert ("unreachable-retry", (*STEP, "faults", "retry")) not in found(f"{{steps: {{a: {{{step}}}}}}}")


def test_fallback_switched_off_in_defaults_can_be_switched_on_by_a_step() -> None:
    defaults = "defaults: {faults: {fallback: false}}"
    assert found(f"{{{defaults}, steps: {{a: {{model: x, fallback: [{{model: y}}]}}}}}}") == [
        ("unreachable-fallback", (*STEP, "fallback"))
    ]
    graph_of(f"{{{defaults}, steps: {{a: {{model: x, fallback: [{{model: y}}], faults: {{fallback: true}}}}}}}}")


@pytest.mark.parametrize(
    ("step", "warned"),
    [
        ("run: [x], repair: {max: 1}", True),
        ("run: [x], repair: {max: 1}, returns: {ok: boolean}", False),
        ("run: [x], repair: {max: 1}, checks: [{expr: output}]", False),
        ("model: x, repair: {max: 1}", False),
    ],
)
def test_repair_that_nothing_can_ask_for_is_a_warning(step: str, warned: bool) -> None:
    rules = found(f"{{steps: {{a: {{{step}}}}}}}")
    assert rules == ([("repair-without-checks", (*STEP, "repair"))] if warned else [])


@pytest.mark.parametrize(
    ("step", "loc"),
    [
        ("run: [x], env: {TOKEN: ghp_0123456789abcdefghij0123456789abcdef}", ("env", "TOKEN")),
        ("run: [curl, -H, 'Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123']", ("run", 2)),
        ("run: 'git clone https://me:hunter2hunter2@example.com/x'", ("run",)),
        ("tool: s.t, with: {deep: [{api_key: 0a1b2c3d4e5f}]}", ("with", "deep", 0, "api_key")),
        ("run: [x], env: {DB_PASSWORD: correcthorse}", ("env", "DB_PASSWORD")),
        ("set: {k: 'AKIAABCDEFGHIJKLMNOP'}", ("set", "k")),
    ],
)
def test_what_looks_like_a_credential_is_a_warning(step: str, loc: tuple[str | int, ...]) -> None:
    graph, problems = compiled(f"{{steps: {{a: {{{step}}}}}}}")
    assert [(p.rule, p.loc) for p in problems] == [("credential", (*STEP, *loc))]
    assert graph is not None


@pytest.mark.parametrize(
    "step",
    [
        "run: [x], env: {TOKEN: '{{ secrets.T }}'}",
        "run: 'echo $TOKEN', env: {TOKEN_FILE: /run/secrets/token}",
        "tool: s.t, with: {max_tokens: 12345678, key: some-cache-key}",
        "run: [curl, 'https://example.com/keys']",
        "run: [x], env: {PASSWORD: '$OTHER_PASSWORD'}",
    ],
)
def test_names_and_references_are_no_credentials(step: str) -> None:
    graph_of(f"{{steps: {{a: {{{step}}}}}}}")


def test_a_ring_of_calls_is_named_in_part_however_long_it_is() -> None:
    _, circles = call_order({f"m{n}": [f"m{(n + 1) % 2_000}"] for n in range(2_000)})
    assert len(circles) == 2_000
    assert max(len(circle) for circle in circles.values()) < 200
    assert circles["m1999"][:3] == ("m1999", "m0", "m1")
    problem = only("{steps: {a: {call: m0}}}", callees=Callees(cycles={"m": ("m", *circles["m0"][:-1], "m")}))
    assert problem.message.startswith("a manifest cannot call itself: m → m0 → m1 → ")
    assert problem.message.endswith("m10 → … → m")


def test_a_value_of_env_that_names_the_run_looks_at_the_steps_once() -> None:
    def work(values: int) -> int:
        text = {
            "env": {f"K{n}": "{{ run.id }}" for n in range(values)},
            "steps": {f"s{n}": {"run": ["x"]} for n in range(200)},
        }
        data = {"ares": "v1", "name": "m", **text}
        manifest = Manifest.model_validate(data)
        return calls(lambda: compile_manifest(manifest, data), most=10_000_000)

    assert work(200) < 1.5 * work(100)


@pytest.mark.parametrize("step", ["{set: {x: '{{ steps.stp_%d.output }}'}}", "{set: {x: 1}, needs: [stp_%d]}"])
def test_of_thousands_of_unknown_names_only_the_first_are_told_what_was_meant(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.core.compile.state.MOST_LOOKED_AT", 50 * 400)
    steps = ", ".join(f"step_{n}: {step % n}" for n in range(400))
    _, problems = compiled(f"{{steps: {{{steps}}}}}")
    assert {problem.rule for problem in problems} == {"unknown-step"}
    assert [problem.fix for problem in problems] == [f"did you mean `step_{n}`?" for n in range(50)] + [None] * 350
