"""Finding more mistakes in a manifest that has some: what is wrong is taken out, and the rest is compiled for its problems alone.

Nothing healed ever runs. Only rules that cannot be caused by the taking out are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.diagnostics.model import Loc, Problem
from runner.manifest.checked import check
from runner.manifest.model import Manifest

SECTIONS = ("steps", "finally")
STAND_IN = {"run": "true", "effects": "none"}
"""What a step that cannot be understood is replaced by: others may still refer to it."""

TRUSTED = frozenset(
    {
        "unknown-step", "unknown-filter", "unknown-test", "unknown-name", "self-reference", "duplicate-need", "template-syntax",
        "template-scope", "template-place", "template-in-expression", "template-limit", "secret-place", "script-template",
        "final-reference", "credential", "dead-cron", "idle-trigger", "not-configured", "unknown-input", "unknown-var", "unknown-tool",
        "cycle", "unknown-callee", "unknown-field",
    }
)  # fmt: skip


DECLARED = (
    ("unknown-input", "inputs"), ("unknown-var", "vars"), ("unknown-field", "steps"), ("unknown-field", "finally"),
)  # fmt: skip
"""Rules that are about what a part of the manifest declares: not to be trusted once that part was changed."""


def heal(data: Mapping[str, Any], problems: Sequence[Problem]) -> tuple[Manifest, dict[str, Any], set[Loc]] | None:
    """A manifest without the parts that `problems` point at, its data, and the places that were changed; None when nothing of use is left."""
    changed = {problem.loc for problem in problems if problem.loc}
    steps: set[Loc] = {loc for loc in changed if len(loc) == 2 and loc[0] in SECTIONS}
    healed = _with_stand_ins(_without(data, changed - steps), steps)
    manifest, left = check(Manifest, healed)
    if manifest is None:
        whole: set[Loc] = {
            loc[:2] if loc[0] in SECTIONS and len(loc) > 1 else loc[:1] for loc in (p.loc for p in left) if loc
        }
        changed |= whole
        healed = _with_stand_ins(healed, whole)
        manifest, _ = check(Manifest, healed)
    return None if manifest is None else (manifest, healed, changed)


def further(problems: Sequence[Problem], changed: set[Loc]) -> list[Problem]:
    """The problems of a healed manifest that are the author's, not the healing's."""
    declared = {loc[0] for loc in changed}
    doubtful = {rule for rule, part in DECLARED if part in declared}
    return [
        problem
        for problem in problems
        if problem.rule in TRUSTED - doubtful and not any(problem.loc[: len(loc)] == loc for loc in changed)
    ]


def _without(data: Any, places: set[Loc]) -> Any:
    """`data` less the values at `places`; steps themselves stay, for others refer to them."""
    here = {loc[0] for loc in places if len(loc) == 1}
    below = {
        key: {loc[1:] for loc in places if len(loc) > 1 and loc[0] == key} for key in {loc[0] for loc in places if loc}
    }
    if isinstance(data, Mapping):
        return {key: _without(value, below.get(key, set())) for key, value in data.items() if key not in here}
    if isinstance(data, list):
        return [_without(value, below.get(index, set())) for index, value in enumerate(data) if index not in here]
    return data


def _with_stand_ins(data: Mapping[str, Any], places: set[Loc]) -> dict[str, Any]:
    healed = {key: value for key, value in data.items() if (key,) not in places}
    healed.setdefault("ares", "v1")
    healed.setdefault("name", "unnamed")
    for section in SECTIONS:
        steps = healed.get(section)
        if isinstance(steps, Mapping):
            healed[section] = {
                _id(id) if (section, id) in places else id: STAND_IN if (section, id) in places else step
                for id, step in steps.items()
            }
    return healed


def _id(id: object) -> object:
    """What a step with an impossible id, such as `a-b`, will be called: others may refer to it by that name already."""
    return id.replace("-", "_") if isinstance(id, str) else str(id)
