"""`doctor` on models: what is there, what takes the key, which models are known, and what to type."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from servers.fake_llm import FakeLlm

from runner.api.doctor_models import examine_models
from runner.api.settings import load_config

KEYS = {"PROXY_KEY": "sk-proxy-0123456789", "GITHUB_LITELLM_KEY": "gh-0123456789"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeLlm]:
    async with FakeLlm() as server:
        server.pages["/v1/models"] = (200, {}, json.dumps({"data": [{"id": "fast"}, {"id": "other"}]}))
        server.pages["/models"] = (200, {}, json.dumps({"data": [{"id": "spare"}]}))
        server.pages["/api/tags"] = (200, {}, json.dumps({"models": [{"name": "llama3:latest"}]}))
        yield server


async def told(fake: FakeLlm, folder: Path, env: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    (folder / "config.yaml").write_text(f"""
lite_llm_url: {fake.url}
models:
  endpoints:
    proxy: {{kind: litellm_proxy, api_key: "${{PROXY_KEY}}"}}
    backup: {{kind: openai, url: "{fake.url}", role: backup}}
    local: {{kind: ollama, url: "{fake.url}"}}
  catalog:
    fast: {{endpoint: proxy, model: fast, tier: free}}
    smart: {{endpoint: proxy, model: smart, tier: paid, price: {{in: 3, out: 15}}}}
    spare: {{endpoint: backup, model: spare, tier: paid}}
    llama: {{endpoint: local, model: llama3, tier: local}}
    phi: {{endpoint: local, model: phi4, tier: local}}
""")
    settings = load_config(None, start=folder, env={})
    assert settings.diagnostics == ()
    found = await examine_models(settings, env, deadline_s=5)
    return {one.name: (one.verdict, one.detail, one.fix) for one in found}


async def test_every_endpoint_and_every_model_has_a_line(fake: FakeLlm, tmp_path: Path) -> None:
    found = await told(fake, tmp_path, KEYS)
    assert list(found) == [
        "endpoint proxy",
        "endpoint backup",
        "endpoint local",
        "fast",
        "smart",
        "spare",
        "llama",
        "phi",
    ]
    assert found["endpoint proxy"][0] == "ok" and found["endpoint proxy"][1].endswith("key accepted")
    assert found["endpoint local"][1].endswith("no key needed")
    assert found["spare"] == ("ok", "spare at backup, paid, no price declared", "")
    assert found["llama"][0] == "ok"
    assert fake.asked() == [], "no model is asked"


async def test_a_model_that_its_endpoint_does_not_have_is_named_with_what_to_do(fake: FakeLlm, tmp_path: Path) -> None:
    found = await told(fake, tmp_path, KEYS)
    verdict, detail, fix = found["smart"]
    assert (verdict, fix) == ("warning", "add it to the proxy's model_list, or correct models.catalog.smart.model")
    assert "does not know it; it has fast, other" in detail
    assert found["phi"][2] == "ollama pull phi4"


async def test_a_key_that_is_refused_is_broken_and_says_which(fake: FakeLlm, tmp_path: Path) -> None:
    fake.pages["/v1/models"] = (401, {}, "{}")
    found = await told(fake, tmp_path, KEYS)
    assert found["endpoint proxy"][0] == "broken"
    assert found["endpoint proxy"][2] == "check the value of PROXY_KEY"
    assert found["fast"][::2] == ("warning", "see endpoint proxy")


async def test_a_key_that_is_missing_is_to_be_exported(fake: FakeLlm, tmp_path: Path) -> None:
    found = await told(fake, tmp_path, {"PROXY_KEY": KEYS["PROXY_KEY"]})
    assert found["endpoint backup"] == (
        "warning", "needs GITHUB_LITELLM_KEY, which is not set", "export GITHUB_LITELLM_KEY=…",
    )  # fmt: skip


async def test_an_endpoint_that_is_not_there_is_broken_and_a_local_one_is_a_warning(
    fake: FakeLlm, tmp_path: Path
) -> None:
    await fake.stop()
    found = await told(fake, tmp_path, KEYS)
    assert [found[f"endpoint {name}"][0] for name in ("proxy", "backup", "local")] == ["broken", "broken", "warning"]
    assert "connection refused" in found["endpoint proxy"][1]
    assert found["endpoint local"][2].startswith("start it (ollama serve)")


async def test_without_models_nothing_is_said(tmp_path: Path) -> None:
    assert await examine_models(load_config(None, start=tmp_path, env={}), {}, deadline_s=1) == ()
