"""Names in templates: what exists, and what may be used where."""

from __future__ import annotations

import pytest
from compiling import compiled, found, graph_of, only

STEP = ("steps", "a")


def the_text(text: str, within: tuple[int, int]) -> str:
    return text[within[0] : within[0] + within[1]]


@pytest.mark.parametrize(
    ("expression", "rule", "fix"),
    [
        ("steps.biuld.text", "unknown-step", "did you mean `build`?"),
        ("inputs.isue", "unknown-input", "did you mean `issue`?"),
        ("vars.enviroments", "unknown-var", "did you mean `environments`?"),
        ("steps.build.ouput", "unknown-field", "did you mean `output`?"),
        ("steps.build.error.clas", "unknown-field", "did you mean `class`?"),
        ("steps.build.output.fles", "unknown-field", "did you mean `files`?"),
        ("run.nam", "unknown-field", "did you mean `name`?"),
    ],
)
def test_an_unknown_name_is_shown_where_it_stands_with_the_nearest_known_one(
    expression: str, rule: str, fix: str
) -> None:
    text = f"go: {{{{ {expression} }}}}!"
    problem = only(f"""
        inputs: {{issue?: string}}
        vars: {{environments: [x]}}
        steps:
          build: {{run: [make], returns: {{files: array, hint?: string}}}}
          a: {{run: [echo, "{text}"]}}
    """)
    assert (problem.rule, problem.loc, problem.fix) == (rule, (*STEP, "run", 1), fix)
    assert problem.within is not None
    assert the_text(text, problem.within) == expression


def test_an_optional_input_is_named_without_its_question_mark() -> None:
    assert (
        graph_of('{inputs: {note?: string}, steps: {a: {run: [echo, "{{ inputs.note }}"]}}}').inputs["note"].required
        is False
    )


@pytest.mark.parametrize(
    "field", ["output.hint", "output.files[0]", "text", "items", "state", "error.class", "cost_usd", "checks[0].passed"]
)
def test_the_fields_of_a_step_are_known(field: str) -> None:
    graph_of(f"""
        steps:
          b: {{run: [make], returns: {{files: array, hint?: string}}}}
          a: {{run: [echo, "{{{{ steps.b.{field} }}}}"]}}
    """)


@pytest.mark.parametrize(
    ("step", "field", "ok"),
    [
        ("{set: {x: 1}}", "x", True),
        ("{set: {x: 1}}", "y", False),
        ("{approve: ok?}", "comment", True),
        ("{approve: ok?}", "commnt", False),
        ("{run: [x]}", "anything", True),
        ("{run: [x], returns: {ok: boolean}, foreach: [1]}", "anything", True),
        ("{run: [x], returns: {ok: boolean}, fallback: [{model: x, errors: [tool_error]}]}", "okay", False),
        ("{model: x, fallback: [{model: x}]}", "anything", True),
    ],
)
def test_output_fields_are_judged_where_they_are_known(step: str, field: str, ok: bool) -> None:
    rules = found(f"{{steps: {{b: {step}, a: {{run: [echo, '{{{{ steps.b.output.{field} }}}}']}}}}}}")
    assert rules == ([] if ok else [("unknown-field", (*STEP, "run", 1))])


def test_a_step_alone_is_no_value() -> None:
    problem = only("{steps: {b: {run: [x]}, a: {run: [echo, '{{ steps.b | tojson }}']}}}")
    assert (problem.rule, problem.fix) == ("unknown-field", "say `.output` or `.text`")


def test_a_group_has_no_executor_of_its_own() -> None:
    text = "{steps: {b: {run: [x], foreach: [1]}, a: {run: [echo, '{{ steps.b.executor }}']}}}"
    assert found(text) == [("fan-state", (*STEP, "run", 1))]


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{{ nope }}", "unknown-name"),
        ("{{ inputs.x | shuffle }}", "unknown-filter"),
        ("{{ inputs.x is odd }}", "unknown-test"),
        ("{{ inputs.x | }}", "template-syntax"),
        ("{{ inputs.x", "template-syntax"),
        ("{{ inputs.x.lower() }}", "template-place"),
        ("{% if inputs.x %}y{% endif %}", "template-place"),
        ("{{ steps[inputs.x].text }}", "unknown-value"),
        ("{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "template-limit"),
    ],
)
def test_a_template_that_cannot_be_read_names_its_rule(template: str, rule: str) -> None:
    assert found(f'{{inputs: {{x?: string}}, steps: {{a: {{run: [echo, "{template}"]}}}}}}') == [
        (rule, (*STEP, "run", 1))
    ]


