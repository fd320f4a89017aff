"""What is known of a graph once a run's inputs are: inputs and vars, each step's policy, route, limits, and the items of a fan-out.

`values` is {"inputs": …, "vars": …, "matrix": …}. Whatever holds no template is bound once and remembered. Nothing here reads
results of steps: that is `prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, get_args

from runner.core.graph import Body, GraphStep, Json, StepGraph
from runner.core.inputs import bind_inputs, mismatch, parse_input
from runner.core.items import expand_matrix, foreach_items, key_text, matrix_items
from runner.core.messages import Claim, Item, Policy, RetryPolicy
from runner.core.rendered import (
    BindError,
    Room,
    count,
    duration,
    error_classes,
    limit,
    number,
    one_of,
    short,
    word_list,
)
from runner.manifest.types import MOST_BACKOFF, MOST_USD
from runner.manifest.vocabulary import Effects, Exhausted, Mode
from runner.templating import has_template, render, render_tree

__all__ = [
    "BindError", "bind_inputs", "bind_vars", "budget", "effects", "expand_matrix", "foreach_items", "idle_ms", "key_text",
    "matrix_items", "mismatch", "parse_input", "policy", "route", "run_timeout_ms", "skip_label", "timeout_ms", "wait_until",
]  # fmt: skip

Values = Mapping[str, Any]
T = TypeVar("T")

MICRO = 1_000_000
_REMEMBERED = 65_536


def bind_vars(graph: StepGraph, inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The vars of a run. Raises TemplateError when one cannot be computed."""
    values: dict[str, Json] = dict(graph.vars)
    if not has_template(values):
        return values
    room = Room()
    return {name: room.take(render_tree(value, {"inputs": inputs})) for name, value in values.items()}


class _Memory:
    """Values bound from untemplated parts of graphs, by the identity of the part, which is kept alive meanwhile."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Any]] = {}

    def get(self, part: object) -> Any:
        """What was kept for this very part, or None."""
        hit = self._known.get(id(part))
        return hit[1] if hit is not None and hit[0] is part else None

    def keep(self, part: object, value: T) -> T:
        """Remember `value`, and return it."""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[id(part)] = (part, value)
        return value


_policies = _Memory()
_routes = _Memory()
_checked = _Memory()
_DEFAULT_POLICY = Policy()


def policy(step: GraphStep, mode: Mode, values: Values, item: Item | None = None) -> Policy:
    """The fault policy of a step in a mode; `item` gives `matrix` when `values` do not. Raises BindError, TemplateError."""
    faults = step.faults.get(mode)
    if faults is None:
        return _DEFAULT_POLICY
    known: Policy | None = _policies.get(faults)
    if known is not None:
        return known
    if not has_template(faults):
        return _policies.keep(faults, _policy(faults))
    if item is not None and "matrix" not in values:
        values = {**values, "matrix": item.value}
    return _policy(_rendered_faults(faults, values))


def check_policies(step: GraphStep, values: Values) -> None:
    """Can the policy of the step be told in every mode? Raises BindError, TemplateError."""
    faults = step.faults
    if _checked.get(faults) is None:
        for mode in faults:
            policy(step, mode, values)
        if not has_template(faults):
            _checked.keep(faults, True)


def _rendered_faults(faults: Mapping[str, Json], values: Values) -> Mapping[str, Json]:
    bound: dict[str, Json] = render_tree(dict(faults), values)
    written, retry = faults.get("retry", {}), bound.get("retry", {})
    for key, read in _RETRY_READERS.items():
        if isinstance(written.get(key), str):
            retry[key] = read(f"faults.retry.{key}", retry[key])
    one_of("faults.exhausted", bound.get("exhausted", "fail"), get_args(Exhausted))
    if not isinstance(bound.get("fallback", True), bool):
        raise BindError(
            "invalid",
            f"faults.fallback: expected true or false, not {short(bound['fallback'])}",
        )
    return bound


_RETRY_READERS: Mapping[str, Callable[[str, Json], Json]] = {
    "max": count,
    "delay": duration,
    "max_delay": duration,
    "backoff": lambda what, value: number(what, value, 1, MOST_BACKOFF),
    "jitter": lambda what, value: number(what, value, 0, 1),
}


def _policy(faults: Mapping[str, Json]) -> Policy:
    retry = dict(faults.get("retry", {}))
    if "errors" in retry:
        retry["errors"] = error_classes("faults.retry.errors", retry["errors"])
    return Policy(
        RetryPolicy(**retry),
        faults.get("fallback", True),
        faults.get("exhausted", "fail"),
    )


def skip_label(step: GraphStep, mode: Mode, values: Values) -> str | None:
    """The word of the mode's `skip` that fits this step: one of its labels, or `optional` when it is optional."""
    faults = step.faults.get(mode)
    words = faults.get("skip", ()) if faults else ()
    if not words:
        return None
    for word in word_list("faults.skip", render_tree(words, values) if has_template(words) else words):
        if step.labels.get(word, False) not in (False, None) or (word == "optional" and step.optional):
            return word
    return None


