"""The graph itself: what each verb becomes, digests, what makes a step volatile, and the manifest of the language's reference."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from compiling import compiled, data_of, graph_of, step_of

from runner.core.compile import Callees, Facts, compile_manifest
from runner.core.graph import Fan, Repair, dump, load
from runner.manifest.model import Manifest

REFERENCE = Path(__file__).with_name("compile_reference.yaml")


@pytest.mark.parametrize(
    ("step", "call"),
    [
        ("tool: s.a.b, with: {x: 1}", {"server": "s", "tool": "a.b", "with": {"x": 1}}),
        ("run: [x, y]", {"argv": ["x", "y"]}),
        ("run: x y", {"script": "x y"}),
        ("run: {file: f}", {"script": "content"}),
        ("agent: x", {"prompt": "x"}),
        ("agent: {file: f, cwd: d, allowed_tools: [t]}", {"prompt": "content", "cwd": "d", "allowed_tools": ["t"]}),
        (
            "model: {prompt: x, system: y, temperature: 0, max_tokens: 2k}",
            {"prompt": "x", "system": "y", "temperature": 0.0, "max_tokens": 2000},
        ),
        ("approve: x", {"message": "x", "show": [], "otherwise": "reject"}),
        ("approve: x, show: [y], otherwise: fail", {"message": "x", "show": ["y"], "otherwise": "fail"}),
        ("wait: 10m", {"ms": 600_000}),
        ("wait: {until: '2026-12-01T06:00:00Z'}", {"until": "2026-12-01T06:00:00Z"}),
        ("set: {x: 1}", {"values": {"x": 1}}),
        ("fail: x", {"message": "x"}),
    ],
)
def test_each_verb_becomes_plain_data(step: str, call: dict[str, Any]) -> None:
    assert step_of(f"{{steps: {{a: {{{step}}}}}}}", sources={"f": "content"}).bodies[0].call == call


def test_the_keys_of_a_step_are_all_there() -> None:
    step = step_of("""
        steps:
          a:
            model: x
            when: run.name == 'm'
            foreach: {in: [1, {x: y}], key: "{{ index }}"}
            max_parallel: 2
            join: settled
            checks: [{expr: output.ok}, {changed: {}}, {judge: fine, min: 0.5}]
            repair: {max: 2, session: new}
            returns: {ok: boolean, note?: string}
            effects: once
            files: ["src/**"]
            save: out.json
            optional: true
            fallback: [{run: [y], errors: [tool_error], when: error.status == 1, effects: none, repair: {max: 1}, checks: [{expr: text}]}]
    """)
    first, second = step.bodies
    assert step.when == "run.name == 'm'"
    assert step.fan == Fan("foreach", {"in": [1, {"x": "y"}], "key": "{{ index }}"}, 2, "settled")
    assert [check.kind for check in first.checks] == ["expr", "changed", "judge"]
    assert first.checks[1].spec == {"changed": {"only": ["**"], "min_files": 1, "max_files": None}}
    assert first.checks[2].spec == {"judge": {"prompt": "fine", "route": {}}, "min": 0.5}
    assert (first.repair, first.effects, first.errors, first.when) == (Repair(2, "new"), "once", None, None)
    assert (second.repair, second.effects, second.errors, second.when) == (
        Repair(1),
        "none",
        ("tool_error",),
        "error.status == 1",
    )
    assert step.returns is not None
    assert step.returns["required"] == ["ok"]
    assert (step.files, step.save, step.optional) == (("src/**",), {"path": "out.json", "from": None}, True)


def test_a_matrix_keeps_axes_and_rows_apart() -> None:
    text = "{steps: {a: {run: ['{{ matrix }}'], matrix: {os: [1, 2], include: [{os: 3, x: 1}], exclude: [{os: 2}]}}}}"
    assert step_of(text).fan == Fan(
        "matrix", {"axes": {"os": [1, 2]}, "include": [{"os": 3, "x": 1}], "exclude": [{"os": 2}]}
    )


def _whole(value: Any) -> Any:
    """As JSON, with all fields."""
    if is_dataclass(value):
        return {field.name: _whole(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "_asdict"):
        return _whole(value._asdict())
    if isinstance(value, tuple):
        return [_whole(one) for one in value]
    return {key: _whole(one) for key, one in value.items()} if isinstance(value, dict) else value


def test_a_graph_survives_being_stored() -> None:
    text = """
        inputs: {n: {type: integer, minimum: 1, default: 2, description: How many}}
        budget: {usd: 1.5, tokens: 2M}
        timeout: 1h
        concurrency: 3
        triggers: {files: "src/**"}
        steps:
          a: {model: x, returns: {ok: boolean}, checks: [{expr: output.ok}], fallback: [{run: [y], errors: [tool_error]}]}
          b: {run: [x, "{{ steps.a.text }}"], needs: a, files: "src/**"}
        outputs: {o: "{{ steps.a.output.ok }}"}
    """
    graph = graph_of(text, file="m.yaml", lines={"a": 7})
    assert load(dump(graph)) == graph
    assert load(json.dumps(_whole(graph))) == graph, "with every default and every step's policies, as once written"
    assert graph.inputs["n"].schema == {"type": "integer", "minimum": 1}
    assert (graph.inputs["n"].default, graph.inputs["n"].required, graph.inputs["n"].description) == (
        2,
        False,
        "How many",
    )
    assert graph.budget == {"usd": 1_500_000, "tokens": 2_000_000}
    assert (graph.file, graph.timeout, graph.concurrency, graph.by_id["a"].line) == ("m.yaml", 3_600_000, 3, 7)
    assert graph.triggers == {"files": ["src/**"]}


def test_an_error_leaves_no_graph_and_a_warning_does() -> None:
    assert compiled("{steps: {a: {run: [x], needs: [b]}}}")[0] is None
    assert compiled("{steps: {a: {run: [x], when: true}}}")[0] is not None


# ---------------------------------------------------------------- digests


def definition(step: str, more: str = "", **sources: str) -> str:
    graph, _ = compiled(f"{{steps: {{b: {{run: [x]}}, a: {{{step}}}}}{more}}}", sources=sources)
    assert graph is not None
    return graph.by_id["a"].definition


@pytest.mark.parametrize(
    "more",
    [
        "route: {tier: any}",
        "faults: {retry: {max: 9}}",
        "timeout: 1s",
        "budget: {usd: 1}",
        "labels: [x]",
        "effects: idempotent",
        "needs: [b]",
        "when: run.name == 'm'",
        "optional: true",
        "foreach: [1], max_parallel: 1, join: settled",
        "repair: {max: 1}",
        "reuse: never",
        "files: [x]",
    ],
)
def test_how_a_step_is_run_is_no_part_of_its_definition(more: str) -> None:
    assert definition(f"model: x, {more}") == definition("model: x")


@pytest.mark.parametrize(
    "more",
    [
        "returns: {ok: boolean}",
        "checks: [{expr: output}]",
        "save: p",
        "env: {A: b}",
        "cwd: d",
        "workspace: {git: worktree}",
        "fallback: [{model: y}]",
    ],
)
def test_what_makes_the_result_is_part_of_the_definition(more: str) -> None:
    assert definition(f"model: x, {more}") != definition("model: x")


def test_the_content_of_a_file_is_part_of_the_definition() -> None:
    assert definition("model: {file: f}", f="one") != definition("model: {file: f}", f="two")
    assert definition("model: {file: f}", f="one") == definition("model: one")


def test_the_environment_of_the_manifest_is_part_of_a_commands_definition_only() -> None:
    assert definition("run: [x]", ", env: {A: b}") != definition("run: [x]")
    assert definition("model: x", ", env: {A: b}") == definition("model: x")


def test_the_graphs_digest_follows_the_data_the_files_and_the_callees() -> None:
    text = "{steps: {a: {model: {file: f}}, b: {call: n}}}"

    def digest(text: str = text, content: str = "one", callee: str = "x", **more: Any) -> str:
        callees = Callees({"n": graph_of(f"{{name: n, steps: {{a: {{run: [{callee}]}}}}}}")})
        return graph_of(text, sources={"f": content}, callees=callees, **more).digest

    assert digest(file="elsewhere.yaml", lines={"a": 9}, facts=Facts(policies={"exhausted": "skip"})) == digest()
    assert digest("{steps: {b: {call: n}, a: {model: {file: f}}}, extends: [x.yaml]}") == digest()
    others = [digest("{description: d, " + text[1:]), digest(content="two"), digest(callee="y")]
    assert len({digest(), *others}) == 4


@pytest.mark.parametrize(
    ("step", "more", "volatile"),
    [
        ('run: [x, "{{ run.id }}"]', "", True),
        ('run: [x], env: {D: "{{ run.dir }}"}', "", True),
        ("run: [x], checks: [{expr: output == run.id}]", "", True),
        ('run: "ls $ARES_RUN_DIR"', "", True),
        ('run: [x, "{{ run.name }}"]', "", False),
        ("run: [x]", ", env: {D: '{{ run.id }}'}", True),
        ("model: x", ", env: {D: '{{ run.id }}'}", False),
        ("agent: x", ", defaults: {cwd: '{{ run.id }}'}", True),
        ("model: x", ", defaults: {cwd: '{{ run.id }}'}", False),
    ],
)
def test_a_step_that_names_its_run_is_volatile(step: str, more: str, volatile: bool) -> None:
    assert step_of(f"{{steps: {{a: {{{step}}}}}{more}}}").volatile is volatile


# ---------------------------------------------------------------- the reference, and size

REFERENCE_FACTS = Facts(
    servers=frozenset({"github", "claude-code", "openclaw", "moltworker"}),
    executors=frozenset({"claude-code", "openclaw", "moltworker"}),
    models=frozenset({"fast-free", "smart"}),
    secrets=frozenset(),
)


def test_the_manifest_of_the_reference_compiles_without_any_mistake() -> None:
    callee = graph_of('{name: review-file, inputs: {path: string}, steps: {a: {run: [cat, "{{ inputs.path }}"]}}}')
    graph = graph_of(
        REFERENCE.read_text("utf-8"),
        sources={"prompts/fix.md": "Fix"},
        facts=REFERENCE_FACTS,
        callees=Callees({"review-file": callee}),
    )
    edges = {step.id: {(edge.to, edge.kind) for edge in step.edges} for step in graph.steps}
    assert edges == {
        "fetch": set(),
        "triage": {("fetch", "data")},
        "fix": {("triage", "data"), ("fetch", "data")},
        "test": {("fix", "order")},
        "review": {("triage", "data")},
        "gate": {("triage", "data"), ("fix", "data"), ("test", "order"), ("review", "order")},
        "pr": {("fix", "data"), ("gate", "order"), ("test", "order")},
        "report": {("pr", "tolerant")},
    }
    fix = graph.by_id["fix"]
    assert fix.labels == {"team": "core", "kind": "code"}
    assert fix.faults["degraded"]["skip"] == ["optional"]
    assert (fix.bodies[0].timeout, fix.bodies[0].idle, graph.by_id["test"].bodies[0].timeout) == (
        1_800_000,
        300_000,
        600_000,
    )


def test_ten_thousand_steps_compile() -> None:
    data = data_of("{steps: {s0: {run: [x]}}}")
    data["steps"] |= {
        f"s{n}": {"run": ["x", f"{{{{ steps.s{n - 1}.text }}}}"], "needs": [f"s{n // 2}"]} for n in range(1, 10_000)
    }
    manifest = Manifest.model_validate(data)
    graph, problems = compile_manifest(manifest, data)
    assert problems == []
    assert graph is not None
    assert len(graph.steps) == 10_000
    assert graph.by_id is graph.by_id, "made once: it is asked for every step"


def test_a_stored_graph_names_shared_policies_once() -> None:
    steps = "".join(f"s{i}: {{run: [x], effects: none}}, " for i in range(100))
    text = dump(graph_of(f"{{steps: {{{steps} own: {{run: [x], effects: none, faults: {{retry: {{max: 9}}}}}}}}}}"))
    assert text.count("retry.max_delay") == 2 * 3, "those below every step, and those of `own`, in three modes"
    assert len({id(step.faults) for step in load(text).steps}) == 2
