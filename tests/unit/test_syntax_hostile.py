"""Hostile files: whatever the bytes, reading ends soon, in bounded memory, with data or diagnostics."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.diagnostics.model import Diagnostic, Problem
from runner.diagnostics.render import to_json, to_text
from runner.syntax import Document, arrange, place, read

MIB = 1024 * 1024
SECONDS = 5.0


def fill(unit: str) -> str:
    return unit * (MIB // len(unit.encode()))


def alias_bomb() -> str:
    names = "abcdefghij"
    lines = [f"a: &a [{','.join('x' * 9)}]"]
    lines += [f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)]
    return "\n".join(lines)


BAD = {
    "100,000 brackets": "[" * 100_000,
    "1 MiB of brackets": fill("["),
    "braces": fill("{"),
    "brackets and braces": fill("[{a: "),
    "block lists in one line": fill("- "),
    "complex keys": fill("? "),
    "alias bomb": alias_bomb(),
    "merge bomb": "a0: &a0 {k: v}\n"
    + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, x{i}: *a{i - 1}}}\n" for i in range(1, 30)),
    "many items": "[" + "a," * 500_000 + "]",
    "many documents": fill("a\n---\n"),
    "empty documents": fill("---\n"),
    "many duplicates": fill("a: 1\n"),
    "many tags": fill("- !x y\n"),
    "many unknown aliases": fill("- *x\n"),
    "many numbers that are none": fill("- .nan\n"),
    "one long number": "- " + "9" * (MIB - 2),
    "one long hexadecimal number": "- 0x" + "f" * (MIB - 4),
    "one long key": "x" * (MIB - 5) + ": 1",
    "unquoted templates": fill("- {{ x }} y\n"),
    "unquoted templates in a list": "[" + fill("{{ x }},"),
    "tabs": "a:\n" + "\t" * (MIB - 10),
    "colons": "a: " + fill(": "),
    "an open quote": "a: '" + "\n" * (MIB - 10),
    "control characters": fill("\x01"),
    "broken expression": "when: " + fill("a: "),
    "spaces before a mistake": "a: b" + " " * (MIB - 20) + "c: d",
    "properties": "a: " + fill("&a !b ") + "x",
    "growing indentation": "".join(" " * i + "a:\n" for i in range(1300)),
}
GOOD = {
    "many keys": "".join(f"k{i}: 1\n" for i in range(95_000)),
    "many keys in a flow map": "{" + ",".join(f"k{i}: 1" for i in range(80_000)) + "}",
    "many anchors": "".join(f"- &a{i} x\n" for i in range(75_000)),
    "a long line": "a: " + "x" * (MIB - 10),
    "a long quoted text": 'a: "' + "x\\n" * (MIB // 3 - 10) + '"',
    "a long block": "a: |\n" + "  x\n" * 250_000,
    "a long folded text": "a: >\n" + "  x y\n" * 150_000,
    "comments": fill("# x\n"),
    "spaces": fill(" "),
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_file_of_one_mebibyte_ends_soon_with_a_diagnostic(name: str) -> None:
    data = BAD[name].encode()[:MIB]
    began = time.process_time()
    _, diagnostics = read(data, "f.yaml")
    told = arrange(diagnostics)
    shown = to_text(told, {"f.yaml": data.decode()})
    assert time.process_time() - began < SECONDS
    assert any(one.severity == "error" for one in diagnostics)
    assert len(told) <= 51
    assert len(shown) < 100_000


@pytest.mark.parametrize("name", GOOD)
def test_a_large_good_file_is_read(name: str) -> None:
    began = time.process_time()
    documents, diagnostics = read(GOOD[name].encode()[:MIB], "f.yaml")
    assert time.process_time() - began < SECONDS
    assert diagnostics == []
    for document in documents:
        keys = [("a",), ("k0",), (0,)]
        assert any(document.has(loc) and document.locate(loc, within=(1, 3)).line >= 1 for loc in keys)


def test_hostile_files_stay_below_256_mib_of_memory() -> None:
    program = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))\n"
        "from runner.syntax import read\n"
        f"m = {MIB}\n"
        "for text in ('[' + 'a,' * 500_000 + ']', '{' + ','.join(f'k{i}: 1' for i in range(80_000)) + '}', 'a\\n---\\n' * 170_000,\n"
        f"             {alias_bomb()!r}, '- &a x\\n' * 120_000, '? ' * 500_000, '[' * m):\n"
        "    read(text.encode()[:m], 'f')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def locs(value: object, loc: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [loc]
    if isinstance(value, dict):
        for key, item in value.items():
            found += locs(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += locs(item, (*loc, index))
    return found


def check(data: bytes, documents: list[Document], diagnostics: list[Diagnostic]) -> None:
    text = data.decode("utf-8", "replace")
    lines = text.count("\n") + text.count("\r") + 1
    for document in documents:
        for loc in locs(document.data)[:50]:
            assert document.has(loc)
            span = document.locate(loc, within=(1, 4))
            assert 1 <= span.line <= span.end_line <= lines
            assert span.column >= 1
            assert document.locate(loc, "key").line >= 1
        diagnostics += place([Problem("wrong-type", loc, "no") for loc in locs(document.data)[:5]], [document])
    for one in diagnostics:
        assert one.span is None or 1 <= one.span.line <= one.span.end_line <= lines
    assert to_json(diagnostics, 1)["version"] == 1
    assert "\x1b" not in to_text(diagnostics, {"f.yaml": text})


MANIFEST = """\
ares: v1
name: a-b
vars: &v {envs: [py311, "py 312"], n: 3, 'it''s': yes}
steps:
  one:
    run: |
      make {{ x }}

       all
    when: inputs.a == 'x'
    with: {<<: *v, number: "{{ inputs.issue }}\\n", hint?: string}   # comment
  two:
    model: >-
      folded
      text
    needs: [one]
---
- other
"""
PIECES = [
    "{{ ",
    " }}",
    ": ",
    "\t",
    "\n",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    "*v",
    "&v ",
    "!t ",
    "%YAML",
    "---\n",
    "<<: ",
    "#",
    "| ",
    "- ",
    "\\",
    "\x00",
    "\u2028",
    "é",
    "? ",
    ",",
]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_raise(data: bytes) -> None:
    check(data, *read(data, "f.yaml"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, "a", "b: ", "1", "  ", "when: "]), max_size=40))
def test_random_yaml_never_raises(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    check(data, *read(data, "f.yaml"))


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(MANIFEST)), st.integers(0, 5), st.sampled_from(["", *PIECES])),
        min_size=1,
        max_size=4,
    )
)
def test_mutated_manifests_never_raise(edits: list[tuple[int, int, str]]) -> None:
    text = MANIFEST
    for at, removed, added in edits:
        text = text[:at] + added + text[at + removed :]
    check(text.encode(), *read(text.encode(), "f.yaml"))


def test_the_manifest_that_is_mutated_is_good() -> None:
    documents, diagnostics = read(MANIFEST.encode(), "f.yaml")
    assert diagnostics == []
    assert [one.is_manifest for one in documents] == [True, False]


def test_reading_loads_neither_ruamel_nor_pydantic() -> None:
    program = (
        "import sys; from runner.syntax import read; read(b'ares: v1', 'f');"
        "bad = {'ruamel.yaml', 'pydantic', 'jinja2', 'asyncio'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