def test_a_template_beyond_64_kib_is_refused() -> None:
    assert found(f'{{steps: {{a: {{run: [echo, "{{{{ run.id }}}}{"x" * 70_000}"]}}}}}}') == [
        ("template-limit", (*STEP, "run", 1))
    ]


def test_braces_around_a_bare_expression_are_refused() -> None:
    assert found("{inputs: {x: boolean}, steps: {a: {run: [x], when: '{{ inputs.x }}'}}}") == [
        ("template-in-expression", (*STEP, "when"))
    ]


def test_prompts_may_hold_blocks_and_nothing_else_may() -> None:
    block = "{% for x in inputs.xs %}{{ x }}{% endfor %}"
    text = f"""
        inputs: {{xs: array}}
        steps:
          a: {{agent: "{block}"}}
          b: {{model: {{prompt: "{block}", system: "{block}"}}}}
          c: {{approve: "{block}", show: "{block}"}}
          d: {{fail: "{block}"}}
    """
    assert found(text) == [("template-place", ("steps", "c", "show")), ("template-place", ("steps", "d", "fail"))]


# ---------------------------------------------------------------- scopes


@pytest.mark.parametrize(
    ("key", "loc"),
    [
        ('matrix: {x: "{{ steps.b.output }}"}, env: {X: "{{ matrix.x }}"}', ("matrix", "x")),
        ('route: {tier: "{{ steps.b.text }}"}', ("route", "tier")),
        ('timeout: "{{ steps.b.text }}"', ("timeout",)),
        ('timeout: {idle: "{{ steps.b.text }}"}', ("timeout", "idle")),
        ('budget: {usd: "{{ steps.b.output }}"}', ("budget", "usd")),
        ('effects: "{{ steps.b.text }}"', ("effects",)),
        ('faults: {retry: {max: "{{ steps.b.output }}", errors: [timeout]}}', ("faults", "retry", "max")),
        ('faults: {degraded: {route: {models: ["{{ steps.b.text }}"]}}}', ("faults", "degraded", "route", "models", 0)),
        ('checks: [{run: [x], timeout: "{{ steps.b.text }}"}]', ("checks", 0, "timeout")),
        ('files: ["{{ steps.b.text }}"]', ("files", 0)),
    ],
)
def test_what_is_evaluated_at_run_start_never_reads_steps(key: str, loc: tuple[str, ...]) -> None:
    assert found(f"{{steps: {{b: {{run: [x]}}, a: {{run: [x], {key}}}}}}}") == [("template-scope", (*STEP, *loc))]


@pytest.mark.parametrize(
    "key",
    [
        'route: {tier: "{{ inputs.x }}"}',
        'timeout: "{{ vars.x }}"',
        'budget: {usd: "{{ inputs.x }}"}',
        'effects: "{{ matrix.m }}"',
        'faults: {retry: {max: "{{ matrix.m }}", errors: [timeout]}}',
    ],
)
def test_what_is_evaluated_at_run_start_reads_inputs_vars_and_matrix(key: str) -> None:
    graph_of(
        f'{{inputs: {{x?: string}}, vars: {{x: 1}}, steps: {{a: {{run: ["{{{{ matrix.m }}}}"], matrix: {{m: [1]}}, {key}}}}}}}'
    )


def test_vars_use_inputs_only() -> None:
    text = """
        inputs: {n: integer}
        vars: {good: "{{ inputs.n }}", bad: "{{ vars.good }}", worse: ["{{ steps.a.text }}"]}
        steps: {a: {run: [x]}}
    """
    assert found(text) == [("template-scope", ("vars", "bad")), ("template-scope", ("vars", "worse", 0))]


@pytest.mark.parametrize("name", ["item", "index", "key", "matrix.os"])
def test_fan_out_names_need_a_fan_out(name: str) -> None:
    assert found(f'{{steps: {{a: {{run: [x, "{{{{ {name} }}}}"]}}}}}}') == [("template-scope", (*STEP, "run", 1))]


