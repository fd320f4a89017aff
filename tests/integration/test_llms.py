"""The executor of the verb `model`, and the judge over it, against an upstream on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from servers.fake_llm import FakeLlm

from runner.clock import FakeClock
from runner.llms.conversation import SESSION_CHARS
from runner.llms.executor import ModelCalls
from runner.llms.judge import RETURNS, ModelJudge, read
from runner.llms.spec import EndpointSpec, ModelSpec, PriceSpec, catalog
from runner.manifest.config import Config
from runner.manifest.config_complete import complete
from runner.ports import CallResult, Request
from runner.redact import Redactor

SCHEMA = {"type": "object", "properties": {"kind": {"type": "string"}}, "required": ["kind"]}
KEY = "sk-of-the-proxy"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeLlm]:
    async with FakeLlm() as fake:
        yield fake


@pytest.fixture
async def calls(upstream: FakeLlm) -> AsyncIterator[ModelCalls]:
    proxy = EndpointSpec("proxy", "litellm_proxy", upstream.url, KEY)
    keyless = EndpointSpec("backup", "openai", upstream.url, unusable="needs BACKUP_KEY: export BACKUP_KEY=…")
    local = EndpointSpec("local", "ollama", upstream.url, local=True)
    gone = EndpointSpec("gone", "openai", "http://127.0.0.1:9")
    models = [
        *(
            ModelSpec(name, proxy, name)
            for name in ("ok", "fast", "rate429", "server500", "key401", "late401", "html", "empty")
        ),
        ModelSpec("sure", proxy, "sure", capabilities=frozenset({"json_schema"})),
        ModelSpec("priced", proxy, "priced", price=PriceSpec(3.0, 15.0)),
        ModelSpec("uncounted", proxy, "uncounted", price=PriceSpec(3.0, 15.0)),
        ModelSpec("gratis", proxy, "gratis", tier="free"),
        ModelSpec("gratis500", proxy, "server500", tier="free"),
        ModelSpec("slow", proxy, "slow"),
        ModelSpec("keyless", keyless, "ok"),
        ModelSpec("llama", local, "llama3", tier="local"),
        ModelSpec("gone", gone, "ok"),
    ]
    made = ModelCalls({model.name: model for model in models}, clock=FakeClock())
    yield made
    await made.close()


class Log:
    """An attempt's log, kept."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, stream: str, text: str) -> None:
        self.text += text


def request(label: str, prompt: Any = "hi", **more: Any) -> Request:
    inputs = {"prompt": prompt, **more.pop("inputs", {})}
    return Request(label, "model", inputs, {}, "/", "r1/a/1", more.pop("deadline_s", 20.0), **more)


def asked(upstream: FakeLlm) -> list[dict[str, str]]:
    """The messages of the last request."""
    messages: list[dict[str, str]] = upstream.seen[-1].body["messages"]
    return messages


# ---------------------------------------------------------------- answers


async def test_an_answer_says_who_gave_it_and_what_it_took(calls: ModelCalls) -> None:
    log = Log()
    answer = await calls.call(request("ok", log=log))
    assert (answer.error_class, answer.output, answer.text, answer.structured) == (
        "",
        "hello from ok",
        "hello from ok",
        False,
    )
    assert (answer.executor, answer.model, answer.tokens) == ("proxy", "ok", {"in": 10, "out": 5})
    assert log.text == "proxy: ok: 10 tokens in, 5 out, price unknown\n"


