"""The shape of a rule: what `runner explain RULE` prints. The rules themselves are in `rules.py` and the tables it joins."""

from typing import NamedTuple

from runner.diagnostics.model import Severity


class Rule(NamedTuple):
    """One kind of mistake. `title` says what is wrong in one line, `explanation` why it is one and what to do; the examples are YAML."""

    id: str
    severity: Severity
    title: str
    explanation: str
    example_bad: str
    example_good: str
