"""How events and states are told: one word, one colour, one sign each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from runner.core.events import Event

SIGNS = {
    "succeeded": "✓", "reused": "=", "skipped": "–", "failed": "✗", "blocked": "⊘", "cancelled": "⊗", "suspended": "⏸",
    "waiting": "◷", "running": "●", "pending": "·", "group": "●", "unchanged": "=", "superseded": "»", "interrupted": "!",
    "busy": "!", "refused": "!", "callable": "·",
}  # fmt: skip
COLORS = {
    "succeeded": "green", "reused": "cyan", "skipped": "bright_black", "failed": "red", "blocked": "yellow", "cancelled": "yellow",
    "suspended": "magenta", "waiting": "blue", "running": "blue", "group": "blue", "interrupted": "yellow", "unchanged": "cyan",
    "busy": "red", "refused": "red", "pending": "bright_black", "superseded": "bright_black", "callable": "bright_black",
}  # fmt: skip

_CONTROL = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"

ODD = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ufdd0-\ufdef"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls, what turns the direction of text or is invisible, and what is no character at all."""


_IN_JSON = "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"


def json_bytes(text: str) -> bytes:
    """A JSON text as UTF-8, the same to who parses it, and nothing in it that a terminal would obey: JSON itself escapes what is below
    0x20 and leaves the rest of the controls, and what turns the direction of text, as they are. Lone surrogates become escapes, too."""
    harmless = re.sub(_IN_JSON, lambda found: f"\\u{ord(found[0]):04x}", text)
    return harmless.encode("utf-8", "backslashreplace")


def one_line(text: object, width: int = 160) -> str:
    """Text as one harmless line: no control characters, at most `width` characters."""
    flat = re.sub(_CONTROL, " ", str(text)[: 4 * width]).strip()
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def seconds(millis: int) -> str:
    """A length of time for people: 340ms, 2.1s, 3m 05s, 2h 07m, 3d 04h."""
    if millis < 1_000:
        return f"{max(0, millis)}ms"
    if millis < 60_000:
        return f"{millis // 100 / 10:.1f}s"
    minutes, rest = divmod(millis // 1000, 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24}d {hours % 24:02d}h"


def place_of(run: str, node: str, names: Mapping[str, str]) -> str:
    """`manifest/step`; in a sub-run the way to it: `manifest/call/step`. `names`: run → manifest, of root runs at least."""
    root, _, way = run.partition(".")
    return "/".join(part for part in (names.get(root, root), *way.split("."), node) if part)


def told(event: Event) -> tuple[str, str] | None:
    """(state, what to say) of an event that people want to see; None for the others."""
    tell = _TOLD.get(event.kind)
    return tell(event.data) if tell else None


def _started(data: Mapping[str, Any]) -> tuple[str, str]:
    words = [str(data.get("label") or "")]
    if data["n"] > 1:
        words.append(f"attempt {data['n']}")
    if (why := data.get("reason", "")) and why != "ready":
        words.append(str(why))
    return "running", ", ".join(word for word in words if word)


def _suspended(data: Mapping[str, Any]) -> tuple[str, str]:
    return "suspended", ": ".join(word for word in (data["reason"], data.get("detail") or "") if word)


def _reason(state: str) -> Callable[[Mapping[str, Any]], tuple[str, str]]:
    return lambda data: (state, str(data.get("reason") or ""))


UNTOLD = ("", "prepare", "no candidate", "budget")
"""Reasons of a step that failed without an attempt: its error tells why, these words do not."""


def _failed(d: Mapping[str, Any]) -> tuple[str, str]:
    """A step that failed before any attempt of it has told nobody why yet; else its attempt's line did."""
    reason = str(d.get("reason") or "")
    return "failed", f"{d.get('class')}: {d.get('message')}" if reason in UNTOLD else reason


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]] = {
    "run_started": lambda d: ("running", "started"),
    "leg_started": lambda d: ("running", f"goes on: leg {d['leg']}, {len(d['reset'])} to do again"),
    "run_timed_out": lambda d: ("cancelled", "the run's timeout is over"),
    "cancel_requested": lambda d: ("cancelled", f"asked for by {d.get('by') or 'somebody'}"),
    "run_suspended": lambda d: ("suspended", ", ".join(d["reasons"])),
    "run_finished": lambda d: (d["state"], str(d.get("reason") or "")),
    "attempt_started": _started,
    "attempt_succeeded": lambda d: ("succeeded", ""),
    "attempt_failed": lambda d: ("failed", f"attempt {d['n']}: {d.get('class') or ''}: {d.get('message') or ''}"),
    "attempt_lost": lambda d: ("interrupted", f"attempt {d['n']} was lost: nobody knows how it ended"),
    "items_expanded": lambda d: ("group", f"{len(d['items'])} items"),
    "group_joined": lambda d: (d["state"], str(d.get("reason") or "")),
    "step_skipped": _reason("skipped"),
    "step_blocked": _reason("blocked"),
    "step_cancelled": _reason("cancelled"),
    "step_failed": _failed,
    "step_reused": _reason("reused"),
    "step_waiting": _reason("waiting"),
    "step_suspended": _suspended,
    "step_resolved": lambda d: (d["state"], "" if d.get("by") in ("set", "timer") else f"by {d.get('by') or ''}"),
}
