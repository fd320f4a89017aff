"""What every client of models keeps: plain HTTP and LiteLLM, against an upstream that plays every row of the table of errors.

All tests that import LiteLLM for real are here: it takes seconds, once."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.llms.answers import told
from runner.llms.classify import classify
from runner.llms.exchange import Answer, Ask, Client, Fault
from runner.llms.executor import ModelCalls
from runner.llms.http_client import HttpClient
from runner.llms.litellm_client import LiteLlmClient
from runner.llms.spec import EndpointSpec, ModelSpec
from runner.ports import Request

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from servers.fake_llm import FakeLlm

CLIENTS = {"http": HttpClient, "litellm": LiteLlmClient}
WAYS = ["http", pytest.param("litellm", marks=pytest.mark.slow)]
"""LiteLLM takes seconds to import, and ten times as long for a call."""
KINDS = ("litellm_proxy", "openai", "ollama")
KEY = "sk-of-the-endpoint"
NOW = 1_800_000_000_000
PATIENCE = 20.0
HELLO = Ask(messages=({"role": "user", "content": "hi"},), deadline_s=PATIENCE)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

REFUSALS = [
    ("rate429", "rate", "rate_limit", "none", 429, 7_000),
    ("words429", "rate", "rate_limit", "none", 429, 62_500),
    ("soon429", "rate", "rate_limit", "none", 429, 30_000),
    ("quota429", "quota", "quota", "none", 429, None),
    ("quota402", "quota", "quota", "none", 402, None),
    ("budget400", "quota", "quota", "none", 400, None),
    ("credit400", "quota", "quota", "none", 400, None),
    ("key401", "key", "auth", "none", 401, None),
    ("key403", "key", "auth", "none", 403, None),
    ("nodb400", "key-400", "auth", "none", 400, None),
    ("missing404", "missing", "unavailable", "none", 404, None),
    ("late408", "late", "timeout", "maybe", 408, None),
    ("large413", "too-long", "context_overflow", "none", 413, None),
    ("overflow400", "overflow", "context_overflow", "none", 400, None),
    ("overflow-words", "overflow", "context_overflow", "none", 400, None),
    ("policy400", "policy", "denied", "none", 400, None),
    ("request400", "request", "invalid", "none", 400, None),
    ("request422", "request", "invalid", "none", 422, None),
    ("server500", "server", "unavailable", "maybe", 500, None),
    ("server502", "server", "unavailable", "maybe", 502, None),
    ("server503", "server", "unavailable", "maybe", 503, 3_000),
    ("server504", "server", "unavailable", "maybe", 504, None),
    ("overloaded529", "server", "unavailable", "maybe", 529, None),
    ("redirect", "redirect", "unavailable", "none", 307, None),
]
"""model name → row, class, effect, status, retry-after."""

ANSWERS = [
    ("html", {"page"}),
    ("badjson", {"not-json"}),
    ("blank", {"empty", "not-json"}),
    ("scalar", {"not-json"}),
    ("nothing", {"not-json"}),
    ("hollow", {"empty"}),
    ("empty", {"empty"}),
    ("silent", {"empty"}),
    ("spent", {"empty"}),
]
"""Successes by their status that are no answers: `bad_output`, whichever row says it."""


@pytest.fixture(params=WAYS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    made = CLIENTS[request.param]()
    yield made
    await made.close()


@pytest.fixture
async def upstream() -> AsyncIterator[FakeLlm]:
    async with FakeLlm() as fake:
        yield fake


def model(url: str, name: str, kind: str = "openai", key: str = KEY) -> ModelSpec:
    return ModelSpec("m", EndpointSpec("e", kind, url, key), name)  # type: ignore[arg-type]


async def fault(client: Client, spec: ModelSpec, ask: Ask = HELLO) -> Fault:
    said = await client.ask(spec, ask)
    assert isinstance(said, Fault), said
    return said


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_has_its_text_and_tokens(client: Client, upstream: FakeLlm, kind: str) -> None:
    said = await client.ask(model(upstream.url, "ok", kind), HELLO)
    assert isinstance(said, Answer)
    assert (said.text, said.bill.tokens, said.bill.usd, said.cut) == (
        "hello from ok",
        {"in": 10, "out": 5},
        None,
        False,
    )
    assert upstream.asked() == ["ok"]


@pytest.mark.parametrize("kind", KINDS)
async def test_one_question_is_one_request_with_what_was_asked(client: Client, upstream: FakeLlm, kind: str) -> None:
    messages = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "say é"})
    ask = Ask(messages, PATIENCE, temperature=0.25, max_tokens=77, schema=SCHEMA, idempotency_key="r1/a/1")
    await client.ask(model(upstream.url, "ok", kind), ask)
    (seen,) = upstream.seen
    assert [{"role": one["role"], "content": one["content"]} for one in seen.body["messages"]] == list(messages)
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["idempotency-key"] == "r1/a/1"
    if seen.path == "/api/chat":
        options = seen.body["options"]
        assert (options["temperature"], options["num_predict"], seen.body["format"]) == (0.25, 77, SCHEMA)
    else:
        assert (seen.body["temperature"], seen.body["max_tokens"]) == (0.25, 77)
        assert seen.body["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_not_asked_is_not_sent(client: Client, upstream: FakeLlm, kind: str) -> None:
    await client.ask(model(upstream.url, "ok", kind), HELLO)
    (seen,) = upstream.seen
    ollama = {"options", "stream"} if seen.path == "/api/chat" else set()
    assert seen.body.keys() - ollama == {"model", "messages"}
    assert not seen.body.get("options")
    assert "idempotency-key" not in seen.headers


async def test_a_key_of_the_environment_is_never_sent(
    client: Client, upstream: FakeLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "LITELLM_PROXY_API_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else")
    for kind in KINDS:
        await client.ask(model(upstream.url, "ok", kind, key=""), HELLO)
    assert len(upstream.seen) == 3
    assert not any("somebody-else" in str(seen.headers) for seen in upstream.seen)


async def test_no_proxy_is_taken_from_the_environment(
    client: Client, upstream: FakeLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(await client.ask(model(upstream.url, "ok"), HELLO), Answer)


async def test_the_price_that_the_proxy_names_is_told(client: Client, upstream: FakeLlm) -> None:
    upstream.usd = 0.00025
    said = await client.ask(model(upstream.url, "ok", "litellm_proxy"), HELLO)
    assert said.bill.usd == 0.00025


async def test_tokens_that_nobody_counted_are_unknown_and_not_zero(client: Client, upstream: FakeLlm) -> None:
    said = await client.ask(model(upstream.url, "uncounted"), HELLO)
    assert isinstance(said, Answer)
    assert (said.bill.tokens, said.bill.usd, said.bill.guess) == ({}, None, None)


async def test_an_answer_that_ends_at_the_token_limit_says_so(client: Client, upstream: FakeLlm) -> None:
    said = await client.ask(model(upstream.url, "cut"), HELLO)
    assert isinstance(said, Answer)
    assert said.cut


async def test_many_questions_are_asked_at_the_same_time(client: Client, upstream: FakeLlm) -> None:
    said = await asyncio.gather(*(client.ask(model(upstream.url, "ok"), HELLO) for _ in range(20)))
    assert all(isinstance(one, Answer) for one in said)


# ---------------------------------------------------------------- every row


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize(("name", "row", "error_class", "effect", "status", "wait"), REFUSALS)
async def test_a_refusal_has_its_class_effect_and_time(
    client: Client, upstream: FakeLlm, kind: str, name: str, row: str, error_class: str, effect: str, status: int,
    wait: int | None,
) -> None:  # fmt: skip
    found = await fault(client, model(upstream.url, name, kind))
    verdict = classify(found, NOW)
    assert (verdict.row, verdict.error_class, verdict.effect) == (row, error_class, effect), found
    assert (found.status, verdict.retry_after_ms) == (status, wait)
    assert upstream.asked() == [name], "no retries"
    assert KEY not in told(found, str)
    assert "secret-path" not in told(found, str)


@pytest.mark.parametrize(("name", "rows"), ANSWERS)
async def test_a_success_without_an_answer_is_bad_output(
    client: Client, upstream: FakeLlm, name: str, rows: set[str]
) -> None:
    verdict = classify(await fault(client, model(upstream.url, name)), NOW)
    assert (verdict.error_class, verdict.effect) == ("bad_output", "none")
    assert verdict.row in rows


async def test_an_error_with_the_status_of_a_success_is_the_error_that_it_names(
    client: Client, upstream: FakeLlm
) -> None:
    found = await fault(client, model(upstream.url, "sorry500"))
    verdict = classify(found, NOW)
    assert (verdict.row, verdict.error_class, verdict.effect, found.status) == ("server", "unavailable", "maybe", 500)
    assert told(found, str) == "boom"


async def test_what_the_provider_withheld_is_denied(client: Client, upstream: FakeLlm) -> None:
    verdict = classify(await fault(client, model(upstream.url, "withheld")), NOW)
    assert (verdict.row, verdict.error_class, verdict.effect) == ("filtered", "denied", "none")


async def test_tokens_of_an_empty_answer_are_billed(client: Client, upstream: FakeLlm) -> None:
    assert (await fault(client, model(upstream.url, "empty"))).bill.tokens == {"in": 10, "out": 5}


# ---------------------------------------------------------------- the connection


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["reset", "midbody", "garbage"])
async def test_a_connection_that_breaks_leaves_it_in_doubt(
    client: Client, upstream: FakeLlm, kind: str, name: str
) -> None:
    verdict = classify(await fault(client, model(upstream.url, name, kind)), NOW)
    assert (verdict.row, verdict.error_class, verdict.effect) == ("reset", "crash", "maybe")
    assert upstream.asked() == [name], "no retries"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_connection_is_unavailable_and_did_nothing(
    client: Client, upstream: FakeLlm, kind: str
) -> None:
    await upstream.stop()
    found = await fault(client, model(upstream.url, "ok", kind))
    verdict = classify(found, NOW)
    assert (verdict.row, verdict.error_class, verdict.effect) == ("refused", "unavailable", "none"), found
    assert found.message == "connection refused"
    await upstream.start()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_host_without_an_address_is_unavailable_and_did_nothing(
    client: Client, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    found = await fault(client, model("http://nobody.invalid:9", "ok", kind))
    verdict = classify(found, NOW)
    assert (verdict.row, verdict.error_class, verdict.effect) == ("dns", "unavailable", "none"), found
    assert found.message == "its name cannot be resolved"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["slow", "slowbody"])
async def test_the_deadline_ends_a_call_that_goes_on(client: Client, upstream: FakeLlm, kind: str, name: str) -> None:
    await client.ask(model(upstream.url, "ok", kind), HELLO)  # what is imported first is not in the deadline
    found = await fault(client, model(upstream.url, name, kind), replace(HELLO, deadline_s=0.2))
    verdict = classify(found, NOW)
    assert (verdict.row, verdict.error_class, verdict.effect) == ("deadline", "timeout", "maybe"), found


async def test_a_cancelled_call_ends_at_once(client: Client, upstream: FakeLlm) -> None:
    call = asyncio.create_task(client.ask(model(upstream.url, "slow"), HELLO))
    async with asyncio.timeout(PATIENCE):
        await upstream.held.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_death_in_the_middle_of_a_call_is_known_at_once(client: Client, upstream: FakeLlm) -> None:
    call = asyncio.create_task(client.ask(model(upstream.url, "slow"), HELLO))
    async with asyncio.timeout(PATIENCE):
        await upstream.held.wait()
        await upstream.stop()
        found = await call
    assert isinstance(found, Fault)
    assert classify(found, NOW).error_class == "crash"
    await upstream.start()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_body_is_read_up_to_a_cap(way: str, upstream: FakeLlm, kind: str) -> None:
    client = CLIENTS[way](answer_bytes=100_000)
    found = await fault(client, model(upstream.url, "huge", kind))
    verdict = classify(found, NOW)
    assert (verdict.row, verdict.error_class) == ("too-large", "bad_output"), found
    await client.close()


# ---------------------------------------------------------------- LiteLLM alone


@pytest.mark.slow
async def test_the_executor_asks_through_litellm_where_it_is_told_to(
    upstream: FakeLlm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("FROM_A_DOTENV=1\n")
    calls = ModelCalls(
        {
            name: found._replace(endpoint=replace(found.endpoint, client="litellm"))
            for name in ("gpt-4o", "rate429")
            for found in [model(upstream.url, name)]
        }
    )
    await calls.prefetch()
    assert "litellm" in sys.modules
    assert "FROM_A_DOTENV" not in os.environ
    answer = await calls.call(Request("gpt-4o", "model", {"prompt": "hi"}, {}, "/", "k", PATIENCE))
    assert (answer.text, answer.cost_source) == ("hello from gpt-4o", "price_map")
    assert answer.cost
    refused = await calls.call(Request("rate429", "model", {"prompt": "hi"}, {}, "/", "k", PATIENCE))
    assert (refused.error_class, refused.retry_after_ms, refused.cost) == ("rate_limit", 7_000, 0)
    await calls.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
async def test_a_price_that_litellm_looked_for_in_vain_stays_unknown(upstream: FakeLlm, kind: str) -> None:
    mine = model(upstream.url, "my/own", kind)
    calls = ModelCalls({"mine": mine._replace(endpoint=replace(mine.endpoint, client="litellm"))})
    answers = [await calls.call(Request("mine", "model", {"prompt": "hi"}, {}, "/", "k", PATIENCE)) for _ in range(3)]
    assert [(answer.text, answer.cost, answer.cost_source) for answer in answers] == [("hello from own", None, "")] * 3
    assert upstream.asked() == ["my/own"] * 3
    await calls.close()