def test_each_kind_of_fan_out_has_its_names() -> None:
    graph_of("""
        steps:
          a: {run: [x, "{{ item }} {{ index }} {{ key }}"], foreach: {in: [1], key: "{{ item }}-{{ index }}"}, when: item > 0}
          b: {run: [x, "{{ matrix.os }} {{ index }} {{ key }}"], matrix: {os: [1]}}
    """)
    assert found("{steps: {a: {run: [x, '{{ item }}{{ matrix.os }}'], matrix: {os: [1]}}}}") == [
        ("template-scope", (*STEP, "run", 1))
    ]


def test_the_list_of_a_fan_out_cannot_name_its_items() -> None:
    text = '{steps: {a: {run: [x, "{{ item }}"], foreach: {in: ["{{ item }}"], key: "{{ key }}"}}}}'
    assert found(text) == [
        ("template-scope", (*STEP, "foreach", "in", 0)),
        ("template-scope", (*STEP, "foreach", "key")),
    ]


def test_output_and_text_belong_to_checks_and_save() -> None:
    graph_of("""
        steps:
          a:
            run: [x]
            checks: [{expr: output.ok and text != ''}, {run: [grep, "{{ text }}"]}, {judge: "{{ output }} is right", min: 1}]
            save: {path: "out/{{ output.name }}", from: "{{ text }}"}
    """)
    assert found("{steps: {a: {run: [x, '{{ output }}'], when: text == 'x'}}}") == [
        ("template-scope", (*STEP, "run", 1)),
        ("template-scope", (*STEP, "when")),
    ]


@pytest.mark.parametrize("name", ["previous", "feedback", "round"])
def test_repair_names_need_repair(name: str) -> None:
    check = "checks: [{expr: output}]"
    graph_of(f'{{steps: {{a: {{run: [x, "{{{{ {name} | default(none) }}}}"], {check}, repair: {{max: 1}}}}}}}}')
    assert found(f'{{steps: {{a: {{run: [x, "{{{{ {name} }}}}"], {check}}}}}}}') == [
        ("template-scope", (*STEP, "run", 1))
    ]


def test_models_and_agents_have_a_repair_round_without_the_key() -> None:
    graph_of('{steps: {a: {model: "{{ feedback | default(none) }}"}, b: {agent: "{{ round }}"}}}')


def test_error_belongs_to_fallback_entries() -> None:
    graph_of("""
        steps:
          a:
            model: x
            fallback: [{run: [x, "{{ error.message }}"], when: error.status == 404, checks: [{expr: error.class != text}]}]
    """)
    assert found("{steps: {a: {model: '{{ error.message }}'}}}") == [("template-scope", (*STEP, "model"))]
    assert found("{steps: {a: {model: x, fallback: [{model: '{{ error.msg }}'}]}}}") == [
        ("unknown-field", (*STEP, "fallback", 0, "model"))
    ]


@pytest.mark.parametrize("field", ["state", "mode", "cost_usd", "failed"])
def test_what_depends_on_timing_is_for_finally_show_and_outputs(field: str) -> None:
    template = f"{{{{ run.{field} }}}}"
    graph_of(f"""
        steps: {{a: {{approve: ok?, show: ["{template}"]}}}}
        finally: {{f: {{run: [x, "{template}"]}}}}
        outputs: {{o: "{template}"}}
    """)
    assert found(f"{{steps: {{a: {{run: [x, '{template}']}}}}}}") == [("template-scope", (*STEP, "run", 1))]


def test_secrets_stand_in_the_env_of_commands_and_the_arguments_of_tools() -> None:
    graph_of("""
        env: {T: "{{ secrets.T }}"}
        steps:
          a: {run: [x], env: {T: "Bearer {{ secrets.T }}"}}
          b: {tool: s.t, with: {deep: [{token: "{{ secrets.T }}"}]}}
          c: {model: x, fallback: [{tool: s.t, with: {t: "{{ secrets.T }}"}}]}
    """)
    text = """
        steps:
          a: {run: [x, "{{ secrets.T }}"]}
          b: {model: "{{ secrets.T }}"}
          c: {call: m2, with: {t: "{{ secrets.T }}"}}
          d: {model: x, env: {T: "{{ secrets.T }}"}}
        outputs: {t: "{{ secrets.T }}"}
    """
    assert [place for place in found(text) if place[0] == "secret-place"] == [
        ("secret-place", ("outputs", "t")),
        ("secret-place", ("steps", "a", "run", 1)),
        ("secret-place", ("steps", "b", "model")),
        ("secret-place", ("steps", "c", "with", "t")),
        ("secret-place", ("steps", "d", "env", "T")),
    ]


