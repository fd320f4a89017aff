"""What simulated executors answer: which attempt fails and how, what it gives, how long it takes, what it costs.

All of it is a function of (where the step is, which way is tried, how often that failed), so a repeat after a death answers the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.core.assigning import ROUTED
from runner.core.circuits import CallEnd
from runner.core.context import text_of
from runner.core.graph import GraphStep, Json, StepGraph
from runner.core.messages import Outcome, StepTask
from runner.core.plan import in_order
from runner.core.roster import Entry, Roster
from runner.core.router import estimate_tokens
from runner.manifest.vocabulary import ErrorClass
from runner.simulate.dice import Dice
from runner.simulate.faults import MAYBE, Failing, Fault, Place, failing, names_step
from runner.simulate.invent import NOTHING, invent
from runner.simulate.judging import Judged, judged
from runner.simulate.reading import Reading
from runner.simulate.scenario import Pick, Scenario
from runner.templating import TemplateError, truth

TAKES: Mapping[str, int] = {"tool": 1_000, "run": 5_000, "model": 8_000, "agent": 90_000, "call": 1_000}
"""How long an attempt that is answered takes, in virtual milliseconds."""
SOON_MS = 200
"""How long it takes to be refused."""
REFUSED = frozenset({"rate_limit", "quota", "auth", "unavailable", "invalid", "denied", "context_overflow"})
"""Classes that come back at once, and cost nothing."""
LONG_MS = 600_000
"""How long a time-out takes where no timeout is declared."""

_ROUTED: tuple[ErrorClass, ...] = (
    "rate_limit", "rate_limit", "unavailable", "unavailable", "timeout", "crash", "quota", "auth", "bad_output", "denied",
    "context_overflow",
)  # fmt: skip
CLASSES: Mapping[str, tuple[ErrorClass, ...]] = {
    "tool": ("unavailable", "unavailable", "unavailable", "timeout", "timeout", "crash", "rate_limit", "auth", "tool_error", "bad_output"),
    "run": ("tool_error", "timeout", "crash", "unavailable"),
    "model": (*_ROUTED, "invalid"),
    "agent": (*_ROUTED, "tool_error"),
    "call": ("check_failed", "bad_output"),
}  # fmt: skip
"""How attempts of each verb fail by chance."""
TIMES = (*[0] * 15, 1, 1, 1, 2, 99)
"""How often a way fails by chance before it works."""
NOBODY = Judged()
TRIES = 6
"""How many values are invented until one passes the step's `expr` checks."""
ANSWER_TOKENS = 300
"""Of an answer of a model."""
_STATUS: Mapping[str, int] = {"rate_limit": 429, "quota": 402, "auth": 401, "denied": 403, "invalid": 422}


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt as an executor sees it. `place`: where its step is, the same in every telling. `known`: attempts of this way that
    failed. `reserved`: micro-USD."""

    task: StepTask
    step: GraphStep
    manifest: str
    place: str
    level: int
    known: int
    reserved: int
    names: Sequence[str]
    began: int = 0

    @property
    def way(self) -> tuple[str, int, str]:
        return (self.place, self.level, self.task.label)


@dataclass(frozen=True, slots=True)
class Answer:
    """How it ends, when, and because of which scripted fault."""

    outcome: Outcome
    takes_ms: int
    fault: Fault | None = None
    result: Mapping[str, Any] | None = None
    """It has changed the world, whatever its outcome says, and this is what there is to see of it; None = it has not."""
    ends: tuple[CallEnd, ...] = ()
    """What its calls, and those of its judges, tell of endpoints and executors."""


class Executors:
    """The executors of one scenario. `readings`: manifest → what is expected of its steps."""

    def __init__(self, scenario: Scenario, readings: Mapping[str, Reading], dice: Dice, roster: Roster) -> None:
        self._scenario, self._readings, self._dice, self._roster = scenario, readings, dice, roster
        self.invented: set[tuple[str, str]] = set()
        """(manifest, step) of each output that was made up."""
        self.stubbed: set[str] = set()
        """Stubs that were used."""

    def is_volatile(self, manifest: str) -> bool:
        return self._readings[manifest].volatile

    def reading(self, manifest: str) -> Reading:
        return self._readings[manifest]

    def made_up(self, graph: StepGraph) -> frozenset[str]:
        """Steps of a manifest whose result is invented, or computed from something that is."""
        found = {step for manifest, step in self.invented if manifest == graph.name}
        called = {manifest for manifest, _ in self.invented}
        for step in in_order(graph.steps):
            reads = any(edge.to in found for edge in step.edges if edge.kind != "order")
            calls = step.verb == "call" and str(step.bodies[0].call["manifest"]) in called
            if calls or (step.verb == "set" and reads):
                found.add(step.id)
        return frozenset(found)

    def answer(self, attempt: Attempt) -> Answer:
        """What becomes of an attempt."""
        place = Place(attempt.manifest, attempt.step.id, attempt.task.node, attempt.names)
        scripted = failing(self._scenario.faults, place, attempt.known)
        fault, fails = scripted if scripted is not None else (None, self._by_chance(attempt))
        takes = self._takes(attempt, fails)
        result = None
        if attempt.task.verb != "call" and (fails is None or fails.effect == "maybe"):
            result, passed = self._result(attempt)
            if fails is None and not passed:
                fails = Failing("check_failed", "simulated: the stub does not pass a check")
        judges = NOBODY if fails is not None else self._judged(attempt)
        if judges.failing is not None:
            fails, fault = judges.failing, judges.fault
        outcome = self._succeeded(attempt, result) if fails is None else self._failed(attempt, fails)
        ends = self._ends(attempt, outcome, judges, attempt.began + takes)
        takes += sum(_lasts(call.failing) for call in judges.calls)
        if attempt.task.timeout_ms is not None:
            takes = min(takes, attempt.task.timeout_ms)
        return Answer(outcome, takes, fault, result if fails is None or fails.effect == "maybe" else None, ends)

    # ------------------------------------------------------------ judges

    def _judged(self, attempt: Attempt) -> Judged:
        checks = attempt.task.spec.get("checks", ())
        if not any(check["kind"] == "judge" for check in checks):
            return NOBODY

        def ask(number: int, model: str) -> tuple[Fault | None, Failing] | None:
            names = _names(self._roster.models.get(model), model)
            place = Place(attempt.manifest, attempt.step.id, attempt.task.node, names)
            return failing(self._scenario.faults, place, attempt.known) or self._unable(attempt, number, model)

        return judged(
            checks, ask, lambda number: not self._dice.chance(0.15, "score", *attempt.way, attempt.known, number)
        )

    def _unable(self, attempt: Attempt, number: int, model: str) -> tuple[None, Failing] | None:
        """By chance a model gives no judgement."""
        where = (*attempt.way, attempt.known, number, model)
        if not self._dice.chance(0.15, "judge", *where):
            return None
        return None, Failing(self._dice.one_of(_ROUTED, "judge class", *where), f"simulated (seed {self._dice.seed})")

    def _ends(self, attempt: Attempt, outcome: Outcome, judges: Judged, began: int) -> tuple[CallEnd, ...]:
        entry = entry_of(self._roster, attempt.task)
        own = () if entry is None else (call_end(entry, outcome, attempt.began),)
        asked = ((self._roster.models.get(call.model), call.failing) for call in judges.calls)
        return (*own, *(_judge_end(entry, failing, began) for entry, failing in asked if entry is not None))

    # ------------------------------------------------------------ failures

    def _by_chance(self, attempt: Attempt) -> Failing | None:
        dice, way = self._dice, attempt.way
        if dice.seed is None or attempt.known >= dice.one_of(TIMES, "times", *way):
            return None
        classes = CLASSES[attempt.task.verb]
        if attempt.step.returns is None and attempt.task.verb in ("tool", "run"):
            classes = tuple(name for name in classes if name != "bad_output")
        if attempt.task.spec.get("checks"):
            classes = (*classes, "check_failed", "check_failed")
        error = dice.one_of(classes, "class", *way, attempt.known)
        after = (
            dice.one_of((None, 3_000, 30_000), "after", *way, attempt.known)
            if error in ("rate_limit", "quota")
            else None
        )
        maybe = error in MAYBE or (error == "unavailable" and dice.chance(0.3, "maybe", *way, attempt.known))
        return Failing(error, f"simulated (seed {dice.seed})", "maybe" if maybe else "none", after)

    def _failed(self, attempt: Attempt, fails: Failing) -> Outcome:
        feedback = None
        if fails.error_class in ("check_failed", "bad_output"):
            feedback = f"{fails.error_class}: {fails.message}"
        free = fails.error_class in REFUSED
        return Outcome(
            "failed", None, fails.error_class, fails.message, fails.effect, _status(attempt, fails), fails.retry_after_ms,
            cost=0 if free else self._bill(attempt), model=_model(attempt.task), feedback=feedback,
        )  # fmt: skip

    def _takes(self, attempt: Attempt, fails: Failing | None) -> int:
        usual = TAKES[attempt.task.verb]
        if fails is not None and fails.error_class == "timeout":
            return attempt.task.timeout_ms or LONG_MS
        if fails is not None and fails.error_class in REFUSED:
            return SOON_MS
        if self._dice.seed is not None:
            usual = usual // 4 + self._dice.number("takes", *attempt.way, attempt.known) % (2 * usual)
        return usual if attempt.task.timeout_ms is None else min(usual, attempt.task.timeout_ms)

    def _bill(self, attempt: Attempt) -> int | None:
        """What was reserved; by chance less, or unknown. Never more: an estimate that is too low is no defect of the kernel."""
        dice = self._dice
        if dice.seed is None or attempt.reserved == 0:
            return attempt.reserved
        if dice.chance(0.15, "unbilled", *attempt.way, attempt.known):
            return None
        return dice.number("bill", *attempt.way, attempt.known) % (attempt.reserved + 1)

    # ------------------------------------------------------------ results

    def _succeeded(self, attempt: Attempt, result: Mapping[str, Any] | None) -> Outcome:
        if result is None:  # the checks of a called manifest, which has given its result already
            return Outcome("succeeded", attempt.task.inputs["result"])
        checks = result.get("checks", ())
        return Outcome(
            "succeeded", {"value": result}, cost=self._bill(attempt), tokens=_tokens(attempt.task), model=_model(attempt.task),
            checks=checks,
        )  # fmt: skip

    def _result(self, attempt: Attempt) -> tuple[Mapping[str, Any], bool]:
        """What a step gives, whoever does it, and whether that passes its checks: its stub, else an invented value that does."""
        checks = [
            {"kind": str(check["kind"]), "passed": True, "message": "simulated"}
            for check in attempt.task.spec.get("checks", ())
        ]
        more = {"checks": checks} if checks else {}
        for pattern, value in self._scenario.stubs.items():
            if names_step(pattern, attempt.manifest, attempt.step.id, attempt.task.node):
                self.stubbed.add(pattern)
                return {"output": value} | more, _passes(attempt, value)
        self.invented.add((attempt.manifest, attempt.step.id))
        return {"output": self._invented(attempt)} | more, True

    def _invented(self, attempt: Attempt) -> Json:
        """The first of a few that passes the step's own `expr` checks; when none does, the checks are taken as passed."""
        expected = self._readings[attempt.manifest].expected.get(attempt.step.id, NOTHING)
        values = [invent(attempt.step, expected, attempt.place, self._dice.pick)]
        if not _expressions(attempt) or _passes(attempt, values[0]):
            return values[0]
        for turn in range(1, TRIES):
            value = invent(attempt.step, expected, attempt.place, self._other(turn))
            if _passes(attempt, value):
                return value
        return values[0]

    def _other(self, turn: int) -> Pick:
        if self._dice.seed is None:
            return lambda place, count: turn % count
        return lambda place, count: self._dice.pick(f"{turn}/{place}", count)


