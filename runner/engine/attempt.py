"""One attempt of a step, end to end, at the worker: secrets in, the call in its place, then `returns`, checks and `save`, all masked.

Not here: whether an attempt is made and what follows from its outcome (the kernel's), and how a call is done (executors)."""

import asyncio
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from runner.core.assigning import assumed_judgement
from runner.core.graph import Json
from runner.core.messages import EffectDoubt, Note, Outcome, StepTask
from runner.digest import digest_bytes
from runner.engine.checks import Judged, Verdict, verdicts
from runner.engine.logs import LOG_BYTES, AttemptLog, log_path, private_folder
from runner.engine.results import INLINE_BYTES, Unfit, cut, fit, result_of, stored, text_of
from runner.engine.returns import BadSchema, Mismatch, structured
from runner.engine.secrets import Unready, filled
from runner.engine.sites import Conflict, GitFailed, Site, Sites
from runner.paths import HIDDEN, PathEscape, inside, write_atomic
from runner.ports import CallResult, Executor, Judge, Request
from runner.redact import Redactor
from runner.templating import TemplateError, render
from runner.templating.text import to_text

OUTPUT_BYTES: Final = 64 << 20
SLACK_S: Final = 10.0
"""An executor ends its own call at the deadline, politely; this long after it we stop to wait for it."""
GIT_S: Final = 600.0
"""One git command. A large repository on a slow disk takes minutes; nothing takes longer than the default of a check."""
MESSAGE_CHARS: Final = 4_000
HANDED_TEXT_CHARS: Final = 4_000
HANDED_DIFF_CHARS: Final = 16_000
"""Of an agent's last words and changes, what the next one is told: they stand in the record."""
UNTOUCHED: Final = frozenset({"auth", "unavailable", "rate_limit", "quota", "invalid", "cancelled"})
"""Classes after which, when the outcome is known, an agent has done nothing that the next one need know of."""
FEEDBACK_CHARS: Final = 20_000
MOST_COST: Final = 10**15
"""Micro-USD, as much as `llms` takes for a price. Who names more for one call does not know what it cost."""
MOST_TOKENS: Final = 10**12
LONGEST_WAIT_MS: Final = 366 * 86_400_000
"""The longest that an endpoint may ask not to be called."""


class Places(NamedTuple):
    """Folders: the root of `cwd` and `save`; of the runs' own folders; of the logs."""

    workspace: Path
    run_dirs: Path
    logs: Path


class Limits(NamedTuple):
    """Bytes: of a RESULT that rides in its event; of an output; of a log."""

    inline: int = INLINE_BYTES
    output: int = OUTPUT_BYTES
    log: int = LOG_BYTES


