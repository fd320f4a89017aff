"""`runner generate` on a real folder."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from cli_project import Project

from runner.api.generating import Wish, generation, write
from runner.api.settings import load_config
from runner.errors import UsageError

TEMPLATE = """\
ares: v1
name: check-[[ row.name ]]
vars: {note: [[ row.note ]]}
steps:
  say: {run: [echo, "{{ vars.note }}", [[ row.note ]]], effects: none}
outputs: {said: "{{ steps.say.text }}"}
"""
ROWS = 'name,note\na,"{{ secrets.X }}: ""#"""\nb,two\nc,three\n'
ARGS = ("generate", "t.yaml", "--rows", "rows.csv", "-o", "out")


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, capsys)
    made.write("t.yaml", TEMPLATE)
    made.write("rows.csv", ROWS)
    return made


def tree(project: Project) -> dict[str, tuple[bytes, int]]:
    """Every file of the results: content, and when it was written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (project.root / "out").iterdir()}


def test_each_row_becomes_a_manifest_that_runs_with_its_data_as_it_was(project: Project) -> None:
    done = project.cli(*ARGS)
    assert (done.code, done.err) == (0, "3 new\n")
    assert done.out == "+ out/check-a.yaml\n+ out/check-b.yaml\n+ out/check-c.yaml\n"
    ran = project.cli("apply", "out/check-a.yaml", "--json")
    assert ran.json["runs"][0]["outputs"] == {"said": '{{ secrets.X }}: "#" {{ secrets.X }}: "#"'}


def test_the_second_time_nothing_is_written_and_the_bytes_are_the_same_elsewhere(project: Project) -> None:
    project.cli(*ARGS)
    before = tree(project)
    done = project.cli(*ARGS)
    assert (done.code, done.out, done.err) == (0, "", "3 unchanged\n")
    assert tree(project) == before
    assert project.cli(*ARGS, "--check").code == 0
    other = project.root / "elsewhere"
    (other / ".ares").mkdir(parents=True)
    for name in ("t.yaml", "rows.csv"):
        (other / name).write_bytes((project.root / name).read_bytes())
    os.chdir(other)
    project.cli(*ARGS)
    assert {path.name: path.read_bytes() for path in (other / "out").iterdir()} == {
        n: c for n, (c, _) in before.items()
    }
    assert str(project.root).encode() not in b"".join(content for content, _ in before.values())


def test_check_says_what_would_change_and_writes_nothing(project: Project) -> None:
    done = project.cli(*ARGS, "--check")
    assert (done.code, done.err) == (6, "would be: 3 new\n")
    assert not (project.root / "out").exists()


def test_only_what_changed_is_written(project: Project) -> None:
    project.cli(*ARGS)
    before = tree(project)
    project.write("rows.csv", ROWS.replace("two", "2"))
    assert project.cli(*ARGS).out == "~ out/check-b.yaml\n"
    after = tree(project)
    assert {name for name in before if before[name] != after[name]} == {".generated.json", "check-b.yaml"}


def test_a_file_edited_by_hand_is_kept_and_nothing_else_is_written_either(project: Project) -> None:
    project.cli(*ARGS)
    edited = project.root / "out" / "check-a.yaml"
    edited.write_text(edited.read_text() + "# by hand\n")
    project.write("rows.csv", ROWS.replace("two", "2"))
    before = tree(project)
    done = project.cli(*ARGS)
    assert done.code == 2
    assert "check-a.yaml" in done.err
    assert tree(project) == before
    assert project.cli(*ARGS, "--check").code == 6
    assert project.cli(*ARGS, "--force").code == 0
    assert "by hand" not in edited.read_text()


def test_prune_removes_the_files_of_rows_that_are_gone_but_no_other(project: Project) -> None:
    project.cli(*ARGS)
    project.write("out/mine.yaml", "ares: v1\n")
    project.write("rows.csv", "name,note\na,1\n")
    kept = project.cli(*ARGS)
    assert "? out/check-b.yaml" in kept.out
    assert (project.root / "out" / "check-b.yaml").exists()
    edited = project.root / "out" / "check-c.yaml"
    edited.write_text("# mine now\n")
    assert project.cli(*ARGS, "--check", "--prune").code == 6
    assert project.cli(*ARGS, "--prune").code == 2
    assert project.cli(*ARGS, "--prune", "--force").code == 0
    assert sorted(tree(project)) == [".generated.json", "check-a.yaml", "mine.yaml"]


def test_an_index_of_a_stranger_removes_nothing_outside(project: Project) -> None:
    project.cli(*ARGS)
    victim = project.write("victim.yaml", "x")
    index = project.root / "out" / ".generated.json"
    document = json.loads(index.read_text())
    document["sets"][0]["files"]["../victim.yaml"] = "0" * 32
    index.write_text(json.dumps(document))
    done = project.cli(*ARGS, "--prune", "--force")
    assert done.code == 2
    assert victim.exists()


def test_a_link_in_the_way_is_not_followed(project: Project) -> None:
    victim = project.write("victim.yaml", "x")
    (project.root / "out").mkdir()
    (project.root / "out" / "check-a.yaml").symlink_to(victim)
    assert project.cli(*ARGS, "--force").code == 2
    assert victim.read_text() == "x"


def test_one_bad_row_and_nothing_is_written(project: Project) -> None:
    project.write("rows.csv", ROWS + "Not A Name,x\n")
    done = project.cli(*ARGS)
    assert done.code == 2
    assert "of row 4 has mistakes" in done.err
    assert not (project.root / "out").exists()


def test_all_bad_rows_are_told_at_once(project: Project) -> None:
    project.write("rows.jsonl", '{"name": "a"}\n{"name": "b", "note": "x"}\n{"nam": "c", "note": "\\u0000"}\n')
    done = project.cli("generate", "t.yaml", "--rows", "rows.jsonl", "-o", "out")
    assert done.code == 2
    assert "row 1 of rows.jsonl: there is no 'note'" in done.err
    assert "row 3 of rows.jsonl: there is no 'name'" in done.err


def test_a_template_that_makes_no_manifest_is_a_mistake(project: Project) -> None:
    project.write("t.yaml", "name: [[ row.name ]]\n")
    assert project.cli(*ARGS).code == 2


def test_two_rows_never_share_a_file(project: Project) -> None:
    project.write("rows.csv", "name,note\na,1\na,2\n")
    done = project.cli(*ARGS)
    assert done.code == 2
    assert "is the file of row 1 already" in done.err


def test_rows_may_be_files(project: Project) -> None:
    project.write("data/a.json", '{"note": "one"}')
    project.write("data/b.yaml", "note: two\n")
    project.write("t.yaml", TEMPLATE.replace("row.name", "row.stem").replace("row.note", "row.data.note"))
    done = project.cli("generate", "t.yaml", "--rows", "data/*", "-o", "out", "--path", "[[ row.stem ]]/m.yaml")
    assert done.out == "+ out/a/m.yaml\n+ out/b/m.yaml\n"


def test_rows_come_from_stdin(project: Project) -> None:
    done = project.program("generate", "t.yaml", "--rows", "-", "-o", "out", input='[{"name": "z", "note": "n"}]')
    assert (done.returncode, done.stdout) == (0, "+ out/check-z.yaml\n")
    assert "row 1 of stdin" in (project.root / "out" / "check-z.yaml").read_text()


@pytest.mark.parametrize(
    "args",
    [
        ("generate", "none.yaml", "--rows", "rows.csv"),
        ("generate", "t.yaml", "--rows", "none.csv"),
        ("generate", "t.yaml", "--rows", "/etc/*"),
        ("generate", "t.yaml", "--rows", "../*.csv"),
        ("generate", "t.yaml"),
        (*ARGS, "--path", "../[[ row.name ]].yaml"),
        (*ARGS, "--path", "[[ row.note ]].txt"),
        (*ARGS, "--path", "[[ row"),
    ],
)
def test_requests_that_make_no_sense_are_refused(project: Project, args: tuple[str, ...]) -> None:
    done = project.cli(*args)
    assert done.code == 2
    assert done.err
    assert "Traceback" not in done.err


def test_a_thousand_rows_take_less_than_ten_seconds_and_the_second_time_writes_nothing(project: Project) -> None:
    rows = "".join(f'x{n},"{{{{ secrets.N{n} }}}}: ""#"""\n' for n in range(1000))
    project.write("rows.csv", f"name,note\n{rows}")
    begin = time.process_time()  # of this process: others on the machine change nothing
    assert project.cli(*ARGS, "-q").code == 0
    assert time.process_time() - begin < 10
    before = tree(project)
    assert len(before) == 1001
    done = project.cli(*ARGS)
    assert (done.code, done.err) == (0, "1000 unchanged\n")
    assert tree(project) == before


