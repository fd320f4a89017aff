"""The `checks` of a step, judged where its attempt ran: all of them, in order; one that cannot be evaluated fails. A model is asked to
judge only once the others have passed: it costs money, and a step that has failed needs no second opinion.

A verdict is {"kind", "passed", "message"}; the messages of failed checks are the feedback of a repair round."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from runner.core.graph import Json
from runner.digest import canonical_json
from runner.engine import changes
from runner.ports import CallResult, Judge, Request
from runner.templating import TemplateError, parse_expression, render, render_tree, truth
from runner.templating.model import Ref, show
from runner.templating.text import to_text

TIMEOUT_MS: Final = 600_000
SHOWN_CHARS: Final = 200
TAIL_LINES: Final = 20
TAIL_CHARS: Final = 4_000

Call = Callable[[Request], Awaitable[CallResult]]
Verdict = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Judged:
    """What checks look at. `context`: what templates may read, `output` and `text` included. `base`: the request of the attempt,
    whose folder, environment and log a command check shares. `touched`: the files that the attempt touched; None = nobody looked.
    `diff`: of what it did, when it is known. `calls`: filled with the calls that judges made, for the ledger."""

    context: Mapping[str, Json]
    text: str
    base: Request
    touched: Collection[str] | None = None
    diff: str = ""
    judge: Judge | None = None
    calls: list[CallResult] = field(default_factory=list)


async def verdicts(checks: Sequence[Mapping[str, Any]], judged: Judged, run: Call) -> list[Verdict]:
    """A verdict for each of `checks` ({"kind", …} as in core.graph.Check). `run` calls the executor of commands."""
    found = {n: await _verdict(check, n, judged, run) for n, check in enumerate(checks) if check["kind"] != "judge"}
    if all(verdict["passed"] for verdict in found.values()):
        found |= {n: await _judged(check, judged) for n, check in enumerate(checks) if check["kind"] == "judge"}
    return [found[number] for number in sorted(found)]


async def _verdict(check: Mapping[str, Any], number: int, judged: Judged, run: Call) -> Verdict:
    match check["kind"]:
        case "expr":
            return _said("expr", *expression(check["expr"], judged.context))
        case "run":
            return await _command(check, number, judged, run)
        case _:
            return _changed(check["changed"], judged)


async def _judged(check: Mapping[str, Any], judged: Judged) -> Verdict:
    if judged.judge is None:
        return _said("judge", False, "`judge` needs a model endpoint, which is not configured")
    try:
        requirement = to_text(render(check["judge"]["prompt"], judged.context))
    except TemplateError as error:
        return _said("judge", False, f"the requirement cannot be rendered: {error.message}")
    result = f"{judged.text}\n\n{judged.diff}" if judged.diff else judged.text
    found = await judged.judge.judge(judged.base, check["judge"]["models"], requirement, result)
    judged.calls.extend(found.calls)
    if found.score is None:
        return _said("judge", False, f"nobody could judge: {found.reason}")
    return _said("judge", found.score >= check["min"], f"{found.score:g} of {check['min']:g} needed: {found.reason}")


def _changed(spec: Mapping[str, Any], judged: Judged) -> Verdict:
    if judged.touched is None:
        return _said("changed", False, "`changed` cannot be evaluated: the files were not watched")
    return _said("changed", *changes.judged(spec, judged.touched))


def expression(text: str, context: Mapping[str, Json]) -> tuple[bool, str]:
    """Whether an expression is true, and what to say of it: when it is not, also what it has read."""
    try:
        if truth(text, context):
            return True, text
        read = [_shown(ref, context) for ref in parse_expression(text).refs]
    except TemplateError as error:
        return False, f"{text} cannot be evaluated: {error.message}"
    return False, "; ".join([f"{text} is false", *dict.fromkeys(read)])


def _shown(ref: Ref, context: Mapping[str, Json]) -> str:
    value: Json = context
    try:
        for key in (ref.root, *ref.path):
            value = value[key]
    except (LookupError, TypeError):
        return f"{show(ref.root, ref.path)} is absent"
    text = canonical_json(value)
    return f"{show(ref.root, ref.path)} = {text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + '...'}"


async def _command(check: Mapping[str, Any], number: int, judged: Judged, run: Call) -> Verdict:
    try:
        inputs = _inputs(check["run"], judged.context)
    except TemplateError as error:
        return _said("run", False, f"the command cannot be rendered: {error.message}")
    request = judged.base._replace(
        label="local",
        verb="run",
        inputs=inputs,
        idempotency_key=f"{judged.base.idempotency_key}/check/{number}",
        deadline_s=(check.get("timeout") or TIMEOUT_MS) / 1000,
        idle_s=None,
        session=None,
        feedback=None,
        stdin=judged.text,
        note=None,
        tried=(),
        interrupted=False,
    )
    result = await run(request)
    name = _name(inputs)
    if not result.error_class:
        return _said("run", True, name)
    return _said("run", False, f"{name}: {_with_output(result, request.masked)}")


def _inputs(body: Mapping[str, Any], context: Mapping[str, Json]) -> dict[str, Json]:
    if body.get("script") is not None:
        return {"script": body["script"]}  # never rendered: `{{` in a script belongs to the shell
    return {"argv": render_tree(list(body["argv"]), context)}


def _name(inputs: Mapping[str, Any]) -> str:
    text = " ".join(map(str, inputs["argv"])) if "argv" in inputs else str(inputs["script"]).strip().partition("\n")[0]
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."


def _with_output(result: CallResult, masked: Callable[[str], str]) -> str:
    """The message, which has the end of stderr, and the end of stdout: test runners report there."""
    text = masked((result.text or "")[-4 * TAIL_CHARS :])
    tail = "\n".join(text[-TAIL_CHARS:].rstrip().splitlines()[-TAIL_LINES:])
    return result.message if not tail or tail in result.message else f"{result.message}\n{tail}"


def _said(kind: str, passed: bool, message: str) -> Verdict:
    return {"kind": kind, "passed": passed, "message": message}
