"""What an apply did, for the people who read CI: a JUnit file and a Markdown page, from the record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner.api.queries import in_written_order, optional_steps, result_of
from runner.api.results import EXITS_OF_PAUSES, MICRO, ApplyResult, RunResult
from runner.errors import RunnerError
from runner.paths import PathEscape, write_atomic
from runner.ports import StepRow, Store
from runner.reporters.junit import Case, Suite, Verdict


def suites(result: ApplyResult, store: Store, *, pause_ok: bool = False) -> tuple[Suite, ...]:
    """A suite for each manifest, in the order of the result. `pause_ok`: what waits is no error."""
    return tuple(_suite(run, store, pause_ok) for run in result.runs)


def refused(error: RunnerError) -> tuple[Suite, ...]:
    """What a report says when nothing could be driven at all."""
    return (
        Suite("runner", (Case("apply", "error", kind=type(error).__name__, message=error.message),), state="invalid"),
    )


def _suite(run: RunResult, store: Store, pause_ok: bool) -> Suite:
    row = store.run(run.run) if run.run else None
    if row is None:
        verdict: Verdict = (
            "error" if run.exit_code and not (pause_ok and run.exit_code in EXITS_OF_PAUSES) else "skipped"
        )
        why = run.error or "; ".join(run.reasons) or run.state
        return Suite(
            run.manifest, (Case("(manifest)", verdict, kind=run.state, message=why),), "", run.action, run.state
        )
    steps = in_written_order(store, row, store.steps(row.run))
    cases = list(_cases(steps, optional_steps(store, row), store, pause_ok))
    if run.error:
        cases.append(Case("(run)", "error", kind=run.state, message=run.error))
    end = row.finished or max((step.ended or step.started or 0 for step in steps), default=0) or row.created
    return Suite(
        name=run.manifest,
        cases=tuple(cases),
        run=row.run,
        action=run.action,
        state=run.state,
        started=datetime.fromtimestamp(row.created / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        took=end - row.created,
        cost=f"${run.cost / MICRO:.4f}" if run.cost else "",
        outputs=tuple(_outputs(run.outputs)) if run.state == "succeeded" else (),
    )


def _outputs(outputs: Any) -> Iterator[tuple[str, str]]:
    named: Mapping[str, Any] = outputs if isinstance(outputs, Mapping) else {"output": outputs}
    for name, value in named.items():
        if value is not None:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cases(steps: Sequence[StepRow], optional: frozenset[str], store: Store, pause_ok: bool) -> Iterator[Case]:
    """A case for each step; for a group its items, and the group only when it failed by itself."""
    items = {step.node.partition("[")[0] for step in steps if "[" in step.node}
    failing = {
        step.node.partition("[")[0] for step in steps if "[" in step.node and step.state in ("failed", "suspended")
    }
    for step in steps:
        id = step.node.partition("[")[0]
        if step.node in items and (step.state not in ("failed", "suspended") or step.node in failing):
            continue
        yield _case(step, id in optional, store, pause_ok)


def _case(step: StepRow, optional: bool, store: Store, pause_ok: bool) -> Case:
    error = step.error or {}
    message = str(error.get("message") or step.reason or step.state)
    verdict = _verdict(step.state, optional, pause_ok)
    kind = str(error.get("class") or step.state)
    if verdict == "skipped" and step.state == "failed":
        message = f"failed, but is optional: {kind}: {message}"
    elif verdict == "skipped":
        message = f"{step.state}: {step.reason}" if step.reason else step.state
    name = f"{step.node.partition('[')[0]}[{step.item_key}]" if step.item_key and "[" in step.node else step.node
    took = step.ended - step.started if step.ended and step.started else 0
    return Case(name, verdict, took, kind, message if verdict != "passed" else "", _text(step, store))


def _verdict(state: str, optional: bool, pause_ok: bool) -> Verdict:
    if state in ("succeeded", "reused"):
        return "passed"
    if state == "failed":
        return "skipped" if optional else "failed"
    if state == "suspended":
        return "skipped" if pause_ok else "error"
    return "skipped"


def _text(step: StepRow, store: Store) -> str:
    result = result_of(store, step) or {}
    text = result.get("text", result.get("output"))
    if isinstance(text, str):
        return text
    return "" if text is None else json.dumps(text, ensure_ascii=False)


def write_report(path: Path, text: str, *, append: bool = False) -> None:
    """Writes a report: a file whole or not at all, into a pipe or a device as it goes. Raises RunnerError."""
    try:
        data = text.encode("utf-8", "replace")
        if append or (path.exists() and not path.is_file()):  # what is no file stays what it is
            with path.open("ab") as file:
                file.write(data)
        else:
            target = path.resolve()
            write_atomic(target.parent, Path(target.name), data)
    except (OSError, PathEscape) as error:
        why = getattr(error, "strerror", None) or error
        raise RunnerError(f"the report {path} cannot be written: {why}") from error
