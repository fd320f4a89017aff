"""Config models: every key, what they imply, and mistakes."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.diagnostics.rules import RULES
from runner.errors import InvalidInput
from runner.manifest.checked import check
from runner.manifest.config import DEFAULT, Config
from runner.manifest.config_complete import agent_executors, complete, cross_check, model_chain
from runner.manifest.config_models import CatalogModel, Endpoint
from runner.manifest.config_servers import McpServer
from runner.manifest.references import check_url, is_loopback, names, resolve, resolve_secret
from runner.manifest.vocabulary import CONFIG_KEYS
from runner.syntax import read

ROOT = Path(__file__).parent.parent.parent
CORPUS = ROOT / "tests" / "corpus"


def config(data: dict[str, Any]) -> Config:
    made, problems = check(Config, data)
    assert made is not None, problems
    return made


def load(file: Path) -> Config:
    documents, diagnostics = read(file.read_bytes(), file.name)
    assert not diagnostics
    return config(documents[0].data)


def files(folder: str) -> list[Any]:
    return [pytest.param(file, id=file.stem) for file in sorted((CORPUS / folder).glob("*.yaml"))]


@pytest.mark.parametrize("file", files("good-config"))
def test_good_configs_are_accepted_and_fit_together(file: Path) -> None:
    assert cross_check(load(file)) == []


@pytest.mark.parametrize("file", files("bad-config"))
def test_each_bad_config_has_exactly_the_one_mistake_that_it_names(file: Path) -> None:
    documents, diagnostics = read(file.read_bytes(), file.name)
    assert not diagnostics
    made, problems = check(Config, documents[0].data)
    found = problems or cross_check(made or Config())
    assert [problem.rule for problem in found] == [file.read_text().splitlines()[0].removeprefix("# rule: ")]
    assert found[0].rule in RULES and documents[0].has(found[0].loc)


def test_the_keys_of_config_that_everybody_knows_are_those_of_its_model() -> None:
    assert set(Config.model_fields) == CONFIG_KEYS


def test_the_default_config_is_what_validating_nothing_gives() -> None:
    assert Config.model_validate({}) == DEFAULT
    assert DEFAULT.model_dump() == Config().model_dump()
    bundled = complete(DEFAULT, "python").mcp_servers["workspace"]
    given = {"command": bundled.command, "args": list(bundled.args)}
    assert complete(config({"mcp_servers": {"same": given}}), "python").mcp_servers["same"] == bundled


def test_the_example_is_valid_and_shows_every_key() -> None:
    documents, diagnostics = read((ROOT / "config.yaml.example").read_bytes(), "config.yaml.example")
    assert not diagnostics
    data = documents[0].data
    assert cross_check(config(data)) == []
    assert set(data) == CONFIG_KEYS
    for section in ("fault_handler", "budget", "policy", "state", "concurrency", "limits", "router", "models"):
        made = getattr(Config(), section)
        assert set(data[section]) == {field.alias or name for name, field in type(made).model_fields.items()}, section
    for model, entries in (
        (Endpoint, data["models"]["endpoints"]),
        (CatalogModel, data["models"]["catalog"]),
        (McpServer, data["mcp_servers"]),
    ):
        shown = {key for entry in entries.values() for key in entry}
        assert shown == set(model.model_fields), model


def test_the_example_holds_the_defaults_where_it_says_so() -> None:
    example, default = load(ROOT / "config.yaml.example"), Config()
    assert example.limits == default.limits
    assert example.state == default.state
    assert example.concurrency == default.concurrency
    assert (example.timezone, example.workspace, example.github_key) == ("UTC", ".", default.github_key)
    own = {"policies"}
    assert example.fault_handler.model_dump(exclude=own) == default.fault_handler.model_dump(exclude=own)


def test_without_a_config_the_bundled_server_is_there_and_no_model() -> None:
    made = complete(Config(), "/usr/bin/python3")
    assert set(made.mcp_servers) == {"workspace"}
    server = made.mcp_servers["workspace"]
    assert (server.command, server.args) == ("/usr/bin/python3", ("-P", "-m", "runner.bridges.workspace"))
    assert server.local and server.connect_timeout == 15_000
    assert made.models.endpoints == {}


def test_the_seed_keys_alone_imply_the_endpoint_proxy() -> None:
    made = complete(load(CORPUS / "good-config" / "seed.yaml"), "python")
    proxy = made.models.endpoints["proxy"]
    assert (proxy.kind, proxy.url, proxy.probe) == ("litellm_proxy", "http://127.0.0.1:4000", "/health/readiness")
    assert set(made.mcp_servers) == {"workspace", "git"}


def test_github_key_is_the_key_of_backup_unless_it_has_its_own() -> None:
    endpoint = {"kind": "openai", "url": "https://api.example.com/v1", "role": "backup"}
    given = complete(config({"github_key": "${MINE}", "models": {"endpoints": {"backup": endpoint}}}), "python")
    assert given.models.endpoints["backup"].api_key == "${MINE}"
    default = complete(config({"models": {"endpoints": {"backup": endpoint}}}), "python")
    assert default.models.endpoints["backup"].api_key == "${GITHUB_LITELLM_KEY}"
    own = complete(config({"models": {"endpoints": {"backup": {**endpoint, "api_key": "${OWN}"}}}}), "python")
    assert own.models.endpoints["backup"].api_key == "${OWN}"


def test_presets_bring_their_capabilities_and_patience() -> None:
    servers = {
        "a": {"preset": "claude-code"},
        "b": {"preset": "openclaw", "url": "http://127.0.0.1:18789"},
        "c": {
            "preset": "moltworker",
            "url": "https://x.example",
            "connect_timeout": "1m",
            "capabilities": ["chat"],
            "tier": "free",
        },
    }
    made = complete(config({"mcp_servers": servers}), "python").mcp_servers
    assert [made[name].connect_timeout for name in "abc"] == [15_000, 60_000, 60_000]
    assert made["a"].capabilities == ("code_edit", "shell", "web") and made["c"].capabilities == ("chat",)
    assert [made[name].tier for name in "abc"] == ["paid", "paid", "free"]
    assert [made[name].local for name in "abc"] == [False, False, False]


@pytest.mark.parametrize(
    ("server", "local"),
    [
        ({"command": "x"}, True),
        ({"command": "x", "local": False}, False),
        ({"url": "http://127.0.0.1:8000/mcp"}, True),
        ({"url": "http://[::1]:8000/mcp"}, True),
        ({"url": "http://localhost/mcp"}, True),
        ({"url": "https://host.example/mcp"}, False),
        ({"url": "https://host.example/mcp", "local": True}, True),
        ({"preset": "claude-code"}, False),
    ],
)
def test_local_defaults_to_what_needs_no_cloud(server: dict[str, Any], local: bool) -> None:
    assert complete(config({"mcp_servers": {"x": server}}), "python").mcp_servers["x"].local is local


def test_a_server_with_a_mapping_is_an_agent_executor() -> None:
    made = load(CORPUS / "good-config" / "full.yaml")
    assert agent_executors(made) == {"claude-code", "openclaw", "moltworker", "my-agent"}


def test_a_single_name_may_be_a_chain() -> None:
    models = load(CORPUS / "good-config" / "full.yaml").models
    assert model_chain(models, ("default",)) == ("fast-free", "smart", "spare", "llama")
    assert model_chain(models, ("smart",)) == ("smart",)
    assert model_chain(models, ("smart", "llama")) == ("smart", "llama")


def test_references_are_resolved_only_when_asked_for() -> None:
    text = "Bearer ${A}-${B}"
    assert names(text) == ("A", "B")
    assert resolve(text, {"A": "1", "B": "${A}"}, entry="x") == "Bearer 1-${A}", (
        "what a variable holds is not resolved again"
    )
    with pytest.raises(InvalidInput, match=r"mcp_servers\.remote needs the environment variable A"):
        resolve(text, {"B": "2"}, entry="mcp_servers.remote")


def test_a_resolved_secret_shows_itself_nowhere() -> None:
    secret = resolve_secret("Bearer ${TOKEN}", {"TOKEN": "correct-horse"}, entry="x")
    assert "correct" not in repr(secret) and secret.get_secret_value() == "Bearer correct-horse"


def test_a_short_secret_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidInput, match="shorter than 8") as refused:
        resolve_secret("${TOKEN}", {"TOKEN": "hunter2"}, entry="github_key")
    assert "hunter2" not in str(refused.value)


def test_a_secret_that_is_a_number_is_refused_without_being_shown() -> None:
    _, problems = check(Config, {"github_key": 123456789012, "secrets": {"A": 1234567890.25}})
    assert [problem.rule for problem in problems] == ["config-secret-literal"] * 2
    assert "1234" not in str(problems)


@pytest.mark.parametrize(
    "url", ["ftp://me:hunter2@host.example", "me:hunter2@host.example", "https://me:hunter2@host:x/"]
)
def test_no_message_about_a_url_shows_the_password_in_it(url: str) -> None:
    _, problems = check(Config, {"mcp_servers": {"s": {"url": url}}})
    assert [problem.rule for problem in problems] == ["config-url"]
    assert "hunter2" not in str(problems)


def test_a_secret_in_config_is_refused_without_being_shown() -> None:
    literal = "ghp_0123456789abcdefghij0123456789abcdef"
    _, problems = check(Config, {"github_key": literal, "secrets": {"A": literal}})
    assert [problem.rule for problem in problems] == ["config-secret-literal"] * 2
    assert literal[:8] not in str(problems)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "metadata.google.internal", "[fd00:ec2::254]", "169.254.1.1"]
)
def test_metadata_addresses_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match="metadata"):
        check_url(f"http://{host}/latest")


@pytest.mark.parametrize(
    "url", ["", "host.example", "file:///etc/passwd", "http://", "http://host:port/", "http://[::1", "//host"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL"):
        check_url(url)


def test_loopback_is_told_from_names_that_only_look_like_it() -> None:
    assert is_loopback("http://127.1.2.3:80") and is_loopback("http://a.localhost")
    assert not is_loopback("http://127.0.0.1.example.com") and not is_loopback("http://localhost.example.com")


def _places(data: Any, loc: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [loc, *(place for key, value in inner for place in _places(value, (*loc, key)))]


EXAMPLE = read((ROOT / "config.yaml.example").read_bytes(), "config.yaml.example")[0][0].data
ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "a-b",
        "10m",
        "${X}",
        "${X",
        "http://[",
        [],
        [1],
        ["x", None],
        {},
        {"x": 1},
        {"a b": {}},
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([loc for loc in _places(EXAMPLE) if loc]), ODD)
def test_any_change_of_the_example_is_accepted_or_refused_in_a_place_that_exists(
    loc: tuple[str | int, ...], value: Any
) -> None:
    data = deepcopy(EXAMPLE)
    parent = data
    for part in loc[:-1]:
        parent = parent[part]
    parent[loc[-1]] = value
    made, problems = check(Config, data)
    assert (made is None) == bool(problems)
    if made is not None:
        problems = cross_check(made)
        assert complete(made, "python").mcp_servers["workspace"]
    for problem in problems:
        assert problem.rule in RULES and "Input should" not in problem.message
        target = data
        for part in problem.loc:
            target = target[part]
