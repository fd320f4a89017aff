"""Reading the state: which run is meant, what became of its steps. A second terminal may do all of it while a run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.api.results import MICRO, RunResult, StepResult, exit_code_of
from runner.core.events import Event
from runner.errors import NoRun, UsageError
from runner.ports import AttemptRow, RunRow, StepRow, Store


def find_run(store: Store, reference: str) -> RunRow:
    """The run that an id, a unique prefix of one, or a manifest's name (its latest run) means. Raises UsageError."""
    # Ids and names are ASCII; the database could not even be asked for what is no text. And every id begins with "": whoever says
    # `runner cancel "$RUN"` without a RUN means none of them.
    if not reference or not reference.isascii():
        raise UsageError(f"no run {reference!r}", hint="`runner status` lists the runs")
    if row := store.run(reference):
        return row
    if named := store.runs(
        name=reference, limit=1
    ):  # before prefixes: `cafe` is a name, and may begin the id of another run
        return named[0]
    found = store.find(reference)
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        names = ", ".join(row.run for row in found)
        raise UsageError(f"{reference!r} is the start of several runs: {names}", hint="give more of the id")
    raise UsageError(f"no run {reference!r}", hint="`runner status` lists the runs")


def known(store: Store, run: str) -> RunRow:
    """The row of a run that was there a moment ago. Raises NoRun when it was removed meanwhile."""
    if (row := store.run(run)) is None:
        raise NoRun(f"run {run} was removed meanwhile", hint="`runner gc` removes what ended long ago and nobody needs")
    return row


def shown_state(row: RunRow) -> str:
    """A run that claims to run but whose owner is dead is `interrupted`."""
    return "interrupted" if row.state in ("running", "pending") and not row.owner_alive else row.state


def in_written_order(store: Store, row: RunRow, rows: Sequence[StepRow]) -> list[StepRow]:
    """The steps of a run in the order of its manifest, items behind their group."""
    places = {id: place for place, (id, _) in enumerate(store.written(row.manifest))}
    return sorted(rows, key=lambda step: places.get(step.node.partition("[")[0], len(places)))


def with_unbegun(store: Store, row: RunRow, steps: Sequence[StepRow]) -> list[StepRow]:
    """The steps of a run in the order of its manifest, with those that have not begun."""
    begun = {step.node.partition("[")[0] for step in steps}
    rest = [_unbegun(row.run, id) for id, _ in store.written(row.manifest) if id not in begun]
    return in_written_order(store, row, [*steps, *rest])


def _unbegun(run: str, id: str) -> StepRow:
    return StepRow(run, id, "pending", 0, 0, 0, None, None, None, "", None, None, 0, None, None, {})


def optional_steps(store: Store, row: RunRow) -> frozenset[str]:
    """Ids of the steps whose failure is none of the run's."""
    return frozenset(id for id, optional in store.written(row.manifest) if optional)


def step_results(rows: Sequence[StepRow]) -> dict[str, StepResult]:
    """Steps by id, in the order of `rows`; items by key inside their step."""
    items: dict[str, dict[str, StepResult]] = {}
    for row in rows:
        step, bracket, index = row.node.partition("[")
        if bracket:
            items.setdefault(step, {})[row.item_key or index.rstrip("]")] = _step_result(row, {})
    return {row.node: _step_result(row, items.get(row.node, {})) for row in rows if "[" not in row.node}


def _step_result(row: StepRow, items: Mapping[str, StepResult]) -> StepResult:
    failed = row.state in ("failed", "suspended", "blocked", "cancelled")
    return StepResult(
        state="succeeded" if row.state == "reused" else row.state,
        attempts=row.attempt,
        reused=row.reused or row.state == "reused",
        executor=row.executor,
        model=row.model,
        reason=row.reason,
        error=row.error if failed else None,
        items=items,
    )


