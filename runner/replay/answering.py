"""From what an executor answered to what people read, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.core.context import MICRO, text_of
from runner.core.graph import Json
from runner.manifest.answers import Answer
from runner.manifest.types import duration_text
from runner.ports import CallResult, Request

LOCAL = "local"


def told(result: CallResult, label: str, executor: str) -> dict[str, Json]:
    """A result as the data of an `Answer`: only what it says. `label`: who was asked, `executor`: who answers such calls."""
    said: dict[str, Any] = {
        **_said(result),
        "error": result.error_class or None,
        "message": result.message or None,
        "effect": result.effect if result.effect != "none" else None,
        "status": result.status,
        "retry_after": None if result.retry_after_ms is None else duration_text(result.retry_after_ms),
        "cost_usd": "unknown" if result.cost is None else result.cost / MICRO or None,
        "cost_source": result.cost_source or None,
        "tokens": dict(result.tokens) or None,
        "executor": result.executor if result.executor not in ("", executor) else None,
        "model": result.model if result.model not in ("", label) else None,
        "session": result.session,
        "contact": result.contact or None,
        "denials": list(result.denials) or None,
    }
    return {key: value for key, value in said.items() if value is not None or key == "output"}


def _said(result: CallResult) -> dict[str, Json]:
    """`text` and `output`: the text alone when there is nothing else."""
    output, text = result.output, result.text
    if result.error_class and output in (None, "") and text in (None, ""):
        return {}
    if output is None and text is None and not result.structured:
        return {}
    if isinstance(output, str) and text in (None, output) and not result.structured:
        return {"text": output}
    if output is None and not result.structured:
        return {"text": text}
    said: dict[str, Json] = {"output": output}
    if text is not None and text != text_of({"output": output}):
        said["text"] = text
    if result.structured != (not isinstance(output, str | None)):
        said["structured"] = result.structured
    return said


def result_of(answer: Answer, request: Request, executor: str) -> CallResult:
    """The result that an answer stands for, when `request` was asked; `executor`: who answers it, unless the answer says so."""
    output = answer.output if "output" in answer.model_fields_set else answer.text
    text = answer.text if answer.text is not None else output if isinstance(output, str) else None
    structured = answer.structured if answer.structured is not None else not isinstance(output, str | None)
    model = request.label if request.verb == "model" else ""
    return CallResult(
        output=output,
        text=text,
        error_class=answer.error or "",
        message=answer.message or (f"{answer.error} (said by the test)" if answer.error else ""),
        effect=answer.effect,
        status=answer.status,
        retry_after_ms=answer.retry_after,
        cost=_micro(answer.cost_usd),
        cost_source=answer.cost_source or "",
        tokens=answer.tokens,
        executor=answer.executor or executor,
        model=answer.model or model,
        session=answer.session,
        contact=answer.contact or "",
        denials=answer.denials,
        structured=structured,
    )


def _micro(usd: float | str | None) -> int | None:
    return None if usd == "unknown" else round(float(usd or 0) * MICRO)


def over(result: CallResult, change: Callable[[Json], Any]) -> CallResult:
    """The result with every text in it changed."""
    return result._replace(
        output=change(result.output),
        text=change(result.text),
        message=change(result.message),
        denials=tuple(map(change, result.denials)),
        session=change(result.session),
    )
