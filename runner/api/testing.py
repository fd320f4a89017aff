"""`test`: the cases of suites, each run in a throw-away world, from stubs and recordings or for real to record anew.

Not here: what a suite may say (manifest/suite.py), how it is read (api/suites.py), what is expected (api/expecting.py), and the wrapper
between engine and executors (replay/)."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from runner.api.app import App
from runner.api.apply import begin, ended, go_on
from runner.api.expecting import Came, Difference, differences
from runner.api.load import Loaded
from runner.api.outcome import outcome, rows_of
from runner.api.planning import plan
from runner.api.request import Request
from runner.api.results import RunResult
from runner.api.secrets import SecretSource
from runner.api.suites import LoadedCase, LoadedSuite
from runner.api.testing_world import (
    KeylessEnv,
    WorldFiles,
    asks_somebody,
    copy_workspace,
    has_worktrees,
    is_watched,
    make_repository,
    sandboxed,
)
from runner.api.throwaway import sweep, throwaway
from runner.api.wiring import open_app
from runner.clock import Clock, SteadyClock, SystemClock, VirtualClock
from runner.core.graph import StepGraph
from runner.digest import digest
from runner.engine.driven import RunEnd
from runner.errors import InvalidInput, RunnerError, UsageError
from runner.manifest.suite import Approval, RecordedCase, Resolution
from runner.paths import PathEscape
from runner.ports import Sink
from runner.replay import tape
from runner.replay.asking import Items, Veil, names_of, parts_of
from runner.replay.seam import Made, Seam
from runner.store.memory import MemoryStore

How = Literal["replay", "record"]
Verdict = Literal["passed", "failed", "error"]
WORLD: Final = "ares-test-"
PATIENCE_S: Final = 60.0
"""A replay waits for nobody, so one that takes longer hangs."""
LATEST: Final = 32_503_680_000_000
"""The year 3000, in milliseconds."""
MOST_ANSWERS: Final = 20
"""Answers to one step, before it is taken for one that never ends."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went. `error`: it could not be run at all. `warnings`: what is odd, and fails nothing."""

    name: str
    manifest: str
    verdict: Verdict
    run: RunResult | None = None
    differences: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """How a suite went. `recorded`: how many calls were written to its recording; None = none were asked for."""

    file: str
    recording: str
    cases: tuple[CaseResult, ...]
    recorded: int | None = None


@dataclass(frozen=True, slots=True)
class TestResult:
    """How all of it went."""

    __test__ = False  # to pytest: this is not one of yours

    suites: tuple[SuiteResult, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(case.verdict == verdict for suite in self.suites for case in suite.cases)

    @property
    def exit_code(self) -> int:
        return 1 if self.count("failed") or self.count("error") else 0


def chosen(suite: LoadedSuite, words: Sequence[str]) -> list[LoadedCase]:
    """The cases whose name (with that of the suite before it) holds one of `words`, whatever its case; all when there are none."""
    if not words:
        return list(suite.cases)
    return [case for case in suite.cases if any(word.lower() in f"{suite.file}::{case.name}".lower() for word in words)]


async def run_suites(
    suites: Sequence[LoadedSuite],
    how: How,
    *,
    words: Sequence[str] = (),
    sinks: Sequence[Sink] = (),
    told: Callable[[LoadedSuite, CaseResult], None] = lambda suite, case: None,
) -> TestResult:
    """Run the chosen cases one after the other. `sinks` see what happens in them. Raises UsageError when none is chosen, or a recording cannot be written."""
    picked = [(suite, cases) for suite in suites if (cases := chosen(suite, words))]
    if not picked:
        raise UsageError(
            f"-k {' -k '.join(words)}: no case has that in its name", hint="`runner test SUITE` names all of them"
        )
    sweep(WORLD)
    return TestResult(tuple([await _suite(suite, cases, how, sinks, told) for suite, cases in picked]))


async def _suite(
    suite: LoadedSuite,
    cases: Sequence[LoadedCase],
    how: How,
    sinks: Sequence[Sink],
    told: Callable[[LoadedSuite, CaseResult], None],
) -> SuiteResult:
    results, made = [], {}
    for case in cases:
        run = await _Run(suite, case, how, sinks).done()
        if run.made is not None:
            made[case.name] = run.made
        results.append(run.result)
        told(suite, run.result)
    recorded = None
    if how == "record":
        recorded = sum(len(each["calls"]) for each in made.values())
        _keep(suite, made)
    return SuiteResult(suite.file, suite.recording_file, tuple(results), recorded)


def _keep(suite: LoadedSuite, made: Mapping[str, Any]) -> None:
    try:
        tape.write(suite.tape, made, list(suite.suite.cases), f"runner test {shlex.quote(suite.file)} --record")
    except (OSError, PathEscape) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"the recording {suite.recording_file} cannot be written: {why}") from error


