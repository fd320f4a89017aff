"""What the config says of models and their endpoints, as a call needs it. Not here: which model a step gets (the router's)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic_core import PydanticCustomError

from runner.errors import InvalidInput
from runner.manifest.config_models import Endpoint, Models, Tier
from runner.manifest.references import check_url, resolve, resolve_secret

EndpointKind = Literal["litellm_proxy", "openai", "ollama"]
Way = Literal["http", "litellm"]
"""How an endpoint is asked."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An API that models are asked through. `api_key` is the secret itself, so it is in no text of this value; "" = none is sent.

    `unusable`, when it is set, says what is missing before it can be used at all, and what to type."""

    name: str
    kind: EndpointKind
    url: str
    api_key: str = field(default="", repr=False)
    local: bool = False
    backup: bool = False
    probe: str | None = None
    client: Way = "http"
    unusable: str = ""


class PriceSpec(NamedTuple):
    """US dollars for a million tokens, which is micro-USD for one."""

    prompt: float
    answer: float


class ModelSpec(NamedTuple):
    """A model of the catalog. `name` is what manifests call it, `model` its name at the endpoint. `context`: tokens of prompt and
    answer together; None = not declared. `price` None = what the endpoint says, else unknown."""

    name: str
    endpoint: EndpointSpec
    model: str
    tier: Tier = "paid"
    capabilities: frozenset[str] = frozenset()
    context: int | None = None
    rpm: int | None = None
    price: PriceSpec | None = None


def catalog(models: Models, env: Mapping[str, str]) -> dict[str, ModelSpec]:
    """The models of a completed config (see `config_complete`) by name. An endpoint whose variables are not set is `unusable`:
    that is a failure of the step that needs it, not of the config."""
    known = endpoints(models, env)
    return {
        name: ModelSpec(
            name=name,
            endpoint=known[model.endpoint],
            model=model.model,
            tier=model.tier,
            capabilities=frozenset(model.capabilities),
            context=model.context,
            rpm=model.rpm,
            price=None if model.price is None else PriceSpec(float(model.price.in_), float(model.price.out)),
        )
        for name, model in models.catalog.items()
    }


def endpoints(models: Models, env: Mapping[str, str]) -> dict[str, EndpointSpec]:
    """The endpoints of a completed config by name, whether a model is asked there or not."""
    return {name: _endpoint(name, endpoint, env) for name, endpoint in models.endpoints.items()}


def _endpoint(name: str, endpoint: Endpoint, env: Mapping[str, str]) -> EndpointSpec:
    entry, url, key, unusable = f"models.endpoints.{name}", "", "", ""
    try:
        url = check_url(resolve(endpoint.url or "", env, entry=entry))
        if endpoint.api_key is not None:
            key = resolve_secret(endpoint.api_key, env, entry=entry).get_secret_value()
    except InvalidInput as error:
        unusable = f"{error.message}: {error.hint}" if error.hint else error.message
    except PydanticCustomError as error:  # what a variable held is checked only now
        unusable = f"{entry}.url: {error.message()}"
    return EndpointSpec(
        name=name,
        kind=endpoint.kind,
        url=url.rstrip("/"),
        api_key=key,
        local=bool(endpoint.local),
        backup=endpoint.role == "backup",
        probe=endpoint.probe,
        client=endpoint.client,
        unusable=unusable,
    )
