"""Reading YAML: what becomes data, what is refused, and that everything wrong is told at once."""

from __future__ import annotations

import pytest

from runner.diagnostics.model import Diagnostic
from runner.syntax import Limits, arrange, looks_like_manifest, read


def data_of(text: str | bytes) -> object:
    documents, diagnostics = read(text.encode() if isinstance(text, str) else text, "f.yaml")
    assert diagnostics == []
    (document,) = documents
    return document.data


def mistakes(text: str | bytes, limits: Limits | None = None) -> list[Diagnostic]:
    return read(text.encode() if isinstance(text, str) else text, "f.yaml", limits or Limits())[1]


def told(text: str | bytes) -> list[tuple[str, int, int]]:
    return [(one.rule, one.span.line, one.span.column) for one in mistakes(text) if one.span]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("on", "on"),
        ("No", "No"),
        ("2026-12-01", "2026-12-01"),
        ("1:30", "1:30"),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0xFf", 255),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1e3", -1000.0),
        ("1.2.3", "1.2.3"),
        ("e3", "e3"),
        ("=", "="),
        ("'12'", "12"),
        ('"true"', "true"),
        ("tRue", "tRue"),
        ("10m", "10m"),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    data = data_of(f"a: {text}")
    assert data == {"a": value}
    assert type(data["a"]) is type(value)  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{hint?: string, a: [b?]}", {"hint?": "string", "a": ["b?"]}),
        ("{url: http://127.0.0.1:11434, l: [a:b]}", {"url": "http://127.0.0.1:11434", "l": ["a:b"]}),
        ("a: |\n  x\n   y\n\nb: >-\n  c\n  d\n", {"a": "x\n y\n", "b": "c d"}),
        ("a: 'it''s'\nb: \"\\u00e9\\n\"", {"a": "it's", "b": "é\n"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: |\r\n  c\r\n  d\r\n", {"a": 1, "b": "c\nd\n"}),
        ("a:\nb: ''", {"a": None, "b": ""}),
        ("'<<': 1", {"<<": 1}),
        ("- 1\n- [2, {a: 3}]", [1, [2, {"a": 3}]]),
        ('{"a":1,"b":[true,null]}', {"a": 1, "b": [True, None]}),
        ("a: \U0001f600\nb: 2", {"a": "\U0001f600", "b": 2}),
    ],
)
def test_good_texts_become_plain_data(text: str, value: object) -> None:
    assert data_of(text) == value


def test_aliases_and_merge_keys_are_expanded() -> None:
    text = "base: &base {a: 1, b: [x]}\nuse: *base\nm:\n  <<: *base\n  a: 2\nn: {<<: [{a: 3}, *base], c: 4}\n"
    assert data_of(text) == {
        "base": {"a": 1, "b": ["x"]},
        "use": {"a": 1, "b": ["x"]},
        "m": {"a": 2, "b": ["x"]},
        "n": {"a": 3, "b": ["x"], "c": 4},
    }


def test_an_alias_is_a_copy() -> None:
    data = data_of("a: &a [1]\nb: *a\n")
    assert data["a"] is not data["b"]  # type: ignore[index]


def test_all_documents_of_a_stream_are_read_and_empty_ones_passed_over() -> None:
    documents, diagnostics = read(b"---\n# nothing\n---\na: 1\n---\nares: v1\n...\n---\n", "f.yaml")
    assert [one.data for one in documents] == [{"a": 1}, {"ares": "v1"}]
    assert [one.is_manifest for one in documents] == [False, True]
    assert diagnostics == []


@pytest.mark.parametrize("data", [b"", b"# only a comment\n", b"\n\n  \n", b"---\n", b"\xef\xbb\xbf"])
def test_files_without_a_document_are_no_mistake(data: bytes) -> None:
    assert read(data, "f.yaml") == ([], [])


@pytest.mark.parametrize(
    ("text", "rule", "line", "column"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "duplicate-key", 4, 3),
        ("a: !!int '3'\n", "yaml-tag", 1, 4),
        ("a: &x !y {b: 1}\n", "yaml-tag", 1, 4),
        ("%YAML 1.2\n---\na: 1\n", "yaml-directive", 1, 1),
        ("%FOO\n---\na: 1\n", "yaml-directive", 1, 1),
        ("%TAG !e! tag:x,2000:\n---\na: 1\n", "yaml-directive", 1, 1),
        ("1: a\n", "yaml-key", 1, 1),
        ("a: {true: b}\n", "yaml-key", 1, 5),
        ("? [a]\n: b\n", "yaml-key", 1, 3),
        ("? \n: b\n", "yaml-key", 1, 2),
        ("a: &a x\n*a : 1\n", "yaml-key", 2, 1),
        ("a: .nan\n", "yaml-number", 1, 4),
        ("a: -.inf\n", "yaml-number", 1, 4),
        ("a: 1e999\n", "yaml-number", 1, 4),
        ("a: 9223372036854775808\n", "yaml-number", 1, 4),
        (f"a: {'9' * 5000}\n", "yaml-number", 1, 4),
        (f"a: 0x{'f' * 5000}\n", "yaml-number", 1, 4),
        ('a: "\\a"\n', "yaml-character", 1, 4),
        ('a: "\\ud800"\n', "yaml-character", 1, 7),
        ("a: x\x00y\n", "yaml-character", 1, 5),
        ("a: \x1b[31m\n", "yaml-character", 1, 4),
        ("a: 1\u2028b: 2\n", "yaml-character", 1, 5),
        ("# x\x85b: 2\n", "yaml-character", 1, 4),
        ("a: *b\n", "yaml-alias", 1, 4),
        ("a: &a [*a]\n", "yaml-alias", 1, 8),
        ("a: &a\n  <<: *a\n", "yaml-alias", 2, 7),
        ("a: {<<: 3}\n", "yaml-merge", 1, 9),
        ("a: {<<: [{}, x]}\n", "yaml-merge", 1, 14),
        ("a: {<<: {}, <<: {}}\n", "duplicate-key", 1, 13),
        ("a: &x 1\nb: &x 2\n", "yaml-anchor-duplicate", 2, 4),
    ],
)
def test_what_the_language_does_not_have_is_refused_at_its_place(text: str, rule: str, line: int, column: int) -> None:
    assert told(text) == [(rule, line, column)]


