"""Presets of `mcp_servers`: how the bundled bridges are started, what they are told and by which way, and what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mcp_calls import PATIENCE_S, call

from runner.api.secrets import SecretSource
from runner.api.servers import BRIDGES, server_specs
from runner.api.settings import Settings, load_config
from runner.bridges import openclaw
from runner.executors.mcp import McpServers, ServerSpec
from runner.manifest.presets import PRESETS

MOLT = """
mcp_servers:
  molt:
    preset: moltworker
    url: "${MOLT_URL}"
    token: "${MOLT_TOKEN}"
    headers: {CF-Access-Client-Id: "${CF_ID}", CF-Access-Client-Secret: "${CF_SECRET}"}
    connect_timeout: 90s
"""
MOLT_ENV = {
    "MOLT_URL": "https://molt.example.workers.dev/x",
    "MOLT_TOKEN": "a token that is secret",
    "CF_ID": "an id that is secret",
    "CF_SECRET": "a secret that is one",
}


def settings_of(folder: Path, config: str) -> Settings:
    (folder / "config.yaml").write_text(config)
    settings = load_config(folder / "config.yaml", start=folder, env={})
    assert settings.ok, settings.diagnostics
    return settings


def specs_of(folder: Path, config: str, **env: str) -> dict[str, ServerSpec]:
    return server_specs(settings_of(folder, config), env)


def test_every_preset_has_a_bridge() -> None:
    assert BRIDGES.keys() == PRESETS.keys()


def test_a_gateway_is_named_to_its_bridge_by_the_environment_and_never_on_its_command_line(tmp_path: Path) -> None:
    spec = specs_of(tmp_path, MOLT, **MOLT_ENV)["molt"]
    assert (spec.command, *spec.args) == (
        sys.executable, "-P", "-m", "runner.bridges.openclaw", "--moltworker",
    )  # fmt: skip
    assert (spec.url, dict(spec.headers), spec.unusable) == ("", {}, "")
    options = openclaw.parse(list(spec.args[3:]), spec.env)
    assert options.gateway is not None
    assert (options.gateway.url, options.gateway.token) == (MOLT_ENV["MOLT_URL"], MOLT_ENV["MOLT_TOKEN"])
    assert options.gateway.headers == {
        "CF-Access-Client-Id": MOLT_ENV["CF_ID"],
        "CF-Access-Client-Secret": MOLT_ENV["CF_SECRET"],
    }
    assert (options.gateway.start_s, options.gateway.probe) == (90.0, "/api/status")
    assert not any(secret in repr(spec) for secret in MOLT_ENV.values())


@pytest.mark.parametrize("missing", MOLT_ENV)
def test_a_preset_whose_variable_is_not_set_is_unusable_and_says_which(missing: str, tmp_path: Path) -> None:
    spec = specs_of(tmp_path, MOLT, **{name: value for name, value in MOLT_ENV.items() if name != missing})["molt"]
    assert f"needs the environment variable {missing}" in spec.unusable


def test_an_agent_gets_the_login_that_our_environment_holds_and_what_the_config_says_wins(tmp_path: Path) -> None:
    config = """
mcp_servers:
  a: {preset: claude-code, args: [--permission-mode=acceptEdits], env: {ANTHROPIC_BASE_URL: "http://127.0.0.1:1"}}
"""
    ours = {
        "ANTHROPIC_API_KEY": "sk-a-long-key",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:2",
        "MY_OTHER_SECRET": "x" * 9,
    }
    settings = settings_of(tmp_path, config)
    spec = server_specs(settings, ours)["a"]
    assert spec.args[3:] == ("--permission-mode=acceptEdits",)
    assert spec.env == {"ANTHROPIC_API_KEY": "sk-a-long-key", "ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    assert "sk-a-long-key" not in SecretSource(settings.config, ours).redactor().text("it said sk-a-long-key")


async def test_the_bridge_of_each_preset_starts_and_offers_run_task(tmp_path: Path) -> None:
    config = f"{MOLT}  claude: {{preset: claude-code}}\n  open: {{preset: openclaw}}\n"
    servers = McpServers(specs_of(tmp_path, config, **MOLT_ENV))
    try:
        for name in ("molt", "claude", "open"):
            answer = await call(servers, "run_task", name, arguments={"prompt": " "}, deadline_s=3 * PATIENCE_S)
            assert "`prompt` must be a text" in answer.message
    finally:
        await servers.close()
