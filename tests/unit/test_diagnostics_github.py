"""Mistakes as annotations of GitHub Actions."""

from __future__ import annotations

import pytest

from runner.diagnostics.github import MOST, annotation, to_github
from runner.diagnostics.model import Diagnostic, Severity
from runner.diagnostics.uri import relative_name, uri
from runner.source import Span

HERE = "/src"


def mistake(message: str = "no", severity: Severity = "error", **more: object) -> Diagnostic:
    given = {"file": "a.yaml", "span": Span(3, 5, 3, 9), "rule": "unknown-key", "path": "steps.a", "fix": None, **more}
    return Diagnostic(severity=severity, message=message, **given)  # type: ignore[arg-type]


def annotations(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("::error ", "::warning "))]


def test_an_annotation_names_file_place_and_rule() -> None:
    assert annotation(mistake(fix="remove it"), HERE, HERE) == (
        "::error file=a.yaml,line=3,endLine=3,col=5,endColumn=9,title=unknown-key::steps.a: no%0Aremove it"
    )


def test_a_region_over_several_lines_has_no_columns() -> None:
    assert "line=3,endLine=4,title" in annotation(mistake(span=Span(3, 5, 4, 2)), HERE, HERE)


def test_a_mistake_without_a_place_names_the_file_only() -> None:
    assert annotation(mistake(span=None, path=""), HERE, HERE) == "::error file=a.yaml,title=unknown-key::no"


def test_what_could_end_a_command_or_begin_another_is_escaped() -> None:
    line = annotation(mistake("100%\r\n::set-env name=X::y", file="odd,na:me%.yaml", fix="a\n::error::b"), HERE, HERE)
    assert "\n" not in line and "\r" not in line
    assert line.startswith("::error file=odd%2Cna%3Ame%25.yaml,")
    assert "100%25" in line and line.endswith("%0Aa%0A::error::b")


def test_only_ten_errors_and_ten_warnings_are_annotations_and_the_rest_is_counted() -> None:
    many = [mistake(f"e{at}") for at in range(13)] + [mistake(f"w{at}", "warning") for at in range(11)]
    text = to_github(many, "the text", token="t0k3n", root=HERE, here=HERE)
    shown = annotations(text)
    assert (
        sum(line.startswith("::error ") for line in shown)
        == MOST
        == sum(line.startswith("::warning ") for line in shown)
    )
    assert "3 more errors above: GitHub shows 10 of a step" in text
    assert "1 more warning above" in text


def test_the_full_text_stands_where_no_line_of_it_is_a_command() -> None:
    text = to_github([mistake()], "a.yaml:3:5: error\n::error::not a command", token="t0k3n", root=HERE, here=HERE)
    lines = text.splitlines()
    assert lines[0] == "::stop-commands::t0k3n"
    assert lines.index("::t0k3n::") > lines.index("::error::not a command")
    assert len(annotations("\n".join(lines[lines.index("::t0k3n::") :]))) == 1


def test_notes_are_no_annotations() -> None:
    assert annotations(to_github([mistake(severity="note")], "text", token="t", root=HERE, here=HERE)) == []


@pytest.mark.parametrize(
    ("file", "root", "here", "name"),
    [
        ("a.yaml", "/src", "/src", "a.yaml"),
        ("./m/../a.yaml", "/src", "/src", "a.yaml"),
        ("a.yaml", "/src", "/src/sub", "sub/a.yaml"),
        ("../a.yaml", "/src", "/src/sub", "a.yaml"),
        ("/src/sub/a.yaml", "/src/", "/elsewhere", "sub/a.yaml"),
        ("/other/a.yaml", "/src", "/src", "/other/a.yaml"),
        ("../a.yaml", "/src", "/src", "../a.yaml"),
    ],
)
def test_files_are_named_from_the_root_of_the_checkout(file: str, root: str, here: str, name: str) -> None:
    assert relative_name(file, root, here) == name


def test_names_become_uris() -> None:
    assert uri("ü y%/#a?.yaml") == "%C3%BC%20y%25/%23a%3F.yaml"
    assert uri("bad\udcff.yaml") == "bad%FF.yaml"
