"""Loading real files: every mistake at once, also those behind a mistake of another kind."""

from __future__ import annotations

from pathlib import Path

from runner.api.load import Loaded, load
from runner.api.settings import load_config


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
