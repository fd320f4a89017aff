"""What a stranger's inputs do: values that fit nothing are refused in words, before anything runs, and never as a defect of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_project import Project

from runner.core.context import step_view


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_the_text_of_an_input_that_is_not_of_its_type_is_refused(project: Project, verb: str) -> None:
    project.write("m.yaml", "ares: v1\nname: m\ninputs: {n: integer}\nsteps: {a: {set: {n: '{{ inputs.n }}'}}}\n")
    refused = project.cli(verb, "m.yaml", "-i", "n=abc")
    assert refused.code == 2
    assert 'm: input `n`: expected integer, not "abc"' in refused.err


@pytest.mark.parametrize(
    ("top", "says"),
    [
        ("vars: {x: '{{ inputs.t | int }}'}", "m: vars: text that is not a whole number"),
        ("timeout: '{{ inputs.t }}'", "m: the run's limits: timeout: expected a duration"),
        ("timeout: '{{ 0 }}s'", "m: the run's limits: timeout: expected a duration longer than nothing, not '0s'"),
        ("budget: {usd: '{{ inputs.t }}'}", "m: the run's limits: budget.usd: expected a number"),
    ],
)
def test_what_the_whole_run_stands_on_is_computed_before_it_begins(project: Project, top: str, says: str) -> None:
    project.write(
        "m.yaml",
        f"ares: v1\nname: m\ninputs: {{t: {{type: string, default: soon}}}}\n{top}\nsteps: {{a: {{set: {{n: 1}}}}}}\n",
    )
    for verb in ("plan", "apply"):
        refused = project.cli(verb, "m.yaml")
        assert (refused.code, says in refused.err) == (2, True), refused.err
    assert project.cli("status", "--json").json["runs"] == []


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("matrix: {os: '{{ inputs.t }}'}, files: ['{{ matrix.os }}']", "matrix.os: expected a list"),
        ("faults: {retry: {max: '{{ inputs.t }}'}}", "faults.retry.max: expected a whole number"),
        ("faults: {brainstem: {exhausted: '{{ inputs.t }}'}}", "faults.exhausted: expected one of"),
        ("timeout: '{{ 0 }}s'", "timeout: expected a duration longer than nothing, not '0s'"),
        ("timeout: {idle: '{{ 0 }}s'}", "timeout.idle: expected a duration longer than nothing, not '0s'"),
        ("timeout: '{{ 0 - 1 }}s'", "timeout: expected a duration such as 10m or 1h30m, not '-1s'"),
        ("timeout: '{{ 36501 }}d'", "timeout: '36501d' is longer than 100 years"),
        ("checks: [{run: ['true'], timeout: '{{ 0 }}s'}]", "checks.timeout: expected a duration longer than nothing"),
    ],
)
def test_what_one_step_needs_fails_that_step_only(project: Project, keys: str, says: str) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\ninputs: {t: {type: string, default: soon}}\n"
        f"steps: {{a: {{run: [echo, x], effects: none, {keys}}}, b: {{set: {{n: 1}}}}}}\n",
    )
    assert says in project.cli("plan", "m.yaml").out
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1, done.err
    steps = done.json["runs"][0]["steps"]
    assert steps["b"]["state"] == "succeeded"
    assert steps["a"]["error"]["class"] == "invalid"
    assert says in steps["a"]["error"]["message"]


def test_the_vars_of_a_called_manifest_that_cannot_be_computed_fail_the_call(project: Project) -> None:
    project.write(
        "callee.yaml",
        "ares: v1\nname: callee\ninputs: {t: string}\nvars: {x: '{{ inputs.t | int }}'}\ntimeout: '{{ inputs.t }}'\n"
        "steps: {a: {set: {n: '{{ vars.x }}'}}}\n",
    )
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {call: callee, with: {t: soon}}, b: {set: {n: 1}}}\n")
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1, done.err
    steps = done.json["runs"][0]["steps"]
    assert (steps["a"]["state"], steps["a"]["error"]["class"], steps["b"]["state"]) == (
        "failed",
        "invalid",
        "succeeded",
    )


def test_outputs_that_name_the_run_keep_steps_reusable(project: Project) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps: {a: {run: [echo, x], effects: none}}\noutputs: {run: '{{ run.id }}', dir: '{{ run.dir }}'}\n",
    )
    assert "never reused" not in project.cli("plan", "m.yaml").out
    assert project.cli("apply", "m.yaml").code == 0
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps: {a: {run: [echo, x], effects: none}}\noutputs: {run: 'is {{ run.id }}'}\n",
    )
    assert project.cli("apply", "m.yaml", "--json").json["runs"][0]["steps"]["a"]["reused"]


def test_a_manifest_s_name_comes_before_the_start_of_another_run_s_id(project: Project) -> None:
    project.write("first.yaml", "ares: v1\nname: first\nsteps: {a: {set: {n: 1}}}\n")
    run = project.cli("apply", "first.yaml", "--json").json["runs"][0]["run"]
    name = run[:3]
    project.write(f"{name}.yaml", f"ares: v1\nname: '{name}'\nsteps: {{a: {{set: {{n: 1}}}}}}\n")
    project.cli("apply", f"{name}.yaml")
    assert project.cli("show", name, "--json").json["manifest"] == name


def test_a_value_that_is_none_inside_text_is_refused_with_what_to_write(project: Project) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\ninputs: {note?: string}\nsteps: {a: {set: {x: 'note {{ inputs.note }}'}}}\n",
    )
    refused = project.cli("apply", "m.yaml")
    assert refused.code == 1
    assert "`inputs.note` is none, which has no text; write `{{ inputs.note | default('', true) }}`" in refused.out


def test_the_reference_s_example_of_an_optional_input_works(project: Project) -> None:
    reference = (Path(__file__).parents[2] / "docs" / "manifest-reference.md").read_text(encoding="utf-8")
    [argument] = [line for line in reference.splitlines() if line.lstrip().startswith("say: {run: [echo,")]
    project.write(
        "m.yaml",
        "ares: v1\nname: m\ninputs: {issue: {type: integer, default: 1}, note?: string}\n"
        f"vars: {{label: x}}\nsteps:\n{argument}\n",
    )
    assert project.cli("apply", "m.yaml").code == 0
    assert "no note" in project.cli("logs", "m").out


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{wait: {until: '0001-01-01T00:00:00+01:00'}}", "expected a time with a zone"),
        ("{wait: {until: '9999-12-31T23:59:59-01:00'}}", "expected a time with a zone"),
        ("{run: [echo, x], budget: {usd: 1e308}}", "expected at most"),
    ],
)
def test_a_moment_or_an_amount_that_no_clock_or_record_holds_is_a_mistake(
    project: Project, step: str, says: str
) -> None:
    project.write("m.yaml", f"ares: v1\nname: m\nsteps: {{a: {step}}}\n")
    refused = project.cli("validate", "m.yaml")
    assert (refused.code, says in refused.out + refused.err) == (2, True), refused.out + refused.err


@pytest.mark.parametrize(
    ("step", "second"),
    [
        ("{run: [echo, x], checks: [{expr: output == inputs.v}]}", "failed"),
        ("{run: [echo, x], checks: [{run: [test, x, '=', '{{ inputs.v }}']}]}", "failed"),
        ("{run: [echo, x], save: {path: out.txt, from: '{{ inputs.v }}'}}", "succeeded"),
        ("{run: ['false'], fallback: [{run: [echo, '{{ inputs.v }}'], errors: [tool_error]}]}", "succeeded"),
        ("{run: ['false'], fallback: [{run: [echo, x], errors: [tool_error], when: inputs.v == 'x'}]}", "failed"),
    ],
)
def test_what_only_checks_save_or_fallback_read_makes_another_key(project: Project, step: str, second: str) -> None:
    project.write("m.yaml", f"ares: v1\nname: m\ninputs: {{v: string}}\nsteps: {{a: {step}}}\n")
    assert project.cli("apply", "m.yaml", "-i", "v=x").code == 0
    done = project.cli("apply", "m.yaml", "-i", "v=y", "--json").json["runs"][0]["steps"]["a"]
    assert (done["state"], done.get("reused", False)) == (second, False)


def test_a_check_that_reads_nothing_else_does_not_stand_in_the_way_of_reuse(project: Project) -> None:
    step = "{run: [echo, x], checks: [{expr: output == 'x'}], fallback: [{run: [echo, y], errors: [tool_error]}]}"
    project.write("m.yaml", f"ares: v1\nname: m\ninputs: {{v: string}}\nsteps: {{a: {step}}}\n")
    assert project.cli("apply", "m.yaml", "-i", "v=x").code == 0
    assert project.cli("apply", "m.yaml", "-i", "v=y", "--json").json["runs"][0]["steps"]["a"]["reused"]


def test_values_that_double_with_each_step_end_in_words(project: Project) -> None:
    steps = "".join(
        f"  s{n}: {{set: {{x: ['{{{{ steps.s{n - 1}.output }}}}', '{{{{ steps.s{n - 1}.output }}}}']}}}}\n"
        for n in range(1, 40)
    )
    project.write("m.yaml", f"ares: v1\nname: m\nsteps:\n  s0: {{set: {{x: {'y' * 500_000}}}}}\n{steps}")
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1
    errors = [step["error"]["message"] for step in done.json["runs"][0]["steps"].values() if step["state"] == "failed"]
    assert errors == ["s8: these values take more than 64 MiB of memory"]


CONFIG = """\
models:
  endpoints: {e: {kind: ollama, url: "http://127.0.0.1:9", local: true}}
  catalog: {m1: {endpoint: e, model: a, tier: local}, m2: {endpoint: e, model: b, tier: local}}