def _expressions(attempt: Attempt) -> list[str]:
    return [str(check["expr"]) for check in attempt.task.spec.get("checks", ()) if check["kind"] == "expr"]


def _passes(attempt: Attempt, output: Json) -> bool:
    """Do the `expr` checks hold? What else a step checks needs the world, and is taken as passed."""
    expressions = _expressions(attempt)
    if not expressions:
        return True
    context = {**attempt.task.spec.get("context", {}), "output": output, "text": text_of({"output": output})}
    try:
        return all(truth(expression, context) for expression in expressions)
    except TemplateError:
        return False


def _status(attempt: Attempt, fails: Failing) -> int | None:
    """The HTTP status, or the exit code of a command."""
    if attempt.task.verb == "run":
        return 1 if fails.error_class == "tool_error" else None
    return _STATUS.get(fails.error_class)


def _tokens(task: StepTask) -> dict[str, int]:
    """About what a prompt and an answer take; agents do not say."""
    if task.verb != "model":
        return {}
    texts = (str(task.inputs.get(key) or "") for key in ("system", "prompt"))
    return {"input": sum(map(estimate_tokens, texts)), "output": ANSWER_TOKENS}


def _model(task: StepTask) -> str:
    return task.label if task.verb == "model" else ""


def names_of(roster: Roster, task: StepTask) -> tuple[str, ...]:
    """By which names a fault may mean who does an attempt: executor, model, the model's endpoint."""
    if task.verb in ("run", "call"):
        return (task.label, "local")
    return _names(entry_of(roster, task), task.label)