def latest_run(store: Store, task: str) -> RunRow | None:
    """The newest run of a task that no other one superseded."""
    return next((row for row in store.runs(task=task, limit=20) if row.state != "superseded"), None)


def products_of(rows: Sequence[StepRow]) -> dict[str, str]:
    """The files that the steps of a run wrote, by path: digest. Of several steps that wrote a file the last one counts."""
    written: dict[str, str] = {}
    for step in sorted(rows, key=lambda step: step.ended or 0):
        written |= step.products
    return written


def run_result(store: Store, run: str, action: str, steps: Sequence[StepRow] | None = None) -> RunResult:
    """A run as `apply --json` and `show --json` tell it. `steps`: its steps, when they are at hand."""
    row = known(store, run)
    rows = in_written_order(store, row, store.steps(run) if steps is None else steps)
    reasons = suspension_reasons(store, run) if row.state == "suspended" else ()
    state = shown_state(row)
    return RunResult(
        manifest=row.name,
        run=run,
        action=action,
        state=state,
        reasons=reasons or ((row.reason,) if row.reason else ()),
        steps=step_results(rows),
        outputs=run_outputs(store, run),
        cost=row.cost,
        exit_code=exit_code_of(row.state, reasons),
    )


def suspension_reasons(store: Store, run: str) -> tuple[str, ...]:
    """Why the suspended steps of a run and its sub-runs wait, each reason once: a suspended child counts as its own reason."""
    found = {row.reason.split(":")[0] for row in store.steps(run) if row.state == "suspended"}
    for child in store.children(run):
        if child.state == "suspended":
            found.update(suspension_reasons(store, child.run))
    return tuple(sorted(found))


def run_reason(store: Store, row: RunRow) -> str:
    """Why a run is as it is: what its suspended steps wait for, else what was recorded. (What is recorded of a run that goes on is
    why it began.)"""
    state = shown_state(row)
    if state == "suspended":
        return ", ".join(suspension_reasons(store, row.run)) or row.reason
    if state == "interrupted":
        return "its runner ended before the run did"
    return "" if state in ("running", "pending") else row.reason


def run_reason_in_full(store: Store, row: RunRow) -> str:
    """`run_reason`, with what the first of its suspended steps waits for."""
    if shown_state(row) != "suspended":
        return run_reason(store, row)
    told = [*_waits_below(store, row.run, "")]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return f"{run_reason(store, row)}: {told[0]}{more}" if told else run_reason(store, row)


def _waits_below(store: Store, run: str, way: str) -> Iterator[str]:
    for node, detail in waits(store, run, store.steps(run)).items():
        if detail:
            yield f"{way}{node}: {detail}"
    for child in store.children(run):
        if child.state == "suspended":
            yield from _waits_below(store, child.run, f"{way}{child.parent_node}/")


def run_outputs(store: Store, run: str) -> Any:
    """The outputs that the run's end recorded, else none."""
    end = store.newest(run, "run_finished")
    return end.event.data.get("outputs") if end is not None else None


def questions(store: Store, run: str, rows: Sequence[StepRow]) -> dict[str, Mapping[str, Any]]:
    """What the steps (of `rows`) that wait for a person ask: node → {"message", "show", "otherwise"}."""
    waiting = {row.node for row in rows if row.state == "suspended" and row.reason == "approval"}
    if not waiting:
        return {}
    asked = [each.event for each in store.events(run) if each.event.kind == "step_suspended"]
    return {event.node: event.data["ask"] for event in asked if event.node in waiting and "ask" in event.data}


def waits(store: Store, run: str, rows: Sequence[StepRow]) -> dict[str, str]:
    """What the suspended steps (of `rows`) wait for, in words: node → "smart: mode brainstem: is not local". What a person is asked
    is among `questions`."""
    waiting = {row.node for row in rows if row.state == "suspended" and row.reason != "approval"}
    if not waiting:
        return {}
    said = [each.event for each in store.events(run) if each.event.kind == "step_suspended"]
    return {event.node: str(event.data.get("detail") or "") for event in said if event.node in waiting}


