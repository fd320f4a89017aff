"""What config says between its lines: the endpoint `proxy`, the bundled server, defaults by preset; and whether its names fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from runner.diagnostics.model import Loc, Problem
from runner.manifest.config import Config
from runner.manifest.config_models import Endpoint, Match, Models, RouteRule
from runner.manifest.config_servers import CONNECT_TIMEOUT, McpServer
from runner.manifest.presets import PRESETS
from runner.manifest.references import is_loopback
from runner.spelling import did_you_mean

BUNDLED = "workspace"
PROXY = "proxy"
BACKUP = "backup"


def complete(config: Config, python: str) -> Config:
    """The config with everything that it implies. `python` is the interpreter that runs the bundled servers."""
    servers = {name: _server(server) for name, server in config.mcp_servers.items()}
    bundled = McpServer.model_construct(command=python, args=("-P", "-m", f"runner.bridges.{BUNDLED}"))
    models = config.models.model_copy(update={"endpoints": _endpoints(config)})
    return config.model_copy(update={"models": models, "mcp_servers": {BUNDLED: _server(bundled), **servers}})


def _endpoints(config: Config) -> dict[str, Endpoint]:
    endpoints = dict(config.models.endpoints)
    if config.lite_llm_url is not None:
        proxy = endpoints.pop(PROXY, None) or Endpoint(kind="litellm_proxy", probe="/health/readiness")
        endpoints = {PROXY: proxy.model_copy(update={"url": config.lite_llm_url}), **endpoints}
    backup = endpoints.get(BACKUP)
    if backup is not None and backup.api_key is None:
        endpoints[BACKUP] = backup.model_copy(update={"api_key": config.github_key})
    return {name: _endpoint(endpoint) for name, endpoint in endpoints.items()}


def _endpoint(endpoint: Endpoint) -> Endpoint:
    if endpoint.local is not None:
        return endpoint
    local = endpoint.kind == "ollama" and endpoint.url is not None and is_loopback(endpoint.url)
    return endpoint.model_copy(update={"local": local})


def _server(server: McpServer) -> McpServer:
    preset = PRESETS.get(server.preset or "")
    local = preset is None and (server.command is not None or is_loopback(server.url or ""))
    implied = {
        "local": local,
        "connect_timeout": preset.connect_timeout if preset else CONNECT_TIMEOUT,
        "capabilities": preset.capabilities if preset else (),
        "tier": "paid" if preset else None,
    }
    return server.model_copy(
        update={
            key: value
            for key, value in implied.items()
            if not getattr(server, key) and getattr(server, key) is not False
        }
    )


def model_chain(models: Models, names: Sequence[str]) -> tuple[str, ...]:
    """The models that a list names: one word may be the name of a chain."""
    return models.chains[names[0]] if len(names) == 1 and names[0] in models.chains else tuple(names)


def agent_executors(config: Config) -> frozenset[str]:
    """The servers that take `agent` steps."""
    return frozenset(name for name, server in config.mcp_servers.items() if server.preset or server.agent)


def cross_check(config: Config) -> list[Problem]:
    """Names of a config, as it was written, that do not fit together."""
    return [
        *_reserved(config),
        *_endpoint_urls(config),
        *_models(config),
        *_router(config),
        *_empty(config),
        *_distant(config),
        *_distant_tier(config),
        *_idle(config),
        *_shadowed(config.router.rules),
    ]


def _reserved(config: Config) -> Iterator[Problem]:
    if BUNDLED in config.mcp_servers:
        yield Problem(
            "config-reserved",
            ("mcp_servers", BUNDLED),
            f"`{BUNDLED}` is the bundled server",
            "choose another name",
            "key",
        )
    proxy = config.models.endpoints.get(PROXY)
    if proxy is not None and proxy.kind != "litellm_proxy":
        loc = ("models", "endpoints", PROXY, "kind")
        yield Problem(
            "config-reserved", loc, f"`{PROXY}` is the LiteLLM proxy", "choose another name for this endpoint"
        )


def _endpoint_urls(config: Config) -> Iterator[Problem]:
    for name, endpoint in config.models.endpoints.items():
        loc = ("models", "endpoints", name)
        if name != PROXY or config.lite_llm_url is None:
            if endpoint.url is None:
                fix = "set `lite_llm_url`" if name == PROXY else None
                yield Problem("config-endpoint", loc, "`url` is missing", fix, "key")
        elif endpoint.url not in (None, config.lite_llm_url):
            yield Problem("config-endpoint", (*loc, "url"), "differs from `lite_llm_url`", "give one of them")


def _models(config: Config) -> Iterator[Problem]:
    endpoints = {*config.models.endpoints, *([PROXY] if config.lite_llm_url else [])}
    for name, model in config.models.catalog.items():
        loc: Loc = ("models", "catalog", name, "endpoint")
        yield from _unknown("config-unknown-endpoint", "endpoint", [model.endpoint], endpoints, loc)
    for name, chain in config.models.chains.items():
        yield from _unknown("config-unknown-model", "model", chain, config.models.catalog, ("models", "chains", name))


def _router(config: Config) -> Iterator[Problem]:
    executors = agent_executors(config)
    yield from _unknown(
        "config-unknown-executor", "agent executor", config.router.agents, executors, ("router", "agents")
    )
    yield from _chain(config, config.router.models, ("router", "models"))
    for at, rule in enumerate(config.router.rules):
        loc = ("router", "rules", at)
        yield from _unknown(
            "config-unknown-executor", "agent executor", rule.executors or (), executors, (*loc, "executors")
        )
        yield from _chain(config, rule.models or (), (*loc, "models"))


def _chain(config: Config, names: Sequence[str], loc: Loc) -> Iterator[Problem]:
    models, chains = config.models.catalog, config.models.chains
    if len(names) == 1:
        yield from _unknown("config-unknown-chain", "chain or model", names, {*models, *chains}, loc)
    else:
        yield from _unknown("config-unknown-model", "model", names, models, loc)


def _unknown(rule: str, noun: str, names: Sequence[str], known: Iterable[str], loc: Loc) -> Iterator[Problem]:
    known = sorted(known)
    for at, name in enumerate(names):
        if name not in known:
            place = loc if len(names) == 1 else (*loc, at)
            yield Problem(rule, place, f"no {noun} `{name}` is defined", did_you_mean(name, known))


def _empty(config: Config) -> Iterator[Problem]:
    """Chains that somebody wrote down with nobody in them."""
    chains: list[tuple[Loc, Sequence[str] | None]] = [
        (("models", "chains", name), chain) for name, chain in config.models.chains.items()
    ]
    for at, rule in enumerate(config.router.rules):
        chains += [(("router", "rules", at, key), getattr(rule, key)) for key in ("executors", "models")]
    for loc, names in chains:
        if names is not None and not names:
            yield Problem(
                "config-empty-chain", loc, "is empty: nobody could do a step that gets it", "name at least one"
            )


def _distant(config: Config) -> Iterator[Problem]:
    """What is declared local, although its URL leads away from this machine. One that is a reference is not known yet."""
    entries: list[tuple[Loc, Endpoint | McpServer]] = [
        *((("models", "endpoints", name), endpoint) for name, endpoint in config.models.endpoints.items()),
        *((("mcp_servers", name), server) for name, server in config.mcp_servers.items()),
    ]
    for loc, entry in entries:
        url = config.lite_llm_url if loc[-1] == PROXY and loc[0] == "models" and config.lite_llm_url else entry.url
        if entry.local and url and "${" not in url and not is_loopback(url):
            message = f"{url} is another machine: brainstem mode would go on asking it"
            yield Problem("config-not-local", (*loc, "local"), message, "leave `local` out, unless it needs no cloud")


def _distant_tier(config: Config) -> Iterator[Problem]:
    """Models of the tier `local` at endpoints that are not."""
    for name, model in config.models.catalog.items():
        endpoint = config.models.endpoints.get(model.endpoint)
        if model.tier == "local" and endpoint is not None and not _endpoint(endpoint).local:
            message = f"`{model.endpoint}` is not on this machine: brainstem mode will not ask it"
            fix = f"`tier: free`; or `local: true` at the endpoint `{model.endpoint}`, if it needs no cloud"
            yield Problem("config-distant-tier", ("models", "catalog", name, "tier"), message, fix)


def _idle(config: Config) -> Iterator[Problem]:
    used = {model.endpoint for model in config.models.catalog.values()}
    for name, endpoint in config.models.endpoints.items():
        if endpoint.role == "backup" and name not in used:
            message = "no model of `models.catalog` is asked there, so degraded mode has nobody to ask"
            yield Problem(
                "config-idle-backup",
                ("models", "endpoints", name),
                message,
                f"add a model with `endpoint: {name}`",
                "key",
            )


def _shadowed(rules: Sequence[RouteRule]) -> Iterator[Problem]:
    for at, rule in enumerate(rules):
        for before, earlier in enumerate(rules[:at]):
            if _covers(earlier, rule):
                message = f"never matches: rule {before + 1} matches everything that it would"
                yield Problem("config-unreachable-rule", ("router", "rules", at, "match"), message)
                break


def _covers(earlier: RouteRule, later: RouteRule) -> bool:
    """Whether `earlier` holds whenever `later` does, and gives every chain that it gives."""
    gives = (earlier.executors is not None or later.executors is None) and (
        earlier.models is not None or later.models is None
    )
    return gives and _wider(earlier.match, later.match)


def _wider(match: Match, narrow: Match) -> bool:
    labels = (match.labels or {}).items() <= (narrow.labels or {}).items()
    requires = set(match.requires or ()) <= set(narrow.requires or ())
    return labels and requires and match.prompt in (None, narrow.prompt)
