"""Loading real files: every mistake at once, also those behind a mistake of another kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.api.load import Loaded, load
from runner.api.settings import load_config
from runner.errors import UsageError


def loaded(folder: Path, **files: str) -> Loaded:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / ".ares").mkdir()
    return load([folder], load_config(None, start=folder, env={}))


def told(found: Loaded) -> list[tuple[str, str]]:
    return [(d.rule, d.path) for d in found.diagnostics]


BAD = """\
ares: v1
name: x
inputs: {n: integer}
steps:
  build: {run: [make], timout: 5m}
  test: {run: [echo, "{{ steps.biuld.text }} {{ inputs.m }}"], needs: [biuld], timeout: 10x}
  odd: {foo: 1}
  reader: {set: {a: "{{ steps.odd.output.b }}", b: "{{ steps.test.text | uper }}"}}
"""


def test_mistakes_of_shape_do_not_hide_mistakes_of_meaning(tmp_path: Path) -> None:
    found = loaded(tmp_path, x=BAD)
    assert told(found) == [
        ("unknown-key", "steps.build.timout"),
        ("unknown-step", "steps.test.run[1]"),
        ("unknown-input", "steps.test.run[1]"),
        ("unknown-step", "steps.test.needs[0]"),
        ("duration", "steps.test.timeout"),
        ("verb-missing", "steps.odd"),
        ("unknown-filter", "steps.reader.set.b"),
    ]
    assert not found.manifests


def test_a_step_with_an_impossible_id_does_not_hide_the_mistakes_of_the_others(tmp_path: Path) -> None:
    text = "ares: v1\nname: x\nsteps:\n  a-b: {run: [make]}\n  c: {run: [make], needs: [a_b, d]}\n"
    assert told(loaded(tmp_path, x=text)) == [("id-hyphen", "steps.a-b"), ("unknown-step", "steps.c.needs[1]")]


def test_a_mistake_of_shape_hides_neither_a_cycle_nor_a_callee_nor_a_field_that_is_not_there(tmp_path: Path) -> None:
    steps = "  k: {call: nobody}\n  u: {run: ['{{ steps.v.txt }}']}\n  v: {run: ['{{ steps.u.text }}']}\n"
    text = f"ares: v1\nname: x\nlabels: 5\nsteps:\n{steps}"
    rules = {rule for rule, _ in told(loaded(tmp_path, x=text))}
    assert rules == {"wrong-type", "unknown-callee", "unknown-field", "cycle"}


def test_fields_of_a_step_that_was_healed_are_not_doubted(tmp_path: Path) -> None:
    steps = "  a: {run: [make], returns: {n: integr}}\n  b: {run: ['{{ steps.a.output.n }}']}\n"
    assert {rule for rule, _ in told(loaded(tmp_path, x=f"ares: v1\nname: x\nsteps:\n{steps}"))} == {"schema-invalid"}


def test_a_manifest_with_a_key_given_twice_is_no_good_one(tmp_path: Path) -> None:
    text = "ares: v1\nname: x\nsteps:\n  a: {run: [make]}\n  a: {run: [true]}\n"
    caller = "ares: v1\nname: caller\nsteps:\n  c: {call: x}\n"
    found = loaded(tmp_path, x=text, caller=caller)
    assert [rule for rule, _ in told(found)] == ["duplicate-key"]
    assert [manifest.graph.name for manifest in found.manifests] == ["caller"]


def test_what_is_healed_is_never_reported_as_missing(tmp_path: Path) -> None:
    text = "ares: v1\nname: x\ninputs: {n: 5}\nsteps:\n  a: {set: {v: '{{ inputs.n }}'}}\n"
    assert {rule for rule, _ in told(loaded(tmp_path, x=text))} & {"unknown-input", "unknown-step"} == set()


def test_a_manifest_that_calls_a_broken_one_is_not_blamed(tmp_path: Path) -> None:
    caller = "ares: v1\nname: caller\nsteps:\n  c: {call: x}\n"
    found = loaded(tmp_path, x=BAD, caller=caller)
    assert all(d.file.endswith("/x.yaml") for d in found.diagnostics)


def test_two_manifests_of_one_name_are_an_error_that_names_the_other_file(tmp_path: Path) -> None:
    text = "ares: v1\nname: x\nsteps:\n  a: {set: {v: 1}}\n"
    found = loaded(tmp_path, one=text, two=text)
    assert [d.rule for d in found.diagnostics] == ["duplicate-name"] and "one.yaml" in found.diagnostics[0].message


# ---------------------------------------------------------------- what nobody lets us read

GOOD = "ares: v1\nname: good\nsteps:\n  a: {set: {v: 1}}\n"


def test_a_file_that_may_not_be_read_is_a_mistake_among_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = Path.open

    def denied(path: Path, *args: Any, **named: Any) -> Any:
        if path.name == "closed.yaml" and args == ("rb",):
            raise PermissionError(13, "Permission denied", str(path))
        return opens(path, *args, **named)

    monkeypatch.setattr(Path, "open", denied)
    found = loaded(tmp_path, closed=GOOD, x="ares: v1\nname: x\nsteps: {a: {foo: 1}}\n", good=GOOD)
    assert [(Path(d.file).name, d.rule, d.message) for d in found.diagnostics] == [
        ("closed.yaml", "unreadable-file", "cannot be read: Permission denied"),
        ("x.yaml", "verb-missing", found.diagnostics[1].message),
    ]
    assert [entry.graph.name for entry in found.manifests] == ["good"]


def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def denied(path: Any) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UsageError, match="closed: Permission denied"):
        loaded(tmp_path, good=GOOD)


def test_a_manifest_whose_path_is_no_text_is_refused_before_anything_of_it_is_recorded(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd-\xff.yaml"))
    odd.write_text(GOOD.replace("good", "odd"))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/other-\xff.yaml")).write_text("just: data\n")
    found = loaded(tmp_path, good=GOOD)
    errors = [d for d in found.diagnostics if d.severity == "error"]
    assert [(d.file, d.rule, d.message) for d in errors] == [(str(odd), "encoding", "its path is not UTF-8 text")]
    assert [entry.graph.name for entry in found.manifests] == ["good"]