def test_defaults_and_the_top_level_env_never_read_steps() -> None:
    text = """
        env: {A: "{{ inputs.x }}", B: "{{ steps.a.text }}"}
        defaults: {env: {C: "{{ run.id }} {{ item }}"}, timeout: "{{ steps.a.text }}", cwd: "{{ secrets.X }}"}
        inputs: {x: string}
        steps: {a: {run: [x]}}
    """
    assert found(text) == [
        ("template-scope", ("env", "B")),
        ("template-scope", ("defaults", "env", "C")),
        ("template-scope", ("defaults", "timeout")),
        ("secret-place", ("defaults", "cwd")),
    ]


def test_an_unknown_axis_is_an_error_unless_include_adds_it() -> None:
    graph_of(
        '{steps: {a: {run: [x, "{{ matrix.os }}{{ matrix.arch }}"], matrix: {os: [1], include: [{os: 1, arch: 2}]}}}}'
    )
    problem = only(
        '{steps: {a: {run: [x, "{{ matrix.os }}{{ matrix.arhc }}"], matrix: {os: [1], include: [{arch: 2}]}}}}'
    )
    assert (problem.rule, problem.fix) == ("unknown-axis", "did you mean `arch`?")


def test_axes_that_an_include_template_adds_are_not_judged() -> None:
    graph_of(
        '{vars: {r: []}, steps: {a: {run: [x, "{{ matrix.os }}{{ matrix.z }}"], matrix: {os: [1], include: "{{ vars.r }}"}}}}'
    )


# ---------------------------------------------------------------- scripts


@pytest.mark.parametrize(
    "script",
    [
        "docker ps --format '{{.Names}}'",
        "docker inspect --format '{{index .Config.Env 0}}'",
        "helm template '{{ .Values.item }}'",
        "echo '{{ range $key, $value := .Items }}'",
        "echo {{other}}",
    ],
)
def test_other_tools_braces_are_literal_in_scripts(script: str) -> None:
    graph_of(f"""
        steps:
          a:
            run: |
              {script}
    """)


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("echo {{ inputs.title }}", 'env: {TITLE: "{{ inputs.title }}"} and `"$TITLE"` in the script'),
        ("echo {{steps.b.text}}", 'env: {TEXT: "{{ steps.b.text }}"} and `"$TEXT"` in the script'),
        ("echo {{ item }}", 'env: {ITEM: "{{ item }}"} and `"$ITEM"` in the script'),
    ],
)
def test_our_names_in_a_script_show_the_way_through_env(script: str, shown: str) -> None:
    problem = only(f"{{steps: {{a: {{run: '{script}'}}}}}}")
    assert (problem.rule, problem.loc, problem.fix) == ("script-template", (*STEP, "run"), shown)
    assert problem.within is not None
    assert the_text(script, problem.within).startswith("{{")


def test_scripts_in_checks_fallbacks_and_files_are_scripts_too() -> None:
    text = """
        steps:
          a:
            run: {script: "echo {{ run.id }}"}
            checks: [{run: "echo {{ text }}"}]
            fallback: [{run: {file: x.sh}, errors: [tool_error]}]
    """
    problems = compiled(text, sources={"x.sh": "true\necho {{ inputs.x }}\n"})[1]
    assert [(problem.rule, problem.loc) for problem in problems] == [
        ("script-template", (*STEP, "run", "script")),
        ("script-template", (*STEP, "checks", 0, "run")),
        ("script-template", (*STEP, "fallback", 0, "run", "file")),
    ]
    assert problems[2].message.startswith("x.sh:2: ")
    assert problems[2].within is None


def test_a_mistake_in_a_prompt_file_names_file_and_line() -> None:
    problem = only("{steps: {a: {agent: {file: p.md}}}}", sources={"p.md": "Fix\n{{ inputs.x }}\n"})
    assert (problem.rule, problem.loc, problem.within) == ("unknown-input", (*STEP, "agent", "file"), None)
    assert problem.message.startswith("p.md:2: ")


