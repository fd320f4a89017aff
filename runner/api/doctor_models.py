"""`doctor` on models: is each endpoint there, does it take our key, does it have the models that config names, and what to type if not.

Asks no model anything: a probe and a list of models for each endpoint, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.api.findings import Finding, Verdict
from runner.api.routing import missing
from runner.api.settings import Settings
from runner.llms.spec import EndpointSpec, ModelSpec, catalog, endpoints
from runner.manifest.config_models import Endpoint
from runner.manifest.references import names

AREA = "models"
MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found out about an endpoint. `listed`: the models that it has; None = it did not say. `refused`: our key."""

    spec: EndpointSpec
    ok: bool
    reason: str
    ms: int = 0
    refused: bool = False
    listed: frozenset[str] | None = None


async def examine_models(settings: Settings, env: Mapping[str, str], *, deadline_s: float) -> tuple[Finding, ...]:
    """A finding for each endpoint and each model of the config; none without models."""
    config = settings.config
    specs = endpoints(config.models, env)
    lacks = missing(config, env)
    seen = await asyncio.gather(*(_look(spec, deadline_s) for name, spec in specs.items() if name not in lacks))
    by_name = {one.spec.name: one for one in seen}
    found: list[Finding] = []
    for name in specs:
        one = by_name.get(name)
        found.append(
            _needs(name, lacks[name], settings, env) if one is None else _endpoint(one, config.models.endpoints[name])
        )
    models = catalog(config.models, env)
    return (*found, *(_model(model, by_name.get(model.endpoint.name)) for model in models.values()))


async def _look(spec: EndpointSpec, deadline_s: float) -> Seen:
    from runner.llms.probe import models, probe  # imports the HTTP client

    found = await probe(spec, deadline_s)
    if not found.ok:
        return Seen(spec, False, found.reason, found.ms)
    listing, listed = await models(spec, deadline_s)
    return Seen(spec, True, found.reason, found.ms, found.refused_key or listing.refused_key, listed)


def _needs(name: str, lack: str, settings: Settings, env: Mapping[str, str]) -> Finding:
    endpoint = settings.config.models.endpoints[name]
    used = [*names(endpoint.url or ""), *names(endpoint.api_key or "")]
    unset = [variable for variable in used if variable not in env]
    fix = "; ".join(f"export {variable}=…" for variable in unset) or f"correct models.endpoints.{name}"
    return Finding(AREA, f"endpoint {name}", "warning", f"needs {lack}", fix)


def _endpoint(seen: Seen, endpoint: Endpoint) -> Finding:
    name, where = f"endpoint {seen.spec.name}", f"{endpoint.kind} at {endpoint.url}"
    if not seen.ok:
        verdict: Verdict = "warning" if seen.spec.local else "broken"
        return Finding(
            AREA, name, verdict, f"{where}: {seen.reason}", _START[endpoint.kind].format(name=seen.spec.name)
        )
    if seen.refused:
        sent = " or ".join(names(endpoint.api_key or ""))
        fix = f"check the value of {sent}" if sent else f"set models.endpoints.{seen.spec.name}.api_key"
        return Finding(
            AREA, name, "broken", f"{where}: reachable, but it refuses {'the' if sent else 'calls without a'} key", fix
        )
    return Finding(AREA, name, "ok", f"{where}: {seen.reason} in {seen.ms} ms, {_key(seen)}")


def _key(seen: Seen) -> str:
    if not seen.spec.api_key:
        return "no key needed"
    return "key not checked" if seen.listed is None else "key accepted"


_START: Mapping[str, str] = {
    "litellm_proxy": "start it (litellm --config FILE --port PORT), or correct lite_llm_url",
    "openai": "is models.endpoints.{name}.url right, and is there a way to it from here?",
    "ollama": "start it (ollama serve), or correct models.endpoints.{name}.url",
}


def _model(model: ModelSpec, seen: Seen | None) -> Finding:
    about = f"{model.model} at {model.endpoint.name}, {_money(model)}"
    if seen is None or not seen.ok or seen.refused:
        why = f"{about}: cannot be asked as long as its endpoint is not well"
        return Finding(AREA, model.name, "warning", why, f"see endpoint {model.endpoint.name}")
    if seen.listed is None:
        return Finding(AREA, model.name, "ok", f"{about}; the endpoint does not list its models")
    from runner.llms.probe import lacks

    if lacks(model.endpoint.kind, seen.listed, [model.model]):
        there = ", ".join(_some(seen.listed)) or "none"
        return Finding(
            AREA, model.name, "warning", f"{about}: the endpoint does not know it; it has {there}", _get(model)
        )
    return Finding(AREA, model.name, "ok", about)


def _money(model: ModelSpec) -> str:
    if model.tier != "paid":
        return model.tier
    if model.price is None:
        return "paid, no price declared"
    return f"paid, ${model.price.prompt:g} in and ${model.price.answer:g} out per million tokens"


def _some(listed: frozenset[str]) -> Iterator[str]:
    yield from sorted(listed)[:MOST_LISTED]
    if len(listed) > MOST_LISTED:
        yield f"{len(listed) - MOST_LISTED} more"


def _get(model: ModelSpec) -> str:
    if model.endpoint.kind == "ollama":
        return f"ollama pull {model.model}"
    here = "add it to the proxy's model_list, or " if model.endpoint.kind == "litellm_proxy" else ""
    return f"{here}correct models.catalog.{model.name}.model"