class Attempts:
    """The step function of a worker. `secrets(name)` gives a value or raises KeyError; `redactor` masks all of them (and every other
    credential of the config) in whatever leaves here. `blobs(digest, data)` is called before the outcome that names `digest`."""

    def __init__(
        self,
        *,
        executors: Mapping[str, Executor],
        places: Places,
        secrets: Callable[[str], str],
        redactor: Redactor,
        blobs: Callable[[str, bytes], None],
        judge: Judge | None = None,
        limits: Limits | None = None,
        progress: Callable[[str, str, str], None] = lambda run, node, text: None,
    ) -> None:
        self._executors, self._places = executors, places
        self._secrets, self._redactor, self._blobs, self._progress = secrets, redactor, blobs, progress
        self._judge, self._limits = judge, limits or Limits()
        state = places.run_dirs.parent
        self._sites = Sites(places.workspace, state, (places.run_dirs, places.logs), self._git, self._limits.output)

    async def run(self, task: StepTask, note: Callable[[Note], None]) -> Outcome:
        """Never raises for what the step did. CancelledError passes while the call is made, and by then its command is gone; once there
        is an answer, a cancel is an outcome, with what the answer has cost."""
        log = AttemptLog(
            partial(log_path, self._places.logs, task.run, task.node, task.attempt), self._redactor, self._limits.log
        )
        try:
            outcome = await self._outcome(task, note, log)
        finally:
            written = log.close()
        return outcome._replace(log=written)

    async def _outcome(self, task: StepTask, note: Callable[[Note], None], log: AttemptLog) -> Outcome:
        try:
            executor, site = self._executor(task.verb), await self._sites.enter(task)
        except Unready as error:
            return self._failed(CallResult(executor=task.label), "invalid", str(error))
        except (
            asyncio.CancelledError
        ):  # it still waited for its place: known to have had no effect, so not left to doubt
            return Outcome(state="cancelled", error_class="cancelled", message="cancelled before it began")
        try:
            outcome = await self._at(site, executor, task, note, log)
        finally:
            self._sites.release(site)
        return outcome

    async def _at(
        self, site: Site, executor: Executor, task: StepTask, note: Callable[[Note], None], log: AttemptLog
    ) -> Outcome:
        try:
            request = self._request(task, note, log, site.root)
        except (Unready, TemplateError) as error:
            await self._sites.settle(site, failed=False)  # nothing was done there
            return self._failed(CallResult(executor=task.label), "invalid", str(error))
        answer = await self._call(executor, request)
        judged: list[CallResult] = []
        try:
            return await self._weighed(site, request, answer, judged)
        except asyncio.CancelledError:
            return self._cut_off(task, answer, judged)

    def _cut_off(self, task: StepTask, answer: CallResult, judged: Sequence[CallResult]) -> Outcome:
        """Cancelled between the answer and the verdict: the bill of the answer is known, that of a judge who is just being asked is not."""
        outcome = self._base(answer)._replace(
            state="cancelled", error_class="cancelled", message="cancelled before its answer was judged", effect="maybe"
        )
        outcome = _billed(outcome, judged)
        open_bill = outcome.cost is not None and any(one["kind"] == "judge" for one in task.spec.get("checks") or ())
        return outcome._replace(cost_source="assumed") if open_bill else outcome

    async def _weighed(self, site: Site, request: Request, answer: CallResult, judged: list[CallResult]) -> Outcome:
        """What the answer is worth, and the place left as that asks. `judged` is filled with what judges cost."""
        task = site.task
        await self._sites.look(site)
        outcome = await self._judged(site, request, answer, judged)
        if outcome.state != "succeeded":
            await self._keep_diff(site)
            if task.verb == "agent" and (outcome.effect == "maybe" or outcome.error_class not in UNTOUCHED):
                outcome = outcome._replace(tried=await self._tried(site, answer))
        repair = outcome.error_class in ("check_failed", "bad_output")
        await self._sites.settle(site, failed=outcome.state != "succeeded", repair=repair)
        return outcome

    async def _tried(self, site: Site, answer: CallResult) -> dict[str, Json]:
        """What the next agent is to know of this one: its last words, and its changes."""
        diff, kept = await self._sites.changes(site, HANDED_DIFF_CHARS, self._told)
        said = (answer.text or (answer.output if isinstance(answer.output, str) else "") or "").strip()
        told: dict[str, Json] = {"text": cut(said, HANDED_TEXT_CHARS, self._told)} if said else {}
        return told | ({"diff": diff, "kept": kept} if diff else {})

    async def _judged(self, site: Site, request: Request, answer: CallResult, judged: list[CallResult]) -> Outcome:
        if answer.error_class:
            return self._refused(answer)
        try:
            result = self._with_diff(site, self._result(site.task, answer))
            answer = answer._replace(output=None, text=None)  # a large one is in memory once from here on
            outcome = await self._accept(site, request, answer, result, judged)
        except _Refusal as no:
            outcome = self._failed(answer._replace(effect=no.effect), no.error_class, no.message, no.result, no.checks)
        return _billed(outcome, judged)

    async def forget(self, run: str) -> None:
        """The leg of this run has ended: nobody will go on with what its attempts left for a next one."""
        await self._sites.forget(run)

    # ------------------------------------------------------------ before and around the call

    def _executor(self, verb: str) -> Executor:
        if verb not in self._executors:
            raise Unready(f"needs an executor of `{verb}` steps, which is not configured")
        return self._executors[verb]

    def _request(self, task: StepTask, note: Callable[[Note], None], log: AttemptLog, root: Path) -> Request:
        spec = task.spec
        tree = filled({"inputs": task.inputs, "env": spec.get("env") or {}}, task.secrets, self._secrets)
        return Request(
            label=task.label,
            verb=task.verb,
            inputs=tree["inputs"],
            env=_env(tree["env"]) | {"ARES_RUN_DIR": self._run_dir(task.run)},
            cwd=self._cwd(spec.get("cwd"), root),
            idempotency_key=task.effect_key,
            deadline_s=None if task.timeout_ms is None else task.timeout_ms / 1000,
            idle_s=None if task.idle_ms is None else task.idle_ms / 1000,
            session=task.session,
            feedback=None if spec.get("told") else task.feedback,
            max_micro_usd=task.max_micro_usd,
            returns=spec.get("returns"),
            log=log,
            note=note,
            progress=lambda text: self._progress(task.run, task.node, self._redactor.text(text)),
            tried=task.tried,
            interrupted=task.session is not None and task.feedback is None,
            masked=self._told,
        )

    def _run_dir(self, run: str) -> str:
        path = self._places.run_dirs / run
        try:
            private_folder(path)
        except OSError as error:
            raise Unready(f"needs the folder {path}: {error.strerror}") from error
        return str(path)

    def _cwd(self, cwd: Json, root: Path) -> str:
        if not cwd:
            return str(root)
        try:
            return str(inside(root, root, str(cwd)))
        except PathEscape as error:
            raise Unready(f"cwd: {error}") from error

    async def _call(self, executor: Executor, request: Request) -> CallResult:
        bound = None if request.deadline_s is None else request.deadline_s + SLACK_S
        try:
            async with asyncio.timeout(bound):
                return await executor.call(request)
        except TimeoutError:
            message = (
                f"timed out after {request.deadline_s:g} s, and did not end when told to" if bound else "timed out"
            )
            return CallResult(error_class="timeout", effect="maybe", message=message, executor=request.label, cost=None)
        except Exception as error:  # noqa: BLE001  the border of one attempt: a defect of an executor is a failure of its step
            request.log.write("progress", traceback.format_exc())
            message = f"internal error of the executor: {type(error).__name__}: {error}"
            return CallResult(error_class="crash", effect="maybe", message=message, executor=request.label, cost=None)

    # ------------------------------------------------------------ after it

    async def _accept(
        self, site: Site, request: Request, answer: CallResult, result: dict[str, Json], judged: list[CallResult]
    ) -> Outcome:
        """The call has given an answer, so from here on the effect is known. `judged` is filled with what judges cost. Raises
        _Refusal."""
        task = site.task
        if site.touched is not None and site.touched.problem:
            raise _Refusal(site.touched.error_class, site.touched.problem, result)
        context = {**(task.spec.get("context") or {}), "output": result["output"], "text": text_of(result)}
        checks = await self._checked(site, request, context, judged)
        failed = [str(verdict["message"]) for verdict in checks if not verdict["passed"]]
        if checks:
            result = {**result, "checks": [dict(verdict) for verdict in checks]}
        if failed:
            raise _Refusal("check_failed", "\n".join(failed), result, checks)
        await self._bring_back(site, result, checks)
        products = await self._sites.products(site) | await self._saved(task, context, result)
        products = {self._redactor.text(path): digest for path, digest in products.items()}
        kept = self._keep(result)
        session = (
            None if task.verb == "model" else answer.session
        )  # a whole conversation: of use to a repair round alone
        return self._base(answer)._replace(
            state="succeeded", result=kept, checks=tuple(checks), products=products, session=session
        )

    async def _bring_back(self, site: Site, result: dict[str, Json], checks: list[Verdict]) -> None:
        try:
            await self._sites.bring_back(site)
        except Conflict as error:
            message = f"the diff of the worktree does not fit the workspace as it is by now: {error}"
            raise _Refusal("check_failed", message, result, checks) from error
        except GitFailed as error:
            message = f"the diff of the worktree was not applied, or only in part: {error}"
            raise _Refusal("tool_error", message, result, checks, effect="maybe") from error

    def _with_diff(self, site: Site, result: dict[str, Json]) -> dict[str, Json]:
        if site.touched is None or not site.touched.diff:
            return result
        return {**result, "diff": self._redactor.text(site.touched.diff)}

    async def _keep_diff(self, site: Site) -> None:
        """The record of a failed attempt may have no result to hold the diff: it lies beside the log. Not told of = not there."""
        if site.touched is None or not site.touched.diff:
            return
        task, text = site.task, self._redactor.text(site.touched.diff)
        path = log_path(self._places.logs, task.run, task.node, task.attempt).with_suffix(".diff")
        with suppress(OSError):
            private_folder(path.parent)
            await asyncio.to_thread(write_atomic, path.parent, path, text.encode("utf-8", "replace"), 0o600)

    def _result(self, task: StepTask, answer: CallResult) -> dict[str, Json]:
        """The answer as the record and every later reader will see it: plain JSON, bounded, masked, then shaped by `returns`.

        Masked first, so that a resumed run, which reads the record, computes from the same value."""
        try:
            result = self._fit(answer)
        except Unfit as error:
            raise _Refusal("bad_output", str(error)) from error
        schema = task.spec.get("returns")
        if schema is None:
            return result
        try:
            text = text_of(result)
            return result_of(structured(result["output"], text, answer.structured, schema), text)
        except Mismatch as error:
            raise _Refusal("bad_output", str(error), result) from error
        except BadSchema as error:
            raise _Refusal("invalid", str(error)) from error

    def _fit(self, answer: CallResult) -> dict[str, Json]:
        """The answer as a RESULT: bounded JSON, masked. Raises Unfit."""
        raw = result_of(answer.output, answer.text)
        masked: dict[str, Json] = self._redactor.data(
            {key: fit(part, self._limits.output) for key, part in raw.items()}
        )
        return masked

    async def _checked(
        self, site: Site, request: Request, context: Mapping[str, Json], calls: list[CallResult]
    ) -> list[Verdict]:
        checks = site.task.spec.get("checks") or ()
        if not checks:
            return []
        touched = None if site.touched is None else site.touched.paths
        diff = "" if site.touched is None else self._redactor.text(site.touched.diff)
        judged = Judged(context, context["text"], request, touched, diff, self._judge, calls)
        found = await verdicts(checks, judged, self._command)
        return [{**verdict, "message": self._told(str(verdict["message"]))} for verdict in found]

    async def _command(self, request: Request) -> CallResult:
        try:
            executor = self._executor(request.verb)
        except Unready as error:
            return CallResult(error_class="invalid", message=str(error))
        return await self._call(executor, request)

    async def _git(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> CallResult:
        """As any command: it gets nothing of our environment that is not listed, and never outlives us."""
        return await self._command(Request("local", "run", {"argv": list(argv)}, env, str(cwd), "", GIT_S))

    async def _saved(self, task: StepTask, context: Mapping[str, Json], result: Mapping[str, Json]) -> dict[str, str]:
        save = task.spec.get("save")
        if not save:
            return {}
        root = self._places.workspace
        try:
            value = result["output"] if save.get("from") is None else render(save["from"], context)
            whole_text = save.get("from") is None and isinstance(value, str)
            data = _file_content(context["text"] if whole_text else value)
            path = inside(root, root, str(save["path"]))
            if HIDDEN.intersection(
                path.relative_to(root.resolve()).parts
            ):  # a path may come from a step: no way into git hooks
                raise _Refusal("invalid", f"save: {save['path']} is not for steps to write", dict(result))
            self._sites.wrote([path.relative_to(root.resolve()).as_posix()])
            await asyncio.to_thread(write_atomic, root, path, data)  # it waits for the disk, the loop must not
        except TemplateError as error:
            raise _Refusal("invalid", f"save: {error.message}", dict(result)) from error
        except PathEscape as error:
            raise _Refusal("invalid", f"save: {error}", dict(result)) from error
        except (
            OSError
        ) as error:  # `tool_error`: a full disk is no fault of an endpoint, and nobody else would do better
            raise _Refusal("tool_error", f"save: {save['path']}: {error.strerror}", dict(result)) from error
        return {path.relative_to(root.resolve()).as_posix(): digest_bytes(data)}

    # ------------------------------------------------------------ outcomes

    def _refused(self, answer: CallResult) -> Outcome:
        """A failure that the executor reported. `bad_output` keeps what there was: a repair round may read it as `previous`."""
        result = None
        if answer.error_class == "bad_output" and answer.output is not None:
            try:
                result = self._fit(answer)
            except Unfit:
                pass  # what cannot be recorded cannot be shown to a next round either
        return self._failed(answer, answer.error_class, answer.message, result)

    def _failed(
        self,
        answer: CallResult,
        error_class: str,
        message: str,
        result: Mapping[str, Json] | None = None,
        checks: list[Verdict] | None = None,
    ) -> Outcome:
        told = self._told(message)
        return self._base(answer)._replace(
            state="failed",
            result=None if result is None else self._keep(result),
            error_class=error_class,
            message=cut(told, MESSAGE_CHARS),
            effect=answer.effect,
            checks=tuple(checks or ()),
            feedback=cut(told, FEEDBACK_CHARS) if error_class in ("bad_output", "check_failed") else None,
        )

    def _base(self, answer: CallResult) -> Outcome:
        """What the executor says of its call. A stranger said it: it is masked, and nothing that the record could not hold."""
        known = answer.cost is not None and 0 <= answer.cost <= MOST_COST
        wait = answer.retry_after_ms
        return Outcome(
            state="failed",
            status=answer.status,
            retry_after_ms=None if wait is None else min(max(wait, 0), LONGEST_WAIT_MS),
            cost=answer.cost if known else None,
            cost_source=answer.cost_source if known else "",
            tokens={kind: count for kind, count in answer.tokens.items() if 0 <= count <= MOST_TOKENS},
            executor=answer.executor,
            model=self._told(answer.model),
            session=None if answer.session is None else self._told(answer.session),
            denials=tuple(map(self._told, answer.denials)),
        )

    def _told(self, text: str) -> str:
        """What a stranger said, as it may be recorded: masked, and without halves of characters."""
        return self._redactor.text(text.encode("utf-8", "replace").decode())

    def _keep(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        kept, blob = stored(result, self._limits.inline)
        if blob is not None:
            self._blobs(kept["ref"], blob)
        return kept


class _Refusal(Exception):
    """An answer that the step does not accept."""

    def __init__(
        self,
        error_class: str,
        message: str,
        result: Mapping[str, Json] | None = None,
        checks: list[Verdict] | None = None,
        effect: EffectDoubt = "none",
    ) -> None:
        super().__init__(message)
        self.error_class, self.message, self.result, self.checks, self.effect = (
            error_class,
            message,
            result,
            checks,
            effect,
        )


def _billed(outcome: Outcome, calls: Sequence[CallResult]) -> Outcome:
    """The outcome with what judges cost besides. What is not known of that makes the whole an assumption."""
    if not calls or outcome.cost is None:
        return outcome
    tokens = dict(outcome.tokens)
    for call in calls:
        for kind, count in call.tokens.items():
            tokens[kind] = tokens.get(kind, 0) + count
    unknown = any(call.cost is None for call in calls)
    cost = outcome.cost + sum(assumed_judgement(call.tokens) if call.cost is None else call.cost for call in calls)
    return outcome._replace(
        cost=cost, tokens=tokens, cost_source="assumed" if unknown else outcome.cost_source or "judge"
    )


def _env(values: Mapping[str, Json]) -> dict[str, str]:
    """Environment text; a variable whose value is none is not set."""
    return {name: to_text(value) for name, value in values.items() if value is not None}


def _file_content(value: Json) -> bytes:
    """Text, or JSON, as a text file: it ends with a newline."""
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    )
    return (text if not text or text.endswith("\n") else f"{text}\n").encode("utf-8", "replace")
