"""What is different between what was asked and what is asked now, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from runner.core.graph import Json
from runner.replay.matching import unified
from runner.replay.yaml_text import to_yaml
from runner.syntax.text import CONTROL

MOST_LINES: Final = 60
LONGEST: Final = 2_000


def difference(
    before: Mapping[str, Json], now: Mapping[str, Json], *, was: str = "recorded", is_: str = "now"
) -> tuple[list[str], list[str]]:
    """The keys that differ, and the lines of a unified diff of each."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key) or (key in before) != (key in now)]
    lines: list[str] = []
    for key in keys:
        old, new = (lines_of({key: side[key]}) if key in side else [] for side in (before, now))
        found = unified(old, new, f"{key} ({was})", f"{key} ({is_})")
        lines += found or [f"{key}: not the same kind of value"]
    cut = len(lines) - MOST_LINES
    return keys, lines[:MOST_LINES] + ([f"… and {cut} lines more"] if cut > 0 else [])


def lines_of(value: Mapping[str, Any]) -> list[str]:
    """A value as YAML, line by line; what no file may hold is shown as an escape."""
    return [line[:LONGEST] for line in to_yaml(_shown(value)).splitlines()]


def _shown(value: Json) -> Any:
    if isinstance(value, str):
        return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    if isinstance(value, Mapping):
        return {str(_shown(key)): _shown(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(child) for child in value]
    return value
