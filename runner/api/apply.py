"""`apply`, `resume`, `cancel`, `resolve`: what changes something. Each opens the state, acts through the engine, and says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

from runner.api.app import App
from runner.api.load import Loaded
from runner.api.planning import PlannedManifest, given_inputs, plan
from runner.api.queries import find_run, known, run_result, shown_state
from runner.api.request import Control, Request
from runner.api.results import EXITS_OF_PAUSES, ApplyResult, RunResult, gravest
from runner.api.secrets import SecretSource
from runner.api.settings import Settings
from runner.api.units import micro
from runner.api.wiring import open_app
from runner.clock import Clock, SteadyClock, SystemClock
from runner.core.plan import RESUMABLE
from runner.core.states import stands
from runner.engine.driven import RunEnd
from runner.engine.results import Unfit, fit
from runner.errors import Fenced, NeedsPerson, NoRun, RunnerError, StoreBusy, UsageError
from runner.ports import NewRun, RunRow, Sink, Store
from runner.store.encode import BadValue, encode
from runner.store.leases import is_final

DEFAULT = Request()


async def apply(
    loaded: Loaded,
    settings: Settings,
    request: Request = DEFAULT,
    *,
    sinks: Sequence[Sink] = (),
    control: Control | None = None,
    clock: Clock | None = None,
    store: Store | None = None,
    confirm: Callable[[Sequence[PlannedManifest], Store], None] | None = None,
) -> ApplyResult:
    """Converge every manifest: run, resume, or leave it. Raises UsageError, InvalidInput, StoreError; a run that another runner
    drives, or that waits for a person, is a RunResult with its exit code while the others go on. `store`: as in `open_app`. `confirm` sees the whole
    plan before anything of it happens, and raises to stop that."""
    clock, control = clock or SteadyClock(SystemClock()), control or Control()
    async with open_app(
        settings, sinks=sinks, clock=clock, jobs=request.jobs, mode=request.mode, store=store, on_warning=control.warn
    ) as app:
        control.listen(app.drain, app.stop)
        planned = plan(loaded, settings, app.store, request, clock, steps=confirm is not None)
        if confirm is not None:
            confirm(planned, app.store)
        for entry in planned:
            if entry.plan.action in ("create", "update"):
                _warn_of_secrets(entry, settings, control.warn)
        places = asyncio.Semaphore(settings.config.concurrency.runs)
        work = [_converge(app, loaded, entry, request, places) for entry in planned]
        results = await asyncio.gather(*work)
    return _result(results, control, request)


def _warn_of_secrets(entry: PlannedManifest, settings: Settings, warn: Callable[[str], None]) -> None:
    """Inputs are a part of the record, which must know them to go on: what a step says of a secret is masked, an input is not."""
    redactor = SecretSource(settings.config, os.environ).redactor()
    for name, value in entry.inputs.items():
        if redactor.data([value]) != [value]:
            warn(
                f"{entry.graph.name}: the input `{name}` holds a secret of the config, and inputs are recorded as they are: "
                "name it as secrets.NAME in the step that needs it"
            )


def _result(results: Sequence[RunResult], control: Control, request: Request) -> ApplyResult:
    codes = [result.exit_code for result in results]
    if request.on_pause == "ok":
        codes = [0 if code in EXITS_OF_PAUSES else code for code in codes]
    if control.signal is not None:
        codes.append(128 + control.signal)
    return ApplyResult(tuple(results), gravest(codes))


async def _converge(
    app: App, loaded: Loaded, entry: PlannedManifest, request: Request, places: asyncio.Semaphore
) -> RunResult:
    chosen = entry.plan
    if chosen.action == "callable":
        return RunResult(chosen.name, None, "callable", "callable", (chosen.reason,))
    try:
        if chosen.action == "unchanged":
            assert chosen.run is not None
            return run_result(app.store, chosen.run, "unchanged")
        async with places:
            return await _driven(app, loaded, entry, request)
    except (StoreBusy, Fenced, NoRun, NeedsPerson) as error:
        state = "refused" if isinstance(error, NeedsPerson) else "busy"
        return RunResult(
            chosen.name,
            chosen.run,
            chosen.action,
            state,
            (),
            error=error.message,
            hint=error.hint,
            exit_code=error.exit_code,
        )


async def _driven(app: App, loaded: Loaded, entry: PlannedManifest, request: Request) -> RunResult:
    chosen = entry.plan
    if app.draining:
        return RunResult(chosen.name, chosen.run, chosen.action, "pending", ("not started: told to stop",))
    if chosen.action == "resume":
        assert chosen.run is not None
        return ended(app, await go_on(app, chosen.run, request), chosen.action)
    return ended(app, await begin(app, loaded, entry, request), chosen.action)


def ended(app: App, end: RunEnd, action: str) -> RunResult:
    """How a run that we drove stands now. One that we let go is ours until all that it started is gone, but goes on no more."""
    result = run_result(app.store, end.run, action)
    return result._replace(state="interrupted") if end.state == "interrupted" and result.exit_code == 130 else result


async def begin(
    app: App, loaded: Loaded, entry: PlannedManifest, request: Request, *, run: str | None = None
) -> RunEnd:
    """A new run as planned, up to its end. `run`: its id, when the caller has to know it before. Raises StoreBusy, NeedsPerson."""
    graph = entry.graph
    run = run or app.new_run_id()
    row = NewRun(
        run=run,
        root=run,
        name=graph.name,
        manifest=graph.digest,
        task=entry.task,
        inputs=dict(entry.inputs),
        created=app.clock.now(),
        fingerprint=entry.fingerprint,
        reason=entry.plan.reason,
    )
    graphs = {name: called for name, called in loaded.graphs.items() if name in loaded.called}
    refresh = "all" if request.force else None
    source, older = entry.loaded.source, entry.plan.supersedes
    return await app.start(
        row, graph, graphs, source, refresh=refresh, supersede=older, part=entry.part, max_usd=request.max_usd
    )


async def go_on(
    app: App, run: str, request: Request = DEFAULT, *, messages: Sequence[tuple[Any, ...]] = (), warm: bool = False
) -> RunEnd:
    """Resume a recorded run: a next leg when it failed or was cancelled, else from where it was. `warm`: a person says so."""
    row = known(app.store, run)
    todo: list[tuple[Any, ...]] = list(messages)
    if request.add_usd is not None:
        import getpass

        todo.append(("raise", micro(request.add_usd), getpass.getuser()))
    if row.state in ("failed", "cancelled", "suspended"):
        todo.append(("retry", row.state != "suspended"))
    return await app.resume(run, todo, warm=warm)


async def resume(
    reference: str,
    settings: Settings,
    request: Request = DEFAULT,
    *,
    from_step: str | None = None,
    sinks: Sequence[Sink] = (),
    control: Control | None = None,
    clock: Clock | None = None,
) -> ApplyResult:
    """Go on with one run. With `from_step`: a new run that reuses what is before that step. Raises UsageError, StoreError."""
    if from_step is not None and request.add_usd is not None:
        raise UsageError("--add-usd raises what this run may spend, --from begins another one", hint="give one of them")
    clock, control = clock or SteadyClock(SystemClock()), control or Control()
    async with open_app(
        settings, sinks=sinks, clock=clock, jobs=request.jobs, mode=request.mode, on_warning=control.warn
    ) as app:
        control.listen(app.drain, app.stop)
        row = root_of(app, reference)
        if from_step is not None:
            end = await app.fork(row, from_step)
        elif row.state == "pending":
            raise UsageError(f"run {row.run} never began: its runner died first", hint="`runner apply` begins anew")
        elif row.state not in RESUMABLE:
            return ApplyResult((run_result(app.store, row.run, "unchanged"),), 0 if row.state == "succeeded" else 1)
        else:
            end = await go_on(app, row.run, request, warm=True)
        result = ended(app, end, "resume")
    return _result([result], control, request)


def root_of(app: App, reference: str) -> RunRow:
    """The run that is meant, or the run that it is a part of."""
    row = find_run(app.store, reference)
    return row if row.root == row.run else known(app.store, row.root)


async def cancel(reference: str, settings: Settings, *, by: str, clock: Clock | None = None) -> ApplyResult:
    """End a run as cancelled: its owner is told, or we do it when it has none."""
    return await _answer(reference, settings, "cancel", {"reason": "cancelled by a person"}, by, clock)


async def resolve(
    reference: str,
    settings: Settings,
    step: str,
    *,
    by: str,
    done: Any = None,
    redo: bool = False,
    clock: Clock | None = None,
) -> ApplyResult:
    """Say what became of a step whose outcome is unknown: `done` (its output), or `redo`. Then the run goes on at the next apply,
    or at once in the runner that drives it. A run that has ended is open again."""
    kind = "redo" if redo else "resolve"
    body = {"node": step} if redo else {"node": step, "output": done}
    try:
        fit(done, settings.config.limits.output_bytes)  # as any output; but what a person says is not mended
    except Unfit as error:
        raise UsageError(str(error)) from error
    return await _answer(reference, settings, kind, body, by, clock, node=step)


async def answer(
    reference: str,
    settings: Settings,
    step: str,
    *,
    approve: bool,
    by: str,
    comment: str = "",
    clock: Clock | None = None,
) -> ApplyResult:
    """Approve or reject a step that waits for a person. The result tells the run that has the step, then the whole run when that is
    a part of it. Raises UsageError, StoreError."""
    kind = "approve" if approve else "reject"
    return await _answer(reference, settings, kind, {"node": step, "comment": comment}, by, clock, node=step)


async def _answer(
    reference: str,
    settings: Settings,
    kind: str,
    body: dict[str, Any],
    by: str,
    clock: Clock | None,
    node: str | None = None,
) -> ApplyResult:
    try:
        encode(body)
    except BadValue as error:
        raise UsageError(str(error)) from error
    async with open_app(settings, sinks=(), clock=clock or SteadyClock(SystemClock()), jobs=None) as app:
        row, found, reopened = root_of(app, reference), find_run(app.store, reference), False
        if node is not None:
            found = _holder(app, found, node)
            body = body if found.run == row.run else {**body, "run": found.run}
            if kind in ("resolve", "redo") and row.state in ("failed", "cancelled") and _is_unknown(app, found, node):
                await app.settle_inbox(row.run, drive=False, messages=[("retry", True)])  # a leg in which it waits
                reopened = True
            if shown_state(row) == "interrupted" and _has(app, found, node, "running"):
                await app.settle_inbox(row.run, drive=False)  # what became of it when its runner died is on record then
            _check_suspended(app, found, node, kind)
        if row.state in ("succeeded", "superseded") or (kind == "cancel" and row.state in ("failed", "cancelled")):
            raise UsageError(
                f"run {row.run} {stands(row.state)} already", hint="`runner status` lists what is unfinished"
            )
        await app.store.post(row.run, kind, body, by)
        with contextlib.suppress(StoreBusy):  # a live owner takes it from the inbox
            await app.settle_inbox(row.run, drive=kind == "cancel")
        about = [found.run, row.run] if node is not None else [row.run]
        action = "reopen" if reopened else kind
        return ApplyResult(tuple(run_result(app.store, run, action) for run in dict.fromkeys(about)), 0)


def _holder(app: App, row: RunRow, node: str) -> RunRow:
    """The run, or the only sub-run below it, that has a step of this id, or the only one where that waits."""
    if _has(app, row, node):
        return row
    below = list(app.store.children(row.run))
    for run in below:
        below += app.store.children(run.run)
    having = [run for run in below if _has(app, run, node)]
    waiting = [run for run in having if _has(app, run, node, "suspended")]
    having = waiting if len(waiting) == 1 else having
    if len(having) > 1:
        names = ", ".join(run.run for run in having)
        raise UsageError(f"several sub-runs of {row.run} have a step {node!r}", hint=f"name the sub-run: {names}")
    return having[0] if having else row


def _has(app: App, row: RunRow, node: str, state: str | None = None) -> bool:
    return any(step.node == node and state in (None, step.state) for step in app.store.steps(row.run))


def _is_unknown(app: App, row: RunRow, node: str) -> bool:
    """Did it end as unknown with its run? Raises UsageError for a `finally` step: no answer is kept for the next leg."""
    unknown = [step for step in app.store.steps(row.run) if step.node == node and step.reason == "unknown"]
    if not any(step.state == "failed" for step in unknown):
        return False
    kept = app.store.manifest(row.manifest)
    if kept is not None and is_final(kept.graph, node):
        raise UsageError(
            f"step {node} of run {row.run} is a `finally` step: it starts over with the next leg, whatever became of it",
            hint=f"`runner resume {row.root}` begins that leg",
        )
    return True


def _check_suspended(app: App, row: RunRow, node: str, kind: str) -> None:
    steps = {step.node: step for step in app.store.steps(row.run)}
    written = dict(app.store.written(row.manifest))
    if node not in steps and node in written:
        raise UsageError(f"step {node} of run {row.run} has not begun: it waits for nobody")
    if node not in steps:
        waiting = [known.node for known in steps.values() if known.state == "suspended"]
        hint = f"it is {', '.join(waiting)} that waits" if waiting else f"steps: {', '.join(written or steps)}"
        raise UsageError(f"run {row.run} has no step {node!r}", hint=hint)
    step = steps[node]
    if step.state != "suspended":
        raise UsageError(f"step {node} of run {row.run} {stands(step.state)}: it waits for nobody")
    if (step.reason == "approval") != (kind in ("approve", "reject")):
        verb = "approve or reject" if step.reason == "approval" else "resolve"
        raise UsageError(
            f"step {node} of run {row.run} is suspended: {step.reason}", hint=f"use `runner {verb}` for it"
        )


def inputs_of(entry: PlannedManifest, request: Request) -> dict[str, Any]:
    """The inputs as the caller gave them, by their declared types."""
    return given_inputs(entry.graph, request)


__all__ = ["RunnerError", "apply", "cancel", "resolve", "resume"]
