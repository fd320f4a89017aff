"""The executor of the verb `model`: one completion, with its class, its cost, and the conversation for a repair round.

Not here: which model a step gets, what follows from a failure, and whether the answer keeps `returns`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

from runner.clock import Clock, SystemClock
from runner.core.graph import Json
from runner.llms.answers import told
from runner.llms.classify import classify
from runner.llms.conversation import session_of, turns, with_system
from runner.llms.exchange import DEADLINE_S, Answer, Ask, Client, Fault, Message
from runner.llms.prices import cost
from runner.llms.spec import ModelSpec, Way
from runner.ports import CallResult, Request

WAYS: Final[Mapping[Way, tuple[str, str]]] = {
    "http": ("runner.llms.http_client", "HttpClient"),
    "litellm": ("runner.llms.litellm_client", "LiteLlmClient"),
}
"""way → (module, class) of its client; imported when a call first needs it."""
STRUCTURED: Final = "json_schema"
"""The capability of models that take a JSON Schema as response format; others are told it in words."""


@dataclass(frozen=True, slots=True)
class _Question:
    """`said`: the conversation up to and with what is asked, without the system prompt."""

    ask: Ask
    said: list[Message]


class ModelCalls:
    """The models of a configuration by the names that manifests use; `Request.label` is such a name.

    Belongs to one event loop."""

    def __init__(
        self,
        models: Mapping[str, ModelSpec],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._models = models
        self._clock = clock or SystemClock()
        self._clients: dict[Way, Client] = {}

    async def prefetch(self) -> None:
        """Import what the configured endpoints need, in a thread: it takes long, and other steps go on meanwhile."""
        for way in {model.endpoint.client for model in self._models.values()}:
            module = await asyncio.to_thread(import_module, WAYS[way][0])
            if hasattr(module, "prefetch"):
                await module.prefetch()

    async def call(self, request: Request) -> CallResult:
        """`request.inputs` = {"prompt", "system"?, "temperature"?, "max_tokens"?}. What the other side did wrong is in the result."""
        model = self._models.get(request.label)
        if model is None:
            return CallResult(
                error_class="invalid", message=f"needs the model `{request.label}`, which is not configured"
            )
        if model.endpoint.unusable:
            return _failed(model, "auth", model.endpoint.unusable)
        question = _question(model, request)
        if isinstance(question, str):
            return _failed(model, "invalid", question)
        client = await self._client(model.endpoint.client)
        answer = await client.ask(model, question.ask)
        result = (
            self._refused(model, answer, request.masked)
            if isinstance(answer, Fault)
            else _answered(model, question.said, answer)
        )
        if request.log is not None:
            request.log.write("progress", _line(model, result, cut=isinstance(answer, Answer) and answer.cut))
        return result

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _client(self, way: Way) -> Client:
        if way not in self._clients:
            module, name = WAYS[way]
            loaded = await asyncio.to_thread(import_module, module)
            if way not in self._clients:
                self._clients[way] = getattr(loaded, name)()
        return self._clients[way]

    def _refused(self, model: ModelSpec, fault: Fault, masked: Callable[[str], str]) -> CallResult:
        verdict = classify(fault, self._clock.now())
        known = verdict.effect == "none" and fault.status is not None and fault.status >= 300
        unsent = fault.sign in ("dns", "refused", "tls", "connect_timeout")
        amount, source = (0, "") if known or unsent else cost(model, fault.bill)
        return CallResult(
            error_class=verdict.error_class,
            message=f"{model.endpoint.name}/{model.model}: {told(fault, masked)}",
            effect=verdict.effect,
            status=fault.status,
            retry_after_ms=verdict.retry_after_ms,
            cost=amount,
            cost_source=source,
            tokens=fault.bill.tokens,
            executor=model.endpoint.name,
            model=model.name,
            contact=_contact(fault),
        )


def _contact(fault: Fault) -> Literal["", "unreached", "hollow", "answered"]:
    """A status below 500 (but 408, which proxies say for their upstream) came from somebody who is well."""
    if fault.sign in ("dns", "refused", "tls", "connect_timeout", "reset"):
        return "unreached"
    if fault.sign in ("html", "empty"):
        return "hollow"
    return "answered" if fault.status is not None and 300 <= fault.status < 500 and fault.status != 408 else ""


def _question(model: ModelSpec, request: Request) -> _Question | str:
    """What to ask, or why it cannot be asked."""
    inputs = request.inputs
    problem = _problem(inputs)
    if problem:
        return problem
    said = turns(inputs["prompt"], request.feedback, request.session)
    formatted = STRUCTURED in model.capabilities
    ask = Ask(
        messages=with_system(inputs.get("system"), None if formatted else request.returns, said),
        deadline_s=DEADLINE_S if request.deadline_s is None else request.deadline_s,
        temperature=inputs.get("temperature"),
        max_tokens=inputs.get("max_tokens"),
        schema=request.returns if formatted else None,
        idempotency_key=request.idempotency_key,
    )
    return _Question(ask, said)


def _problem(inputs: Mapping[str, Json]) -> str:
    """What templates gave is known only now."""
    for key, kinds, wanted in _KINDS:
        value: Any = inputs.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            return f"{key} must be {wanted}, not {type(value).__name__}"
    return "" if (inputs.get("prompt") or "").strip() else "the prompt is empty"


_KINDS: Final[tuple[tuple[str, Any, str], ...]] = (
    ("prompt", str, "text"),
    ("system", str, "text"),
    ("temperature", int | float, "a number"),
    ("max_tokens", int, "an integer"),
)


def _answered(model: ModelSpec, said: list[Message], answer: Answer) -> CallResult:
    amount, source = cost(model, answer.bill)
    return CallResult(
        output=answer.text,
        text=answer.text,
        cost=amount,
        cost_source=source,
        tokens=answer.bill.tokens,
        executor=model.endpoint.name,
        model=model.name,
        session=session_of(said, answer.text),
    )


def _failed(model: ModelSpec, error_class: str, message: str) -> CallResult:
    return CallResult(error_class=error_class, message=message, executor=model.endpoint.name, model=model.name)


def _line(model: ModelSpec, result: CallResult, *, cut: bool) -> str:
    """For the attempt's log."""
    if result.error_class:
        return f"{model.endpoint.name}: {model.model}: {result.error_class}: {result.message}\n"
    tokens = f"{result.tokens['in']} tokens in, {result.tokens['out']} out" if result.tokens else "tokens not counted"
    price = "price unknown" if result.cost is None else f"{result.cost / 1_000_000:.6f} USD ({result.cost_source})"
    return f"{model.endpoint.name}: {model.model}: {tokens}, {price}{', cut at the token limit' if cut else ''}\n"
