"""What the manifest language does with the text at a place: renders it, evaluates it, passes it to a shell, or takes it as it is."""

from __future__ import annotations

from typing import Final, Literal

from runner.diagnostics.model import Loc

Treatment = Literal["template", "expression", "script", "plain"]

_TEMPLATED_OUTSIDE: Final = frozenset({"vars", "outputs", "env", "timeout", "budget", "defaults"})
_PLAIN_IN_STEPS: Final = frozenset(
    {"needs", "labels", "returns", "tool", "call", "max_parallel", "join", "optional", "reuse", "otherwise", "repair", "workspace"}
)  # fmt: skip


def treatment(loc: Loc) -> Treatment:
    """For the value at `loc` in a manifest. Keys are always plain."""
    if not loc:
        return "plain"
    if loc[0] in ("steps", "finally"):
        return _in_step(loc[2:])
    if loc[0] not in _TEMPLATED_OUTSIDE or loc[:2] == ("defaults", "labels"):
        return "plain"
    return "template"


def _in_step(loc: Loc) -> Treatment:
    if loc[:1] == ("fallback",):
        loc = loc[2:]
    if loc[:1] == ("checks",):
        loc = loc[2:]
    if not loc or loc[0] in _PLAIN_IN_STEPS:
        return "plain"
    if loc[0] in ("when", "expr"):
        return "expression"
    if loc[0] == "run" and (len(loc) == 1 or loc[1] == "script"):
        return "script"
    return "plain" if loc[0] in ("run", "agent", "model") and loc[1:] == ("file",) else "template"
