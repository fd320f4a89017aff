"""The document of `simulate --format json` (schemas/v1/simulate.schema.json)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.api.remedies import LARGER, raised_by_person
from runner.api.simulating import SimulatedManifest
from runner.reporters.words import seconds
from runner.reporters.words import told as words_of
from runner.simulate.campaign import Summary
from runner.simulate.outcome import Ended, StepEnd, Waiting
from runner.simulate.promises import PROMISES
from runner.simulate.simulation import Told

MICRO = 1_000_000
FREQUENT = 20
"""Failures that a summary names."""

HELP: Mapping[str, str] = {
    "unknown": "somebody looks, and says `runner resolve RUN {step} --done JSON` or `--redo`",
    "approval": "`runner approve RUN {step}` or `runner reject RUN {step}`",
    "budget": "`runner resume RUN --add-usd N`",
    "mode": "it goes on by itself in `runner watch`, else with the next apply, once the mode is better",
    "quota": "the next apply, once the quota is back",
    "exhausted": "the next apply tries every way again",
    "child": "what its sub-run waits for",
}
"""Reason of a suspension → what makes the step go on."""
DAY_HELP = "the next apply, once the next day has begun or config's `budget.per_day_usd` is higher"


def simulate_json(found: Sequence[SimulatedManifest]) -> dict[str, Any]:
    """Every manifest, whole."""
    return {
        "version": 1,
        "kept": not any(one.broken for one in found),
        "manifests": [_manifest(one) for one in found],
    }


def _manifest(one: SimulatedManifest) -> dict[str, Any]:
    shown = one.one.ended
    broken = {each.promise for each in one.broken}
    return {
        "name": one.entry.graph.name,
        "file": one.entry.loaded.file,
        "outcome": shown.state,
        "reasons": list(shown.reasons),
        "takes_ms": shown.takes_ms,
        "commits": shown.commits,
        "deaths": shown.deaths,
        "cost_usd": shown.cost / MICRO,
        "steps": {step.place: _step(step) for step in shown.steps},
        "suspended": [{**_waiting(each), "help": help_for(each)} for each in shown.waiting],
        "timeline": [moment for told in shown.told if (moment := moment_of(told, shown)) is not None],
        "assumptions": [
            {"step": each.place, "branch": each.branch, "reads": list(each.reads), "took": each.took}
            for each in shown.assumptions
        ],
        "invented": list(shown.invented),
        "unused": list(shown.unused),
        "simulations": None if one.many is None else _many(one.many),
        "promises": [{"id": id, "text": text, "kept": id not in broken} for id, text in PROMISES.items()],
        "broken": [
            {
                "promise": each.promise, "message": each.message, "seed": each.seed, "kills": list(each.kills),
                "replay": one.replay(each),
            }
            for each in one.broken
        ],
    }  # fmt: skip


def _step(step: StepEnd) -> dict[str, Any]:
    return {
        "manifest": step.manifest, "verb": step.verb, "state": step.state, "attempts": step.attempts, "lost": step.lost,
        "executor": step.executor or None, "model": step.model or None,
        "error": None if step.error is None else {"class": step.error["class"], "message": step.error["message"]},
        "reason": step.reason, "until_ms": step.until_ms, "cost_usd": step.cost / MICRO, "item_key": step.item_key,
    }  # fmt: skip


def _waiting(each: Waiting) -> dict[str, Any]:
    return {"step": each.place, "reason": each.reason, "detail": each.detail, "until_ms": each.until_ms}


def help_for(each: Waiting) -> str:
    """What makes a suspended step go on."""
    if each.reason == "budget" and each.until_ms is not None:
        return DAY_HELP
    if each.reason == "budget" and not raised_by_person(each.detail):
        return LARGER
    return HELP[each.reason].format(step=each.place.rsplit("/", 1)[-1])


def _many(many: Summary) -> dict[str, Any]:
    return {
        "count": many.count,
        "outcomes": dict(sorted(many.outcomes.items(), key=lambda row: (-row[1], row[0]))),
        "failures": [
            {"step": step, "how": how, "times": times} for (step, how), times in frequent(many)
        ],
        "attempts": many.attempts,
        "deaths": many.deaths,
        "compared": many.compared,
        "broken": many.broken_count,
    }  # fmt: skip


def frequent(many: Summary) -> list[tuple[tuple[str, str], int]]:
    """The most frequent failures, always in the same order."""
    return sorted(many.failures.items(), key=lambda row: (-row[1], row[0]))[:FREQUENT]


# ---------------------------------------------------------------- the timeline


def moment_of(told: Told, shown: Ended) -> dict[str, Any] | None:
    """An event of the timeline; None for one that says nothing to people."""
    tell = _OWN.get(told.event.kind)
    found = tell(told.event.data, shown) if tell is not None else words_of(told.event)
    if found is None:
        return None
    place = shown.places.get(told.run, "") + told.event.node
    return {
        "at_ms": told.at - shown.start, "step": place.rstrip("/"), "kind": told.event.kind, "state": found[0], "text": found[1],
    }  # fmt: skip


def _killed(data: Mapping[str, Any], shown: Ended) -> tuple[str, str]:
    lost = data["running"]
    under_way = (
        "nothing was under way"
        if not lost
        else "1 attempt was under way"
        if lost == 1
        else f"{lost} attempts were under way"
    )
    return "interrupted", f"the runner dies after commit {data['commit']}; {under_way}; it is started again"


def _circuit(data: Mapping[str, Any], shown: Ended) -> tuple[str, str]:
    kind, _, name = str(data["subject"]).partition(":")
    why = f" ({data['reason']})" if data["reason"] else ""
    until = "" if data["until"] is None else f" until {_at(data['until'], shown)}"
    if data["state"].startswith("cools"):
        return "waiting", f"{kind} {name} {data['state']}{until}"
    return "waiting" if data[
        "state"
    ] != "closed" else "running", f"the circuit of {kind} {name} is {data['state']}{until}{why}"


def _waits(data: Mapping[str, Any], shown: Ended) -> tuple[str, str]:
    return "waiting", f"{data['reason']}; until {_at(data['until'], shown)}"


def _suspends(data: Mapping[str, Any], shown: Ended) -> tuple[str, str]:
    words = ": ".join(word for word in (data["reason"], data.get("detail") or "") if word)
    return "suspended", words + (f"; until {_at(data['until'], shown)}" if data.get("until") else "")


def _woken(data: Mapping[str, Any], shown: Ended) -> tuple[str, str]:
    return "pending", str(data["reason"])


def _advanced(data: Mapping[str, Any], shown: Ended) -> tuple[str, str] | None:
    return ("pending", str(data["reason"])) if data.get("level") and not data.get("round") else None


def _at(until: int, shown: Ended) -> str:
    return seconds(until - shown.start)


_OWN: Mapping[str, Callable[[Mapping[str, Any], Ended], tuple[str, str] | None]] = {
    "killed": _killed,
    "mode": lambda data, shown: (data["mode"], f"the mode is {data['mode']} now"),
    "circuit": _circuit,
    "step_waiting": _waits,
    "step_suspended": _suspends,
    "step_woken": _woken,
    "run_woken": lambda data, shown: ("running", "goes on"),
}
