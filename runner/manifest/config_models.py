"""The sections `models` and `router` of config.yaml."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from runner.manifest.base import Frozen, Listed, Maybe, mistake
from runner.manifest.references import SecretRef, Url
from runner.manifest.types import PROBE_PATTERN, Amount, Bool, Labels, Positive, Server, Text, shown

Tier = Literal["free", "paid", "local"]
Prefer = Literal["declared", "cost", "speed", "reliability"]


def read_regex(value: str) -> str:
    """A regular expression as it was written."""
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError):
        raise mistake("regex", f"{shown(value)} is not a regular expression") from None
    return value


class Endpoint(Frozen):
    """An API that models are asked through."""

    kind: Literal["litellm_proxy", "openai", "ollama"]
    """What speaks there: a LiteLLM proxy, any OpenAI-compatible API, or Ollama."""
    url: Maybe[Url] = None
    """Where it is; the endpoint `proxy` takes `lite_llm_url`."""
    api_key: Maybe[SecretRef] = None
    """Its key, as `"${NAME}"`; the endpoint `backup` takes `github_key`."""
    role: Maybe[Literal["backup"]] = None
    """`backup`: its models are candidates only in degraded mode."""
    probe: Maybe[Annotated[str, Field(pattern=PROBE_PATTERN)]] = None
    """The path that tells whether it is up."""
    local: Maybe[Bool] = None
    """Whether it works without the cloud (default: true for Ollama on this machine)."""
    client: Literal["http", "litellm"] = "http"
    """How it is asked: over plain HTTP, or by the LiteLLM library, which takes seconds to load and knows the price of well-known
    models."""


class Price(Frozen):
    """US dollars for a million tokens."""

    in_: Amount = Field(alias="in")
    """Tokens of the prompt."""
    out: Amount
    """Tokens of the answer."""


class CatalogModel(Frozen):
    """A model under the name that manifests use. Tier and capabilities are declared: no price map can tell free from paid."""

    endpoint: Server
    """The endpoint that it is asked through."""
    model: Text
    """Its name there."""
    tier: Tier
    """Whether it costs money."""
    capabilities: Listed[Text] = ()
    """What it can do, such as `tools` or `json_schema`; steps ask for them with `route.requires`."""
    context: Maybe[Positive] = None
    """The longest prompt and answer together, in tokens."""
    rpm: Maybe[Positive] = None
    """The most requests a minute."""
    price: Maybe[Price] = None
    """What it costs (default: what the endpoint says, else unknown; unknown is never 0)."""


class Models(Frozen):
    """Where models are, what they are called, and in which order they are tried."""

    endpoints: dict[Server, Endpoint] = Field(default={})
    """APIs by name. `lite_llm_url` implies `proxy`."""
    catalog: dict[Server, CatalogModel] = Field(default={})
    """Models by the name that manifests use."""
    chains: dict[Server, Listed[Server]] = Field(default={})
    """Lists of models by name, tried in their order."""


class Match(Frozen):
    """Features of a step. All that are given must hold."""

    labels: Maybe[Labels] = None
    """Labels that the step must have."""
    requires: Maybe[Listed[Text]] = None
    """Capabilities that the step must ask for."""
    prompt: Maybe[Annotated[str, AfterValidator(read_regex)]] = None
    """A regular expression that must be found in the prompt."""


class RouteRule(Frozen):
    """From features of a step to the chain that does it."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["executors"]}, {"required": ["models"]}]})

    match: Match
    """When the rule holds."""
    executors: Maybe[Listed[Server]] = None
    """The chain of executors for `agent` steps."""
    models: Maybe[Listed[Server]] = None
    """The chain of models for `model` steps, or the name of a chain."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.executors is None and self.models is None:
            raise mistake("missing-key", "expected `executors` or `models`")
        return self


class Router(Frozen):
    """Who does a step that does not say it itself."""

    agents: Listed[Server] = ()
    """The default chain of executors for `agent` steps."""
    models: Listed[Server] = ()
    """The default chain for `model` steps: the name of a chain, or a list of models."""
    prefer: Prefer = "declared"
    """What orders candidates of one tier. All but `declared` learn from the state database."""
    rules: tuple[RouteRule, ...] = ()
    """Rules that are tried in order; the first match wins."""