def test_the_recipe_does_what_it_says(project: Project) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "recipes" / "generate.md").read_text()
    rows, template = re.findall(r"^```text\n((?:.*\n)*?)^```$", page, re.MULTILINE)
    [(command, said)] = re.findall(r"^```console\n\$ runner (.*)\n((?:.*\n)*?)^```$", page, re.MULTILINE)
    project.write("services.csv", rows)
    project.write("templates/check.yaml", template)
    done = project.cli(*command.split())
    assert (done.code, done.out) == (0, said)
    assert "Ada, on call" in (project.root / "manifests/checks/check-billing.yaml").read_text()
    assert project.cli("fmt", "manifests", "--check").code == 0


def test_a_template_whose_name_is_no_text_is_named_as_far_as_it_goes(project: Project) -> None:
    odd = os.fsdecode(b"t-\xff.yaml")
    (project.root / odd).write_text(TEMPLATE)
    done = project.cli("generate", odd, "--rows", "rows.csv", "-o", "out")
    assert (done.code, done.err) == (0, "3 new\n")
    assert project.cli("generate", odd, "--rows", "rows.csv", "-o", "out").err == "3 unchanged\n"
    index = json.loads((project.root / "out/.generated.json").read_text())
    assert [made["template"] for made in index["sets"]] == ["t-\ufffd.yaml"]


def test_a_file_that_somebody_saves_while_all_is_validated_is_not_written_over(project: Project) -> None:
    done = generation(Wish(Path("t.yaml"), "rows.csv", Path("out")), load_config(None, start=project.root, env={}))
    project.write("out/check-b.yaml", "saved just now\n")
    with pytest.raises(UsageError, match=r"changed just now by somebody else, so nothing was written: check-b\.yaml"):
        write(done)
    assert [path.name for path in (project.root / "out").iterdir()] == ["check-b.yaml"]