def test_a_duplicate_key_says_where_the_first_is() -> None:
    (diagnostic,) = mistakes("a: 1\nbb: 2\nbb: 3\n")
    assert diagnostic.path == "bb"
    assert [(span.line, span.column, span.end_column) for span, _ in diagnostic.notes] == [(2, 1, 3)]


@pytest.mark.parametrize("data", [b"a: \xff\n", b"a: \xc3(\n", "a: é".encode("latin-1"), b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf_8_are_named_with_their_place(data: bytes) -> None:
    (diagnostic,) = mistakes(data)
    assert diagnostic.rule == "encoding"
    assert diagnostic.span is not None
    assert "0x" in diagnostic.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_unicode_encodings_are_refused(encoding: str) -> None:
    rules = {one.rule for one in mistakes("ares: v1\n".encode(encoding))}
    assert rules <= {"encoding", "yaml-character", "too-many"}
    assert rules


@pytest.mark.parametrize(
    ("text", "limits", "name"),
    [
        ("a: 12345\n", Limits(file_bytes=8), "file_bytes"),
        ("[[[[1]]]]", Limits(depth=3), "depth"),
        ("a: &a [[1]]\nb: [[*a]]\n", Limits(depth=4), "depth"),
        ("a: &a 1\nb: [*a, *a, *a]\n", Limits(aliases=2), "aliases"),
        ("[1, 2, 3, 4]", Limits(nodes=3), "nodes"),
        ("a: &a [1, 2, 3]\nb: [*a, *a, *a]\n", Limits(nodes=10), "nodes"),
        ("a: &a {x: 1, y: 2}\nb: [{<<: *a}, {<<: *a}]\n", Limits(nodes=8), "nodes"),
        (f"a: &a {'x' * 20_000}\nb: [{', '.join(['*a'] * 9)}]\n", Limits(nodes=100), "nodes"),
    ],
)
def test_each_limit_is_named_when_hit(text: str, limits: Limits, name: str) -> None:
    (diagnostic,) = mistakes(text, limits)
    assert diagnostic.rule == "limit"
    assert f"`{name}`" in diagnostic.message


def test_what_reaches_a_limit_exactly_is_good() -> None:
    assert mistakes("[[[1]]]", Limits(depth=3)) == []
    assert mistakes("a: &a 1\nb: [*a, *a]\n", Limits(aliases=2)) == []
    assert mistakes("[1, 2, 3]", Limits(nodes=4)) == []
    assert mistakes("a: 1\n", Limits(file_bytes=5)) == []


def test_every_mistake_is_told_at_once() -> None:
    text = "when: a == 'b: c'\nx: {{ y }} z\nwith: {n: {{ y }}, n: 1}\nglob: **/*.py\n1: !t .nan\n"
    assert told(text) == [
        ("quote-expression", 1, 7),
        ("quote-template", 2, 4),
        ("quote-template", 3, 11),
        ("duplicate-key", 3, 20),
        ("yaml-syntax", 4, 7),
        ("yaml-key", 5, 1),
        ("yaml-tag", 5, 4),
        ("yaml-number", 5, 7),
    ]


def test_a_document_with_a_mistake_is_still_given() -> None:
    documents, diagnostics = read(b"ares: v1\na: {{ x }}\na: 2\n", "f.yaml")
    assert documents[0].data == {"ares": "v1", "a": "{{ x }}"}
    assert len(diagnostics) == 2


def test_documents_before_a_syntax_error_are_given() -> None:
    documents, diagnostics = read(b"a: 1\n---\nb: [\n", "f.yaml")
    assert [one.data for one in documents] == [{"a": 1}]
    assert [one.rule for one in diagnostics] == ["yaml-syntax"]


def test_at_most_fifty_mistakes_are_shown_and_the_rest_counted() -> None:
    diagnostics = arrange(mistakes("".join(f"{number}: x\n" for number in range(80))))
    assert len(diagnostics) == 51
    assert diagnostics[-1].rule == "too-many"
    assert "30 more" in diagnostics[-1].message


@pytest.mark.parametrize("data", [b"ares: v1\n\t", b"# c\nares: [", b"\xef\xbb\xbfares: v1", b"a\r\nares:\r\n"])
def test_a_line_that_starts_with_ares_makes_a_broken_file_a_manifest(data: bytes) -> None:
    assert looks_like_manifest(data)


@pytest.mark.parametrize("data", [b"", b"name: x", b"  ares: v1", b"# ares: v1", b"xares: v1"])
def test_other_broken_files_do_not_look_like_manifests(data: bytes) -> None:
    assert not looks_like_manifest(data)
