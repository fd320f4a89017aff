"""Models through the LiteLLM library, as a single-shot transport: one question, no retries, no fallbacks, no callbacks.

LiteLLM is imported on use only: it takes seconds and 180 MB. `prefetch()` does it in a thread while other steps run. What it would take
from its surroundings is given here instead: its connections (`litellm_pool`), its price list (the bundled one; else it fetches one),
`.env` files (none), and a key for every call."""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import Any, Final

from runner.llms.answers import COST_HEADER, completion, price, read, refusal
from runner.llms.exchange import ANSWER_BYTES, Answer, Ask, Fault, response_format
from runner.llms.signs import chain, kinds_of, names_of, reason, sign_of
from runner.llms.spec import ModelSpec

_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER": "True",
}
"""The last: endpoints that speak OpenAI's API are asked by the handler that asks all others, not by OpenAI's SDK, which takes a third of
LiteLLM's time and does nothing for us."""
_PREFIXES: Final = {"litellm_proxy": "litellm_proxy", "openai": "openai", "ollama": "ollama_chat"}
_COST: Final = f"llm_provider-{COST_HEADER}"


def load() -> tuple[Any, Any]:
    """(litellm, `litellm_pool`), set up. Takes seconds the first time."""
    os.environ.update(_ENVIRONMENT)
    litellm: Any = importlib.import_module("litellm")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.num_retries = 0
    return litellm, importlib.import_module("runner.llms.litellm_pool")


async def prefetch() -> None:
    """Import LiteLLM in a thread: the loop goes on meanwhile."""
    await asyncio.to_thread(load)


class LiteLlmClient:
    """Belongs to the event loop that first uses it."""

    def __init__(self, *, answer_bytes: int = ANSWER_BYTES) -> None:
        self._cap = answer_bytes
        self._loaded: tuple[Any, Any] | None = None
        self._pool: Any = None

    async def ask(self, model: ModelSpec, ask: Ask) -> Answer | Fault:
        """See `exchange.Client`. The first call waits for the import, which its deadline does not count."""
        if self._loaded is None:
            self._loaded = await asyncio.to_thread(load)
        litellm, parts = self._loaded
        if self._pool is None:
            self._pool = parts.Pool(self._cap)
        with parts.listening() as heard:
            try:
                async with asyncio.timeout(ask.deadline_s):
                    reply = await litellm.acompletion(**self._arguments(model, ask))
            except TimeoutError:
                return Fault(f"no answer within {ask.deadline_s:g} s", sign="deadline")
            except parts.FAILURES as error:
                return _failed(error, bytes(heard))
        return self._answer(reply, _name(model))

    def _answer(self, reply: Any, name: str) -> Answer | Fault:
        assert self._loaded is not None
        hidden: dict[str, Any] = getattr(reply, "_hidden_params", None) or {}
        named, guess = price((hidden.get("additional_headers") or {}).get(_COST)), price(hidden.get("response_cost"))
        answer = completion(reply.model_dump(), named, guess if named is None else None)
        if guess is None and answer.bill.tokens:
            _tell(self._loaded[0], name)
        return answer

    def _arguments(self, model: ModelSpec, ask: Ask) -> dict[str, Any]:
        assert self._loaded is not None
        litellm, parts = self._loaded
        endpoint = model.endpoint
        name = _name(model)
        if endpoint.kind == "ollama":
            _know(litellm, name)
        optional = {
            "temperature": ask.temperature,
            "max_tokens": ask.max_tokens,
            "response_format": None if ask.schema is None else response_format(ask.schema),
            "extra_headers": {"idempotency-key": ask.idempotency_key} if ask.idempotency_key else None,
        }
        return {
            "model": name,
            "messages": [dict(message) for message in ask.messages],
            "api_base": endpoint.url,
            "api_key": endpoint.api_key or parts.NO_KEY,
            "client": self._pool.client,
            "timeout": ask.deadline_s,
            **{key: value for key, value in optional.items() if value is not None},
        }

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()


def _name(model: ModelSpec) -> str:
    return f"{_PREFIXES[model.endpoint.kind]}/{model.model}"


def _know(litellm: Any, name: str) -> None:
    """A model that is not in its list LiteLLM asks Ollama about, after the answer and with a request that blocks the event loop."""
    costs = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    litellm.model_cost.setdefault(name, {"litellm_provider": "ollama_chat", "mode": "chat", **costs})


def _tell(litellm: Any, name: str) -> None:
    """The price of a model that LiteLLM has looked for in vain, as 0, which counts as unknown: else it looks for it again with each
    answer, ten times over."""
    costs = dict.fromkeys(("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost"), 0.0)
    litellm.register_model({name: {"litellm_provider": name.partition("/")[0], "mode": "chat", **costs}})


def _failed(error: Exception, body: bytes) -> Answer | Fault:
    """LiteLLM's exception as what happened on the wire: the refusal that is somewhere in its chain, else how far the call came, else
    what the `body` of a success is worth, else LiteLLM's own words."""
    kinds = kinds_of(error)
    for one in chain(error):
        names = names_of(one)
        if "TooLarge" in names:
            return Fault(str(one), sign="too_large")
        if "HTTPStatusError" in names:
            response: Any = getattr(one, "response", None)
            return refusal(response.status_code, dict(response.headers), _text(response), kinds)
    sign = sign_of(error)
    if sign == "not_json" or (sign is None and body):
        return read(body)
    if sign is not None:
        return Fault(reason(error), sign=sign, kinds=kinds)
    said = str(error)
    return Fault("", status=getattr(error, "status_code", None), kinds=kinds, said=said, quote=said)


def _text(response: Any) -> str:
    try:
        return str(response.text)
    except RuntimeError:  # nobody has read it, and now it is closed
        return ""
