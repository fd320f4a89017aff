"""What came of a case, held against what its author expects. Pure: values in, differences out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.api.results import MICRO, RunResult
from runner.core.context import text_of
from runner.core.graph import Json
from runner.engine.checks import expression
from runner.manifest.suite import Expect, ExpectedFile, ExpectedStep
from runner.replay.difference import difference

SHOWN = 200


@dataclass(frozen=True, slots=True)
class StepFacts:
    """How a step or item ended. `route`: who was asked, attempt by attempt. `result` None: it has none."""

    state: str
    attempts: int
    route: tuple[str, ...]
    executor: str
    model: str
    reason: str
    error: Mapping[str, Any] | None
    cost: int
    result: Mapping[str, Any] | None
    items: tuple[Mapping[str, Any], ...] | None = None

    def view(self) -> dict[str, Json]:
        """As expressions read it."""
        view: dict[str, Json] = {
            "state": self.state,
            "attempts": self.attempts,
            "route": list(self.route),
            "executor": self.executor or None,
            "model": self.model or None,
            "error": dict(self.error) if self.error else None,
            "cost_usd": self.cost / MICRO,
        }
        if self.items is not None:
            view["items"] = [dict(item) for item in self.items]
        if self.result is not None:
            view |= {
                "output": self.result.get("output"),
                "text": text_of(self.result),
                "checks": self.result.get("checks", []),
            }
        return view


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a case. `steps`: by path (`STEP`, `STEP[KEY]`, `STEP/INNER`). `file`: content in the workspace, None = not there."""

    result: RunResult
    steps: Mapping[str, StepFacts]
    inputs: Mapping[str, Json] = field(default_factory=dict)
    file: Callable[[str], str | None] = lambda path: None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as expected. `what`: its place in `expect`, or a step; `lines`: a diff."""

    what: str
    message: str
    lines: tuple[str, ...] = ()


def differences(expect: Expect, came: Came) -> list[Difference]:
    """Everything that is not as expected, in the order of the keys."""
    found = [*_run(expect, came)]
    for path, wanted in expect.steps.items():
        found += _step(path, wanted, came.steps.get(path))
    if "outputs" in expect.model_fields_set:
        found += _equal("outputs", expect.outputs, came.result.outputs)
    found += _cost(expect, came.result.cost)
    for path, file in expect.files.items():
        found += _file(path, file, came.file(path))
    return [*found, *_checks(expect, came)]


def _run(expect: Expect, came: Came) -> Iterator[Difference]:
    result = came.result
    wanted = expect.run or (None if expect.exit is not None else "succeeded")
    if wanted is not None and result.state != wanted:
        lines = tuple(_why(came)) if wanted == "succeeded" else ()
        yield Difference("run", f"expected {wanted}, but it {_was(result)}", lines)
    if expect.exit is not None and result.exit_code != expect.exit:
        yield Difference(
            "exit", f"expected {expect.exit}, but it is {result.exit_code} ({result.state})", tuple(_why(came))
        )
    if expect.reasons is not None and sorted(expect.reasons) != sorted(result.reasons):
        yield Difference("reasons", f"expected {_words(expect.reasons)}, but it is {_words(result.reasons)}")


def _was(result: RunResult) -> str:
    if result.state == "suspended":
        return f"is suspended: {_words(result.reasons)}"
    return f"is {result.state}" + (f": {result.error}" if result.error else "")


def _why(came: Came) -> Iterator[str]:
    """The steps that stand in the way of a success."""
    for path, step in came.steps.items():
        if step.state == "failed" and step.error:
            yield f"{path}: {step.error.get('class')}: {_brief(str(step.error.get('message', '')))}"
        elif step.state == "suspended":
            yield f"{path}: suspended: {step.reason}"


def _step(path: str, wanted: ExpectedStep, was: StepFacts | None) -> Iterator[Difference]:
    what = f"steps.{path}"
    if was is None:
        if wanted.state not in (None, "skipped", "blocked"):
            yield Difference(what, f"expected {wanted.state}, but the run never came to it")
        elif wanted.state is None:
            yield Difference(what, "the run never came to it")
        return
    for name, value, is_ in _plain(wanted, was):
        if value is not None and value != is_:
            more = f" ({_failure(was)})" if name == "state" else ""
            yield Difference(f"{what}.{name}", f"expected {_shown(value)}, but it is {_shown(is_)}{more}")
    yield from _said(what, wanted, was)


def _plain(wanted: ExpectedStep, was: StepFacts) -> Iterator[tuple[str, Json, Json]]:
    yield "state", wanted.state, was.state
    yield "attempts", wanted.attempts, was.attempts
    yield "route", None if wanted.route is None else list(wanted.route), list(was.route)
    yield "executor", wanted.executor, was.executor or None
    yield "model", wanted.model, was.model or None
    yield "error", wanted.error, (was.error or {}).get("class")


def _said(what: str, wanted: ExpectedStep, was: StepFacts) -> Iterator[Difference]:
    message = str((was.error or {}).get("message", ""))
    if wanted.message is not None and wanted.message not in message:
        yield Difference(f"{what}.message", f"expected {_shown(wanted.message)} in it, but it is {_shown(message)}")
    if "output" in wanted.model_fields_set:
        yield from _equal(f"{what}.output", wanted.output, None if was.result is None else was.result.get("output"))
    text = "" if was.result is None else text_of(was.result)
    for part in wanted.contains:
        if part not in text:
            yield Difference(
                f"{what}.contains", f"there is no {_shown(part)} in its text", tuple(_brief(text).splitlines())
            )


def _failure(was: StepFacts) -> str:
    if was.error:
        return f"{was.error.get('class')}: {_brief(str(was.error.get('message', '')))}"
    return was.reason or f"attempts: {was.attempts}"


def _equal(what: str, wanted: Json, was: Json) -> Iterator[Difference]:
    if wanted == was and _same_kind(wanted, was):
        return
    if not isinstance(wanted, dict | list | str) and not isinstance(was, dict | list | str):
        yield Difference(what, f"expected {_shown(wanted)}, but it is {_shown(was)}")
        return
    name = what.rpartition(".")[2]
    _, lines = difference({name: wanted}, {name: was}, was="expected", is_="as it is")
    yield Difference(what, "not as expected", tuple(lines))


def _same_kind(one: Json, other: Json) -> bool:
    """1 is not true, at whatever depth."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict):
        return all(_same_kind(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return all(map(_same_kind, one, other))
    return True


def _cost(expect: Expect, cost: int) -> Iterator[Difference]:
    bounds = expect.cost_usd
    if bounds is None:
        return
    usd = cost / MICRO
    if bounds.max is not None and usd > bounds.max:
        yield Difference("cost_usd", f"expected at most {bounds.max:g}, but it is {usd:g}")
    if bounds.min is not None and usd < bounds.min:
        yield Difference("cost_usd", f"expected at least {bounds.min:g}, but it is {usd:g}")


def _file(path: str, wanted: ExpectedFile, text: str | None) -> Iterator[Difference]:
    what = f"files.{path}"
    if text is None or not wanted.exists:
        if (text is not None) != wanted.exists:
            yield Difference(
                what, "expected a file, but nothing wrote it" if text is None else "expected no file, but there is one"
            )
        return
    if wanted.text is not None:
        yield from _equal(what, wanted.text.rstrip("\n"), text.rstrip("\n"))
    for part in wanted.contains:
        if part not in text:
            yield Difference(what, f"there is no {_shown(part)} in it", tuple(_brief(text).splitlines()))


def _checks(expect: Expect, came: Came) -> Iterator[Difference]:
    if not expect.checks:
        return
    result = came.result
    context = {
        "steps": {path: facts.view() for path, facts in came.steps.items()},
        "outputs": result.outputs,
        "inputs": dict(came.inputs),
        "run": {
            "state": result.state,
            "exit_code": result.exit_code,
            "name": result.manifest,
            "reasons": list(result.reasons),
            "cost_usd": result.cost / MICRO,
            "failed": [path for path, facts in came.steps.items() if facts.state == "failed"],
        },
    }
    for number, each in enumerate(expect.checks):
        holds, message = expression(each.expr, context)
        if not holds:
            yield Difference(f"checks[{number}]", message)


def _words(words: Sequence[str]) -> str:
    return ", ".join(words) or "nothing"


def _shown(value: Json) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if value is None:
        return "none"
    return repr(value) if isinstance(value, str) and " " in value else _brief(str(value))


def _brief(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
