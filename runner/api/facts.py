"""What compiling may know of a config: its names, never its commands, URLs or secrets."""

from __future__ import annotations

from typing import Any

from runner.core.compile import Facts
from runner.core.policy import OperatorPolicy
from runner.core.roster import roster
from runner.manifest.config import Config, Policies
from runner.manifest.config_complete import agent_executors


def facts_of(config: Config) -> Facts:
    """The facts of a completed config."""
    servers = config.mcp_servers
    return Facts(
        servers=frozenset(servers),
        executors=agent_executors(config),
        models=frozenset(config.models.catalog),
        chains=frozenset(config.models.chains),
        secrets=frozenset(config.secrets),
        local=frozenset(name for name, server in servers.items() if server.local),
        policies=_policies(config.fault_handler.policies),
        allow_tools=config.policy.tools.allow,
        deny_tools=config.policy.tools.deny,
        run_allowed=config.policy.run == "allow",
        max_steps=config.limits.steps,
        roster=roster(config),
    )


def _policies(policies: Policies) -> dict[str, Any]:
    given = policies.model_dump(exclude_none=True, exclude_defaults=True, by_alias=True)
    return {mode: policy for mode, policy in given.items() if policy}


def operator_policy(config: Config) -> OperatorPolicy:
    """The guard rails of a config."""
    policy = config.policy
    return OperatorPolicy(policy.tools.allow, policy.tools.deny, policy.run == "allow", policy.approve)
