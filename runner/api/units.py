"""What a config says of money and time, as the core counts it."""

from __future__ import annotations

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from runner.api.results import MICRO
from runner.manifest.config import Config


def micro(usd: float | None) -> int | None:
    """US dollars as micro-USD."""
    return None if usd is None else round(usd * MICRO)


def zone(config: Config) -> tzinfo:
    """The time zone of days and schedules."""
    return UTC if config.timezone == "UTC" else ZoneInfo(config.timezone)
