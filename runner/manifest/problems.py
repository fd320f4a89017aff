"""Mistakes of data against a model, in words a user understands: one problem for each mistake, never Pydantic's own text."""

from collections.abc import Mapping, Set
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from runner.diagnostics.model import Loc, Problem
from runner.manifest import wording
from runner.manifest.base import BOUND, is_template
from runner.manifest.pick import meant
from runner.manifest.places import Place, place
from runner.manifest.types import shown
from runner.manifest.unknown import near, unknown_key

MOST = 1000
"""Problems told of one document; how many of them are shown is for `runner.syntax.place` to say."""


class Refusal(NamedTuple):
    """One of Pydantic's errors in its place. `kind`, `context`: Pydantic's type and ctx."""

    kind: str
    context: Mapping[str, Any]
    value: Any
    place: Place

    @property
    def loc(self) -> Loc:
        return self.place.loc


def problems(model: type[BaseModel], data: Any, error: ValidationError) -> list[Problem]:
    """The problems behind a validation error."""
    refusals = [_refusal(model, data, line) for line in error.errors(include_url=False)]
    missing = {refusal.loc for refusal in refusals if refusal.kind == "missing"}
    misspelt = _misspelt(refusals, missing)
    bound_rule = getattr(model, "bound_rule", "wrong-value")
    found: dict[tuple[Loc, str], Problem] = {}
    around = {refusal.loc[:length] for refusal in refusals for length in range(len(refusal.loc))}
    meant_keys = set(misspelt.values())
    for refusal in refusals:
        if _follows(refusal, around, meant_keys):
            continue
        problem = _problem(refusal, misspelt, bound_rule)
        found.setdefault((problem.loc, problem.message), problem)
    return list(found.values())[:MOST]


def _refusal(model: type[BaseModel], data: Any, line: Any) -> Refusal:
    return Refusal(line["type"], line.get("ctx", {}), line["input"], place(model, data, line["loc"]))


def _follows(refusal: Refusal, around: Set[Loc], meant_keys: Set[Loc]) -> bool:
    """Whether a refusal only follows from another: a required key that was misspelt, a list left short by its refused entries.
    `around`: what holds something refused."""
    if refusal.kind == "too_short":
        return refusal.loc in around
    return refusal.kind == "missing" and refusal.loc in meant_keys


def _misspelt(refusals: list[Refusal], missing: set[Loc]) -> dict[Loc, Loc]:
    """Unknown keys that are close to a required key that is missing beside them: one mistake, not two."""
    pairs: dict[Loc, Loc] = {}
    beside: dict[Loc, dict[str, None]] = {}
    for loc in missing:
        beside.setdefault(loc[:-1], {})[str(loc[-1])] = None
    for refusal in refusals:
        words = beside.get(refusal.loc[:-1]) if refusal.kind == "extra_forbidden" else None
        if words and (word := meant(refusal.loc[-1], tuple(words))):
            pairs[refusal.loc] = (*refusal.loc[:-1], word)
            del words[word]
    return pairs


def _problem(refusal: Refusal, misspelt: Mapping[Loc, Loc], bound_rule: str) -> Problem:
    kind, loc = refusal.kind, refusal.loc
    if "message" in refusal.context and "key" in refusal.context:
        return _own(refusal, bound_rule)
    if kind == "extra_forbidden":
        required = misspelt.get(loc)
        return unknown_key(loc, refusal.place.owner, str(required[-1]) if required else None)
    if kind == "missing":
        on_key = len(loc) > 1 and isinstance(loc[-2], str)
        return Problem("missing-key", loc[:-1], f"`{loc[-1]}` is missing", on="key" if on_key else "value")
    if kind == "string_pattern_mismatch":
        return _pattern(refusal)
    if kind == "literal_error":
        return _literal(refusal)
    return _plain(refusal, bound_rule)


def _own(refusal: Refusal, bound_rule: str) -> Problem:
    context = refusal.context
    rule = bound_rule if refusal.kind == BOUND else refusal.kind
    return Problem(rule, refusal.loc, context["message"], context["fix"], "key" if context["key"] else "value")


def _pattern(refusal: Refusal) -> Problem:
    word = wording.PATTERNS[refusal.context["pattern"]]
    value, on = refusal.value, "key" if refusal.place.key else "value"
    if is_template(value):
        literal = refusal.loc[-1] in ("tool", "call")
        rule, message = ("literal-key" if literal else "template-place"), "a template cannot be used here"
        return Problem(rule, refusal.loc, f"{message}: expected {word.expected}", on=on)  # type: ignore[arg-type]
    fixed = word.repair(str(value)) if word.repair else None
    rule = "id-hyphen" if word.rule == "id-pattern" and "-" in str(value) and fixed else word.rule
    if long := wording.too_long(refusal.context["pattern"], str(value)):
        return Problem(rule, refusal.loc, long, on=on)  # type: ignore[arg-type]
    message = f"{shown(value)} has a hyphen" if rule == "id-hyphen" else f"expected {word.expected}, not {shown(value)}"
    return Problem(rule, refusal.loc, message, f"write `{fixed}`" if fixed else None, on)  # type: ignore[arg-type]


def _literal(refusal: Refusal) -> Problem:
    options = wording.options(refusal.context["expected"])
    if refusal.loc == ("ares",):
        return Problem("version", refusal.loc, f"expected `v1`, not {shown(refusal.value)}", "ares: v1")
    template = "a template cannot be used here: " if is_template(refusal.value) else ""
    message = (
        f"{template}expected {'one of ' if len(options) > 1 else ''}{', '.join(options)}, not {shown(refusal.value)}"
    )
    word = near(refusal.value, options) if isinstance(refusal.value, str) else None
    return Problem("wrong-value", refusal.loc, message, f"did you mean `{word}`?" if word else None)


def _plain(refusal: Refusal, bound_rule: str) -> Problem:
    kind, value, loc = refusal.kind, refusal.value, refusal.loc
    on: Any = "key" if refusal.place.key else "value"
    if kind == "too_short" and loc == ("steps",):
        return Problem("no-steps", loc, "expected at least one step")
    if expected := wording.bound(kind, refusal.context):
        rule = bound_rule if kind in wording.NUMBER_BOUNDS else "wrong-value"
        return Problem(rule, loc, f"expected {expected}, not {wording.counted(kind, value)}", on=on)
    expected = wording.TYPES.get(kind, "another value")
    if value is None:
        return Problem("wrong-type", loc, f"expected {expected}, but there is no value", on=on)
    template = "a template cannot be used here: " if is_template(value) else ""
    fix = wording.as_text(loc, value) if kind == "string_type" else None
    return Problem("wrong-type", loc, f"{template}expected {expected}, not {shown(value)}", fix, on)
