"""What the router is told: what is missing, whose credential it is, what was learned, which mode holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.api.routing import credentials, missing, outlook, roster
from runner.api.settings import Settings
from runner.clock import FakeClock
from runner.core.circuits import Circuit
from runner.core.learning import Sample
from runner.core.modes import FOREVER, ModeState
from runner.core.router import Want, route
from runner.manifest.config import Config
from runner.manifest.config_complete import complete
from runner.ports import ModeRow
from runner.store.memory import MemoryStore
from runner.store.memory_health import MemoryHealth

NOW = 1_800_000_000_000
KEYS = {"LITELLM_PROXY_API_KEY": "sk-proxy-123456", "GITHUB_LITELLM_KEY": "gh-backup-123456"}
CONFIG: dict[str, Any] = {
    "lite_llm_url": "http://127.0.0.1:4000",
    "models": {
        "endpoints": {
            "proxy": {"kind": "litellm_proxy", "api_key": "${LITELLM_PROXY_API_KEY}"},
            "backup": {"kind": "openai", "url": "${BACKUP_URL}", "role": "backup"},
            "local": {"kind": "ollama", "url": "http://127.0.0.1:11434"},
        },
        "catalog": {
            "slow": {"endpoint": "proxy", "model": "a", "tier": "paid", "price": {"in": 1, "out": 1}},
            "fast": {"endpoint": "proxy", "model": "b", "tier": "paid", "price": {"in": 5, "out": 5}},
        },
    },
    "mcp_servers": {
        "claw": {"preset": "openclaw", "url": "http://127.0.0.1:18789", "token": "${CLAW_TOKEN}"},
        "far": {"url": "https://far.example/mcp", "headers": {"Authorization": "Bearer ${FAR_A}${FAR_B}"}},
    },
    "policy": {"tools": {"deny": ["x.*"]}},
}  # fmt: skip


def settings(changes: dict[str, Any] | None = None) -> Settings:
    config = complete(Config.model_validate({**CONFIG, **(changes or {})}), "python")
    return Settings(config, None, Path("/project"))


def test_what_is_missing_is_said_in_words_that_follow_needs() -> None:
    assert missing(settings().config, {"CLAW_TOKEN": "short"}) == {
        "proxy": "LITELLM_PROXY_API_KEY, which is not set",
        "backup": "BACKUP_URL and GITHUB_LITELLM_KEY, which are not set",
        "claw": "a longer CLAW_TOKEN: under 8 characters it cannot be masked",
        "far": "FAR_A and FAR_B, which are not set",
    }


def test_nothing_is_missing_when_everything_is_set() -> None:
    env = {**KEYS, "BACKUP_URL": "https://b.example/v1", "CLAW_TOKEN": "t" * 8, "FAR_A": "a" * 8, "FAR_B": "b" * 8}
    assert missing(settings().config, env) == {}


def test_a_url_that_turns_out_to_be_none_is_missing_too() -> None:
    needs = missing(settings().config, {**KEYS, "BACKUP_URL": "ftp://b.example"})
    assert "models.endpoints.backup.url: expected a URL" in needs["backup"]


def test_credentials_are_told_apart_and_never_shown() -> None:
    first, second = (credentials(settings().config, {**KEYS, "GITHUB_LITELLM_KEY": key}) for key in ("one", "two"))
    assert set(first) == {"proxy", "backup"}, "no entry without a credential has a fingerprint"
    assert first["proxy"] == second["proxy"]
    assert first["backup"] != second["backup"]
    assert not any(key in str(first) for key in KEYS.values())


def test_an_outlook_without_a_record_is_normal() -> None:
    found = outlook(settings(), KEYS, None, NOW)
    assert (found.now, found.mode, found.pinned, dict(found.circuits)) == (NOW, "normal", False, {})
    assert found.policy.deny == ("x.*",)


def test_a_mode_that_is_asked_for_holds_as_if_a_person_had_set_it() -> None:
    found = outlook(settings(), KEYS, None, NOW, "brainstem")
    assert (found.mode, found.pinned) == ("brainstem", True)


async def test_a_recorded_pin_holds_until_its_end_and_then_the_circuits_decide() -> None:
    health = MemoryHealth(MemoryStore(FakeClock(NOW)))
    await health.set_mode(ModeState("brainstem", NOW, NOW + 1000, "set by a person"), 0)
    during, after = (outlook(settings(), KEYS, health, now) for now in (NOW + 999, NOW + 60_000))
    assert (during.mode, during.pinned) == ("brainstem", True)
    assert (after.mode, after.pinned) == ("normal", False)


async def test_a_circuit_that_opened_makes_the_mode_worse_before_anybody_wrote_it_down() -> None:
    health = MemoryHealth(MemoryStore(FakeClock(NOW)))
    opened = Circuit("open", opened=NOW, until=NOW + 30_000, reason="refused")
    await health.set_circuit("endpoint:proxy", opened, 0)
    found = outlook(settings(), KEYS, health, NOW)
    assert found.mode == "degraded"
    assert found.circuits["endpoint:proxy"] == opened
    assert found.pinned is False


async def test_a_pin_without_an_end_stays() -> None:
    health = MemoryHealth(MemoryStore(FakeClock(NOW)))
    await health.set_mode(ModeState("degraded", NOW, FOREVER), 0)
    assert outlook(settings(), KEYS, health, NOW + 10**9).mode == "degraded"


class Attempts:
    """A `Health` that has nothing but attempts, and counts how often they are read."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples, self.reads = samples, 0

    def samples(self, names: Any, since: int, limit: int = 2000) -> list[Sample]:
        self.reads += 1
        return self._samples

    def circuits(self) -> dict[str, Any]:
        return {}

    def mode(self) -> Any:
        return ModeRow(0, ModeState())


def attempts(executor: str, name: str, ms: int) -> list[Sample]:
    return [Sample(executor, name, True, "", NOW - 1000 - at, ms, 10) for at in range(6)]


@pytest.mark.parametrize(
    ("prefer", "order"),
    [("declared", ["slow", "fast"]), ("speed", ["fast", "slow"]), ("cost", ["slow", "fast"])],
)
def test_models_are_ordered_by_what_their_own_attempts_say(prefer: str, order: list[str]) -> None:
    seen = Attempts([*attempts("proxy", "slow", 9_000), *attempts("proxy", "fast", 100), *attempts("claw", "slow", 1)])
    asked = settings({"router": {"prefer": prefer}})
    at = outlook(asked, KEYS, seen, NOW)  # type: ignore[arg-type]
    routed = route(Want("model"), roster(asked.config), at)
    assert [verdict.label for verdict in routed.verdicts] == order
    assert seen.reads == (0 if prefer == "declared" else 1), "nobody reads attempts that nobody asks about"


def test_prices_stand_in_where_too_few_attempts_are_known() -> None:
    asked = settings({"router": {"prefer": "cost"}})
    at = outlook(asked, KEYS, Attempts([]), NOW)  # type: ignore[arg-type]
    routed = route(Want("model"), roster(asked.config), at)
    assert [verdict.label for verdict in routed.verdicts] == ["slow", "fast"]
    assert "$0.0015 by its price" in routed.verdicts[0].reason
