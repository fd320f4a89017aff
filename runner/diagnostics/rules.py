"""Every rule of the language by id: the one table that severities, `runner explain` and the documentation come from.

The entries are in `rules_yaml`, `rules_shape`, `rules_names`, `rules_flow`, `rules_config` and `rules_test`, one file per stage that finds them.
"""

from __future__ import annotations

from types import MappingProxyType

from runner.diagnostics.rule import Rule
from runner.diagnostics.rules_config import CONFIG_RULES
from runner.diagnostics.rules_flow import FLOW_RULES
from runner.diagnostics.rules_names import NAME_RULES
from runner.diagnostics.rules_shape import SHAPE_RULES
from runner.diagnostics.rules_test import TEST_RULES
from runner.diagnostics.rules_yaml import YAML_RULES

__all__ = ["RULES", "Rule"]

RULES: MappingProxyType[str, Rule] = MappingProxyType(
    {rule.id: rule for rule in (*YAML_RULES, *SHAPE_RULES, *NAME_RULES, *FLOW_RULES, *CONFIG_RULES, *TEST_RULES)}
)
