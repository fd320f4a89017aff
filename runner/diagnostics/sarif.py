"""Diagnostics as a SARIF 2.1.0 log, for code scanning of GitHub, editors and other viewers. Rules carry their help; nothing in it
names this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.diagnostics.model import Diagnostic, Severity
from runner.diagnostics.rule import Rule
from runner.diagnostics.uri import relative_name, uri
from runner.source import Span

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ROOT_ID = "%SRCROOT%"
_LEVELS: Mapping[Severity, str] = {"error": "error", "warning": "warning", "note": "note"}


def to_sarif(
    diagnostics: Sequence[Diagnostic], rules: Mapping[str, Rule], *, version: str, root: str, here: str
) -> dict[str, Any]:
    """The log. `rules`: the table of all rules; those that were broken are described. `root`: the checkout, `here`: the working
    directory that names of files count from; both absolute paths."""
    used = sorted({one.rule for one in diagnostics})
    index = {rule: at for at, rule in enumerate(used)}
    driver = {
        "name": "runner",
        "fullName": "Omni-Orchestrator (ARES)",
        "version": version,
        "rules": [_rule(rules[id]) for id in used],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {ROOT_ID: {"description": {"text": "The root of the source tree."}}},
        "results": [_result(one, index[one.rule], root, here) for one in diagnostics],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    bad, good = rule.example_bad, rule.example_good
    plain = f"{rule.explanation}\n\nWrong:\n{_indented(bad)}\n\nRight:\n{_indented(good)}"
    markdown = f"{rule.explanation}\n\nWrong:\n\n```yaml\n{bad}\n```\n\nRight:\n\n```yaml\n{good}\n```"
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.id.split("-")),
        "shortDescription": {"text": _sentence(rule.title)},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": plain, "markdown": markdown},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _result(one: Diagnostic, rule: int, root: str, here: str) -> dict[str, Any]:
    words = f"{one.path}: {one.message}" if one.path else one.message
    place = relative_name(one.file, root, here)
    result: dict[str, Any] = {
        "ruleId": one.rule,
        "ruleIndex": rule,
        "level": _LEVELS[one.severity],
        "message": {"text": _text(f"{words}\n{one.fix}" if one.fix else words)},
        "locations": [{"physicalLocation": _location(place, one.span)}],
    }
    if one.path:
        result["locations"][0]["logicalLocations"] = [{"fullyQualifiedName": _text(one.path)}]
    if one.notes:
        result["relatedLocations"] = [
            {"id": at, "physicalLocation": _location(place, span), "message": {"text": _text(message)}}
            for at, (span, message) in enumerate(one.notes)
        ]
    return result


def _location(place: str, span: Span | None) -> dict[str, Any]:
    artifact = {"uri": uri(place), **({} if place.startswith("/") else {"uriBaseId": ROOT_ID})}
    return {"artifactLocation": artifact, **({"region": _region(span)} if span else {})}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": max(span.end_column, span.column) if span.line == span.end_line else span.end_column,
    }


def _text(text: str) -> str:
    """Valid Unicode: names of files and keys may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")
