"""Who can do `agent` and `model` steps: config.yaml as the router reads it. Nothing is chosen here."""

from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

from runner.core.modes import CloudEndpoint, leads
from runner.manifest.presets import PRESETS

if TYPE_CHECKING:
    from runner.manifest.config import Config
    from runner.manifest.config_models import CatalogModel, RouteRule
    from runner.manifest.config_servers import McpServer

Kind = Literal["agent", "model"]
RUN_TASK = "run_task"
"""The tool that takes an agent's prompt, unless a mapping names another one."""


class Entry(NamedTuple):
    """A model or an agent executor under the name that manifests use. Prices: US dollars for a million tokens, which is micro-USD
    a token; None = unknown, never free. `backup`: a candidate only in degraded mode. `lead`: its endpoint decides whether the mode
    is normal. `tool`: what an agent is called by."""

    name: str
    kind: Kind
    endpoint: str = ""
    tier: Literal["free", "paid", "local"] | None = None
    capabilities: frozenset[str] = frozenset()
    context: int | None = None
    price_in: float | None = None
    price_out: float | None = None
    local: bool = False
    backup: bool = False
    lead: bool = False
    tool: str = RUN_TASK
    keeps_tools: bool = True
    """Of an agent: can it keep to `allowed_tools`?"""

    @property
    def place(self) -> str:
        """The subject that has its circuit (see `circuits`)."""
        return f"endpoint:{self.endpoint}" if self.kind == "model" else f"executor:{self.name}"

    @property
    def single(self) -> str:
        """The subject that cools for it alone."""
        return f"model:{self.name}" if self.kind == "model" else f"executor:{self.name}"

    @property
    def holder(self) -> str:
        """The endpoint or executor that has its credential; `credential:HOLDER` is the subject."""
        return self.endpoint or self.name

    @property
    def lane(self) -> str:
        """The slots that it takes: an MCP server's, or `model:NAME`, whose rate may be limited."""
        return self.single if self.kind == "model" else self.name

    def cost(self, tokens_in: int, tokens_out: int) -> int | None:
        """Micro-USD for so many tokens, by the declared price; None when that is unknown."""
        if self.price_in is not None and self.price_out is not None:
            return ceil(tokens_in * self.price_in + tokens_out * self.price_out)
        return 0 if self.tier in ("free", "local") else None


class Rule(NamedTuple):
    """From features of a step to its chain: all that is given must hold."""

    labels: Mapping[str, object] = {}
    requires: frozenset[str] = frozenset()
    prompt: str | None = None
    executors: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None


class Roster(NamedTuple):
    """All that config says about who may do what, in its order."""

    models: Mapping[str, Entry] = {}
    agents: Mapping[str, Entry] = {}
    chains: Mapping[str, tuple[str, ...]] = {}
    rules: tuple[Rule, ...] = ()
    default_agents: tuple[str, ...] = ()
    default_models: tuple[str, ...] = ()
    prefer: str = "declared"
    cloud: tuple[CloudEndpoint, ...] = ()
    """The endpoints that the mode follows."""

    def of(self, kind: Kind) -> Mapping[str, Entry]:
        return self.agents if kind == "agent" else self.models


def roster(config: "Config") -> Roster:
    """What a completed config (see `config_complete`) says."""
    kinds = {name: endpoint.kind for name, endpoint in config.models.endpoints.items() if not endpoint.local}
    backups = frozenset(name for name in kinds if config.models.endpoints[name].role == "backup")
    led = leads(kinds, backups)
    cloud = tuple(CloudEndpoint(name, name in led) for name in kinds)
    models = {
        name: _model(config, name, model, led, backups - led)
        for name, model in config.models.catalog.items()
        if model.endpoint in config.models.endpoints  # any other one is a mistake that was reported already
    }
    agents = {
        name: _agent(name, server) for name, server in config.mcp_servers.items() if server.preset or server.agent
    }
    rules = tuple(_rule(rule) for rule in config.router.rules)
    router = config.router
    chains = dict(config.models.chains)
    return Roster(models, agents, chains, rules, router.agents, router.models, router.prefer, cloud)


def _rule(rule: "RouteRule") -> Rule:
    match = rule.match
    return Rule(match.labels or {}, frozenset(match.requires or ()), match.prompt, rule.executors, rule.models)


def _model(config: "Config", name: str, model: "CatalogModel", led: frozenset[str], backups: frozenset[str]) -> Entry:
    price = model.price
    return Entry(
        name,
        "model",
        endpoint=model.endpoint,
        tier=model.tier,
        capabilities=frozenset(model.capabilities),
        context=model.context,
        price_in=None if price is None else price.in_,
        price_out=None if price is None else price.out,
        local=bool(config.models.endpoints[model.endpoint].local),
        backup=model.endpoint in backups,
        lead=model.endpoint in led,
    )


def _agent(name: str, server: "McpServer") -> Entry:
    return Entry(
        name,
        "agent",
        tier=server.tier,
        capabilities=frozenset(server.capabilities),
        local=bool(server.local),
        tool=server.agent.tool if server.agent else RUN_TASK,
        keeps_tools=_keeps_tools(server),
    )


def _keeps_tools(server: "McpServer") -> bool:
    """A server that speaks the contract itself says in its listing what it keeps to; nothing else is known of it here."""
    if server.preset is not None:
        return "allowed_tools" in PRESETS[server.preset].keeps
    return server.agent is None or server.agent.args is None
