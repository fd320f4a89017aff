"""How events and states are told: one word, one colour, one sign each."""

from __future__ import annotations

import re
from typing import Any

from runner.core.events import Event

SIGNS = {
    "succeeded": "✓", "reused": "=", "skipped": "–", "failed": "✗", "blocked": "⊘", "cancelled": "⊗", "suspended": "⏸",
    "waiting": "◷", "running": "●", "pending": "·", "group": "●", "unchanged": "=", "superseded": "»", "interrupted": "!",
    "busy": "!", "refused": "!", "callable": "·",
}  # fmt: skip
COLORS = {
    "succeeded": "green", "reused": "cyan", "skipped": "bright_black", "failed": "red", "blocked": "yellow", "cancelled": "yellow",
    "suspended": "magenta", "waiting": "blue", "running": "blue", "interrupted": "yellow", "unchanged": "cyan", "busy": "red",
    "refused": "red",
}  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: object, width: int = 160) -> str:
    """Text as one harmless line: no control characters, at most `width` characters."""
    flat = _CONTROL.sub(" ", str(text)).strip()
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def seconds(millis: int) -> str:
    """A length of time for people: 340ms, 2.1s, 3m 05s, 2h 07m."""
    if millis < 1_000:
        return f"{millis}ms"
    if millis < 60_000:
        return f"{millis / 1000:.1f}s"
    minutes, rest = divmod(millis // 1000, 60)
    return f"{minutes}m {rest:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"


def told(event: Event) -> tuple[str, str] | None:
    """(state, what to say) of an event that people want to see; None for the others."""
    data = event.data
    tell = _TOLD.get(event.kind)
    return tell(data) if tell else None


def _failed(data: dict[str, Any]) -> tuple[str, str]:
    return "failed", f"{data.get('class', '')}: {data.get('message', '')}"


_TOLD: dict[str, Any] = {
    "attempt_started": lambda d: ("running", _started(d)),
    "attempt_succeeded": lambda d: ("succeeded", ""),
    "attempt_failed": lambda d: ("failed", f"attempt {d['n']}: {d.get('class', '')}: {d.get('message', '')}"),
    "attempt_lost": lambda d: ("interrupted", f"attempt {d['n']} was lost: nobody knows how it ended"),
    "items_expanded": lambda d: ("group", f"{len(d['items'])} items"),
    "group_joined": lambda d: (d["state"], d.get("reason", "")),
    "step_skipped": lambda d: ("skipped", d.get("reason", "")),
    "step_blocked": lambda d: ("blocked", d.get("reason", "")),
    "step_cancelled": lambda d: ("cancelled", d.get("reason", "")),
    "step_failed": _failed,
    "step_reused": lambda d: ("reused", d.get("reason", "")),
    "step_waiting": lambda d: ("waiting", d.get("reason", "")),
    "step_suspended": lambda d: ("suspended", f"{d['reason']}: {d.get('detail', '')}".rstrip(": ")),
    "step_resolved": lambda d: (d["state"], "" if d.get("by") in ("set", "timer") else f"by {d.get('by', '')}"),
    "choice_advanced": lambda d: ("waiting", d.get("reason", "")),
}


def _started(data: dict[str, Any]) -> str:
    again = "" if data["n"] == 1 else f", attempt {data['n']}"
    why = data.get("reason", "")
    return f"{data.get('label', '')}{again}" + (f" ({why})" if why and why != "ready" else "")