# ---------------------------------------------------------------- conditions


@pytest.mark.parametrize(
    ("when", "rule"), [("true", "always-true"), ("true or inputs.x", "always-true"), ("false", "always-false")]
)
def test_a_constant_condition_is_a_warning(when: str, rule: str) -> None:
    graph, problems = compiled(f"{{inputs: {{x: boolean}}, steps: {{a: {{run: [x], when: {when}}}}}}}")
    assert [(problem.rule, problem.loc) for problem in problems] == [(rule, (*STEP, "when"))]
    assert graph is not None


def test_a_check_that_always_holds_is_a_warning() -> None:
    assert found("{steps: {a: {run: [x], checks: [{expr: 1 == 1}]}}}") == [
        ("always-true", (*STEP, "checks", 0, "expr"))
    ]


@pytest.mark.parametrize(
    ("source", "when", "warned"),
    [
        ("{model: x}", "steps.b.text == 'bug'", True),
        ("{agent: x}", "steps.b.output != 'bug'", True),
        ("{agent: x}", "'bug' in [steps.b.text]", False),
        ("{model: x}", "steps.b.text in ['bug', 'feature']", True),
        ("{model: x, returns: {type: string}}", "steps.b.output.type == 'bug'", False),
        ("{model: x, returns: {type: string}}", "steps.b.text == 'bug'", True),
        ("{run: [x]}", "steps.b.text == 'bug'", False),
        ("{model: x}", "steps.b.state == 'failed'", False),
    ],
)
def test_free_model_text_compared_with_a_literal_is_a_warning(source: str, when: str, warned: bool) -> None:
    rules = found(f'{{steps: {{b: {source}, a: {{run: [x], when: "{when}"}}}}}}')
    assert rules == ([("text-literal", (*STEP, "when"))] if warned else [])


def test_free_text_beside_fields_is_told_which_field_to_compare() -> None:
    step = "b: {model: x, returns: {type?: string}}"
    mistake = only(f"{{steps: {{{step}, a: {{run: [x], when: \"steps.b.text == 'bug'\"}}}}}}")
    assert mistake.fix == "compare a field of it: `steps.b.output.type`"


def test_all_mistakes_are_found_at_once() -> None:
    text = """
        steps:
          a: {run: [x, "{{ inputs.a }}", "{{ steps.b.text }}"], needs: [c], when: nope}
        finally: {f: {wait: 1s}}
        outputs: {o: "{{ vars.z }}"}
    """
    assert sorted({rule for rule, _ in found(text)}) == [
        "final-verb", "unknown-input", "unknown-name", "unknown-step", "unknown-var",
    ]  # fmt: skip


@pytest.mark.parametrize("when", ["\"'yes'\"", "1", "none", "[1]"])
def test_a_condition_that_is_no_truth_value_is_an_error(when: str) -> None:
    assert found(f'{{steps: {{a: {{run: [x], when: "{when[1:-1] if when[0] == chr(34) else when}"}}}}}}') == [
        ("not-boolean", (*STEP, "when"))
    ]


@pytest.mark.parametrize(
    ("text", "loc"),
    [
        ("{steps: {a: {run: [x], returns: {n: {enum: ['{{ inputs.x }}']}}}}}", (*STEP, "returns", "n", "enum", 0)),
        ("{steps: {a: {run: [x], labels: {n: '{{ inputs.x }}'}}}}", (*STEP, "labels", "n")),
        ("{inputs: {x: {type: string, default: '{{ run.id }}'}}, steps: {a: {run: [x]}}}", ("inputs", "x", "default")),
        ("{triggers: {files: ['{{ vars.x }}']}, steps: {a: {run: [x], files: src}}}", ("triggers", "files", 0)),
    ],
)
def test_a_template_in_plain_data_is_an_error(text: str, loc: tuple[str | int, ...]) -> None:
    assert found(text) == [("template-place", loc)]


def test_braces_of_other_tools_in_plain_data_are_literal() -> None:
    graph_of("{inputs: {x: {type: string, default: '{{.Names}}'}}, steps: {a: {run: [x]}}}")
