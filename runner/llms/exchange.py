"""What goes to a model and what comes back, whichever client carries it. Values only.

A client asks once and never raises for what the other side did: that is a `Fault`. What a fault means is `classify`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from runner.llms.spec import ModelSpec

Sign = Literal[
    "dns", "refused", "tls", "connect_timeout", "deadline", "reset", "html", "not_json", "empty", "too_large", "filtered",
]  # fmt: skip
"""What went wrong when it is no HTTP status: how far the request came, or what the answer was instead of one.

dns: no such host · refused: nobody listens, or no way there · tls: the certificate or the handshake · connect_timeout: no
connection in time · deadline: no (whole) answer in time · reset: the connection broke once the request was under way · html: a page
· not_json: not what the API speaks · empty: no text in it · too_large: over our cap · filtered: the provider withheld the text."""

Message = Mapping[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}"""

DEADLINE_S = 600.0
"""Of a call whose request gives none."""
ANSWER_BYTES = 16 * 1024 * 1024
"""The longest answer that is read: no model writes as much."""
CONNECT_S = 10.0
KEEP_ALIVE_S = 4.0
"""Shorter than the 5 s of most servers: a connection that they close as we write to it would put the call in doubt."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question. `schema`: the JSON Schema that the endpoint is asked to hold the answer to; None = it is not asked."""

    messages: tuple[Message, ...]
    deadline_s: float = DEADLINE_S
    temperature: float | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the endpoint said of the work. `tokens`: {"in", "out"}, empty when it did not say. `usd` None = it named no price.
    `guess`: the price by a list of well-known models, for an endpoint that named none; the weakest source."""

    tokens: Mapping[str, int] = field(default_factory=dict)
    usd: float | None = None
    guess: float | None = None


NO_BILL = Bill()


@dataclass(frozen=True, slots=True)
class Answer:
    """The text of the first choice. `cut`: it ends at the token limit."""

    text: str
    bill: Bill = NO_BILL
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A call that gave no answer, before it is classified. `kinds`: names of the exception's classes. `code`: type and code of
    the API's error object. `message` is for people, `quote` behind it is what the other side said, whole: whoever shows it masks it
    before it is cut to `quoted` characters (`answers.told`). `said` is all that patterns may look at. Header names are lower case."""

    message: str
    sign: Sign | None = None
    status: int | None = None
    kinds: frozenset[str] = frozenset()
    code: str = ""
    said: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    bill: Bill = NO_BILL
    quote: str = ""
    quoted: int = 2_000


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Not `strict`: that would refuse fields that are optional. The answer is verified by whoever asked."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}


class Client(Protocol):
    """A way to ask models: LiteLLM, or plain HTTP. Both keep tests/contract/test_model_client.py."""

    async def ask(self, model: ModelSpec, ask: Ask) -> Answer | Fault:
        """One question, one try, within `ask.deadline_s`. CancelledError passes, and by then the connection is closed."""
        ...

    async def close(self) -> None: ...
