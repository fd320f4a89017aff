"""JUnit files and Markdown pages: whatever a step says, they parse, and it stays text."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.reporters.junit import MOST_TEXT, Case, Suite, junit
from runner.reporters.markdown import LIMIT, code, markdown
from runner.reporters.words import ODD

WORDS = st.text(st.characters(), max_size=40)

ALLOWED: dict[str, tuple[set[str], set[str], list[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "testcase": ({"name"}, {"time", "classname", "group"}, ["skipped", "error", "failure", "system-out", "system-err"]),
    "skipped": (set(), {"type", "message"}, []),
    "error": (set(), {"type", "message"}, []),
    "failure": (set(), {"type", "message"}, []),
    "system-out": (set(), set(), []),
}
"""Of junit-10.xsd, which Jenkins (its xunit plugin) checks against: needed and possible attributes, and children in the order in which
we write them. No package on PyPI brings that file."""


def checked(text: str) -> ElementTree.Element:
    """The document, after it was held to the schema."""
    root = ElementTree.fromstring(text.encode())
    for element in root.iter():
        needed, possible, children = ALLOWED[element.tag]
        assert needed <= set(element.attrib) <= needed | possible, element.tag
        places = [children.index(child.tag) for child in element]
        assert places == sorted(places), element.tag
        for name in {"tests", "failures", "errors", "skipped"} & set(element.attrib):
            assert int(element.attrib[name]) >= 0
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
        if "timestamp" in element.attrib:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", element.attrib["timestamp"])
        if element.tag in ("testsuite", "testsuites"):
            cases = list(element.iter("testcase"))
            assert int(element.attrib["tests"]) == len(cases)
            for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
                if count in element.attrib:
                    assert int(element.attrib[count]) == sum(case.find(tag) is not None for case in cases)
    return root


@given(
    name=WORDS,
    message=WORDS,
    output=WORDS,
    verdict=st.sampled_from(["passed", "failed", "error", "skipped"]),
)
def test_a_junit_file_parses_and_fits_its_schema_whatever_a_step_says(
    name: str, message: str, output: str, verdict: str
) -> None:
    case = Case(name, verdict, 5, "tool_error", message, output)  # type: ignore[arg-type]
    root = checked(
        junit([Suite(name, (case, case), run=name, outputs=((name, output),), started="2026-01-01T00:00:00")])
    )
    assert len(root.findall("./testsuite/testcase")) == 2


def test_what_xml_cannot_hold_is_left_out_and_the_rest_stays() -> None:
    case = Case(
        "s",
        "failed",
        0,
        "crash",
        "\x1b[31mred\x1b[0m \x00nul \x1b end ]]> <b>&amp;",
        "a\x1b]0;title\x07b\ud800\ufffe\nc",
    )
    root = checked(junit([Suite("m", (case,))]))
    assert root.findtext(".//failure") == "red nul  end ]]> <b>&amp;"
    assert root.findtext(".//system-out") == "ab\nc"


def test_a_long_output_is_cut_and_the_cut_is_marked() -> None:
    root = checked(junit([Suite("m", (Case("s", "passed", output="x" * (MOST_TEXT + 7)),))]))
    assert str(root.findtext(".//system-out")).endswith("x\n[7 characters more]")


def test_an_empty_apply_is_a_document_too() -> None:
    checked(junit([]))
    assert markdown([], 0) == "### runner apply: ok\n\n"


@given(text=WORDS)
def test_data_is_neither_markdown_nor_html_on_the_page(text: str) -> None:
    shown = code(text)
    inner = shown.removeprefix("<code>").removesuffix("</code>")
    assert "\n" not in inner
    assert "<" not in inner and ">" not in inner
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]|@~$:]", inner)
    plain = html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", inner))
    legal = re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
    assert plain == " ".join(re.sub(ODD, " ", legal).split())


@pytest.mark.parametrize(
    "text", ["</code><script>", "a | b", "@everyone", "[x](javascript:y)", "```", "$x$", "![i](h)"]
)
def test_a_row_of_the_page_keeps_its_cells(text: str) -> None:
    page = markdown([Suite(text, (Case(text, "failed", 1, text, text),), state="failed", outputs=((text, text),))], 1)
    rows = [line for line in page.splitlines() if line.startswith("| ✗")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 7
    assert "<script" not in page


def test_a_page_stays_below_what_github_takes() -> None:
    suites = [Suite(f"m{n}", (), outputs=(("o", "é" * 300),)) for n in range(3000)]
    page = markdown(suites, 0)
    assert len(page.encode()) < LIMIT + 100
    assert page.endswith("The rest was cut.\n")
