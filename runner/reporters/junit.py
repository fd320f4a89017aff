"""What a run did, as a JUnit file: a suite for each manifest, a case for each step. Pure: values in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

Verdict = Literal["passed", "failed", "error", "skipped"]

MOST_TEXT: Final = 10_000
"""Characters of a step's output in the file."""
_TERMINAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_ILLEGAL: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """A step or item. `kind`: an error's class, or why nothing was done. `took`: milliseconds."""

    name: str
    verdict: Verdict
    took: int = 0
    kind: str = ""
    message: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """A manifest. `state`, `run`, `action`, `cost` (US dollars as text) for people; `started` is RFC 3339."""

    name: str
    cases: tuple[Case, ...]
    run: str = ""
    action: str = ""
    state: str = ""
    started: str = ""
    took: int = 0
    cost: str = ""
    outputs: tuple[tuple[str, str], ...] = ()


def legal(text: str) -> str:
    """`text` without what XML 1.0 cannot hold, and without the control sequences of terminals."""
    return _ILLEGAL.sub("", _TERMINAL.sub("", text))


def junit(suites: Sequence[Suite]) -> str:
    """The document."""
    root = Element("testsuites", {"name": "runner", **_counts([case for suite in suites for case in suite.cases])})
    del root.attrib["skipped"]  # the schema that Jenkins checks against has it for a suite only
    root.set("time", _seconds(sum(suite.took for suite in suites)))
    for suite in suites:
        _suite(root, suite)
    indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(root: Element, suite: Suite) -> None:
    made = SubElement(root, "testsuite", {"name": legal(suite.name), **_counts(suite.cases)})
    made.set("time", _seconds(suite.took))
    if suite.started:
        made.set("timestamp", suite.started)
    properties = SubElement(made, "properties")
    for name, value in (("run", suite.run), ("action", suite.action), ("state", suite.state)):
        SubElement(properties, "property", {"name": name, "value": legal(value)})
    for case in suite.cases:
        _case(made, suite.name, case)


def _case(suite: Element, manifest: str, case: Case) -> None:
    made = SubElement(suite, "testcase", {"name": legal(case.name), "classname": legal(manifest)})
    made.set("time", _seconds(case.took))
    if case.verdict == "skipped":
        SubElement(made, "skipped", {"message": legal(case.message or case.kind)})
    elif case.verdict != "passed":
        what = SubElement(made, "failure" if case.verdict == "failed" else "error")
        what.set("type", legal(case.kind))
        what.set("message", legal(case.message.split("\n", 1)[0]))
        what.text = legal(case.message)
    if case.output:
        cut = len(case.output) - MOST_TEXT
        SubElement(made, "system-out").text = legal(case.output[:MOST_TEXT]) + (
            f"\n[{cut} characters more]" if cut > 0 else ""
        )


def _counts(cases: Iterable[Case]) -> dict[str, str]:
    verdicts = [case.verdict for case in cases]
    return {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count("failed")),
        "errors": str(verdicts.count("error")),
        "skipped": str(verdicts.count("skipped")),
    }


def _seconds(millis: int) -> str:
    return f"{max(millis, 0) / 1000:.3f}"