async def test_what_the_step_says_of_the_answer_is_asked(calls: ModelCalls, upstream: FakeLlm) -> None:
    await calls.call(request("ok", inputs={"system": "be brief", "temperature": 0, "max_tokens": 9}))
    body = upstream.seen[0].body
    assert body["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert (body["temperature"], body["max_tokens"]) == (0, 9)
    assert upstream.seen[0].headers["idempotency-key"] == "r1/a/1"


async def test_returns_is_a_response_format_for_models_that_take_one(calls: ModelCalls, upstream: FakeLlm) -> None:
    await calls.call(request("sure", returns=SCHEMA))
    assert upstream.seen[0].body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert len(asked(upstream)) == 1


async def test_returns_is_said_in_words_to_models_that_declare_nothing(calls: ModelCalls, upstream: FakeLlm) -> None:
    await calls.call(request("ok", returns=SCHEMA, inputs={"system": "be brief"}))
    assert "response_format" not in upstream.seen[0].body
    system = asked(upstream)[0]
    assert system["role"] == "system"
    assert system["content"].startswith("be brief\n\n")
    assert json.dumps(SCHEMA) in system["content"]


async def test_a_local_model_is_asked_over_plain_http(calls: ModelCalls, upstream: FakeLlm) -> None:
    answer = await calls.call(request("llama"))
    assert (answer.text, answer.executor, answer.cost, answer.cost_source) == ("hello from llama3", "local", 0, "free")
    assert "authorization" not in upstream.seen[0].headers


# ---------------------------------------------------------------- the conversation of repair rounds


async def test_a_repair_round_goes_on_with_the_conversation(calls: ModelCalls, upstream: FakeLlm) -> None:
    upstream.says["ok"] = ["first", "second", "third"]
    one = await calls.call(request("ok"))
    two = await calls.call(request("ok", session=one.session, feedback="too short"))
    assert [message["role"] for message in asked(upstream)] == ["user", "assistant", "user"]
    assert asked(upstream)[1]["content"] == "first"
    assert "too short" in asked(upstream)[2]["content"]
    assert "hi" not in asked(upstream)[2]["content"]
    await calls.call(request("ok", session=two.session, feedback="too long"))
    assert [message["content"] for message in asked(upstream)][1::2] == ["first", "second"]
    assert "too long" in asked(upstream)[-1]["content"]


async def test_a_prompt_that_quotes_the_feedback_is_said_as_it_is(calls: ModelCalls, upstream: FakeLlm) -> None:
    one = await calls.call(request("ok"))
    await calls.call(request("ok", "again, because: too short", session=one.session, feedback="too short"))
    assert asked(upstream)[-1]["content"] == "again, because: too short"


async def test_without_a_session_the_feedback_is_appended_to_the_prompt(calls: ModelCalls, upstream: FakeLlm) -> None:
    await calls.call(request("ok", feedback="too short"))
    (message,) = asked(upstream)
    assert message["content"].startswith("hi\n\n")
    assert message["content"].endswith("too short")


@pytest.mark.parametrize("session", ["agent-session-17", "{}", '[{"role": "system", "content": "x"}]', "[1]"])
async def test_a_session_that_is_not_ours_is_left_alone(calls: ModelCalls, upstream: FakeLlm, session: str) -> None:
    await calls.call(request("ok", session=session))
    assert asked(upstream) == [{"role": "user", "content": "hi"}]


async def test_a_conversation_that_is_too_long_is_not_kept(calls: ModelCalls) -> None:
    assert (await calls.call(request("ok", "x" * SESSION_CHARS))).session is None


# ---------------------------------------------------------------- money


async def test_the_price_that_the_endpoint_names_comes_before_the_declared_one(
    calls: ModelCalls, upstream: FakeLlm
) -> None:
    upstream.usd = 0.00042
    answer = await calls.call(request("priced"))
    assert (answer.cost, answer.cost_source) == (420, "endpoint")
    assert upstream.bills == [420]


@pytest.mark.parametrize("usd", [None, 0.0])
async def test_without_a_price_of_the_endpoint_the_declared_one_counts(
    calls: ModelCalls, upstream: FakeLlm, usd: float | None
) -> None:
    upstream.usd = usd
    answer = await calls.call(request("priced"))
    assert (answer.cost, answer.cost_source) == (10 * 3 + 5 * 15, "declared")


async def test_a_price_that_nobody_knows_is_none_and_never_zero(calls: ModelCalls, upstream: FakeLlm) -> None:
    assert (await calls.call(request("ok"))).cost is None
    assert (await calls.call(request("uncounted"))).cost is None
    upstream.usd = 0.0
    assert (await calls.call(request("ok"))).cost is None


async def test_a_model_that_is_declared_free_costs_nothing_whatever_a_price_map_says(
    calls: ModelCalls, upstream: FakeLlm
) -> None:
    upstream.usd = 0.5
    answer = await calls.call(request("gratis"))
    assert (answer.cost, answer.cost_source) == (0, "free")
    assert (await calls.call(request("gratis500"))).cost == 0


async def test_a_refusal_costs_nothing_and_what_is_in_doubt_costs_nobody_knows_what(calls: ModelCalls) -> None:
    costs = {label: (await calls.call(request(label))).cost for label in ("rate429", "key401", "gone", "server500")}
    assert costs == {"rate429": 0, "key401": 0, "gone": 0, "server500": None}
    assert (await calls.call(request("slow", deadline_s=0.05))).cost is None


# ---------------------------------------------------------------- failures


async def test_a_failure_has_its_class_and_names_the_endpoint(calls: ModelCalls) -> None:
    log = Log()
    answer = await calls.call(request("rate429", log=log))
    assert (answer.error_class, answer.effect, answer.status, answer.retry_after_ms) == (
        "rate_limit",
        "none",
        429,
        7_000,
    )
    assert answer.message == "proxy/rate429: HTTP 429: Rate limit reached"
    assert (answer.executor, answer.model) == ("proxy", "rate429")
    assert "rate_limit" in log.text


async def test_no_half_of_a_key_is_left_where_a_message_is_cut(calls: ModelCalls) -> None:
    log = Log()
    result = await calls.call(request("late401", log=log, masked=Redactor({"key": KEY}).text))
    assert "[cut: " in result.message
    for said in (result.message, log.text):
        assert "Received API key: Bearer ***" in said
        assert KEY[:6] not in said


async def test_the_deadline_of_the_step_holds(calls: ModelCalls) -> None:
    answer = await calls.call(request("slow", deadline_s=0.05))
    assert (answer.error_class, answer.effect) == ("timeout", "maybe")
    assert "within 0.05 s" in answer.message


async def test_a_model_that_is_not_configured_is_named(calls: ModelCalls, upstream: FakeLlm) -> None:
    answer = await calls.call(request("nobody"))
    assert (answer.error_class, answer.message) == ("invalid", "needs the model `nobody`, which is not configured")


async def test_a_missing_key_is_told_with_what_to_type_and_nothing_is_sent(
    calls: ModelCalls, upstream: FakeLlm
) -> None:
    answer = await calls.call(request("keyless"))
    assert (answer.error_class, answer.effect, answer.cost) == ("auth", "none", 0)
    assert "export BACKUP_KEY" in answer.message
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("prompt", "inputs", "message"),
    [
        ("", {}, "the prompt is empty"),
        (" \n", {}, "the prompt is empty"),
        ("hi", {"temperature": "warm"}, "temperature must be a number, not str"),
        ("hi", {"max_tokens": True}, "max_tokens must be an integer, not bool"),
        (["hi"], {}, "prompt must be text, not list"),
    ],
)
async def test_what_cannot_be_asked_is_invalid_and_not_sent(
    calls: ModelCalls, upstream: FakeLlm, prompt: Any, inputs: dict[str, Any], message: str
) -> None:
    answer = await calls.call(request("ok", prompt, inputs=inputs))
    assert (answer.error_class, answer.message) == ("invalid", message)
    assert upstream.seen == []


