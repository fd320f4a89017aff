"""The sign of a state, drawn: fonts differ in the signs that they have. Says its state to who does not see it."""

from __future__ import annotations

from runner.reporters.page.markup import plain
from runner.reporters.svg_style import ICONS

_SAME = {"interrupted": "cancelled", "lost": "cancelled", "superseded": "skipped"}
"""States of runs and attempts that look like one of a step."""


def look(state: str) -> str:
    """The step state that a state looks like."""
    found = _SAME.get(state, state)
    return found if found in ICONS else "pending"


def sign(state: str, words: str = "") -> str:
    """A small picture; `words` instead of the state for those who do not see it."""
    kind = look(state)
    label = plain(words or state)
    return (
        f'<svg class="sign" width="16" height="16" viewBox="-8 -8 16 16" role="img" aria-label="{label}"><title>{label}</title>'
        f'<circle class="p-{kind}" r="7.5"/><path d="{ICONS[kind]}"/></svg>'
    )


def pill(state: str, words: str = "") -> str:
    """A state as a word that is seen at once."""
    kind = look(state)
    return f'<span class="pill t-{kind}"><svg class="sign" width="16" height="16" viewBox="-8 -8 16 16" aria-hidden="true"><circle class="p-{kind}" r="7.5"/><path d="{ICONS[kind]}"/></svg>{plain(words or state)}</span>'