@dataclass(frozen=True, slots=True)
class _Done:
    """`made`: the data of a `RecordedCase`, while recording."""

    result: CaseResult
    made: dict[str, Any] | None = None


@dataclass(slots=True)
class _Run:
    """One case, on its way."""

    suite: LoadedSuite
    case: LoadedCase
    how: How
    sinks: Sequence[Sink]
    items: Items = field(default_factory=Items)
    answers: dict[str, int] = field(default_factory=dict)

    async def done(self) -> _Done:
        began = time.monotonic()
        try:
            done = await self._in_a_world()
        except RunnerError as error:
            done = _Done(self._result("error", error=error.message, hint=error.hint or ""))
        except TimeoutError:
            done = _Done(self._result("error", error=f"it has not ended within {PATIENCE_S:g} s"))
        took = round((time.monotonic() - began) * 1000)
        return replace(done, result=replace(done.result, took_ms=took))

    def _result(self, verdict: Verdict, **more: Any) -> CaseResult:
        return CaseResult(self.case.name, self.case.entry.graph.name, verdict, **more)

    # ------------------------------------------------------------ the world

    async def _in_a_world(self) -> _Done:
        with throwaway(WORLD) as world:
            (world / "state").mkdir(mode=0o700)
            (world / "workspace").mkdir()
            await _to_its_end(asyncio.to_thread(self._furnish, world / "workspace"))
            async with asyncio.timeout(None if self.how == "record" or self.case.real_runs else PATIENCE_S):
                return await self._driven(world)

    def _furnish(self, workspace: Path) -> None:
        """Nothing needs the files of the workspace but what runs for real, or looks at how they change."""
        graphs = self.case.loaded.graphs
        real = self.how == "record" or self.case.real_runs
        if is_watched(graphs) or (real and asks_somebody(graphs, self.case.stubs)):
            copy_workspace(self.case.settings.workspace, workspace, self.suite.suite.workspace)
        if has_worktrees(graphs):
            make_repository(workspace)

    async def _driven(self, world: Path) -> _Done:
        case, recording = self.case, self._recording()
        clock: Clock = SteadyClock(SystemClock()) if self.how == "record" else VirtualClock(_millis(recording))
        at = clock.now()
        env: Mapping[str, str] = os.environ if self.how == "record" else KeylessEnv()
        settings = sandboxed(case.settings, world)
        source = SecretSource(settings.config, env)
        state = settings.state_path.parent
        veil = Veil(source.redactor(), _tokens(world), state / "runs")
        files = WorldFiles.of(settings.workspace, state, case.loaded.graphs, self.items)
        seam = Seam(
            stubs=case.stubs,
            recording=None if self.how == "record" else recording,
            items=self.items,
            veil=veil,
            files=files,
            real_runs=case.real_runs,
            retell=self._retell(),
            effects=self.suite.suite.tools,
            endpoints={name: model.endpoint for name, model in settings.config.models.catalog.items()},
        )
        store = MemoryStore(clock)
        async with open_app(
            settings,
            sinks=(self.items, *self.sinks),
            clock=clock,
            mode=case.mode,
            env=env,
            store=store,
            wrap=seam.wrap,
            pool=seam.servers,
            probe=seam.probe,
        ) as app:
            result = await self._run(app, clock)
            came = outcome(app.store, result, case.inputs, settings.workspace, self.items)
        made = _recorded(seam, at, recording, case.entry.graph) if self.how == "record" else None
        return _Done(self._judged(seam, came), made)

    def _recording(self) -> RecordedCase:
        known = self.suite.tape.recording.cases.get(self.case.name)
        return known if known is not None else RecordedCase(at=_stamp(SystemClock().now()))

    def _retell(self) -> str:
        return f"record again: runner test {shlex.quote(self.suite.file)} --record -k {shlex.quote(self.case.name)}"

    # ------------------------------------------------------------ the run

    async def _run(self, app: App, clock: Clock) -> RunResult:
        case = self.case
        name, declared = case.entry.graph.name, case.entry.graph.inputs
        given = {key: value for key, value in case.inputs.items() if key in declared}  # the suite's may be for others
        request = Request(values=given, mode=case.mode)
        try:
            alone = Loaded((case.entry,), (), {}, 1)
            [entry] = plan(alone, app.settings, app.store, request, clock, steps=False)
            if entry.plan.action == "callable":
                raise InvalidInput(f"{name}: {entry.plan.reason}", hint="give them in `inputs`")
        except InvalidInput as error:
            return RunResult(name, None, "create", "invalid", error=error.message, hint=error.hint, exit_code=2)
        run = digest(["runner test", case.name])[:10]  # so that a replay has the same one
        end = await begin(app, case.loaded, entry, request, run=run)
        while self._answer(app, end):
            await self._post(app, end)
            end = await go_on(app, end.run, request)
        return ended(app, end, "create")

    def _answer(self, app: App, end: RunEnd) -> list[tuple[str, str, dict[str, Any]]]:
        """What the case answers to steps that wait for a person now: (kind, by, body)."""
        if end.state != "suspended":
            return []
        found = []
        for run, row in rows_of(app.store, end.run):
            if row.state != "suspended":
                continue
            path = self.items.path(run, row.node)
            said = self._said(path, row.reason)
            if said is not None and self.answers.get(path, 0) < MOST_ANSWERS:
                kind, by, body = said
                found.append((kind, by, {**body, "node": row.node} | ({"run": run} if run != end.run else {})))
        return found

    def _said(self, path: str, reason: str) -> tuple[str, str, dict[str, Any]] | None:
        case, names = self.case.case, names_of(path)
        if reason == "approval":
            approval: Approval | None = next((case.approvals[name] for name in names if name in case.approvals), None)
            return None if approval is None else (approval.answer, approval.by, {"comment": approval.comment})
        found: Resolution | None = next((case.resolve[name] for name in names if name in case.resolve), None)
        if found is None or not reason.startswith("unknown"):
            return None
        return ("redo", "somebody", {}) if found.redo else ("resolve", "somebody", {"output": found.done})

    async def _post(self, app: App, end: RunEnd) -> None:
        for kind, by, body in self._answer(app, end):
            path = self.items.path(body.get("run", end.run), body["node"])
            self.answers[path] = self.answers.get(path, 0) + 1
            await app.store.post(end.run, kind, body, by)

    # ------------------------------------------------------------ the verdict

    def _judged(self, seam: Seam, came: Came) -> CaseResult:
        """A call without an answer makes everything after it meaningless: then nothing else is told."""
        if seam.troubles:
            found = [Difference(one.where, one.message, one.lines) for one in seam.troubles]
            hint = self._retell()
            if not self.suite.tape.there and not self.case.stubs:
                hint = f"nothing is recorded yet: runner test {shlex.quote(self.suite.file)} --record"
            return self._result("failed", run=came.result, differences=tuple(found), hint=hint)
        found = differences(self.case.case.expect, came)
        warnings = [f"recorded, but not asked for any more: {where}" for where in seam.unused()]
        warnings += [
            f"the stub of `{step}` was never asked for" for step in seam.unused_stubs() if step in self.case.case.stubs
        ]
        hint = self._retell() if seam.unused() else ""
        return self._result(
            "failed" if found else "passed",
            run=came.result,
            differences=tuple(found),
            warnings=tuple(warnings),
            hint=hint,
        )


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Also when we are cancelled: a thread that goes on would write into a folder that is removed already."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    finally:
        await task