def reason_in_full(row: StepRow, detail: str) -> str:
    """Why a step is as it is. `detail`: what it waits for."""
    return f"{row.reason}: {detail}" if detail and row.state == "suspended" else row.reason


def answers(events: Iterable[Event]) -> dict[str, str]:
    """What people said of the steps of a run, last: node → "approved by Eve: looks good"."""
    found: dict[str, str] = {}
    asked: dict[str, str] = {}
    for event in events:
        data = event.data
        if event.kind == "step_suspended":
            asked[event.node] = data["reason"]
        elif event.kind == "leg_started":
            for node in data["reset"]:
                found.pop(node, None)
        elif event.kind == "step_woken" and (data.get("approved") or str(data.get("reason", "")).startswith("redo by")):
            found[event.node] = _answer(str(data["reason"]), data)
        elif event.kind == "step_resolved" and data.get("by") not in (None, "set", "timer") and event.node in asked:
            words = _APPROVAL if asked[event.node] == "approval" else _RESOLVED
            found[event.node] = _answer(f"{words.get(data['state'], data['state'])} by {data['by']}", data)
    return found


def recorded_answers(store: Store, run: str) -> dict[str, str]:
    """`answers` of a run; its events are read only when somebody was asked something."""
    if store.newest(run, "step_suspended") is None:
        return {}
    return answers(each.event for each in store.events(run))


_APPROVAL = {"succeeded": "approved", "failed": "rejected"}
_RESOLVED = {"succeeded": "resolved as done", "failed": "resolved as failed", "skipped": "resolved as skipped"}


def _answer(words: str, data: Mapping[str, Any]) -> str:
    return f"{words}: {data['comment']}" if data.get("comment") else words


def result_of(store: Store, row: StepRow) -> Mapping[str, Any] | None:
    """The RESULT of a step: {"output", "text"?, "checks"?}."""
    if row.result is None:
        return None
    if "value" in row.result:
        value: Mapping[str, Any] = row.result["value"]
        return value
    loaded: Mapping[str, Any] = json.loads(store.blob(row.result["ref"]))
    return loaded


def status_json(rows: Sequence[RunRow], mode: str, reasons: Callable[[RunRow], str]) -> dict[str, Any]:
    """The document of `status --json` (cli.md)."""
    return {
        "version": 1,
        "mode": mode,
        "runs": [
            {
                "run": row.run,
                "manifest": row.name,
                "state": shown_state(row),
                "reason": reasons(row),
                "steps_done": row.steps_done,
                "steps_total": row.steps_total,
                "started": row.created,
                "ended": row.finished,
                "cost_usd": row.cost / MICRO,
            }
            for row in rows
        ],
    }


def attempt_json(row: AttemptRow) -> dict[str, Any]:
    """An attempt as `show --json` tells it."""
    return {
        "step": row.node,
        "n": row.n,
        "executor": row.executor or None,
        "model": row.model or None,
        "mode": row.mode,
        "state": row.state,
        "class": row.error_class or None,
        "message": row.message or None,
        "effect": row.effect or None,
        "reason": row.reason,
        "started": row.started,
        "ended": row.ended,
        "cost_usd": row.cost / MICRO,
        "log": row.log or None,
    }


def show_json(store: Store, run: str, worktrees: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The document of `show RUN --json`: the run as in `apply --json`, with its attempts, what people said of its steps, what
    these wait for, and the worktrees that they left."""
    result = run_result(store, run, "show")
    return {
        "version": 1,
        **result.to_json(),
        "attempts": [attempt_json(row) for row in store.attempts(run)],
        "answers": recorded_answers(store, run),
        "waits": {node: detail for node, detail in waits(store, run, store.steps(run)).items() if detail},
        "worktrees": {node: list(paths) for node, paths in worktrees.items()},
    }