def route(body: Body, mode: Mode, values: Values) -> Mapping[str, Json]:
    """The routing hints of a way in a mode: any of requires, executors, models (lists), tier, locality, prefer."""
    hints = body.route.get(mode)
    if not hints:
        return {}
    known: Mapping[str, Json] | None = _routes.get(hints)
    if known is not None:
        return known
    if not has_template(hints):
        return _routes.keep(hints, _route(hints))
    return _route(render_tree(dict(hints), values))


def hints_of(hints: Mapping[str, Json], values: Values) -> Mapping[str, Json]:
    """The routing hints of a judge, as those of a way."""
    return _route(render_tree(dict(hints), values)) if has_template(hints) else hints


def check_timeout_ms(written: int | str | None, values: Values) -> int | None:
    """How long the command of a check may take."""
    return _limit("checks.timeout", written, values)


def _route(hints: Mapping[str, Json]) -> Mapping[str, Json]:
    read: dict[str, Json] = {}
    for key, value in hints.items():
        allowed = _ROUTE_WORDS.get(key)
        read[key] = word_list(f"route.{key}", value) if allowed is None else one_of(f"route.{key}", value, allowed)
    return read


_ROUTE_WORDS: Mapping[str, tuple[str, ...]] = {
    "tier": ("free_first", "paid_first", "free_only", "any"),
    "locality": ("any", "local"),
    "prefer": ("declared", "cost", "speed", "reliability"),
}


def timeout_ms(body: Body, values: Values) -> int | None:
    """How long one attempt may take."""
    return _limit("timeout", body.timeout, values)


def idle_ms(body: Body, values: Values) -> int | None:
    """How long an attempt may go without a sign of life."""
    return _limit("timeout.idle", body.idle, values)


def run_timeout_ms(graph: StepGraph, values: Values) -> int | None:
    """How long a leg of the run may work."""
    return _limit("timeout", graph.timeout, values)


def _limit(what: str, written: int | str | None, values: Values) -> int | None:
    return limit(what, render(written, values)) if isinstance(written, str) else written


_EFFECTS: tuple[Effects, ...] = get_args(Effects)


def effects(body: Body, values: Values) -> Effects | None:
    """What the author declared; None = the verb's default."""
    if body.effects is None:
        return None
    if body.effects in _EFFECTS:
        return body.effects
    value = render(body.effects, values) if has_template(body.effects) else body.effects
    word: Effects = one_of("effects", value, _EFFECTS)
    return word


def claim(step: GraphStep, body: Body) -> Claim:
    """How an attempt uses the workspace. Commands and agents may touch any file of it; a `changed` check takes what it finds
    touched for its own step's doing, so nobody else may. Whoever has a worktree of its own stands in nobody's way."""
    if step.workspace:
        return ""
    if any(check.kind == "changed" for check in body.checks):
        return "alone"
    return "shared" if body.verb in ("run", "agent") else ""


def budget(caps: Mapping[str, Json] | None, values: Values) -> dict[str, Json]:
    """Caps of a step or run: any of usd (micro-USD), tokens, exceed, unpriced."""
    if not caps:
        return {}
    if not has_template(caps):
        return dict(caps)
    bound: dict[str, Json] = render_tree(dict(caps), values)
    if isinstance(caps.get("usd"), str):  # what is written is micro-USD already, what is computed is dollars
        bound["usd"] = round(number("budget.usd", bound["usd"], 0, MOST_USD) * MICRO)
    if "tokens" in bound:
        bound["tokens"] = count("budget.tokens", bound["tokens"])
    for key, allowed in (
        ("exceed", ("suspend", "free_only", "fail")),
        ("unpriced", ("allow", "warn", "deny")),
    ):
        if key in bound:
            one_of(f"budget.{key}", bound[key], allowed)
    return bound


def wait_until(body: Body, context: Values, now: int) -> int:
    """The moment (Unix milliseconds) that a `wait` waits for; a past one stays as it is."""
    length = body.call.get("ms")
    if length is not None:
        return now + (duration("wait", render(length, context)) if isinstance(length, str) else int(length))
    value = render(body.call["until"], context)
    moment = _moment(value) if isinstance(value, str) else None
    if moment is None:
        shown = short(value)
        raise BindError(
            "invalid",
            f"wait.until: expected a time with a zone such as 2026-12-01T06:00:00Z, not {shown}",
        )
    return moment


def _moment(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        return None if moment.tzinfo is None else round(moment.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):  # in UTC it may be before the year 1, or after 9999
        return None