def _names(entry: Entry | None, label: str) -> tuple[str, ...]:
    return (label,) if entry is None or not entry.endpoint else (label, entry.endpoint)


def _lasts(failing: Failing | None) -> int:
    """How long a question to who judges takes."""
    if failing is None:
        return TAKES["model"]
    return (
        SOON_MS if failing.error_class in REFUSED else LONG_MS if failing.error_class == "timeout" else TAKES["model"]
    )


def _judge_end(entry: Entry, failing: Failing | None, began: int) -> CallEnd:
    error = "" if failing is None else failing.error_class
    return CallEnd(
        entry.name, entry.endpoint, error, "" if failing is None else failing.message, began=began,
        unreached=error == "unavailable",
    )  # fmt: skip


def entry_of(roster: Roster, task: StepTask) -> Entry | None:
    """Who does it, as far as the router chose that."""
    if task.verb not in ROUTED:
        return None
    return roster.of("agent" if task.verb == "agent" else "model").get(task.label)


def call_end(entry: Entry, outcome: Outcome, began: int) -> CallEnd:
    """What an outcome means for circuits."""
    failed = outcome.state != "succeeded"
    return CallEnd(
        target=entry.name, endpoint=entry.endpoint, error_class=outcome.error_class if failed else "", message=outcome.message,
        began=began, retry_after_ms=outcome.retry_after_ms, unreached=outcome.error_class == "unavailable",
    )  # fmt: skip
