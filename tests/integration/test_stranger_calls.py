"""`call` as a stranger uses it: what the called manifest says about its inputs and its time holds in a sub-run, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_project import Project


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, capsys)
    project.write(
        "callee.yaml",
        "ares: v1\nname: callee\ninputs: {path: string, n: {type: integer, default: 7}, note?: string}\n"
        "steps: {a: {set: {said: '{{ inputs.path }} {{ inputs.n }}', note: '{{ inputs.note }}'}}}\n"
        "outputs: '{{ steps.a.output }}'\n",
    )
    return project


def test_the_defaults_of_a_called_manifest_s_inputs_hold(project: Project) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps: {a: {call: callee, with: {path: x}}}\noutputs: '{{ steps.a.output }}'\n",
    )
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 0, done.err
    assert done.json["runs"][0]["outputs"] == {"said": "x 7", "note": None}


def test_an_input_that_does_not_fit_fails_the_call_before_a_sub_run_begins(project: Project) -> None:
    project.write(
        "m.yaml",
        "ares: v1\nname: m\nsteps: {five: {set: {v: 5}}, a: {call: callee, with: {path: '{{ steps.five.output.v }}'}}}\n",
    )
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1, done.err
    [run] = done.json["runs"]
    assert run["steps"]["a"]["error"] == {
        "class": "invalid",
        "message": "a: callee cannot take this: input `path`: expected string, not 5",
    }
    assert "sub-run" not in project.cli("show", "m").out


def test_the_timeout_of_a_called_manifest_ends_its_sub_run(project: Project) -> None:
    project.write(
        "callee.yaml",
        "ares: v1\nname: callee\ninputs: {t: {type: string, default: 200ms}}\ntimeout: '{{ inputs.t }}'\n"
        "steps: {a: {run: [sleep, '60'], effects: none}}\n",
    )
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {call: callee, faults: {retry: {max: 0}}}}\n")
    done = project.cli("apply", "m.yaml", "--json")
    assert done.code == 1, done.err
    assert done.json["runs"][0]["steps"]["a"]["error"]["class"] == "timeout"


def test_a_step_that_its_run_s_timeout_ended_says_so(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\ntimeout: 200ms\nsteps: {a: {run: [sleep, '60'], effects: none}}\n")
    done = project.cli("apply", "m.yaml")
    assert done.code == 1
    assert "a  timeout: the run's timeout is over" in done.out


LOST = """
ares: v1
name: lost
inputs: {p: string}
steps: {send: {run: 'test "$P" != b || kill -9 $$', env: {P: "{{ inputs.p }}"}, effects: once}}
"""


def test_the_one_sub_run_that_waits_is_found_by_the_name_of_its_step(project: Project) -> None:
    project.write("lost.yaml", LOST)
    project.write(
        "m.yaml", "ares: v1\nname: m\nsteps: {fan: {foreach: [a, b, c], call: lost, with: {p: '{{ item }}'}}}\n"
    )
    assert project.cli("apply", "m.yaml").code == 3
    assert project.cli("resolve", "m", "send", "--done", "1").code == 0
    assert project.cli("resume", "m").code == 0


def test_the_logs_of_a_run_say_that_its_sub_runs_have_some(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {call: callee, with: {path: x}}}\n")
    project.cli("apply", "m.yaml")
    assert "its sub-runs have logs of their own, such as `runner logs" in project.cli("logs", "m").err


def test_a_clean_up_whose_outcome_nobody_knows_is_said_to_be_unknown(project: Project) -> None:
    project.write(
        "m.yaml", "ares: v1\nname: m\nsteps: {a: {set: {x: 1}}}\nfinally: {f: {run: 'kill -9 $$', effects: once}}\n"
    )
    done = project.cli("apply", "m.yaml")
    assert done.code == 1
    assert "f  unknown: crash" in done.out
    assert "unknown: crash" in project.cli("show", "m").out