async def test_an_upstream_that_comes_back_is_used_again(calls: ModelCalls, upstream: FakeLlm) -> None:
    await calls.call(request("ok"))
    await upstream.stop()
    assert (await calls.call(request("ok"))).error_class in ("unavailable", "crash")
    await upstream.start()
    assert (await calls.call(request("ok"))).error_class == ""


# ---------------------------------------------------------------- config


def models(env: dict[str, str], **more: Any) -> dict[str, ModelSpec]:
    data = {
        "lite_llm_url": "http://127.0.0.1:4000/",
        "github_key": "${BACKUP_KEY}",
        "models": {
            "endpoints": {
                "proxy": {"kind": "litellm_proxy", "api_key": "${PROXY_KEY}"},
                "backup": {"kind": "openai", "url": "${BACKUP_URL}", "role": "backup"},
                "local": {"kind": "ollama", "url": "http://127.0.0.1:11434"},
            },
            "catalog": {
                "smart": {
                    "endpoint": "proxy",
                    "model": "s",
                    "tier": "paid",
                    "price": {"in": 3.0, "out": 15.0},
                    "capabilities": ["json_schema"],
                    "context": 128_000,
                },
                "spare": {"endpoint": "backup", "model": "b", "tier": "paid"},
                "llama": {"endpoint": "local", "model": "llama3", "tier": "local"},
            },
        },
    }
    return catalog(complete(Config.model_validate(data), sys.executable).models, env)


def test_the_catalog_of_a_config_has_its_endpoints_keys_and_prices() -> None:
    env = {"PROXY_KEY": "sk-proxy-1", "BACKUP_KEY": "sk-backup-1", "BACKUP_URL": "https://api.example.com/v1/"}
    found = models(env)
    assert found["smart"].endpoint == EndpointSpec("proxy", "litellm_proxy", "http://127.0.0.1:4000", "sk-proxy-1")
    assert (found["smart"].price, found["smart"].context) == (PriceSpec(3.0, 15.0), 128_000)
    assert found["spare"].endpoint.url == "https://api.example.com/v1"
    assert (found["spare"].endpoint.api_key, found["spare"].endpoint.backup) == ("sk-backup-1", True)
    assert (found["llama"].endpoint.local, found["llama"].tier) == (True, "local")
    assert "sk-" not in repr(found)


