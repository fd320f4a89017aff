"""docs/rules.md, made from the table of rules. Write it with:
python -c "from runner.diagnostics.page import document; print(document(), end='')" > docs/rules.md"""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnostics.rule import Rule
from runner.diagnostics.rules_config import CONFIG_RULES
from runner.diagnostics.rules_flow import FLOW_RULES
from runner.diagnostics.rules_names import NAME_RULES
from runner.diagnostics.rules_shape import SHAPE_RULES
from runner.diagnostics.rules_test import TEST_RULES
from runner.diagnostics.rules_yaml import YAML_RULES

SECTIONS: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("YAML", YAML_RULES),
    ("Shape: keys and values", SHAPE_RULES),
    ("Names and templates", NAME_RULES),
    ("Flow: edges, fan-out, chains, calls", FLOW_RULES),
    ("config.yaml", CONFIG_RULES),
    ("Suites of tests", TEST_RULES),
)

_HEAD = """\
# Rules

Generated from `runner/diagnostics/rules_*.py` (`runner/diagnostics/page.py`); a test keeps it fresh.

Every mistake that `runner validate` finds names its rule: `file:line:column: error[rule]: path: message`. `runner explain RULE` prints what stands
here. Errors stop everything; warnings do not, and `# runner: ignore[rule]` on their line silences one.
"""


def document() -> str:
    """The whole page. Its examples are fragments, so they are fenced otherwise than the YAML that a test reads as a whole."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for title, rules in SECTIONS:
        yield f"## {title}\n"
        yield "| rule | severity | what is wrong |"
        yield "|---|---|---|"
        yield from (f"| [`{rule.id}`](#{rule.id}) | {rule.severity} | {_cell(rule.title)} |" for rule in rules)
        yield ""
        for rule in rules:
            yield from _rule(rule)


def _rule(rule: Rule) -> Iterator[str]:
    yield f"### {rule.id}\n"
    yield f"{rule.severity.capitalize()}: {rule.title}. {rule.explanation}\n"
    yield "Wrong:\n"
    yield f"~~~yaml\n{rule.example_bad}\n~~~\n"
    yield "Right:\n"
    yield f"~~~yaml\n{rule.example_good}\n~~~\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
