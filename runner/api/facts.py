"""What compiling may know of a config: its names, never its commands, URLs or secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.core.compile import Facts
from runner.core.policy import OperatorPolicy
from runner.manifest.config import Config, Policies
from runner.manifest.config_complete import agent_executors

if TYPE_CHECKING:
    from runner.core.roster import Roster


def facts_of(config: Config) -> Facts:
    """The facts of a completed config."""
    servers, agents = config.mcp_servers, agent_executors(config)
    return Facts(
        servers=frozenset(servers),
        executors=agents,
        models=frozenset(config.models.catalog),
        chains=frozenset(config.models.chains),
        secrets=frozenset(config.secrets),
        local=frozenset(name for name, server in servers.items() if server.local),
        policies=_policies(config.fault_handler.policies),
        allow_tools=config.policy.tools.allow,
        deny_tools=config.policy.tools.deny,
        run_allowed=config.policy.run == "allow",
        max_steps=config.limits.steps,
        roster=_roster(config) if agents or config.models.catalog else None,
    )


def _roster(config: Config) -> Roster:
    from runner.core.roster import roster  # loads circuits and modes: only for who has models or agents

    return roster(config)


def _policies(policies: Policies) -> dict[str, Any]:
    given = policies.model_dump(exclude_none=True, exclude_defaults=True, by_alias=True)
    return {mode: policy for mode, policy in given.items() if policy}


def operator_policy(config: Config) -> OperatorPolicy:
    """The guard rails of a config."""
    policy, limits = config.policy, config.limits
    return OperatorPolicy(
        allow=policy.tools.allow,
        deny=policy.tools.deny,
        run_allowed=policy.run == "allow",
        approve=policy.approve,
        most_attempts=limits.attempts,
        most_items=limits.steps,
        most_nodes=limits.run_steps,
    )