def test_an_endpoint_whose_variable_is_not_set_says_so_and_the_others_go_on() -> None:
    found = models({"PROXY_KEY": "sk-proxy-1"})
    assert "BACKUP_URL" in found["spare"].endpoint.unusable
    assert "export BACKUP_URL" in found["spare"].endpoint.unusable
    assert found["smart"].endpoint.unusable == ""


def test_a_url_from_the_environment_is_checked_when_it_is_known() -> None:
    env = {"PROXY_KEY": "sk-proxy-1", "BACKUP_KEY": "sk-backup-1", "BACKUP_URL": "http://169.254.169.254/v1"}
    assert "metadata" in models(env)["spare"].endpoint.unusable


def test_no_client_is_imported_before_the_first_call() -> None:
    code = (
        "import sys; from runner.llms.executor import ModelCalls; ModelCalls({});"
        "print([name for name in ('litellm', 'openai', 'httpx', 'httpx2') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- the judge


class Voices:
    """An executor that says what the test wrote, model by model."""

    def __init__(self, **says: Sequence[CallResult | str]) -> None:
        self._says = {name: list(texts) for name, texts in says.items()}
        self.requests: list[Request] = []

    async def call(self, request: Request) -> CallResult:
        self.requests.append(request)
        said = self._says[request.label].pop(0)
        return CallResult(text=said, output=said, session="s", cost=7) if isinstance(said, str) else said

    async def close(self) -> None:
        """Nothing is held."""


GOOD = '{"score": 0.9, "reason": "fits"}'
DOWN = CallResult(error_class="unavailable", message="nobody there", cost=0)


async def test_a_judgement_has_a_score_a_reason_and_its_calls(calls: ModelCalls, upstream: FakeLlm) -> None:
    upstream.says["sure"] = [GOOD]
    found = await ModelJudge(calls).judge(request("fast"), ["sure"], "it is short", "the text")
    assert (found.score, found.reason) == (0.9, "fits")
    assert [call.model for call in found.calls] == ["sure"]
    assert upstream.seen[0].body["response_format"]["json_schema"]["schema"] == RETURNS
    said = asked(upstream)[-1]["content"]
    assert "it is short" in said
    assert "the text" in said


async def test_an_answer_that_is_no_judgement_is_asked_again_in_the_same_conversation() -> None:
    voices = Voices(a=["great!", GOOD])
    found = await ModelJudge(voices).judge(request("x"), ["a"], "it is short", "text")
    assert (found.score, len(found.calls)) == (0.9, 2)
    assert voices.requests[1].session == "s"
    assert voices.requests[1].feedback is not None
    assert len({one.idempotency_key for one in voices.requests}) == 2


async def test_another_model_judges_when_one_cannot() -> None:
    found = await ModelJudge(Voices(a=[DOWN], b=["no", "no"], c=[GOOD])).judge(
        request("x"), ["a", "b", "c"], "r", "text"
    )
    assert (found.score, len(found.calls)) == (0.9, 4)


async def test_nobody_else_is_asked_after_a_failure_that_may_not_pass_on() -> None:
    wrong = CallResult(error_class="invalid", message="no such parameter")
    found = await ModelJudge(Voices(a=[wrong], b=[GOOD])).judge(request("x"), ["a", "b"], "r", "text")
    assert (found.score, found.reason, len(found.calls)) == (None, "a: invalid: no such parameter", 1)


async def test_a_judgement_that_nobody_gives_says_why() -> None:
    assert (await ModelJudge(Voices()).judge(request("x"), [], "r", "text")).reason == "no model may judge"
    found = await ModelJudge(Voices(a=[DOWN])).judge(request("x"), ["a"], "r", "text")
    assert (found.score, found.reason) == (None, "a: unavailable: nobody there")


@pytest.mark.parametrize(
    "text", ["", "fine", "[]", '{"score": 2}', '{"score": true}', '{"score": "0.5"}', '{"score": NaN}', "{}"]
)
def test_what_is_no_score_is_no_judgement(text: str) -> None:
    assert isinstance(read(text), str)


def test_a_judgement_is_read_out_of_the_text_around_it() -> None:
    found = read(f"Here you are:\n```json\n{GOOD}\n```\n")
    assert not isinstance(found, str)
    assert found.score == 0.9
