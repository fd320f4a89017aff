"""`runner test`: cases recorded against real commands and a real MCP server, replayed without them, and told when something differs."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from cli_project import Project

from runner.manifest.schema import SCHEMAS

SERVERS = Path(__file__).parent / "servers"
QUICKSTART = Path(__file__).parents[2] / "manifests" / "quickstart"
SECRET = "correct-horse/battery+staple"

PIPELINE = """
ares: v1
name: pipeline
inputs: {who: {type: string, default: world}}
steps:
  add: {tool: sums.add, with: {a: 2, b: 3}}
  greet: {run: [sh, -c, 'echo "hello $1"; echo "in $PWD, for $ARES_RUN_DIR"', sh, "{{ inputs.who }} {{ steps.add.text }}"], effects: none}
  each:
    foreach: {in: [a/b, c], key: "{{ item }}"}
    run: [echo, "item {{ item }} of {{ run.id }} in {{ run.dir }}"]
    effects: none
  here: {run: [pwd], effects: none, checks: [{run: [grep, workspace]}]}
  shout: {run: 'printf "\\033[1m%s\\000" "$TEXT" | tr a-z A-Z', env: {TEXT: "{{ steps.greet.text }}"}, effects: none, save: out/said.txt}
outputs: {said: "{{ steps.greet.text }}", first: "{{ steps.each.output | first }}"}
"""
SUITE = """
ares-test: v1
manifest: pipeline.yaml
cases:
  all of it:
    expect:
      steps: {add: {executor: sums, route: sums, contains: "5"}, "each[a/b]": succeeded}
      files: {out/said.txt: {contains: HELLO WORLD 5}}
      checks: [{expr: "'hello world 5' in outputs.said"}, {expr: steps.each.items | length == 2}]
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in [name for name in os.environ if name.startswith(("RUNNER_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, capsys)


def suite(project: Project, manifest: str, cases: str, name: str = "m") -> None:
    project.write(f"{name}.yaml", f"ares: v1\nname: {name}\n{manifest}")
    project.write("suite.yaml", f"ares-test: v1\nmanifest: {name}.yaml\ncases:\n{cases}")


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- record, then replay


def test_a_suite_that_is_not_there_says_how_to_begin_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = Project(tmp_path, capsys).cli("test", str(tmp_path / "nope.yaml"))
    assert (done.code, "help: give suites (`--init MANIFEST` writes a first one), or folders" in done.err) == (2, True)


def test_what_was_recorded_is_replayed_with_no_program_on_the_path_and_the_server_gone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = project.root / "sums.py"
    shutil.copy(SERVERS / "modern.py", server)
    project.write("config.yaml", f"mcp_servers: {{sums: {{command: {sys.executable}, args: [-P, {server}]}}}}\n")
    project.write("pipeline.yaml", PIPELINE)
    project.write("suite.yaml", SUITE)
    recorded = project.cli("test", "suite.yaml", "--record")
    assert recorded.code == 0, recorded.out + recorded.err
    assert "recorded 7 calls in suite.recording.yaml" in recorded.err
    text = (project.root / "suite.recording.yaml").read_text()
    assert "tools: {sums.add: none}" in text  # what the kernel was told of the tool
    assert "«workspace», for «run.dir»" in text and "item c of «run.id» in «run.dir»" in text
    assert str(Path("/tmp")) not in text and "ares-test-" not in text

    server.unlink()
    monkeypatch.setenv("PATH", "")
    before = tree(project.root)
    replayed = project.cli("test", "suite.yaml")
    assert (replayed.code, replayed.out.splitlines()[-1]) == (0, "1 passed"), replayed.out + replayed.err
    assert tree(project.root) == before  # `save` went elsewhere, and there is no state


def test_recording_again_changes_no_byte_when_the_answers_are_the_same(project: Project) -> None:
    suite(project, "steps:\n  a: {run: [echo, hi], effects: none}\n", "  one: {}\n  two: {}\n")
    assert project.cli("test", "suite.yaml", "--record").code == 0
    first = (project.root / "suite.recording.yaml").read_bytes()
    assert project.cli("test", "suite.yaml", "--record", "-k", "two").code == 0
    assert (project.root / "suite.recording.yaml").read_bytes() == first


def test_a_text_that_is_long_or_no_text_for_yaml_lies_in_a_file_of_its_own_until_nothing_names_it(
    project: Project,
) -> None:
    suite(
        project,
        "inputs: {n: {type: integer, default: 1500}}\n"
        "steps:\n  long: {run: [seq, '{{ inputs.n }}'], effects: none}\n  odd: {run: 'printf \"a\\\\033b\"', effects: none}\n",
        "  one: {expect: {steps: {long: {contains: '1500'}, odd: {output: \"a\\eb\"}}}}\n".replace("\\e", "?"),
    )
    assert project.cli("test", "suite.yaml", "--record").code == 1  # `?` is not what it says
    files = sorted(path.name for path in (project.root / "suite.recording").iterdir())
    assert files == ["one.long.txt", "one.odd.txt"]
    assert "$file: suite.recording/one.long.txt" in (project.root / "suite.recording.yaml").read_text()
    assert "steps.odd.output: not as expected" in project.cli("test", "suite.yaml").out
    project.write("suite.yaml", "ares-test: v1\nmanifest: m.yaml\ninputs: {n: 3}\ncases:\n  one: {}\n")
    assert project.cli("test", "suite.yaml", "--record").code == 0
    assert [path.name for path in (project.root / "suite.recording").iterdir()] == ["one.odd.txt"]


def test_a_secret_is_in_no_file_of_a_recording_and_a_replay_needs_none(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("config.yaml", 'secrets: {TOKEN: "${TOKEN}"}\n')
    suite(
        project,
        "steps:\n"
        '  say: {run: \'echo "$T"; printf %s "$T" | base64; seq 1500; echo "$T"\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n'
        "  again: {run: [echo, '{{ steps.say.text }}'], effects: none}\n",
        "  one: {expect: {steps: {again: {contains: '***'}}}}\n",
    )
    monkeypatch.setenv("TOKEN", SECRET)
    assert project.cli("test", "suite.yaml", "--record").code == 0
    monkeypatch.delenv("TOKEN")
    replayed = project.cli("test", "suite.yaml", "--json")
    assert replayed.code == 0, replayed.out
    files = tree(project.root)
    assert {"suite.recording.yaml", "suite.recording/one.say.txt"} <= files.keys()
    whole = b"".join([*files.values(), replayed.out.encode()])
    assert b"***" in files["suite.recording.yaml"] and b"***" in files["suite.recording/one.say.txt"]
    for form in (SECRET.encode(), base64.b64encode(SECRET.encode())):
        assert form not in whole


def test_waits_and_retries_of_hours_are_not_waited_for_in_a_replay(project: Project) -> None:
    suite(
        project,
        "steps:\n"
        "  slow: {run: [x], effects: idempotent, faults: {retry: {max: 1, delay: 5h, max_delay: 5h, errors: [unavailable]}}}\n"
        "  later: {wait: 30h, needs: [slow]}\n",
        "  one:\n    stubs: {slow: [{error: unavailable}, {text: there}]}\n    expect: {steps: {slow: {attempts: 2}, later: succeeded}}\n",
    )
    assert project.cli("test", "suite.yaml").code == 0


# ---------------------------------------------------------------- what differs


def test_a_changed_command_fails_with_the_difference_and_says_how_to_record_again(project: Project) -> None:
    steps = "steps:\n  a: {run: [echo, 'one\n\n    two\n\n    three'], effects: none}\n  b: {run: [echo, '{{ steps.a.text }}'], effects: none}\n"
    suite(project, steps, "  my case: {}\n")
    assert project.cli("test", "suite.yaml", "--record").code == 0
    suite(project, steps.replace("two", "2"), "  my case: {}\n")
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 1
    assert ended.out == (
        "suite.yaml\n"
        "  ✗ my case\n"
        "      a: it asks something else than when it was recorded: `argv`\n"
        "        --- argv (recorded)\n"
        "        +++ argv (now)\n"
        "        @@ -2,5 +2,5 @@\n"
        "           - echo\n"
        "           - |-\n"
        "             one\n"
        "        -    two\n"
        "        +    2\n"
        "             three\n"
        "      help: record again: runner test suite.yaml --record -k 'my case'\n"
        "1 failed\n"
    )


def test_a_call_that_was_never_recorded_fails_and_one_that_nobody_makes_any_more_is_a_warning(project: Project) -> None:
    suite(project, "steps:\n  a: {run: [echo, hi], effects: none}\n", "  one: {}\n")
    assert "help: nothing is recorded yet: runner test suite.yaml --record" in project.cli("test", "suite.yaml").out
    assert project.cli("test", "suite.yaml", "--record").code == 0
    suite(project, "steps:\n  b: {run: [echo, hi], effects: none}\n", "  one: {}\n")
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 1 and "b: its call of `run local` was never recorded, and it has no stub" in ended.out
    suite(project, "steps:\n  a: {set: {x: 1}}\n", "  one: {}\n")
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0 and "warning: recorded, but not asked for any more: a\n" in ended.out


def test_expectations_that_fail_say_what_was_expected_and_what_it_is(project: Project) -> None:
    suite(
        project,
        "steps:\n  a: {run: [x], effects: idempotent}\n  b: {set: {x: [1, 2]}, needs: [a]}\n  c: {run: [y], effects: none, optional: true}\noutputs: {x: '{{ steps.b.output.x }}'}\n",
        """\
  one:
    stubs: {a: {text: said, cost_usd: 0.5}, c: {error: quota, message: no more today, status: 429}}
    expect:
      run: failed
      exit: 1
      steps: {a: {attempts: 2, route: [far, local], contains: sung}, b: {output: {x: [1, 3]}}, c: succeeded}
      outputs: {x: [1, 2]}
      cost_usd: 0.1
      files: {out.txt: hello}
      checks: [{expr: outputs.x | sum > 3}, {expr: steps.c.error.status == 429}]
""",
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 1
    assert ended.out == (
        "suite.yaml\n"
        "  ✗ one\n"
        "      run: expected failed, but it is succeeded\n"
        "      exit: expected 1, but it is 0 (succeeded)\n"
        "        c: quota: no more today\n"
        "      steps.a.attempts: expected 2, but it is 1\n"
        "      steps.a.route: expected [far, local], but it is [local]\n"
        "      steps.a.contains: there is no sung in its text\n"
        "        said\n"
        "      steps.b.output: not as expected\n"
        "        --- output (expected)\n"
        "        +++ output (as it is)\n"
        "        @@ -1 +1 @@\n"
        "        -output: {x: [1, 3]}\n"
        "        +output: {x: [1, 2]}\n"
        "      steps.c.state: expected succeeded, but it is failed (quota: no more today)\n"
        "      cost_usd: expected at most 0.1, but it is 0.5\n"
        "      files.out.txt: expected a file, but nothing wrote it\n"
        "      checks[0]: outputs.x | sum > 3 is false; outputs.x = [1,2]\n"
        "1 failed\n"
    )


def test_every_mistake_of_a_suite_is_told_with_its_place_and_nothing_runs(project: Project) -> None:
    suite(
        project,
        "inputs: {n: {type: integer, default: 1}}\nsteps:\n  build: {run: [touch, ran], effects: none}\n  ok: {approve: 'Go on?', needs: [build]}\n",
        """\
  one:
    inputs: {m: 2}
    stubs: {biuld: {txt: 1}, ok: {text: a}}
    expect: {steps: {build: done}, checks: [{expr: step.build == 1}]}
  two:
    manifest: gone.yaml
    stub: {}
""",
    )
    ended = project.cli("test", "suite.yaml", "--record")
    assert ended.code == 2
    assert "suite.yaml:6:21: error[unknown-key]: cases.one.stubs.biuld.txt: 'txt' is not a key here\n" in ended.err
    assert "  = help: did you mean `text`?\n" in ended.err
    assert (
        "suite.yaml:7:29: error[wrong-value]: cases.one.expect.steps.build: expected one of succeeded, failed"
        in ended.err
    )
    assert "suite.yaml:10:5: error[unknown-key]: cases.two.stub: 'stub' is not a key here" in ended.err
    assert not (project.root / "ran").exists() and not (project.root / "suite.recording.yaml").exists()
    suite(
        project,
        "inputs: {n: {type: integer, default: 1}}\nsteps:\n  build: {run: [touch, ran], effects: none}\n  ok: {approve: 'Go on?', needs: [build]}\n",
        """\
  one:
    inputs: {m: 2}
    stubs: {biuld: {text: a}, ok: {text: a}}
    expect: {steps: {"build[1]": failed}, checks: [{expr: step.build == 1}]}
  two: {manifest: gone.yaml}
""",
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 2
    for line in (
        "suite.yaml:5:14: error[unknown-input]: cases.one.inputs.m: m declares no input 'm'",
        "suite.yaml:6:13: error[unknown-step]: cases.one.stubs.biuld: m has no step 'biuld'",
        "suite.yaml:6:31: error[test-stub]: cases.one.stubs.ok: `approve` asks no executor, so ok cannot be stubbed",
        'suite.yaml:7:22: error[unknown-step]: cases.one.expect.steps["build[1]"]: build is no fan-out: it has no items',
        "suite.yaml:7:59: error[template-syntax]: cases.one.expect.checks[0].expr: `step` is no name that templates know",
        "suite.yaml:8:19: error[test-file]: cases.two.manifest: there is no file gone.yaml",
    ):
        assert line in ended.err, ended.err
    assert "  = help: approvals: {ok: approve}\n" in ended.err


# ---------------------------------------------------------------- persons, sub-runs, files


def test_persons_answer_in_sub_runs_and_items_and_stubs_reach_them(project: Project) -> None:
    project.write(
        "inner.yaml",
        "ares: v1\nname: inner\ninputs: {n: integer}\nsteps:\n  work: {run: [x], effects: none}\n  ok: {approve: 'Sure?', needs: [work]}\noutputs: {by: '{{ steps.ok.output.by }}', said: '{{ steps.work.text }}'}\n",
    )
    suite(
        project,
        "steps:\n  sub: {foreach: {in: [1, 2], key: 'k{{ item }}'}, call: inner, with: {n: '{{ item }}'}}\noutputs: {all: '{{ steps.sub.output }}'}\n",
        """\
  all say yes:
    stubs: {sub/work: {text: for all}, "sub[k2]/work": {text: for the second}}
    approvals: {"sub[k1]/ok": approve, "sub[k2]/ok": {answer: approve, by: Ada}}
    expect:
      steps: {"sub[k2]/ok": succeeded}
      outputs: {all: [{by: somebody, said: for all}, {by: Ada, said: for the second}]}
  one says no:
    stubs: {sub/work: {text: x}}
    approvals: {"sub[k1]/ok": approve, "sub[k2]/ok": reject}
    expect: {run: failed, steps: {"sub[k2]/ok": {state: failed, error: denied}}}
  nobody says anything:
    stubs: {sub/work: {text: x}}
    expect: {exit: 3, reasons: approval}
""",
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.out


def test_files_that_a_call_wrote_are_part_of_its_recording(project: Project) -> None:
    project.write("data/old.txt", "old\n")
    suite(
        project,
        "steps:\n"
        "  edit:\n    run: 'echo new > data/new.txt; rm data/old.txt; printf \"\\\\377\" > data/bin'\n    effects: none\n"
        "    checks: [{changed: {only: ['data/**'], min_files: 3}}]\n",
        "  one: {expect: {files: {data/new.txt: new, data/old.txt: {exists: false}}}}\n",
    )
    assert project.cli("test", "suite.yaml", "--record").code == 0
    assert (project.root / "data/old.txt").exists()
    text = (project.root / "suite.recording.yaml").read_text()
    assert "data/old.txt: null" in text and "base64: " in text
    replayed = project.cli("test", "suite.yaml")
    assert replayed.code == 0, replayed.out
    assert sorted(path.name for path in (project.root / "data").iterdir()) == ["old.txt"]


def test_the_diff_of_a_worktree_is_recorded_and_applied_again(project: Project) -> None:
    project.write("src/a.txt", "one\n")
    suite(
        project,
        "steps:\n"
        "  fix: {run: 'echo two >> src/a.txt; echo new > src/b.txt', workspace: {git: worktree}, effects: none}\n"
        "  show: {run: [cat, src/a.txt], needs: [fix], effects: none}\n",
        "  one: {expect: {steps: {show: {contains: two}}, files: {src/a.txt: {contains: [one, two]}, src/b.txt: new}}}\n",
    )
    recorded = project.cli("test", "suite.yaml", "--record")
    assert recorded.code == 0, recorded.out
    replayed = project.cli("test", "suite.yaml")
    assert replayed.code == 0, replayed.out
    assert (project.root / "src/a.txt").read_text() == "one\n"


def test_the_inputs_and_stubs_of_a_suite_are_for_the_cases_that_know_them(project: Project) -> None:
    project.write("one.yaml", "ares: v1\nname: one\ninputs: {a: integer}\nsteps:\n  x: {set: {a: '{{ inputs.a }}'}}\n")
    project.write("two.yaml", "ares: v1\nname: two\nsteps:\n  y: {run: [y], effects: none}\n")
    project.write(
        "suite.yaml",
        "ares-test: v1\ninputs: {a: 1}\nstubs: {y: {text: ok}}\ncases:\n  one: {manifest: one.yaml}\n  two: {manifest: two.yaml}\n",
    )
    ended = project.cli("test", "suite.yaml")
    assert (ended.code, "warning" in ended.out) == (0, False), ended.out


def test_a_manifest_that_another_one_of_its_file_calls_can_be_tested_by_its_name(project: Project) -> None:
    project.write(
        "both.yaml",
        "ares: v1\nname: a\nsteps:\n  c: {call: b}\n---\nares: v1\nname: b\nsteps:\n  s: {run: [echo, hi], effects: none}\n",
    )
    project.write(
        "suite.yaml", "ares-test: v1\nmanifest: both.yaml\nname: b\nstubs: {s: {text: hi}}\ncases: {one: {}}\n"
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.err + ended.out


def test_commands_run_in_a_copy_when_the_suite_says_real(project: Project) -> None:
    project.write("data.txt", "a\nb\n")
    suite(
        project,
        "steps:\n  count: {run: 'wc -l < data.txt; touch here', effects: none}\n",
        "  one: {run: real, expect: {steps: {count: {contains: '2'}}, files: {here: ''}}}\n",
    )
    assert project.cli("test", "suite.yaml").code == 0
    assert not (project.root / "here").exists()


@pytest.mark.parametrize("git", [True, False], ids=["git", "no git"])
def test_a_copy_holds_the_files_of_nested_repositories_and_links_and_passes_over_what_is_no_file(
    project: Project, git: bool
) -> None:
    (project.root / "nested").mkdir()
    for folder in (project.root, project.root / "nested") if git else ():
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    project.write("nested/inner.txt", "inner\n")
    (project.root / "folder").symlink_to("nested")
    os.mkfifo(project.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str((project.root / "s").relative_to(Path.cwd())))
    suite(
        project,
        "steps:\n  look: {run: 'cat nested/inner.txt folder/inner.txt; test ! -e pipe; test ! -e s', effects: none}\n",
        "  one: {run: real, expect: {steps: {look: {contains: inner}}}}\n",
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.err + ended.out


@pytest.mark.parametrize("git", [True, False], ids=["git", "no git"])
def test_a_copy_does_not_hold_itself_where_temporary_folders_are_made_in_the_workspace(
    project: Project, git: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if git:
        subprocess.run(["git", "init", "-q"], cwd=project.root, check=True)
    project.write("scratch/kept.txt", "kept\n")
    monkeypatch.setattr(tempfile, "tempdir", str(project.root / "scratch"))
    suite(
        project,
        "steps:\n  look: {run: 'cat scratch/kept.txt; ls scratch', effects: none}\n",
        '  one: {run: real, expect: {steps: {look: {output: "kept\\nkept.txt"}}}}\n',
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.err + ended.out


def test_a_link_out_of_the_workspace_brings_nothing_into_a_recording(project: Project) -> None:
    (project.root.parent / "outside").write_text("not to be told")
    suite(
        project,
        "steps:\n"
        f"  edit:\n    run: ln -s {project.root.parent / 'outside'} link; echo new > new.txt\n    effects: none\n"
        "    checks: [{changed: {min_files: 2}}]\n",
        "  one: {}\n",
    )
    assert project.cli("test", "suite.yaml", "--record").code == 0
    text = (project.root / "suite.recording.yaml").read_text()
    assert "new.txt" in text and "not to be told" not in text


# ---------------------------------------------------------------- what is chosen, and what programs read


def test_k_chooses_cases_and_reports_are_written(project: Project) -> None:
    suite(
        project,
        "steps:\n  a: {run: [x], effects: none}\n",
        "  good day: {stubs: {a: {text: ok}}}\n  bad day: {stubs: {a: {error: crash}}}\n",
    )
    assert project.cli("test", ".", "-k", "GOOD").out == "suite.yaml\n  ✓ good day\n1 passed\n"
    refused = project.cli("test", ".", "-k", "nothing")
    assert refused.code == 2 and "no case has that in its name" in refused.err
    ended = project.cli("test", "suite.yaml", "--json", "--junit", "junit.xml")
    assert ended.code == 1
    jsonschema.Draft7Validator(SCHEMAS["test"]()).validate(ended.json)
    [made] = ended.json["suites"]
    assert [(case["case"], case["verdict"]) for case in made["cases"]] == [
        ("good day", "passed"),
        ("bad day", "failed"),
    ]
    root = ElementTree.parse(project.root / "junit.xml").getroot()
    assert [
        (case.get("classname"), case.get("name"), [each.tag for each in case]) for case in root.iter("testcase")
    ] == [
        ("suite.yaml", "good day", []),
        ("suite.yaml", "bad day", ["failure"]),
    ]
    failure = next(root.iter("failure"))
    assert "run: expected succeeded, but it is failed" in (failure.text or "")


def test_a_first_suite_is_written_and_can_be_recorded(project: Project) -> None:
    project.write(
        "manifests/hi.yaml",
        "ares: v1\nname: hi\ninputs: {n: integer}\nsteps:\n  a: {run: [echo, '{{ inputs.n }}'], effects: none}\n",
    )
    ended = project.cli("test", "--init", "manifests/hi.yaml")
    assert (ended.code, ended.out) == (
        0, "wrote manifests/tests/hi.yaml; next: runner test manifests/tests/hi.yaml --record\n",
    )  # fmt: skip
    assert project.cli("test", "manifests/tests/hi.yaml", "--record").code == 0
    assert project.cli("test", "manifests/").code == 0
    assert project.cli("test", "--init", "manifests/hi.yaml").code == 2


def test_a_case_whose_inputs_are_refused_fails_or_is_what_was_expected(project: Project) -> None:
    suite(
        project,
        "inputs: {n: {type: integer, minimum: 3}}\nsteps:\n  a: {set: {n: '{{ inputs.n }}'}}\n",
        "  too small: {inputs: {n: 1}, expect: {exit: 2}}\n  missing: {}\n",
    )
    ended = project.cli("test", "suite.yaml")
    assert "  ✓ too small\n" in ended.out
    assert "run: expected succeeded, but it is invalid: m: required inputs are not set: n" in ended.out


def test_an_empty_folder_and_a_file_that_is_no_suite_are_said(project: Project) -> None:
    assert "no suites in ." in project.cli("test", ".").err
    project.write("x.yaml", "a: 1\n")
    assert "x.yaml is no suite" in project.cli("test", "x.yaml").err


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "yesterday"])
def test_a_moment_that_no_clock_can_go_on_from_is_replayed_as_if_it_were_now(project: Project, at: str) -> None:
    suite(
        project,
        "steps:\n  ask: {approve: May I?}\n"
        "  say: {run: [echo, '{{ steps.ask.output.at }}'], needs: [ask], effects: none}\n  rest: {wait: 48h}\n",
        "  one: {approvals: {ask: approve}, stubs: {say: {text: hi}}}\n",
    )
    project.write("suite.recording.yaml", f"ares-recording: v1\ncases: {{one: {{at: '{at}', calls: []}}}}\n")
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 0, ended.err + ended.out


def test_a_recording_that_never_ends_is_read_no_further_than_its_limit(project: Project) -> None:
    suite(project, "steps:\n  a: {run: [echo, hi], effects: none}\n", "  one: {}\n")
    (project.root / "suite.recording.yaml").symlink_to("/dev/zero")
    ended = project.cli("test", "suite.yaml")
    assert (ended.code, "error[limit]" in ended.err) == (2, True)


def test_a_value_beside_a_recording_that_is_nested_without_end_is_a_mistake(project: Project) -> None:
    suite(project, "steps:\n  a: {run: [echo, hi], effects: none}\n", "  one: {}\n")
    project.write(
        "suite.recording.yaml",
        "ares-recording: v1\ncases: {one: {at: x, calls: [{step: a, to: run local, answer: {output: {$json: deep.json}}}]}}\n",
    )
    project.write("deep.json", "[" * 100_000)
    ended = project.cli("test", "suite.yaml")
    assert (ended.code, "error[test-recording]" in ended.err) == (2, True)


def test_a_damaged_recording_is_told_with_its_place(project: Project) -> None:
    suite(project, "steps:\n  a: {run: [echo, hi], effects: none}\n", "  one: {}\n")
    project.write(
        "suite.recording.yaml",
        "ares-recording: v1\ncases:\n  one: {at: x, calls: [{step: a, to: run local, anser: {}}]}\n",
    )
    ended = project.cli("test", "suite.yaml")
    assert ended.code == 2
    assert (
        "suite.recording.yaml:3:49: error[unknown-key]: cases.one.calls[0].anser: 'anser' is not a key here"
        in ended.err
    )


# ---------------------------------------------------------------- ours


def test_the_suites_of_the_quickstart_pass_without_the_world(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    shutil.copytree(QUICKSTART, project.root / "quickstart")
    monkeypatch.setenv("PATH", "")
    before = tree(project.root)
    ended = project.cli("test", "quickstart", "--json")
    assert ended.code == 0, json.dumps(ended.json, indent=1)
    assert {case["manifest"] for made in ended.json["suites"] for case in made["cases"]} == {
        path.stem for path in QUICKSTART.glob("*.yaml")
    }
    assert all(case["warnings"] == [] for made in ended.json["suites"] for case in made["cases"])
    assert tree(project.root) == before
