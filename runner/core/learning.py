"""What earlier attempts say about executors and models, for `prefer: cost | speed | reliability`.

Pure and deterministic: samples and the moment are arguments, and the order of samples does not matter. Newer attempts count more;
an entry with too few of them counts as average. Nothing is chosen here: `ranks` is what the router orders by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import NamedTuple

from runner.core.roster import Kind

HALF_LIFE_MS = 7 * 86_400_000
"""An attempt counts half after a week."""
MIN_SAMPLE = 5
"""Fewer attempts than these say nothing."""

SAYS_NOTHING = frozenset({"invalid", "cancelled", "denied", "context_overflow", "tool_error"})
"""Failures that tell of the task, a person or the operator, not of who was asked."""


class Sample(NamedTuple):
    """A recorded attempt that has ended. Milliseconds, micro-USD. `lost` ones are not recorded as samples."""

    executor: str
    model: str
    ok: bool
    error_class: str
    at: int
    ms: int
    cost: int


@dataclass(frozen=True, slots=True)
class Score:
    """What the attempts of one entry say. `count`: attempts that count. `reliability`: the share of them that succeeded, `ms`: what half of the
    successes took at most, `cost`: micro-USD for one success, all three weighted by age; None = none succeeded."""

    count: int
    reliability: float
    ms: int | None
    cost: int | None


class Rank(NamedTuple):
    """What was learned of an entry: the lower the value, the earlier its turn."""

    value: float
    text: str


def learn(samples: Iterable[Sample], kind: Kind, now: int, half_life: int = HALF_LIFE_MS) -> Mapping[str, Score]:
    """Scores by the name of the executor (`agent`) or model (`model`)."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        name = sample.executor if kind == "agent" else sample.model
        if name and (sample.ok or sample.error_class not in SAYS_NOTHING):
            found.setdefault(name, []).append(sample)
    return {name: _score(found[name], now, half_life) for name in sorted(found)}


def _score(samples: Sequence[Sample], now: int, half_life: int) -> Score:
    weighed = sorted(
        ((0.5 ** (max(0, now - sample.at) / half_life), sample) for sample in samples),
        key=lambda pair: (pair[1].ms, pair[1].at, pair[1].cost, pair[1].ok),
    )
    total = fsum(weight for weight, _ in weighed)
    good = [(weight, sample) for weight, sample in weighed if sample.ok]
    succeeded = fsum(weight for weight, _ in good)
    if not succeeded:  # none, or all of them so old that their weight is nothing
        return Score(len(samples), 0.0, None, None)
    spent = fsum(weight * sample.cost for weight, sample in weighed)
    return Score(len(samples), succeeded / total, _median(good, succeeded), round(spent / succeeded))


def _median(by_time: Sequence[tuple[float, Sample]], total: float) -> int:
    passed = 0.0
    for weight, sample in by_time:
        passed += weight
        if passed * 2 >= total:
            return sample.ms
    return by_time[-1][1].ms


# ---------------------------------------------------------------- what the router orders by


def ranks(
    prefer: str, names: Iterable[str], scores: Mapping[str, Score], declared: Mapping[str, int] | None = None
) -> Mapping[str, Rank]:
    """The rank of each entry for `cost`, `speed` or `reliability`; for `declared` none. `declared`: micro-USD that a typical call
    costs by its price, which stands in for `cost` where too few attempts are known; else an unknown entry counts as average."""
    known = {name: _value(prefer, scores.get(name), (declared or {}).get(name)) for name in names}
    values = sorted(value for value, _ in known.values() if value is not None and value != NEVER)
    middle = fsum(values) / len(values) if values else 0.0
    if prefer == "declared":
        return {}
    return {name: Rank(middle if value is None else value, text) for name, (value, text) in known.items()}


def _value(prefer: str, score: Score | None, declared: int | None) -> tuple[float | None, str]:
    """(the lower the better, or None when unknown; what to say)."""
    if score is None or score.count < MIN_SAMPLE:
        if prefer == "cost" and declared is not None:
            return float(declared), f"{_usd(declared)} by its price"
        count = 0 if score is None else score.count
        return None, f"{count} of {MIN_SAMPLE} attempts known: counts as average"
    return _measured(prefer, score)


NEVER = float("inf")


def _measured(prefer: str, score: Score) -> tuple[float | None, str]:
    of = f"of {score.count} attempts"
    match prefer:
        case "reliability":
            return 1.0 - score.reliability, f"{score.reliability:.0%} {of} succeeded"
        case "speed" if score.ms is not None:
            return float(score.ms), f"{score.ms / 1000:.1f} s, the median {of}"
        case "cost" if score.cost is not None:
            return float(score.cost), f"{_usd(score.cost)} a success, {of}"
        case _:
            return NEVER, f"none {of} succeeded"


def _usd(micro: int) -> str:
    return f"${micro / 1_000_000:.4f}"
