"""Is an endpoint there? Against a fake upstream on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from servers.fake_llm import PAGE, FakeLlm

from runner.llms.probe import ProbeResult, lacks, models, probe
from runner.llms.spec import EndpointSpec

KEY = "sk-secret-0123456789"


@pytest.fixture
async def fake() -> AsyncIterator[FakeLlm]:
    async with FakeLlm() as server:
        yield server


def at(fake: FakeLlm, kind: Any = "openai", **more: Any) -> EndpointSpec:
    return EndpointSpec("there", kind, fake.url, KEY, **more)


async def asked(fake: FakeLlm, kind: Any = "openai", **more: Any) -> ProbeResult:
    return await probe(at(fake, kind, **more), 5)


@pytest.mark.parametrize(
    ("kind", "path"),
    [("litellm_proxy", "/health/readiness"), ("openai", "/models"), ("ollama", "/api/version")],
)
async def test_each_kind_is_asked_for_what_costs_nothing(fake: FakeLlm, kind: str, path: str) -> None:
    found = await asked(fake, kind)
    assert (found.ok, found.status, found.reason, found.refused_key) == (True, 200, "reachable", False)
    assert [(seen.method, seen.path) for seen in fake.seen] == [("GET", path)]
    assert fake.seen[0].headers["authorization"] == f"Bearer {KEY}"


async def test_config_may_name_another_path(fake: FakeLlm) -> None:
    await asked(fake, probe="/livez")
    assert fake.seen[0].path == "/livez"


async def test_the_health_of_a_proxy_stands_beside_its_api(fake: FakeLlm) -> None:
    await probe(replace(at(fake, "litellm_proxy"), url=f"{fake.url}/v1"), 5)
    assert fake.seen[0].path == "/health/readiness"


async def test_no_key_is_sent_where_there_is_none(fake: FakeLlm) -> None:
    await probe(replace(at(fake), api_key=""), 5)
    assert "authorization" not in fake.seen[0].headers


@pytest.mark.parametrize("status", [401, 403])
async def test_whoever_refuses_a_key_is_there(fake: FakeLlm, status: int) -> None:
    fake.pages["/models"] = (status, {}, "{}")
    found = await asked(fake)
    assert (found.ok, found.refused_key, found.status) == (True, True, status)
    assert KEY not in repr(found)


async def test_a_proxy_without_a_database_refuses_a_key_in_its_own_way(fake: FakeLlm) -> None:
    fake.pages["/v1/models"] = (400, {}, '{"error": {"message": "No connected db."}}')
    found, listed = await models(at(fake, "litellm_proxy"), 5)
    assert (found.refused_key, listed) == (True, None)


@pytest.mark.parametrize(
    ("reply", "ok", "words"),
    [
        ((500, {}, ""), False, "it answers 500"),
        ((503, {}, ""), False, "it answers 503"),
        ((404, {}, ""), True, "does not know the path"),
        ((429, {}, ""), True, "busy"),
        ((302, {"location": "https://elsewhere.example/"}, ""), False, "redirects (302), which is not followed"),
        ((200, {"content-type": "text/html; charset=utf-8"}, PAGE), False, "a web page"),
        ((200, {"content-type": "text/plain"}, "OK"), True, "reachable"),
        ((200, {}, " " * 1_100_000), False, "over 1048576 bytes"),
    ],
    ids=["500", "503", "404", "429", "redirect", "page", "text", "huge"],
)
async def test_what_an_answer_says_of_the_endpoint(fake: FakeLlm, reply: Any, ok: bool, words: str) -> None:
    fake.pages["/models"] = reply
    found = await asked(fake)
    assert found.ok is ok
    assert words in found.reason
    assert found.unreached is False
    assert len(fake.seen) == 1, "no redirect is followed"


async def test_nobody_there_is_told_from_an_answer(fake: FakeLlm) -> None:
    await fake.stop()
    found = await asked(fake)
    assert (found.ok, found.unreached, found.status) == (False, True, None)
    assert "refused" in found.reason


async def test_a_silent_endpoint_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = EndpointSpec("there", "openai", f"http://127.0.0.1:{silent.getsockname()[1]}")
        found = await probe(endpoint, 0.05)
    assert (found.ok, found.unreached, found.reason) == (False, True, "no answer within 0.05 s")


async def test_what_cannot_be_used_is_not_asked(fake: FakeLlm) -> None:
    found = await asked(fake, unusable="models.endpoints.there needs KEY")
    assert (found.ok, found.reason, fake.seen) == (False, "models.endpoints.there needs KEY", [])


async def test_no_proxy_of_the_environment_is_used(fake: FakeLlm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await asked(fake)).ok


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("litellm_proxy", "/v1/models", '{"data": [{"id": "smart"}, {"id": "fast"}]}'),
        ("openai", "/models", '{"data": [{"id": "smart"}, {"id": "fast"}]}'),
        ("ollama", "/api/tags", '{"models": [{"name": "smart"}, {"name": "fast"}]}'),
    ],
)
async def test_an_endpoint_lists_its_models(fake: FakeLlm, kind: str, path: str, body: str) -> None:
    fake.pages[path] = (200, {}, body)
    assert (await models(at(fake, kind), 5))[1] == {"smart", "fast"}


@pytest.mark.parametrize("body", ["", "[]", '{"data": 5}', "{", '{"data": ["x"]}'])
async def test_a_list_that_is_none_says_nothing_or_nobody(fake: FakeLlm, body: str) -> None:
    fake.pages["/models"] = (200, {}, body)
    assert (await models(at(fake), 5))[1] in (None, frozenset())


@pytest.mark.parametrize(
    ("kind", "listed", "missing"),
    [
        ("openai", {"a"}, ["b", "llama3"]),
        ("litellm_proxy", {"*"}, []),
        ("litellm_proxy", {"b*", "a"}, ["llama3"]),
        ("ollama", {"a:latest", "b:7b", "llama3:latest"}, ["b"]),
    ],
)
def test_models_that_an_endpoint_does_not_have_are_named(kind: Any, listed: set[str], missing: list[str]) -> None:
    assert lacks(kind, frozenset(listed), ["a", "b", "llama3"]) == missing