"""


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("{model: {prompt: x, max_tokens: '{{ inputs.t }}'}}", "model.max_tokens: expected a whole number"),
        ("{model: {prompt: x, temperature: '{{ inputs.t }}'}}", "model.temperature: expected a number from 0 to 2"),
        ("{run: [x], checks: [{run: [x], timeout: '{{ inputs.t }}'}]}", "checks.timeout: expected a duration"),
        (
            "{run: [x], checks: [{judge: {prompt: x, route: {tier: '{{ inputs.t }}'}}, min: 0.5}]}",
            "route.tier: expected one of",
        ),
    ],
)
def test_what_a_template_gives_a_model_or_a_check_is_looked_at(project: Project, step: str, says: str) -> None:
    project.write("config.yaml", CONFIG)
    project.write(
        "m.yaml", f"ares: v1\nname: m\ninputs: {{t: {{type: string, default: soon}}}}\nsteps: {{a: {step}}}\n"
    )
    assert says in project.cli("plan", "m.yaml").out
    failed = project.cli("apply", "m.yaml", "--json")
    assert failed.code == 1, failed.err
    error = failed.json["runs"][0]["steps"]["a"]["error"]
    assert (error["class"], says in error["message"]) == ("invalid", True)


def test_the_timeout_of_a_check_may_be_a_template(project: Project) -> None:
    step = "{run: [echo, x], checks: [{run: [cat], timeout: '{{ inputs.t }}'}]}"
    project.write("m.yaml", f"ares: v1\nname: m\ninputs: {{t: {{type: string, default: 5s}}}}\nsteps: {{a: {step}}}\n")
    assert project.cli("apply", "m.yaml").code == 0


@pytest.mark.parametrize("output", ["[]", "{}", "0", "''"])
def test_an_output_that_is_empty_is_recorded_as_it_is(project: Project, output: str) -> None:
    value = {"[]": [], "{}": {}, "0": 0, "''": ""}[output]
    project.write(
        "callee.yaml", f'ares: v1\nname: callee\nsteps: {{a: {{set: {{x: 1}}}}}}\noutputs: "{{{{ {output} }}}}"\n'
    )
    project.write("m.yaml", 'ares: v1\nname: m\nsteps: {c: {call: callee}}\noutputs: "{{ steps.c.output }}"\n')
    assert project.cli("apply", "m.yaml", "--json").json["runs"][0]["outputs"] == value
    assert project.cli("show", "m", "--json").json["outputs"] == value


@pytest.mark.parametrize(
    "top",
    [
        "vars: {{{vars}}}\nsteps: {{a: {{set: {{x: 1}}}}}}",
        "steps: {{a: {{set: {{{vars}}}}}}}",
        "steps: {{a: {{run: [echo, {values}]}}}}",
        "steps: {{a: {{tool: s.t, with: {{{vars}}}}}}}",
    ],
    ids=["vars", "set", "run", "tool"],
)
def test_values_that_are_large_together_end_in_words(project: Project, top: str) -> None:
    tenfold = " | replace('a', 'aaaaaaaaaa')" * 5
    value = f"\"{{{{ 'a'{tenfold} }}}}\""
    text = top.format(vars=", ".join(f"v{n}: {value}" for n in range(1000)), values=", ".join([value] * 1000))
    project.write("m.yaml", f"ares: v1\nname: m\n{text}\n")
    planned = project.cli("plan", "m.yaml")
    assert "these values take more than 64 MiB of memory" in planned.out + planned.err


@pytest.mark.parametrize(
    ("budgets", "why", "remedy"),
    [
        (("", "budget: {usd: 0.01}"), "needs 2001000 micro-USD more", "its budget is used up: runner resume"),
        (("budget: {usd: 0.01}", ""), "the step's own budget has 10000 micro-USD left, it needs 2001000", "a larger"),
        (("budget: {tokens: 10}", ""), "the step's own budget has 10 tokens left, it needs about 1001", "a larger"),
        (("", "budget: {tokens: 10}"), "the run's budget has 10 tokens left, it needs about 1001", "a larger"),
    ],
)
def test_a_step_without_money_says_whose_budget_is_used_up_and_what_helps(
    project: Project, budgets: tuple[str, str], why: str, remedy: str
) -> None:
    project.write(
        "config.yaml",
        "models:\n  endpoints: {far: {kind: openai, url: 'http://127.0.0.1:9'}}\n"
        "  catalog: {smart: {endpoint: far, model: x, tier: paid, price: {in: 1000, out: 2000}}}\n"
        "  chains: {default: [smart]}\n",
    )
    step, run = budgets
    project.write("m.yaml", f"ares: v1\nname: m\n{run}\nsteps:\n  a: {{model: x, {step}}}\n")
    assert project.cli("apply", "m.yaml").code == 4
    shown = project.cli("show", "m").out
    assert f"budget: {why}" in shown
    assert remedy in shown
    assert ("--add-usd" in shown) is (why.endswith("more"))


def test_the_limit_of_items_holds_for_those_that_a_step_found(project: Project) -> None:
    project.write("config.yaml", "limits: {steps: 5}\n")
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps:\n"
        "  l: {set: {x: [1, 2, 3, 4, 5, 6]}}\n"
        '  f: {foreach: "{{ steps.l.output.x }}", set: {y: 1}}\n',
    )
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1, done.err
    assert done.json["runs"][0]["steps"]["f"]["error"]["message"] == "f: more than 5 items (limit `steps`)"


def test_a_plan_does_not_look_at_each_of_a_million_items(project: Project) -> None:
    steps = "".join(f"  s{n}: {{foreach: '{{{{ vars.l }}}}', set: {{x: '{{{{ item }}}}'}}}}\n" for n in range(7))
    project.write("m.yaml", f"ares: v1\nname: m\nvars: {{l: {list(range(9_000))}}}\nsteps:\n{steps}")
    planned = [line.split(maxsplit=4) for line in project.cli("plan", "m.yaml").out.splitlines() if " set " in line]
    assert planned[0] == ["+", "s0", "set", "run", "computed from known values"]
    assert planned[6] == ["+", "s6", "set", "run", "9000 items, too many in this plan to look at each"]


def test_what_all_items_read_is_made_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(run: Any, id: str, fetch: Any) -> dict[str, Any]:
        made.append(id)
        return step_view(run, id, fetch)

    monkeypatch.setattr("runner.core.contexts.step_view", counted)
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps:\n"
        f"  l: {{set: {{x: {list(range(50))}}}}}\n"
        "  f: {foreach: '{{ steps.l.output.x }}', set: {y: '{{ item + 1 }}'}}\n"
        "  g: {foreach: '{{ steps.f.output }}', set: {z: '{{ item.y }} of {{ steps.l.output.x | length }}'}}\n"
        "outputs: {last: '{{ steps.g.output[49].z }}'}\n",
    )
    done = project.cli("apply", "m.yaml", "--json")
    assert (done.code, done.json["runs"][0]["outputs"]) == (0, {"last": "50 of 50"})
    assert len(made) < 20


THREE_FANS = "".join(f"  s{n}: {{foreach: '{{{{ vars.l }}}}', run: [echo, '{{{{ item }}}}']}}\n" for n in range(3))


def test_the_limit_of_steps_and_items_holds_for_all_fan_outs_of_a_run(project: Project) -> None:
    project.write("config.yaml", "limits: {run_steps: 11}\n")
    project.write("m.yaml", f"ares: v1\nname: m\nvars: {{l: [1, 2, 3, 4]}}\nsteps:\n{THREE_FANS}")
    says = (
        "s2: 4 more would make 15 steps and items of this run, more than 11 (limit `run_steps`); "
        "split the manifest, or raise limits.run_steps in config"
    )
    assert f"would fail (invalid): {says}" in project.cli("plan", "m.yaml").out
    done = project.cli("apply", "m.yaml", "--json")
    steps = done.json["runs"][0]["steps"]
    assert (done.code, steps["s1"]["state"]) == (1, "succeeded")
    assert (steps["s2"]["error"]["class"], steps["s2"]["error"]["message"]) == ("invalid", says)

    project.write("config.yaml", "limits: {run_steps: 15}\n")
    assert project.cli("resume", done.json["runs"][0]["run"]).code == 0


def test_the_steps_of_sub_runs_count_for_the_run_that_calls_them(project: Project) -> None:
    project.write("config.yaml", "limits: {run_steps: 10}\n")
    project.write("sub.yaml", "ares: v1\nname: sub\nsteps: {a: {set: {x: 1}}, b: {set: {x: 2}}}\n")
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps:\n  c: {foreach: [1, 2, 3, 4], call: sub}\n",
    )
    says = "c: 2 more would make 11 steps and items of this run, more than 10"
    planned = project.cli("plan", "m.yaml").out
    assert f"4 of 4 items run; the item 2 would fail (invalid): {says}" in planned
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1
    assert done.json["runs"][0]["steps"]["c"]["error"]["message"].startswith(says)

    project.write("config.yaml", "limits: {run_steps: 13}\n")
    assert project.cli("resume", done.json["runs"][0]["run"]).code == 0


def test_a_raised_limit_of_items_holds_for_whoever_looks_at_a_matrix(project: Project) -> None:
    project.write("config.yaml", "limits: {steps: 20k}\n")
    project.write("0.txt", "one")
    project.write(
        "m.yaml",
        f"ares: v1\nname: m\nvars: {{l: {list(range(10_001))}}}\nsteps:\n"
        "  f: {matrix: {a: '{{ vars.l }}'}, when: matrix.a == 0, run: [cat, '{{ matrix.a }}.txt'], effects: none,"
        " files: ['{{ matrix.a }}.txt']}\n",
    )
    assert [project.cli("apply", "m.yaml", "--quiet").code for _ in range(2)] == [0, 0]
    assert project.cli("plan", "m.yaml").out.startswith("= m  unchanged")
    project.write("0.txt", "two")
    assert project.cli("plan", "m.yaml").out.startswith("~ m  update: the contents of `files` changed")
    routed = project.cli("route", "m.yaml", "f").out
    assert "a local command" in routed
    assert "10000" not in routed
