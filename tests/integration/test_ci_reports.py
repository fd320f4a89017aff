"""`apply --junit`, `apply --summary`, and the summary of a GitHub job."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_project import HELLO, Project, environment

BAD = """
ares: v1
name: bad
steps:
  loud: {run: "printf '\\\\033[31mred\\\\000 \\\\033 <b>'; printf '@all | x \\\\033' >&2; exit 3", effects: none}
  soft: {run: "exit 1", optional: true, effects: none}
  after: {run: [x], needs: [loud]}
  fan: {foreach: "{{ [1, 2] }}", join: settled, run: [test, "{{ item }}", "=", "1"], effects: none}
  json: {set: {a: 1}}
"""


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    return Project(tmp_path, capsys)


def cases(project: Project, name: str = "junit.xml") -> dict[str, str]:
    """`classname/name` → what became of it."""
    root = ElementTree.parse(project.root / name).getroot()
    found = {}
    for case in root.iter("testcase"):
        verdicts = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}/{case.get('name')}"] = verdicts[0] if verdicts else "passed"
    return found


def test_every_step_is_a_case_of_its_manifest(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.write("bad.yaml", BAD)
    done = project.cli("apply", ".", "--junit", "junit.xml", "--summary", "page.md")
    assert done.code == 1
    assert cases(project) == {
        "hello/greet": "passed",
        "hello/shout": "passed",
        "bad/loud": "failure",
        "bad/soft": "skipped",
        "bad/after": "skipped",
        "bad/fan[0]": "passed",
        "bad/fan[1]": "failure",
        "bad/json": "passed",
    }
    root = ElementTree.parse(project.root / "junit.xml").getroot()
    assert "HELLO WORLD" in [text.text for text in root.iter("system-out")]
    assert all(float(case.get("time", "0")) < 60 for case in root.iter("testcase"))
    page = (project.root / "page.md").read_text()
    assert "### runner apply: exit code 1" in page
    assert "| ✓ | <code>hello</code> | succeeded | 2/2 |" in page
    assert "<code>HELLO WORLD</code>" in page
    assert r"\@all \| x" in page


def test_an_apply_with_nothing_to_do_writes_its_reports_too(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml")
    done = project.cli("apply", "hello.yaml", "--junit", "junit.xml", "--summary", "page.md")
    assert done.code == 0
    assert cases(project) == {"hello/greet": "passed", "hello/shout": "passed"}
    assert "| = | <code>hello</code> | unchanged | 2/2 |" in (project.root / "page.md").read_text()


def test_a_refused_apply_does_not_leave_the_report_of_an_earlier_one(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    project.cli("apply", "hello.yaml", "--junit", "junit.xml")
    project.write("hello.yaml", HELLO + "oops: 1\n")
    assert project.cli("apply", "hello.yaml", "--junit", "junit.xml").code == 2
    assert cases(project) == {"runner/apply": "error"}


def test_what_waits_is_an_error_unless_pauses_are_ok(project: Project) -> None:
    project.write("gate.yaml", "ares: v1\nname: gate\nsteps:\n  ask: {approve: really?}\n")
    assert project.cli("apply", "gate.yaml", "--junit", "junit.xml").code == 3
    assert cases(project) == {"gate/ask": "error"}
    assert project.cli("apply", "gate.yaml", "--junit", "junit.xml", "--on-pause", "ok").code == 0
    assert cases(project) == {"gate/ask": "skipped"}


def test_in_a_workflow_of_github_the_page_is_added_to_the_summary(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("hello.yaml", HELLO)
    page = project.write("summary.md", "before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    project.cli("apply", "hello.yaml")
    assert page.read_text() == "before\n"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.cli("apply", "hello.yaml")
    assert page.read_text().startswith("before\n### runner apply: ok\n")


@pytest.mark.parametrize("option", ["--junit", "--summary"])
def test_a_report_that_cannot_be_written_is_told_before_anything_runs(project: Project, option: str) -> None:
    project.write("hello.yaml", HELLO)
    for place in ("none/x.xml", "."):
        done = project.cli("apply", "hello.yaml", option, place)
        assert done.code == 2
        assert "no file can be written there" in done.err
    assert project.cli("status", "--json").json["runs"] == []


def test_a_secret_is_in_no_report(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "correct-horse/battery+staple")
    project.write("config.yaml", 'secrets: {TOKEN: "${TOKEN}"}\n')
    project.write(
        "leaky.yaml",
        "ares: v1\nname: leaky\nsteps:\n"
        '  say: {run: \'echo "$T <&"\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n'
        '  die: {run: \'echo "$T" >&2; exit 1\', env: {T: "{{ secrets.TOKEN }}"}, effects: none}\n',
    )
    assert project.cli("apply", "leaky.yaml", "--junit", "junit.xml", "--summary", "page.md").code == 1
    whole = (project.root / "junit.xml").read_text() + (project.root / "page.md").read_text()
    assert "*** &lt;&amp;" in whole
    assert "battery" not in whole


def test_what_is_refused_until_a_person_answers_is_an_error_unless_pauses_are_ok(project: Project) -> None:
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {run: 'kill -9 $$', effects: once}}\n")
    assert project.cli("apply", ".").code == 3
    project.write("m.yaml", "ares: v1\nname: m\nsteps: {a: {run: 'kill -15 $$', effects: once}}\n")
    assert project.cli("apply", ".", "--junit", "junit.xml").code == 3
    assert cases(project) == {"m/(manifest)": "error"}
    assert project.cli("apply", ".", "--junit", "junit.xml", "--on-pause", "ok").code == 0
    assert cases(project) == {"m/(manifest)": "skipped"}


def test_a_report_of_what_ran_is_not_written_over_when_something_else_cannot_be(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    with Path("/dev/full").open("w") as full:
        argv = [sys.executable, "-m", "runner", "apply", ".", "--junit", "junit.xml"]
        done = subprocess.run(argv, env=environment(), stdout=full, stderr=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 8
    assert cases(project) == {"hello/greet": "passed", "hello/shout": "passed"}


def test_a_report_that_cannot_be_written_leaves_the_others_as_they_are(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    done = project.cli("apply", ".", "--junit", "junit.xml", "--summary", "/proc/sys/no-such-report")
    assert done.code == 8
    assert "error: the report /proc/sys/no-such-report cannot be written" in done.err
    assert "hello" in done.out and "HELLO WORLD" in done.out, "what ran is told all the same"
    assert cases(project) == {"hello/greet": "passed", "hello/shout": "passed"}


def test_a_document_tells_what_ran_also_when_a_report_cannot_be_written(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    done = project.cli("apply", ".", "--json", "--junit", "/proc/sys/no-such-report")
    assert done.code == 8
    assert (done.json["outcome"], done.json["exit_code"]) == ("error", 8)
    assert [run["state"] for run in done.json["runs"]] == ["succeeded"]


def test_a_report_goes_into_a_pipe_or_device_and_does_not_take_its_place(project: Project) -> None:
    project.write("hello.yaml", HELLO)
    pipe = project.root / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
    try:
        assert project.cli("apply", ".", "--junit", "pipe").code == 0
        assert "<testsuites" in reader.communicate(timeout=20)[0]
    finally:
        reader.kill()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert project.program("report", "hello", "--html", "/dev/stdout").stdout.startswith("<!doctype html>")


def test_a_summary_holds_nothing_that_turns_the_direction_of_text(project: Project) -> None:
    project.write("odd.yaml", 'ares: v1\nname: odd\nsteps: {a: {fail: "\\u202eabc\\u2066"}}\n')
    assert project.cli("apply", ".", "--summary", "page.md").code == 1
    page = (project.root / "page.md").read_text()
    assert "abc" in page
    assert not {"\u202e", "\u2066"} & set(page)