def _tokens(world: Path) -> list[tuple[str, str]]:
    """What differs between two runs of a case, longest first."""
    return [(str(world / "workspace"), "«workspace»"), (str(world / "state"), "«state»"), (str(world), "«world»")]


def _millis(recording: RecordedCase) -> int:
    """When a replay begins: when it was recorded, or now where that is no moment that a clock can go on from."""
    try:
        at = round(datetime.fromisoformat(recording.at).timestamp() * 1000)
    except (ValueError, OverflowError):
        return SystemClock().now()
    return at if 0 <= at < LATEST else SystemClock().now()


def _stamp(millis: int) -> str:
    return datetime.fromtimestamp(millis // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------- what was recorded


def _recorded(seam: Seam, at: int, before: RecordedCase, graph: StepGraph) -> dict[str, Any]:
    """The data of a `RecordedCase`, steps in the order of the manifest: two recordings of the same differ in nothing."""
    places = {step.id: place for place, step in enumerate(graph.steps)}

    def order(call: Made) -> Any:
        first, _ = parts_of(call.step)[0]
        return places.get(first, len(places)), _natural(call.step), call.call, call.part

    data: dict[str, Any] = {"at": _stamp(at)}
    if seam.tools:
        data["tools"] = dict(sorted(seam.tools.items()))
    data["calls"] = [each.data for each in sorted(seam.made, key=order)]
    same = RecordedCase.model_validate({**data, "at": before.at}) == before
    return {**data, "at": before.at} if same else data


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]
